"""Our strict gate: what may be stored and later meet qemu-img. An allow-list; everything else is refused.

Streaming: `feed` as bytes come, `finish` with their count. The head is judged as soon as HEAD_BYTES are there (or the
image has ended), so that an unsafe image stops a download early; the verdict does not depend on how the bytes are cut.
Why a gate of our own stands before oslo.utils: named files inside an image (backing file, data file, VMDK extent or
parent) are a CVE each in every importer that listed bad things instead of good ones.
"""

import struct
from dataclasses import dataclass, field

from controller.errors import FormatRejected, TooLarge
from controller.media import decompress, gate_qcow2, gate_vmdk
from controller.media.verdict import Verdict
from controller.model.image import Format

HEAD_BYTES = 128 << 10
"""How much of the beginning is looked at: qcow2 header, VMDK descriptor, ISO volume descriptors."""
TAIL_BYTES = gate_vmdk.FOOTER_BYTES
"""How much of the end is looked at: the VMDK footer, and trailers of formats that hide behind raw bytes."""
SECTOR = 512
_ISO_START = 16 * 2048
_ISO_SECTOR = 2048
_MAX_ISO_DESCRIPTORS = 32
_MAX_L2_TABLES = 1 << 16
"""L2 tables looked at for truncation: 32 TiB at the usual cluster size."""

# Offset 0 magics of formats that are not accepted but that qemu-img, or a person, would take for more than raw bytes.
_FOREIGN = {
    b"QED\0": "QED",
    b"COWD": "VMDK (COWD)",
    b"vhdxfile": "VHDX",
    b"conectix": "VHD",
    b"cxsparse": "VHD",
    b"WithoutFreeSpace": "Parallels",
    b"WithouFreSpacExt": "Parallels",
    b"Bochs Virtual HD Image": "Bochs",
    b"LUKS\xba\xbe": "LUKS",
    b"#!/bin/sh\n#V2.0 Format": "cloop",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "RAR",
    b"\x5d\x00\x00": "lzma",
    b"\x04\x22\x4d\x18": "lz4",
    b"%PDF-": "PDF",
    b"\x7fELF": "ELF",
    b"MSWIM\0\0\0": "WIM",
    b"hsqs": "squashfs",
}
_VDI_SIGNATURE = b"\x7f\x10\xda\xbe"  # at 0x40
_TAR_SIGNATURE = b"ustar"  # at 257
_TRAILERS = {b"conectix": "VHD", b"koly": "DMG"}
_TEXT = bytes(range(0x20, 0x7F)) + b"\t\r\n\f" + bytes(range(0x80, 0x100))
_MIN_TEXT_BYTES = 16


@dataclass(slots=True)
class _Window:
    """A piece of the stream that is wanted whole."""

    start: int
    length: int
    data: bytearray = field(default_factory=bytearray)

    def take(self, position: int, data: memoryview) -> None:
        """Take what of `data`, which lies at `position`, falls inside; pieces come in order."""
        begin = self.start + len(self.data) - position
        if 0 <= begin < len(data):
            self.data += data[begin : begin + self.length - len(self.data)]

    @property
    def full(self) -> bool:
        return len(self.data) == self.length


