"""Our strict gate: what may be stored and later meet qemu-img. An allow-list; everything else is refused.

Streaming: `feed` as bytes come, `finish` with their count. The head is judged as soon as HEAD_BYTES are there (or the
image has ended), so that an unsafe image stops a download early. The verdict and its message do not depend on how the
bytes are cut: what is decided while they go by is decided at fixed offsets.

Why a gate of our own stands before oslo.utils: named files inside an image (backing file, data file, VMDK extent or
parent) are a CVE each in every importer that listed bad things instead of good ones.
"""

from controller.errors import FormatRejected, TooLarge
from controller.media import gate_qcow2, gate_raw, gate_vmdk
from controller.media.verdict import Verdict
from controller.model.image import Format

HEAD_BYTES = 2**17
"""How much of the beginning is kept: qcow2 header and extensions, VMDK header and descriptor, ISO volume descriptor."""
TAIL_BYTES = gate_vmdk.FOOTER_BYTES
"""How much of the end is kept: the VMDK footer, and trailers of formats that hide behind raw bytes."""
MIN_BYTES = 512
"""No image is smaller than a sector, and oslo.utils recognises nothing below it."""
_ACCEPTED = "accepted are qcow2, raw, vmdk (monolithicSparse, streamOptimized) and iso"


class Gate:
    """One image of at most `max_bytes`, stored and virtual. Keeps the head, the tail and a few tables (< 5 MiB)."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._head = bytearray()
        self._tail = b""
        self._position = 0
        self._iso_volume_bytes = 0
        self._structured: gate_qcow2.Image | gate_vmdk.Image | None = None
        self.format: Format | None = None
        """What it is, once the head is judged; only `finish` says that it may pass."""

    def feed(self, data: memoryview | bytes) -> None:
        """Take the next bytes.

        Raises:
            FormatRejected, TooLarge: nothing that could still come would make this image acceptable.

        """
        view = memoryview(data)
        while view:
            if self._position == self._max_bytes:
                raise TooLarge(f"the image has more than {self._max_bytes} bytes, the limit")
            stop = HEAD_BYTES if self._position < HEAD_BYTES else self._position + len(view)
            piece = view[: min(stop, self._max_bytes) - self._position]
            self._take(piece)
            view = view[len(piece) :]

    def finish(self, total_bytes: int) -> Verdict:
        """Return what the image is. `total_bytes` is how many were fed. Raises FormatRejected, TooLarge."""
        if total_bytes != self._position:
            raise ValueError(f"fed {self._position} bytes, not {total_bytes}")
        if self._position < HEAD_BYTES:
            self._judge()
        if self._structured is not None:
            self._structured.finish(total_bytes, self._tail)
            return Verdict(self._structured.format, self._structured.virtual_size_bytes)
        gate_raw.check_tail(self._tail)
        if self.format is Format.ISO:
            if self._iso_volume_bytes > total_bytes:
                raise FormatRejected(
                    f"iso truncated: its volume has {self._iso_volume_bytes} bytes, the file {total_bytes}"
                )
            return Verdict(Format.ISO, total_bytes)
        # a guest sees whole sectors
        return Verdict(Format.RAW, -(-total_bytes // 512) * 512)

    def _take(self, piece: memoryview) -> None:
        if self._structured is not None:
            self._structured.feed(self._position, piece)
        self._tail = (
            bytes(piece[-TAIL_BYTES:]) if len(piece) >= TAIL_BYTES else (self._tail + bytes(piece))[-TAIL_BYTES:]
        )
        if self._position < HEAD_BYTES:
            self._head += piece
        self._position += len(piece)
        if self._position == HEAD_BYTES:
            self._judge()

    def _judge(self) -> None:
        """Decide what it is by its first bytes; exactly one kind must recognise itself in them."""
        head = bytes(self._head)
        self._head.clear()
        if len(head) < MIN_BYTES:
            gate_raw.check_text(head)
            raise FormatRejected(f"too small for an image: {len(head)} bytes, a sector has {MIN_BYTES}")
        found = _kinds(head)
        if len(found) > 1:
            both = " and ".join(f"{what} (offset {offset})" for offset, what in found)
            raise FormatRejected(f"ambiguous: the same bytes are {both}")
        kind = found[0][1] if found else ""
        if kind == Format.QCOW2:
            self._structured = gate_qcow2.Image(head, self._max_bytes)
        elif kind == Format.VMDK:
            self._structured = gate_vmdk.Image(head, self._max_bytes)
        elif kind == Format.ISO:
            self._iso_volume_bytes = gate_raw.iso_volume_bytes(head)
            self.format = Format.ISO
        elif found:
            raise FormatRejected(f"the bytes are {kind} (offset {found[0][0]}); {_ACCEPTED}")
        else:
            gate_raw.check_text(head)
            self.format = Format.RAW
        if self._structured is not None:
            self.format = self._structured.format
            self._structured.feed(0, memoryview(head))


def _kinds(head: bytes) -> list[tuple[int, str]]:
    """Return (offset, what) of all that the first bytes are, none for a raw disk. A hybrid ISO is an ISO."""
    found: list[tuple[int, str]] = []
    for magic, kind in ((gate_qcow2.MAGIC, Format.QCOW2), (gate_vmdk.MAGIC, Format.VMDK)):
        if head.startswith(magic):
            found.append((0, kind))
    if found and gate_raw.has_boot_signature(head):
        found.append((510, "a boot sector"))
    offset, magic, kind_of_disc = gate_raw.ISO_MARK
    if head.startswith(magic, offset):
        found.append((offset, kind_of_disc))
    return found + gate_raw.marks(head)
