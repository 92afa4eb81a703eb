"""Reads a checksum list: the digest that it gives for one name. Sans-IO; trusts nothing.

Three forms, as coreutils (sha256sum, sha256sum --tag) and the BSDs write them, and the single bare digest that some
publishers put beside a file. CRLF, a byte order mark, blank lines and `#` comments are passed over; of a clear-signed
list (RFC 9580, 7) the text between the armor lines is read, which proves nothing about the signature.

A list is refused as a whole where any line of it could be read in two ways.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from controller import errors
from controller.model.digest import Algorithm, Digest

MAX_BYTES = 2**20
"""Of a list; the largest of a distribution's whole archive has some 100 KiB."""
MAX_LINE = 4096
"""Characters; a path has no more."""
_SHOWN = 5

_BY_DIGITS = {algorithm.hex_digits: algorithm for algorithm in Algorithm}
_BY_TAG = {algorithm.name: algorithm for algorithm in Algorithm}
_BARE = re.compile(r"([0-9A-Fa-f]+)[ \t]*\Z", re.ASCII)
_GNU = re.compile(r"([0-9A-Fa-f]+) [ *](.+)\Z", re.ASCII)
_BSD = re.compile(r"([A-Z][A-Z0-9/-]*) ?\((.+)\) ?= ?([0-9A-Fa-f]+)[ \t]*\Z", re.ASCII)
_CLEAR_SIGNED = "-----BEGIN PGP SIGNED MESSAGE-----"
_SIGNATURE = "-----BEGIN PGP SIGNATURE-----"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line. `name` empty: a bare digest. `tag` empty: only the length says which algorithm."""

    line: int
    name: str
    hex: str
    tag: str


def find(data: bytes, name: str) -> Digest:
    """Return the digest of the file `name`; a list that is one bare digest speaks of every name.

    Raises:
        FormatRejected: not a list, or one that can be read in two ways; names the line.
        SourceNotFound: a list without this name.
        TooLarge: more than MAX_BYTES.

    """
    if len(data) > MAX_BYTES:
        raise errors.TooLarge(f"a checksum list has at most {MAX_BYTES} bytes")
    entries = list(_entries(_text(data)))
    if not entries:
        raise errors.FormatRejected("there is no digest in it")
    if not entries[0].name:
        if len(entries) > 1:
            raise _refused(entries[1].line, "more follows a digest that names no file")
        return _digest(entries[0])
    found = [entry for entry in entries if entry.name == name]
    if not found:
        raise errors.SourceNotFound(_missing(name, entries))
    if len(found) > 1:
        raise _refused(found[1].line, f"{name[:255]!r} stands in line {found[0].line} already")
    return _digest(found[0])


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise _refused(data.count(b"\n", 0, exc.start) + 1, "is not UTF-8 text") from exc
    if text.lstrip().startswith("<"):
        raise errors.FormatRejected("it is HTML or XML, not a checksum list")
    return text


def _entries(text: str) -> Iterator[_Entry]:
    for number, line in _lines(text):
        if len(line) > MAX_LINE:
            raise _refused(number, f"has more than {MAX_LINE} characters")
        if not line.strip(" \t") or line.startswith("#"):
            continue
        yield _entry(number, line)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield numbered lines, of a clear-signed text those that it is about."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if lines[0].rstrip(" \t") != _CLEAR_SIGNED:
        yield from enumerate(lines, 1)
        return
    headers = True
    for number, line in enumerate(lines[1:], 2):
        if line.rstrip(" \t") == _SIGNATURE:
            return
        if not headers:
            yield number, line.removeprefix("- ")
        headers = headers and bool(line.strip(" \t"))
    raise errors.FormatRejected("it begins as a signed list and has no signature")


def _entry(number: int, line: str) -> _Entry:
    if match := _BSD.match(line):
        return _Entry(number, _name(number, match[2]), match[3], match[1])
    if match := _GNU.match(line):
        return _Entry(number, _name(number, match[2]), match[1], "")
    if match := _BARE.match(line):
        return _Entry(number, "", match[1], "")
    raise _refused(number, f"is neither `<hex>  name` nor `SHA256 (name) = <hex>`: {line[:80]!r}")


def _name(number: int, text: str) -> str:
    """Return the name as it would be asked for; `./` before it, as find prints it, means nothing."""
    name = text.removeprefix("./")
    if not name.isprintable() or "\\" in name:
        raise _refused(number, f"has a name with control characters or a backslash: {name[:80]!r}")
    if any(segment in {"", ".", ".."} for segment in name.split("/")):
        raise _refused(number, f"has a name that is absolute or climbs: {name[:80]!r}")
    return name


def _digest(entry: _Entry) -> Digest:
    algorithm = _BY_TAG.get(entry.tag) if entry.tag else _BY_DIGITS.get(len(entry.hex))
    if algorithm is None:
        what = f"the algorithm {entry.tag[:20]}" if entry.tag else f"a digest of {len(entry.hex)} digits"
        raise _refused(entry.line, f"has {what}; known: {', '.join(Algorithm)}")
    if len(entry.hex) != algorithm.hex_digits:
        raise _refused(entry.line, f"has {len(entry.hex)} digits where {algorithm} has {algorithm.hex_digits}")
    return Digest(algorithm, entry.hex.lower())


def _missing(name: str, entries: list[_Entry]) -> str:
    if not name:
        return "the url has no last segment to look for: name the entry"
    named = ", ".join(repr(entry.name[:80]) for entry in entries[:_SHOWN])
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    return f"it has no line for {name[:255]!r}; it names {named}{more}"


def _refused(line: int, why: str) -> errors.FormatRejected:
    return errors.FormatRejected(f"line {line} {why}")
