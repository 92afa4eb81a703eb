"""Digests of a stream. The only place that makes hash objects.

`Hasher` is one algorithm, for one thread per algorithm: hashlib releases the GIL while it works on more than 2 KiB, so
a sha256 and an md5 of the same bytes run on two cores.
"""

import hashlib

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
