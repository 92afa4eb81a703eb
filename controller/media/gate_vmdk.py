"""VMDK, the safe subset: one file that holds everything (monolithicSparse, streamOptimized), with an exact descriptor.

Header from VMware's "Virtual Disk Format 5.0", little-endian:

    0 magic "KDMV"   4 version   8 flags   12 capacity (sectors)   20 grainSize   28 descriptorOffset (sectors)
    36 descriptorSize (sectors)   44 numGTEsPerGT   48 rgdOffset   56 gdOffset   64 overHead   72 uncleanShutdown
    73 "\\n"  74 " "  75 "\\r"  76 "\\n"   77 compressAlgorithm
"""

import re
import struct
from dataclasses import dataclass

from controller.errors import FormatRejected, TooLarge
from controller.media.verdict import MAX_VIRTUAL_BYTES

MAGIC = b"KDMV"
SECTOR = 512
FOOTER_BYTES = 3 * SECTOR
"""Footer marker, footer, end-of-stream marker: what the file ends with where the grain directory is at the end."""
_GD_AT_END = 0xFFFFFFFFFFFFFFFF
_MAX_DESCRIPTOR_SECTORS = 128
_CREATE_TYPES = {"monolithicSparse", "streamOptimized"}
_KEY = re.compile(r'([A-Za-z][\w.]*)\s*=\s*"?([^"]*)"?\Z', re.ASCII)
_EXTENT = re.compile(r'RW (\d+) SPARSE "([^"/\\:]+)"\Z', re.ASCII)
_HARMLESS = {"version", "encoding", "CID", "isNativeSnapshot"}


@dataclass(frozen=True, slots=True)
class Header:
    """The fields that matter once the header is accepted."""

    virtual_size_bytes: int
    footer: bool
    raw: bytes
    """The header's own 512 bytes; a footer must repeat them but for gdOffset."""
    metadata_end: int
    """Where the tables that the header names end, in bytes."""

    def check_tail(self, tail: bytes, total_bytes: int) -> None:
        """Refuse a file that ends too early, or whose footer says something else than its header."""
        if self.metadata_end > total_bytes:
            raise FormatRejected(
                f"vmdk truncated: its tables end at byte {self.metadata_end}, the file at {total_bytes}"
            )
        if not self.footer:
            return
        if total_bytes < FOOTER_BYTES + SECTOR or len(tail) < FOOTER_BYTES:
            raise FormatRejected("vmdk truncated: the footer is missing")
        footer = tail[-2 * SECTOR : -SECTOR]
        same = footer[:56] == self.raw[:56] and footer[64:] == self.raw[64:]
        if not same:
            raise FormatRejected(
                f"vmdk footer (offset {total_bytes - 2 * SECTOR}) is missing or differs from the header"
            )
        (directory,) = struct.unpack_from("<Q", footer, 56)
        if directory in {0, _GD_AT_END} or directory * SECTOR >= total_bytes:
            raise FormatRejected(f"vmdk footer names no grain directory (offset {total_bytes - 2 * SECTOR + 56})")


def parse(head: bytes, max_virtual_bytes: int) -> Header:
    """Accept header and embedded descriptor, or say which field or line is wrong.

    Raises:
        FormatRejected, TooLarge (virtual size).

    """
    if len(head) < SECTOR:
        raise FormatRejected(f"vmdk truncated: a header has {SECTOR} bytes, the file has {len(head)}")
    version, flags, capacity, grain, offset, size, entries, _, directory = struct.unpack_from("<IIQQQQIQQ", head, 4)
    if version not in {1, 2, 3}:
        raise FormatRejected(f"vmdk version {version} (offset 4) is not 1, 2 or 3")
    if capacity == 0:
        raise FormatRejected("vmdk capacity (offset 12) is 0")
    limit = min(max_virtual_bytes, MAX_VIRTUAL_BYTES)
    if capacity * SECTOR > limit:
        raise TooLarge(f"vmdk virtual size is {capacity * SECTOR} bytes (offset 12), {limit} are allowed")
    if grain not in {1 << power for power in range(3, 12)}:
        raise FormatRejected(f"vmdk grainSize {grain} (offset 20) is not a power of two within 8..2048")
    if entries != 512:
        raise FormatRejected(f"vmdk numGTEsPerGT {entries} (offset 44) is not 512")
    if head[73:77] != b"\n \r\n":
        raise FormatRejected("vmdk line end markers (offset 73) are damaged: it went through a text transfer")
    if offset < 1 or not 1 <= size <= _MAX_DESCRIPTOR_SECTORS:
        raise FormatRejected(f"vmdk has no embedded descriptor of a sane size (offsets 28, 36: {offset}, {size})")
    end = (offset + size) * SECTOR
    if end > len(head):
        raise FormatRejected(f"vmdk descriptor ends at byte {end}, beyond what is read of a header ({len(head)} bytes)")
    create_type = _check_descriptor(head[offset * SECTOR : end], capacity)
    at_end = directory == _GD_AT_END
    compressed = bool(flags & 1 << 16)
    if (create_type == "streamOptimized") != compressed:
        raise FormatRejected(f"vmdk createType {create_type} does not fit its flags {flags:#x} (offset 8)")
    tables = -(-capacity // (grain * entries))
    metadata_end = 0 if at_end else directory * SECTOR + 4 * tables
    return Header(capacity * SECTOR, at_end, head[:SECTOR], metadata_end)


def _check_descriptor(area: bytes, capacity: int) -> str:
    """Check every line; return createType. What is not known to be harmless is refused, whatever its case."""
    text = area.split(b"\0", 1)[0]
    if area.strip(b"\0")[len(text) :]:
        raise FormatRejected("vmdk descriptor goes on behind a NUL byte")
    try:
        lines = [line.strip() for line in text.decode("ascii").splitlines()]
    except UnicodeDecodeError as exc:
        raise FormatRejected(f"vmdk descriptor has a byte that is not ASCII at {exc.start}") from exc
    if not lines or lines[0] != "# Disk DescriptorFile":
        raise FormatRejected("vmdk descriptor does not start with '# Disk DescriptorFile'")
    keys: dict[str, str] = {}
    extents = 0
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        if (extent := _EXTENT.match(line)) is not None:
            extents += 1
            if int(extent[1]) != capacity:
                raise FormatRejected(f"vmdk descriptor line {number}: the extent is not the header's capacity")
        elif (pair := _KEY.match(line)) is not None:
            _check_key(pair[1], pair[2], number, keys)
        else:
            raise FormatRejected(f"vmdk descriptor line {number} is not allowed: {line[:80]!r}")
    if extents != 1:
        raise FormatRejected(f"vmdk descriptor has {extents} sparse extents in this file, not 1")
    if keys.get("parentCID") != "ffffffff":
        raise FormatRejected("vmdk has a parent (parentCID is not ffffffff): an image stands for itself")
    create_type = keys.get("createType", "")
    if create_type not in _CREATE_TYPES:
        raise FormatRejected(f"vmdk createType {create_type[:40]!r} is not one of {', '.join(sorted(_CREATE_TYPES))}")
    return create_type


def _check_key(key: str, value: str, number: int, keys: dict[str, str]) -> None:
    if key in keys and not key.startswith("ddb."):
        raise FormatRejected(f"vmdk descriptor line {number}: {key} stands twice")
    if key not in _HARMLESS | {"parentCID", "createType"} and not key.startswith("ddb."):
        raise FormatRejected(f"vmdk descriptor line {number}: {key[:40]} is not allowed")
    keys[key] = value
