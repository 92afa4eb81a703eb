"""A digest: an algorithm and a value, written `sha256:<hex>` as in the OCI image specification."""

import hmac
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from controller import errors


class Algorithm(StrEnum):
    """What a `checksum` may name. Only sha256 and sha512 identify content; md5 and sha1 are compared, never trusted."""

    MD5 = "md5"
    SHA1 = "sha1"
    SHA256 = "sha256"
    SHA512 = "sha512"

    @property
    def hex_digits(self) -> int:
        """How many hexadecimal digits a value of this algorithm has."""
        return _HEX_DIGITS[self]

    @property
    def identifies(self) -> bool:
        """Whether equal values mean equal bytes (collision resistant)."""
        return self is Algorithm.SHA256 or self is Algorithm.SHA512


_HEX_DIGITS = {Algorithm.MD5: 32, Algorithm.SHA1: 40, Algorithm.SHA256: 64, Algorithm.SHA512: 128}
_HEX = re.compile(r"[0-9a-f]+\Z", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """`algorithm` and `hex`, lower case, of the right length."""

    algorithm: Algorithm
    hex: str

    def __post_init__(self) -> None:
        if len(self.hex) != self.algorithm.hex_digits or not _HEX.match(self.hex):
            raise errors.InvalidSpec(
                f"a {self.algorithm} digest is {self.algorithm.hex_digits} lower-case hexadecimal digits, "
                f"got {self.hex[:140]!r}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `algorithm:hex`. Nothing is guessed: a bare value, blanks or an unknown algorithm raise InvalidSpec.

        Upper-case hex digits are the same value and are lowered.
        """
        name, colon, value = text.partition(":")
        if not colon:
            raise errors.InvalidSpec(
                f"a checksum is written algorithm:hex, for example sha256:…; got {text[:140]!r} without an algorithm"
            )
        try:
            algorithm = Algorithm(name)
        except ValueError as exc:
            known = ", ".join(Algorithm)
            raise errors.InvalidSpec(f"unknown checksum algorithm {name[:40]!r}; known: {known}") from exc
        return cls(algorithm, value.lower())

    def matches(self, other: "Digest") -> bool:
        """Compare in constant time; digests of different algorithms never match."""
        return self.algorithm is other.algorithm and hmac.compare_digest(self.hex, other.hex)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"
