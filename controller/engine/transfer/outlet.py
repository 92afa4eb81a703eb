"""The last stretch of a pass: content bytes go by the inspectors to the digests and to every target."""

from controller.engine.transfer.ring import Ring, Slot
from controller.engine.transfer.sinks import Hashing
from controller.media.pipeline import Understanding
from controller.model.digest import Algorithm, Digest
from controller.model.image import Content
from controller.model.transfer import TransferRequest


class Outlet:
    """`deliver` each buffer of content, then `finish` for what it is. One thread at a time."""

    def __init__(self, request: TransferRequest, ring: Ring, hashings: dict[Algorithm, Hashing]) -> None:
        self.ring = ring
        self.total_bytes = 0
        self._request = request
        self._hashings = hashings
        self._understanding = (
            Understanding(request.max_size_bytes, declared=request.format, iso_expected=request.iso_expected)
            if request.copy_from is None
            else None
        )

    def deliver(self, slot: Slot, length: int) -> None:
        """Look at the bytes, then pass them on. Raises FormatRejected or TooLarge as soon as that is sure."""
        if self._understanding is not None and length:
            self._understanding.feed(slot.view[:length])
        self.total_bytes += length
        self.ring.submit(slot, length)

    def digest(self, algorithm: Algorithm) -> Digest:
        """Return a digest of everything delivered; only once the ring is finished."""
        return self._hashings[algorithm].hasher.digest()

    def finish(self, source_digests: tuple[Digest, ...]) -> Content:
        """Return the facts. Raises FormatRejected, TooLarge."""
        if self._understanding is None:
            raise AssertionError("a copy is not inspected")
        verdict = self._understanding.finish(self.total_bytes)
        return Content(
            sha256=self.digest(Algorithm.SHA256),
            md5=self.digest(Algorithm.MD5),
            size_bytes=self.total_bytes,
            virtual_size_bytes=verdict.virtual_size_bytes,
            format=verdict.format,
            source_digests=source_digests,
        )
