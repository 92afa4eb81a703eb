"""The last stretch of a pass: content bytes go by the inspectors to the digests and to every target."""

from controller import errors
from controller.engine.ring import Ring, Slot
from controller.engine.sinks import Hashing
from controller.media.gate import Gate
from controller.model.digest import Algorithm, Digest
from controller.model.image import Content, Format
from controller.model.transfer import TransferRequest


class Outlet:
    """`deliver` each buffer of content, then `finish` for what it is. One thread at a time."""

    def __init__(self, request: TransferRequest, ring: Ring, hashings: dict[Algorithm, Hashing]) -> None:
        self.ring = ring
        self.total_bytes = 0
        self._request = request
        self._hashings = hashings
        self._gate = Gate(request.max_size_bytes) if request.origin is None else None

    def deliver(self, slot: Slot, length: int) -> None:
        """Look at the bytes, then pass them on. Raises FormatRejected or TooLarge as soon as that is sure."""
        if self._gate is not None and length:
            self._gate.feed(slot.view[:length])
        self.total_bytes += length
        self.ring.submit(slot, length)

    def digest(self, algorithm: Algorithm) -> Digest:
        """Return a digest of everything delivered; only once the ring is finished."""
        return self._hashings[algorithm].hasher.digest()

    def finish(self, source_digests: tuple[Digest, ...]) -> Content:
        """Return the facts. Raises FormatRejected, TooLarge."""
        if self._gate is None:
            raise AssertionError("a copy is not inspected")
        verdict = self._gate.finish(self.total_bytes)
        self._check_declared(verdict.format)
        return Content(
            sha256=self.digest(Algorithm.SHA256),
            md5=self.digest(Algorithm.MD5),
            size_bytes=self.total_bytes,
            virtual_size_bytes=verdict.virtual_size_bytes,
            format=verdict.format,
            source_digests=source_digests,
        )

    def _check_declared(self, found: Format) -> None:
        declared = self._request.format
        if declared is not None and declared is not found:
            raise errors.FormatRejected(f"spec.format says {declared}, the bytes are {found}")
        if self._request.iso_expected and found is not Format.ISO:
            raise errors.FormatRejected(f"spec.mediaType is ISO, the bytes are {found}")
        if not self._request.iso_expected and found is Format.ISO:
            raise errors.FormatRejected("the bytes are iso, spec.mediaType is not ISO")
