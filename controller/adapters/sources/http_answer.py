"""What an answer's status and headers say. Pure: text in, facts or a refusal out (RFC 9110, RFC 9112)."""

import email.utils
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Protocol
from urllib.parse import quote, urljoin

from controller import errors
from controller.logs import clip
from controller.model.transfer import Validator
from controller.model.url import SCHEMES, SourceUrl

MAX_BYTES = 2**63 - 1
"""No source is larger; a length beyond it is nonsense."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NOT_FOUND = frozenset({404, 410})
_NOT_ALLOWED = frozenset({401, 403, 407})
_TRY_AGAIN = frozenset({408, 425, 429})

_NUMBER = re.compile(r"[0-9]{1,19}\Z", re.ASCII)
_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})\Z", re.ASCII)
_UNSATISFIED = re.compile(r"bytes \*/([0-9]{1,19})\Z", re.ASCII)
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]{0,512}"\Z')
_PRINTABLE = re.compile(r"[\x20-\x7e]{1,64}\Z")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):", re.ASCII)
_KEPT_IN_LOCATION = "!#$%&'()*+,/:;=?@[]~"


class Headers(Protocol):
    """The header fields of an answer."""

    def get_all(self, name: str, failobj: list[str]) -> Sequence[str]:
        """Return every value of a field, case-insensitively."""
        ...


@dataclass(frozen=True, slots=True)
class ContentRange:
    """A satisfied range: bytes `first` to `last`, inclusive, of `total`."""

    first: int
    last: int
    total: int

    @classmethod
    def parse(cls, text: str) -> "ContentRange | None":
        """Return None for anything but one complete, consistent byte range of known total."""
        match = _RANGE.match(text)
        if match is None:
            return None
        first, last, total = (int(number) for number in match.groups())
        return cls(first, last, total) if first <= last < total <= MAX_BYTES else None


def unsatisfied_total(text: str) -> int | None:
    """Return the total of a `bytes */total`, as a 416 carries it; None for anything else."""
    match = _UNSATISFIED.match(text)
    return int(match[1]) if match and int(match[1]) <= MAX_BYTES else None


def single(headers: Headers, name: str) -> str | None:
    """Return the value of a field that must not be there twice. Raises ProtocolError."""
    values = headers.get_all(name, [])
    if len(values) > 1:
        raise errors.ProtocolError(f"the answer has {len(values)} {name} headers")
    return values[0].strip(" \t") if values else None


@dataclass(frozen=True, slots=True)
class Framing:
    """How the end of a body is known: by `length`, by its chunks, or (neither) by the end of the connection."""

    length: int | None
    chunked: bool


def framing(headers: Headers, http_version: int) -> Framing:
    """Read Content-Length and Transfer-Encoding. Raises ProtocolError where two readers could disagree."""
    length, coding = single(headers, "Content-Length"), single(headers, "Transfer-Encoding")
    if coding is not None:
        if length is not None:
            raise errors.ProtocolError("the answer has both Content-Length and Transfer-Encoding")
        if coding.lower() != "chunked" or http_version < 11:
            raise errors.ProtocolError(f"the answer has Transfer-Encoding {clip(coding)!r}; only chunked is understood")
        return Framing(None, chunked=True)
    if length is None:
        return Framing(None, chunked=False)
    if not _NUMBER.match(length) or int(length) > MAX_BYTES:
        raise errors.ProtocolError(f"the answer has Content-Length {clip(length)!r}, which is no length")
    return Framing(int(length), chunked=False)


def refuse_encoding(headers: Headers) -> None:
    """Raise ProtocolError for a body that is not the source itself; it was asked for with identity."""
    for value in headers.get_all("Content-Encoding", []):
        if value.strip(" \t").lower() not in {"", "identity"}:
            raise errors.ProtocolError(
                f"the server sends Content-Encoding {clip(value)!r} although identity was asked for: "
                "the bytes would not be the ones that a checksum is about"
            )


def validator(headers: Headers) -> Validator:
    """Return what names the version; a malformed or doubled one is as good as none."""
    etags, dates = headers.get_all("ETag", []), headers.get_all("Last-Modified", [])
    etag = etags[0].strip(" \t") if len(etags) == 1 else ""
    date = dates[0].strip(" \t") if len(dates) == 1 else ""
    return Validator(etag if _ETAG.match(etag) else None, date if _PRINTABLE.match(date) else None)


def retry_after(headers: Headers, now: datetime, max_seconds: int) -> timedelta | None:
    """Read Retry-After, seconds or an HTTP date; None where there is none, or where it makes no sense."""
    values = headers.get_all("Retry-After", [])
    if len(values) != 1:
        return None
    text = values[0].strip(" \t")
    if re.fullmatch(r"[0-9]{1,19}", text, re.ASCII):
        return timedelta(seconds=min(int(text), max_seconds))
    try:
        at = email.utils.parsedate_to_datetime(text[:64])
        wait = (at if at.tzinfo else at.replace(tzinfo=UTC)) - now
    except (ValueError, OverflowError):
        return None
    return min(max(wait, timedelta(0)), timedelta(seconds=max_seconds))


def refusal(status: int, headers: Headers, now: datetime, max_retry_after_s: int) -> errors.GoldmasterError:
    """Return what a status means that brings no bytes; the caller has dealt with 200, 206, 416 and redirects."""
    said = f"the server answers {status} {_phrase(status)}".rstrip()
    if status in _NOT_ALLOWED:
        return errors.AuthenticationFailed(said)
    if status in _NOT_FOUND:
        return errors.SourceNotFound(said)
    if status in _TRY_AGAIN or 500 <= status <= 599:
        return errors.SourceUnreachable(said, retry_after=retry_after(headers, now, max_retry_after_s))
    return errors.ProtocolError(f"{said}, which is no answer to a download")


def redirect_target(here: SourceUrl, headers: Headers) -> SourceUrl:
    """Return where a redirect leads. Raises ProtocolError for nonsense, PolicyDenied for a way that is never taken."""
    location = single(headers, "Location")
    if not location:
        raise errors.ProtocolError("the server redirects without saying where to")
    if "\\" in location or any(character <= " " or character == "\x7f" for character in location):
        raise errors.ProtocolError("the server redirects to a URL with blanks, backslashes or control characters in it")
    # Header bytes arrive as Latin-1; browsers percent-encode what servers forget to.
    location = quote(location.encode("latin-1", "replace"), safe=_KEPT_IN_LOCATION).partition("#")[0]
    scheme = _SCHEME.match(location)
    if scheme is not None and scheme[1].lower() not in SCHEMES[:2]:
        raise errors.PolicyDenied(
            f"the server redirects to a {scheme[1][:20].lower()} URL; only http and https are followed"
        )
    if scheme is not None and not location.startswith("//", scheme.end()):
        raise errors.ProtocolError("the server redirects to a URL without a host")
    try:
        there = SourceUrl.parse(urljoin(here.text, location))
    except (errors.InvalidSpec, ValueError) as exc:
        raise errors.ProtocolError(f"the server redirects to a URL that is refused: {exc}") from exc
    if here.scheme == "https" and there.scheme != "https":
        raise errors.PolicyDenied("the server redirects from https to http, where anybody could change the bytes")
    return there


def _phrase(status: int) -> str:
    """Return the standard's words, never the server's."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
