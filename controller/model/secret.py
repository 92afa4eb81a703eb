"""Secrets and what a source is told of them. Values never show in a repr, a message or a status.

A Secret that serves sources has type `goldmaster.dev/source` and says itself, in its key `origins`, where it may go:
whoever may create an Image could otherwise send any Secret of the namespace to a host of theirs.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import quote

from controller import errors
from controller.model.url import SourceUrl

SOURCE_TYPE = "goldmaster.dev/source"
KEYS_TYPE = "goldmaster.dev/keys"
"""Of a Secret whose values are OpenPGP certificates, armored or not."""
MIN_HIDDEN = 4
"""Characters of a value that is worth hiding in what others say: shorter ones are in every second word."""
_HEADER = "header."
_TOKEN_CHARACTERS = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z", re.ASCII)
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?\Z", re.ASCII)
_OURS = frozenset(
    {"accept", "accept-encoding", "connection", "content-length", "expect", "host", "if-range", "keep-alive"}
    | {"proxy-connection", "range", "te", "trailer", "transfer-encoding", "upgrade", "user-agent"}
)
"""Headers that every request has or that frame it: a Secret that sets one could make it mean something else."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A Kubernetes Secret: its type and decoded values."""

    namespace: str
    name: str
    type: str
    data: Mapping[str, bytes] = field(repr=False)

    @property
    def shown(self) -> str:
        """What a message calls it."""
        return f"Secret {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a source may be told and trust, and where. Plain data; `repr` shows the origins only."""

    origins: frozenset[str]
    """`scheme://host:port`, as `SourceUrl.origin` has it."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ca_pem: str | None = field(default=None, repr=False)
    """Trusted in place of the system's authorities."""
    certificate_pem: bytes | None = field(default=None, repr=False)
    key_pem: bytes | None = field(default=None, repr=False)
    hidden: tuple[str, ...] = field(default=(), repr=False)
    """Values, in every form in which a server could repeat them, the longest first."""

    @classmethod
    def of(cls, secret: Secret) -> "Credentials":
        """Read a Secret.

        Raises:
            PolicyDenied: it is of another type, or names no origin: its owner did not mean it for sources.
            DependencyNotReady: something in it is missing or malformed; names the key, never the value.

        """
        if secret.type != SOURCE_TYPE:
            raise errors.PolicyDenied(f"{secret.shown} is not of type {SOURCE_TYPE}: it was not made for sources")
        return _Reader(secret).credentials()

    def allows(self, url: SourceUrl) -> bool:
        """Whether the Secret's owner lets it go there."""
        return url.origin in self.origins

    @property
    def about_tls(self) -> bool:
        """Whether they say whom to trust, or who we are, in TLS."""
        return self.ca_pem is not None or self.certificate_pem is not None

    def scrub(self, text: str) -> str:
        """Return a text in which no value stands, whoever wrote it."""
        for value in self.hidden:
            text = text.replace(value, "***")
        return text


class _Reader:
    """Takes the keys of one Secret; what nobody took is refused."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret
        self._taken: set[str] = set()

    def credentials(self) -> Credentials:
        origins = self._origins()
        headers, hidden = self._headers()
        certificate, key = self._bytes("tls.crt"), self._bytes("tls.key")
        if (certificate is None) is not (key is None):
            self._fail("tls.crt", "and tls.key go together")
        ca_pem = self._text("ca.crt")
        unknown = sorted(set(self._secret.data) - self._taken)
        if unknown:
            self._fail(unknown[0][:80], "is not a key that sources know")
        if key is not None:
            hidden.append(key.decode("ascii", "replace").strip())
        return Credentials(origins, headers, ca_pem, certificate, key, _forms(hidden))

    def _origins(self) -> frozenset[str]:
        text = self._text("origins")
        if text is None or not text.split():
            raise errors.PolicyDenied(f"{self._secret.shown} has no origins: its owner lets it go nowhere")
        return frozenset(self._origin(one) for one in text.split())

    def _origin(self, text: str) -> str:
        try:
            url = SourceUrl.parse(text)
        except errors.InvalidSpec:
            url = None
        if url is None or url.scheme == "file" or url.path != "/" or url.query or text.count("/") > 3:
            self._fail("origins", "is a list of scheme://host[:port], separated by blanks")
        return url.origin

    def _headers(self) -> tuple[tuple[tuple[str, str], ...], list[str]]:
        """Return what is sent, and what of it must never show."""
        found: dict[str, tuple[str, str]] = {}
        hidden = []
        authorization, told = self._authorization()
        if authorization is not None:
            found["authorization"] = ("Authorization", authorization)
            hidden += [authorization, *told]
        for key in sorted(key for key in self._secret.data if key.startswith(_HEADER)):
            name, value = key.removeprefix(_HEADER), self._text(key) or ""
            if not _TOKEN_CHARACTERS.match(name) or name.lower() in _OURS:
                self._fail(key[:80], "names no header that may be set")
            if name.lower() in found:
                self._fail(key[:80], "is a header that is set already")
            if not _VALUE.match(value):
                self._fail(key, "is not one line of printable ASCII")
            found[name.lower()] = (name, value)
            hidden += [value, value.rpartition(" ")[2]]
        return tuple(found.values()), hidden

    def _authorization(self) -> tuple[str | None, list[str]]:
        username, password, token = (self._text(key) for key in ("username", "password", "token"))
        if token is not None and (username is not None or password is not None):
            self._fail("token", "and username are two ways to say who we are: leave one out")
        if token is not None:
            if not _VALUE.match(token) or " " in token or "\t" in token:
                self._fail("token", "is not one word of printable ASCII")
            return f"Bearer {token}", [token]
        if username is None and password is None:
            return None, []
        if username is None or password is None:
            self._fail("username", "and password go together")
        if ":" in username or not (username + password).isprintable():
            self._fail("username", "has a colon, or it or the password control characters")
        pair = base64.b64encode(f"{username}:{password}".encode()).decode()
        return f"Basic {pair}", [pair, password, f"{username}:{password}"]

    def _bytes(self, key: str) -> bytes | None:
        self._taken.add(key)
        return self._secret.data.get(key)

    def _text(self, key: str) -> str | None:
        """Return a value without the line end that editors and `echo` leave."""
        value = self._bytes(key)
        if value is None:
            return None
        text = value.decode(errors="replace")
        if "\ufffd" in text:  # not by the exception: it would carry the value along
            self._fail(key, "is not UTF-8 text")
        return text.rstrip("\r\n")

    def _fail(self, key: str, why: str) -> NoReturn:
        raise errors.DependencyNotReady(f"{self._secret.shown}: {key} {why}")


def _forms(values: list[str]) -> tuple[str, ...]:
    forms = {form for value in values for form in (value, quote(value, safe=""), quote(value), repr(value)[1:-1])}
    return tuple(sorted((form for form in forms if len(form) >= MIN_HIDDEN), key=len, reverse=True))
