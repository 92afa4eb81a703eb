"""A source URL: refused or canonical, never guessed.

The grammar is the one of the CRD's pattern, a strict subset of RFC 3986 that every resolver and HTTP library reads in
the same way. Messages never repeat the URL: what is wrong with it may be the secret in it.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from controller import errors

MAX_LENGTH = 1024
"""Characters of a URL."""
SCHEMES = ("http", "https", "file")
DEFAULT_PORTS = {"http": 80, "https": 443}

_SPLIT = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)\Z", re.ASCII | re.DOTALL)
_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*\Z", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z", re.ASCII)
# inet_aton reads octal, hexadecimal and short forms where the last label looks like a number; nobody else agrees.
_NUMBER_LIKE = re.compile(r"[0-9]+(?:x.*)?\Z", re.ASCII)
_PORT = re.compile(r"[1-9][0-9]{0,4}\Z", re.ASCII)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """An absolute http, https or file URL without userinfo.

    `text` is the canonical form that is requested; `redacted` the form for people (no query, no fragment).
    """

    scheme: str
    """One of SCHEMES."""
    host: str
    """Lower case, ASCII; IPv6 without brackets, compressed. Empty for file."""
    port: int | None
    """None where it is the scheme's own."""
    path: str
    """Percent-encoded as given, begins with `/`."""
    query: str
    """Without the `?`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL; a leading `/` means `file://`. Raises InvalidSpec, whose message is fit for a person."""
        if len(text) > MAX_LENGTH:
            raise errors.InvalidSpec(f"a URL has at most {MAX_LENGTH} characters, got {len(text)}")
        refuse_odd_characters(text)
        if text.startswith("/"):
            text = "file://" + text
        split = _SPLIT.match(text)
        if split is None:
            raise errors.InvalidSpec(f"not an absolute URL: begins with one of {_schemes()} or with /")
        scheme, rest = split[1].lower(), split[2]
        if scheme not in SCHEMES:
            raise errors.InvalidSpec(f"unknown URL scheme {scheme[:20]!r}; known: {_schemes()}")
        if not rest.startswith("//"):
            raise errors.InvalidSpec(f"write {scheme}:// with two slashes")
        authority, path, query = _parts(rest[2:])
        if "@" in authority:
            raise errors.InvalidSpec(
                "user and password do not belong into a URL, where everybody reads them: use secretRef"
            )
        if scheme == "file":
            return cls._file(authority, path, query)
        host, port = host_and_port(authority)
        return cls(scheme, host, None if port == DEFAULT_PORTS[scheme] else port, path or "/", query)

    @classmethod
    def _file(cls, authority: str, path: str, query: str) -> Self:
        if authority.lower() not in {"", "localhost"}:
            raise errors.InvalidSpec("a file URL names no host: write file:///path")
        if query:
            raise errors.InvalidSpec("a file URL has no query; write %3F for a question mark in a name")
        if path in {"", "/"} or path.startswith("//"):
            raise errors.InvalidSpec("a file URL needs an absolute path with one leading slash")
        if _BAD_ESCAPE.search(path):
            raise errors.InvalidSpec("a percent sign in a file URL is followed by two hexadecimal digits; write %25")
        for name in path.split("/"):
            plain = unquote(name, errors="surrogateescape")
            if plain == "..":
                raise errors.InvalidSpec("a file URL has no .. in it")
            if "/" in plain or "\0" in plain:
                raise errors.InvalidSpec("a file URL has no encoded slash or zero byte in it")
        return cls("file", "", None, path, "")

    @property
    def text(self) -> str:
        """The canonical URL."""
        return f"{self.redacted}?{self.query}" if self.query else self.redacted

    @property
    def redacted(self) -> str:
        """The URL without its query, which may hold a signature."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        """Host and, where it is not the scheme's own, port: what the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def effective_port(self) -> int:
        """The port to connect to; 0 for file."""
        return self.port or DEFAULT_PORTS.get(self.scheme, 0)

    @property
    def origin(self) -> str:
        """Who gets to see a secret that is meant for this URL: `scheme://host:port`, the port always there."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return "file://" if self.scheme == "file" else f"{self.scheme}://{host}:{self.effective_port}"

    @property
    def target(self) -> str:
        """Path and query: what stands in the request line."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def last_segment(self) -> str:
        """The decoded name after the last slash; empty where there is none."""
        return unquote(self.path.rpartition("/")[2], errors="surrogateescape")

    @property
    def file_path(self) -> str:
        """The decoded path of a file URL; bytes that are not UTF-8 as surrogates, as `os.fsencode` wants them."""
        return unquote(self.path, errors="surrogateescape")


def _schemes() -> str:
    return " ".join(SCHEMES)


def refuse_odd_characters(text: str) -> None:
    """Raise InvalidSpec for what no URL of ours has in it."""
    for character in text:
        if character == "\\":
            raise errors.InvalidSpec("a URL has no backslash in it")
        if not character.isprintable() or character.isspace():
            raise errors.InvalidSpec(f"a URL has no blanks and control characters in it, got {character!r}")
        if not character.isascii():
            raise errors.InvalidSpec(
                f"a URL is ASCII, got {character!r}: write a host as xn--… (IDNA), other characters percent-encoded"
            )
    if "#" in text:
        raise errors.InvalidSpec("a URL of a source has no fragment (#…)")


def _parts(rest: str) -> tuple[str, str, str]:
    """Split what follows `//` into authority, path and query."""
    end = re.search(r"[/?]|\Z", rest)
    cut = end.start() if end else len(rest)
    authority, tail = rest[:cut], rest[cut:]
    if not _PATH.match(tail):
        raise errors.InvalidSpec('percent-encode what RFC 3986 keeps out of a path and query: " < > [ ] ^ ` { | }')
    path, _, query = tail.partition("?")
    return authority, path, query


def host_and_port(authority: str) -> tuple[str, int | None]:
    """Read `host`, `host:port` or `[address]:port`. Raises InvalidSpec."""
    if authority.startswith("["):
        inside, bracket, port = authority[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise errors.InvalidSpec("an IPv6 address in a URL stands in brackets: [2001:db8::1]")
        return _ipv6(inside), _port(port[1:]) if port else None
    host, colon, port = authority.partition(":")
    return _name_or_ipv4(host.lower()), _port(port) if colon else None


def _port(text: str) -> int:
    if not _PORT.match(text) or int(text) > 65535:
        raise errors.InvalidSpec("the port of a URL is a number from 1 to 65535 without leading zeros")
    return int(text)


def _ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError as exc:
        raise errors.InvalidSpec("what stands in brackets is no IPv6 address") from exc
    if address.scope_id is not None:
        raise errors.InvalidSpec("an IPv6 address in a URL has no zone: it means something on one machine only")
    return address.compressed


def _name_or_ipv4(host: str) -> str:
    labels = host.removesuffix(".").split(".")
    if _NUMBER_LIKE.match(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError as exc:
            raise errors.InvalidSpec(
                "an IPv4 address is written as four decimal numbers with dots; octal, hexadecimal, short and "
                "single-number forms mean different things to different resolvers"
            ) from exc
    if len(host) > 253 or not all(_LABEL.match(label) for label in labels):
        raise errors.InvalidSpec(
            "a host is a DNS name of labels with 1 to 63 letters, digits, - and _, or an IP address"
        )
    return host
