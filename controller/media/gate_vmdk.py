"""VMDK, the safe subset: one file that holds everything (monolithicSparse, streamOptimized), with an exact descriptor.

Header from VMware's "Virtual Disk Format 5.0", little-endian:

    0 magic "KDMV"   4 version   8 flags   12 capacity (sectors)   20 grainSize   28 descriptorOffset (sectors)
    36 descriptorSize (sectors)   44 numGTEsPerGT   48 rgdOffset   56 gdOffset   64 overHead   72 uncleanShutdown
    73 "\\n"  74 " "  75 "\\r"  76 "\\n"   77 compressAlgorithm

With gdOffset -1 the file ends with a marker, a footer (the header again, with the real gdOffset), a marker.
"""

import struct

from controller.errors import FormatRejected, TooLarge
from controller.media import gate_vmdk_text
from controller.media.gate_tables import TableWatch
from controller.media.verdict import MAX_VIRTUAL_BYTES
from controller.model.image import Format

MAGIC = b"KDMV"
FOOTER_BYTES = 3 * 512
_SECTOR = 512
_HEADER_BYTES = 79
_GD_AT_END = 2**64 - 1
_FLAGS = 0x30007
"""1 newline test, 2 second grain directory, 4 zero grains, 0x10000 compressed, 0x20000 markers."""
_STREAM_FLAGS = 0x30000
_SECOND_DIRECTORY = 2
_MAX_DESCRIPTOR_SECTORS = 128
_GTES_PER_TABLE = 512
_FOOTER_MARKER = struct.pack("<QII", 1, 0, 3).ljust(_SECTOR, b"\0")
_END_MARKER = bytes(_SECTOR)


