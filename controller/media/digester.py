"""Digests of a stream of bytes; the only place that names hash functions."""

import hashlib
from collections.abc import Iterable

from controller.model.digest import Algorithm, Digest


class Hasher:
    """One digest of one stream. One thread uses it; large updates release the GIL."""

    def __init__(self, algorithm: Algorithm) -> None:
        # md5 and sha1 are compared with what a publisher says, never trusted: allowed on FIPS systems too
        self._hash = hashlib.new(algorithm.value, usedforsecurity=algorithm.identifies)  # noqa: TID251 - the place
        self.algorithm = algorithm

    def update(self, data: memoryview | bytes) -> None:
        """Take the next bytes."""
        self._hash.update(data)

    def digest(self) -> Digest:
        """Return the digest of everything so far."""
        return Digest(self.algorithm, self._hash.hexdigest())


class Digester:
    """Several digests of one stream."""

    def __init__(self, algorithms: Iterable[Algorithm]) -> None:
        self._hashers = {algorithm: Hasher(algorithm) for algorithm in algorithms}

    def update(self, data: memoryview | bytes) -> None:
        """Take the next bytes."""
        for hasher in self._hashers.values():
            hasher.update(data)

    def digest(self, algorithm: Algorithm) -> Digest:
        """Return one of the digests asked for. Raises KeyError for another."""
        return self._hashers[algorithm].digest()
