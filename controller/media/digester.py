"""Digests of a stream. The only place that makes hash objects.

`Hasher` is one algorithm, for one thread per algorithm: hashlib releases the GIL while it works on more than 2 KiB, so
a sha256 and an md5 of the same bytes run on two cores. `Digester` is several algorithms in one thread.
"""

import hashlib
from collections.abc import Iterable

from controller.model.digest import Algorithm, Digest

_CONSTRUCTORS = {
    Algorithm.MD5: hashlib.md5,
    Algorithm.SHA1: hashlib.sha1,
    Algorithm.SHA256: hashlib.sha256,
    Algorithm.SHA512: hashlib.sha512,
}


class Hasher:
    """The running digest of one algorithm. One thread at a time."""

    def __init__(self, algorithm: Algorithm) -> None:
        self.algorithm = algorithm
        # md5 and sha1 are compared with what a publisher lists, never trusted: a FIPS build allows them for that
        self._hash = _CONSTRUCTORS[algorithm](usedforsecurity=algorithm.identifies)

    def update(self, data: memoryview | bytes) -> None:
        """Take the next bytes."""
        self._hash.update(data)

    def digest(self) -> Digest:
        """Return the digest of everything so far; more may follow."""
        return Digest(self.algorithm, self._hash.hexdigest())


class Digester:
    """Several digests of the same bytes. Algorithms named twice are computed once."""

    def __init__(self, algorithms: Iterable[Algorithm]) -> None:
        self._hashers = {algorithm: Hasher(algorithm) for algorithm in algorithms}

    def update(self, data: memoryview | bytes) -> None:
        """Take the next bytes."""
        for hasher in self._hashers.values():
            hasher.update(data)

    def digest(self, algorithm: Algorithm) -> Digest:
        """Return the digest of everything so far. Raises KeyError for an algorithm that was not asked for."""
        return self._hashers[algorithm].digest()
