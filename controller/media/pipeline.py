"""All that is asked of content bytes: the gate, the second opinion, and what the spec declares."""

from controller.errors import FormatRejected
from controller.media.gate import HEAD_BYTES, Gate
from controller.media.inspect import SecondOpinion
from controller.media.verdict import Verdict
from controller.model.image import Format


class Understanding:
    """`feed` all bytes, `finish` with their count. One image, one thread at a time; memory below 8 MiB.

    `max_bytes` bounds stored and virtual size; `declared` is `spec.format`; `iso_expected`: `spec.mediaType` is ISO.
    """

    def __init__(self, max_bytes: int, *, declared: Format | None = None, iso_expected: bool = False) -> None:
        self._gate = Gate(max_bytes)
        self._opinion = SecondOpinion()
        self._declared = declared
        self._iso_expected = iso_expected
        self._position = 0

    def feed(self, data: memoryview | bytes) -> None:
        """Take the next bytes.

        Raises:
            FormatRejected, TooLarge: nothing that could still come would make this image acceptable.

        """
        view = memoryview(data)
        if self._position < HEAD_BYTES:
            head = view[: HEAD_BYTES - self._position]
            self._take(head)
            view = view[len(head) :]
            if self._gate.format is not None:
                self._check_declared(self._gate.format)
        if view:
            self._take(view)

    def finish(self, total_bytes: int) -> Verdict:
        """Return what the image is. `total_bytes` is how many were fed. Raises FormatRejected, TooLarge."""
        verdict = self._gate.finish(total_bytes)
        self._check_declared(verdict.format)
        self._opinion.confirm(verdict)
        return verdict

    def _take(self, piece: memoryview) -> None:
        self._gate.feed(piece)
        self._opinion.feed(piece)
        self._position += len(piece)

    def _check_declared(self, found: Format) -> None:
        if self._declared is not None and self._declared is not found:
            raise FormatRejected(f"spec.format says {self._declared}, the bytes are {found}")
        if self._iso_expected and found is not Format.ISO:
            raise FormatRejected(f"spec.mediaType is ISO, the bytes are {found}")
        if not self._iso_expected and found is Format.ISO:
            raise FormatRejected("the bytes are iso, spec.mediaType is not ISO")