class Image:
    """An accepted header and descriptor, and what the tables behind them say as they go by."""

    format = Format.VMDK

    def __init__(self, head: bytes, max_bytes: int) -> None:
        """Take the first 128 KiB, or a whole smaller file of at least 512 bytes. Raises FormatRejected, TooLarge."""
        (version, self._flags, self._capacity, self._grain, offset, size, entries, second_directory, directory,
         overhead, _, line_ends, algorithm) = struct.unpack_from("<IIQQQQIQQQB4sH", head, 4)  # fmt: skip
        self._header = head[:_HEADER_BYTES]
        if version not in {1, 2, 3}:
            raise FormatRejected(f"vmdk version {version} (offset 4) is not 1, 2 or 3")
        if self._flags & ~_FLAGS:
            raise FormatRejected(f"vmdk has unknown flags {self._flags:#x} (offset 8)")
        self._check_size(min(max_bytes, MAX_VIRTUAL_BYTES))
        if self._grain not in {1 << power for power in range(3, 12)}:
            raise FormatRejected(f"vmdk grainSize {self._grain} (offset 20) is not a power of two within 8..2048")
        if offset != 1 or not 1 <= size <= _MAX_DESCRIPTOR_SECTORS:
            raise FormatRejected(
                f"vmdk descriptor at sector {offset} (offset 28) of {size} sectors (offset 36): "
                f"not at 1, of 1..{_MAX_DESCRIPTOR_SECTORS}"
            )
        if entries != _GTES_PER_TABLE:
            raise FormatRejected(f"vmdk numGTEsPerGT {entries} (offset 44) is not {_GTES_PER_TABLE}")
        if line_ends != b"\n \r\n":
            raise FormatRejected("vmdk line end bytes (offset 73) are damaged, as a transfer as text does it")
        self._check_descriptor(head, size, algorithm)
        self._at_end = directory == _GD_AT_END
        self._reach = max(overhead, 1 + size, second_directory * bool(self._flags & _SECOND_DIRECTORY)) * _SECTOR
        self._tables = None if self._at_end else self._watch(directory)

    def feed(self, position: int, data: memoryview) -> None:
        """Look at the tables. Raises FormatRejected."""
        if self._tables is not None:
            self._tables.feed(position, data)

    def finish(self, total_bytes: int, tail: bytes) -> None:
        """Refuse a file that ends too early, or whose footer differs from its header. `tail`: the last FOOTER_BYTES."""
        reach = self._reach if self._tables is None else max(self._reach, self._tables.must_reach)
        if reach > total_bytes:
            raise FormatRejected(f"vmdk truncated: its tables reach to byte {reach}, the file has {total_bytes}")
        if self._at_end:
            self._check_footer(total_bytes, tail)

    # --- the header -------------------------------------------------------------------------------------------------

    def _check_size(self, limit: int) -> None:
        self.virtual_size_bytes = self._capacity * _SECTOR
        if self._capacity == 0:
            # qemu-img then believes the descriptor, which may name any file
            raise FormatRejected("vmdk capacity (offset 12) is 0")
        if self.virtual_size_bytes > limit:
            raise TooLarge(f"vmdk virtual size is {self.virtual_size_bytes} bytes (offset 12), {limit} are allowed")

    def _check_descriptor(self, head: bytes, sectors: int, algorithm: int) -> None:
        end = (1 + sectors) * _SECTOR
        if end > len(head):
            raise FormatRejected(f"vmdk truncated: its descriptor ends at byte {end}, the file has {len(head)}")
        descriptor = gate_vmdk_text.parse(head[_SECTOR:end])
        compressed = self._flags & _STREAM_FLAGS == _STREAM_FLAGS and algorithm == 1
        plain = self._flags & _STREAM_FLAGS == 0 and algorithm == 0
        if not (compressed if descriptor.stream_optimized else plain):
            raise FormatRejected(
                f"vmdk flags {self._flags:#x} (offset 8) and compressAlgorithm {algorithm} (offset 77) "
                "do not fit the createType of the descriptor"
            )
        # the capacity may be rounded up to whole grains
        if not 0 <= self._capacity - descriptor.extent_sectors < self._grain:
            raise FormatRejected(
                f"vmdk capacity {self._capacity} (offset 12) is not the {descriptor.extent_sectors} sectors "
                "of the extent in the descriptor"
            )

    def _watch(self, directory: int) -> TableWatch:
        if not 1 < directory <= MAX_VIRTUAL_BYTES // _SECTOR:
            raise FormatRejected(f"vmdk gdOffset {directory} (offset 56) is out of bounds")
        tables = -(-self._capacity // (self._grain * _GTES_PER_TABLE))
        return TableWatch(
            directory * _SECTOR,
            tables * 4,
            pointers=_table_offsets,
            second_bytes=_GTES_PER_TABLE * 4,
            reach=_reach,
        )

    def _check_footer(self, total_bytes: int, tail: bytes) -> None:
        where = total_bytes - 2 * _SECTOR
        footer = tail[_SECTOR : 2 * _SECTOR]
        if len(tail) < FOOTER_BYTES or not footer.startswith(MAGIC):
            raise FormatRejected(f"vmdk truncated: no footer 1024 bytes before the end (offset {where})")
        if tail[8:_SECTOR] != _FOOTER_MARKER[8:] or tail[-_SECTOR:] != _END_MARKER:
            raise FormatRejected(f"vmdk footer (offset {where}) does not stand between its markers")
        (directory,) = struct.unpack_from("<Q", footer, 56)
        if (footer[:56], footer[64:_HEADER_BYTES]) != (self._header[:56], self._header[64:]):
            raise FormatRejected(f"vmdk footer (offset {where}) differs from the header")
        if not 1 < directory < total_bytes // _SECTOR:
            raise FormatRejected(f"vmdk gdOffset {directory} of the footer (offset {where + 56}) is out of bounds")


def _table_offsets(directory: bytes) -> list[int]:
    offsets: set[int] = set()
    for number, (entry,) in enumerate(struct.iter_unpack("<I", directory)):
        if entry in offsets:
            raise FormatRejected(f"vmdk grain directory entry {number} ({entry}) names a grain table for a second time")
        if entry:
            offsets.add(entry)
    return [entry * _SECTOR for entry in offsets]


def _reach(table: bytes) -> int:
    # 0: not allocated, 1: zeros
    farthest = max(struct.unpack(f"<{_GTES_PER_TABLE}I", table))
    return int(farthest) * _SECTOR + 1 if farthest > 1 else 0