class Gate:
    """One image. Memory: the head, the tail and one table of at most 2 MiB at a time."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._head = bytearray()
        self._tail = b""
        self._position = 0
        self._format: Format | None = None
        self._qcow2: gate_qcow2.Header | None = None
        self._vmdk: gate_vmdk.Header | None = None
        self._iso_bytes = 0
        self._l1: _Window | None = None
        self._l2: list[_Window] = []
        self._furthest = 0

    def feed(self, data: memoryview | bytes) -> None:
        """Take the next bytes.

        Raises:
            FormatRejected, TooLarge: nothing that could still come would make this image acceptable.

        """
        view = memoryview(data)
        if self._position + len(view) > self._max_bytes:
            raise TooLarge(f"the image has more than {self._max_bytes} bytes, the limit")
        if len(self._head) < HEAD_BYTES:
            self._head += view[: HEAD_BYTES - len(self._head)]
        self._tail = bytes(view[-TAIL_BYTES:]) if len(view) >= TAIL_BYTES else (self._tail + bytes(view))[-TAIL_BYTES:]
        if self._format is None and len(self._head) == HEAD_BYTES:
            self._judge()
            self._watch(0, memoryview(bytes(self._head)))
            beyond = self._position + len(view) - HEAD_BYTES
            if beyond:
                self._watch(HEAD_BYTES, view[len(view) - beyond :])
        elif self._format is not None:
            self._watch(self._position, view)
        self._position += len(view)

    def finish(self, total_bytes: int) -> Verdict:
        """Return what the image is. `total_bytes` must be what was fed. Raises FormatRejected, TooLarge."""
        if total_bytes != self._position:
            raise ValueError(f"fed {self._position} bytes, not {total_bytes}")
        if self._format is None:
            self._judge()
            self._watch(0, memoryview(bytes(self._head)))
        match self._format:
            case Format.QCOW2 if self._qcow2 is not None:
                self._qcow2.check_total(total_bytes)
                self._check_clusters(total_bytes)
                return Verdict(Format.QCOW2, self._qcow2.virtual_size_bytes)
            case Format.VMDK if self._vmdk is not None:
                self._vmdk.check_tail(self._tail, total_bytes)
                return Verdict(Format.VMDK, self._vmdk.virtual_size_bytes)
            case Format.ISO:
                if self._iso_bytes > total_bytes:
                    raise FormatRejected(
                        f"iso truncated: its volume has {self._iso_bytes} bytes, the file {total_bytes}"
                    )
        self._check_trailer(total_bytes)
        assert self._format is not None  # noqa: S101 - _judge sets it or raises
        size = total_bytes if self._format is Format.ISO else -(-total_bytes // SECTOR) * SECTOR
        return Verdict(self._format, size)

    # --- the head -------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        head = bytes(self._head)
        iso_bytes = _iso_volume_bytes(head)
        for magic, found in ((gate_qcow2.MAGIC, Format.QCOW2), (gate_vmdk.MAGIC, Format.VMDK)):
            if head.startswith(magic):
                if iso_bytes is not None:
                    raise FormatRejected(
                        f"ambiguous: {found} at offset 0 and an ISO 9660 volume at offset {_ISO_START}"
                    )
                self._format = found
        if self._format is Format.QCOW2:
            self._qcow2 = gate_qcow2.parse(head, self._max_bytes)
            length = min(8 * self._qcow2.l1_entries, gate_qcow2.MAX_L1_KEPT_BYTES)
            self._l1 = _Window(self._qcow2.l1_offset, length)
        elif self._format is Format.VMDK:
            self._vmdk = gate_vmdk.parse(head, self._max_bytes)
        else:
            _refuse_foreign(head)
            self._format = Format.RAW if iso_bytes is None else Format.ISO
            self._iso_bytes = iso_bytes or 0

    # --- qcow2 truncation: what the tables name must be there ------------------------------------------------------

    def _watch(self, position: int, data: memoryview) -> None:
        if self._qcow2 is None:
            return
        if self._l1 is not None:
            self._l1.take(position, data)
            if not self._l1.full:
                return
            cluster = self._qcow2.cluster_bytes
            offsets = gate_qcow2.l2_offsets(bytes(self._l1.data))[:_MAX_L2_TABLES]
            self._furthest = offsets[-1] + cluster if offsets else 0
            self._l2 = [_Window(offset, cluster) for offset in reversed(offsets) if offset >= position]
            self._l1 = None
        while self._l2:
            window = self._l2[-1]
            window.take(position, data)
            if not window.full:
                return
            self._furthest = max(self._furthest, gate_qcow2.furthest(bytes(window.data), self._qcow2.cluster_bits))
            self._l2.pop()

    def _check_clusters(self, total_bytes: int) -> None:
        if self._furthest > total_bytes:
            raise FormatRejected(f"qcow2 truncated: it refers to byte {self._furthest}, the file ends at {total_bytes}")

    # --- the tail -------------------------------------------------------------------------------------------------

    def _check_trailer(self, total_bytes: int) -> None:
        if total_bytes < SECTOR:
            raise FormatRejected(f"too small for an image: {total_bytes} bytes")
        for magic, name in _TRAILERS.items():
            # a fixed VHD's footer has 511 bytes where old tools made it
            if magic in {self._tail[-SECTOR:][: len(magic)], self._tail[-SECTOR + 1 :][: len(magic)]}:
                raise FormatRejected(f"the last {SECTOR} bytes are a {name} trailer; {name} is not accepted")


def _iso_volume_bytes(head: bytes) -> int | None:
    """Return the size that an ISO 9660 volume says it has (ECMA-119, 8.4), None where there is no such volume."""
    found = None
    for number in range(_MAX_ISO_DESCRIPTORS):
        sector = head[_ISO_START + number * _ISO_SECTOR :][:_ISO_SECTOR]
        if len(sector) < _ISO_SECTOR or sector[1:6] != b"CD001":
            break
        if sector[0] == 1 and found is None:  # primary volume descriptor
            blocks, block_bytes = struct.unpack_from("<I", sector, 80)[0], struct.unpack_from("<H", sector, 128)[0]
            if block_bytes != _ISO_SECTOR:
                raise FormatRejected(f"iso block size {block_bytes} (offset {_ISO_START + 128}) is not {_ISO_SECTOR}")
            found = blocks * block_bytes
            if found == 0:
                raise FormatRejected(f"iso volume size (offset {_ISO_START + 80}) is 0")
        if sector[0] == 255:
            break
    return found


def _refuse_foreign(head: bytes) -> None:
    for magic, name in _FOREIGN.items():
        if head.startswith(magic):
            raise FormatRejected(f"the bytes are {name}; accepted are qcow2, raw, vmdk and iso")
    if (compression := decompress.sniff(head)) is not None:
        raise FormatRejected(f"the bytes are {compression} where an image is expected")
    if head[0x40:0x44] == _VDI_SIGNATURE:
        raise FormatRejected("the bytes are VDI (offset 0x40); accepted are qcow2, raw, vmdk and iso")
    if head[257:262] == _TAR_SIGNATURE:
        raise FormatRejected("the bytes are a tar archive (offset 257); accepted are qcow2, raw, vmdk and iso")
    start = head[:SECTOR].rstrip(b"\0")
    if len(start) >= _MIN_TEXT_BYTES and not start.translate(None, _TEXT):
        shown = start[:60].decode("ascii", "replace")
        raise FormatRejected(f"not an image: the first bytes are text: {shown!r}")
