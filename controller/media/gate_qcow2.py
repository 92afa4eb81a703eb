"""qcow2, the safe subset: self-contained, unencrypted, without internal snapshots or bitmaps.

Field offsets from qemu's docs/interop/qcow2.txt, big-endian:

    0 magic "QFI\\xfb"      4 version          8 backing_file_offset   16 backing_file_size   20 cluster_bits
    24 size                32 crypt_method    36 l1_size              40 l1_table_offset
    48 refcount_table_offset   56 refcount_table_clusters   60 nb_snapshots   64 snapshots_offset
    version 3: 72 incompatible_features   80 compatible   88 autoclear   96 refcount_order   100 header_length
    104 compression_type, where incompatible bit 3 is set
"""

import struct
from dataclasses import dataclass

from controller.errors import FormatRejected, TooLarge
from controller.media.verdict import MAX_VIRTUAL_BYTES

MAGIC = b"QFI\xfb"
_V2_HEADER_BYTES = 72
_V3_HEADER_BYTES = 104
_COMPRESSION_BIT = 1 << 3
_INCOMPATIBLE = {0: "dirty", 1: "corrupt", 2: "an external data file", 4: "extended L2 entries"}
_END_OF_EXTENSIONS = 0
_FEATURE_NAMES = 0x6803F857
_EXTENSIONS = {
    0xE2792ACA: "names a backing file format",
    0x44415441: "names an external data file",
    0x23852875: "holds bitmaps",
    0x0537BE77: "is encrypted (LUKS)",
}
_MAX_L1_BYTES = 32 << 20
_MAX_REFCOUNT_TABLE_BYTES = 8 << 20
MAX_L1_KEPT_BYTES = 1 << 20
"""Of an L1 table at most so much is looked at for truncation: 64 TiB at the usual cluster size."""
_L1_OFFSET_MASK = 0x00FFFFFFFFFFFE00
_L2_COMPRESSED = 1 << 62


@dataclass(frozen=True, slots=True)
class Header:
    """The fields that matter once the header is accepted."""

    virtual_size_bytes: int
    cluster_bits: int
    l1_offset: int
    l1_entries: int
    refcount_end: int

    @property
    def cluster_bytes(self) -> int:
        """Bytes in a cluster."""
        return 1 << self.cluster_bits

    def check_total(self, total_bytes: int) -> None:
        """Refuse a file that ends before its own tables do."""
        for name, end in (
            ("L1 table (offset 40)", self.l1_offset + 8 * self.l1_entries),
            ("refcount table (offset 48)", self.refcount_end),
        ):
            if end > total_bytes:
                raise FormatRejected(f"qcow2 truncated: its {name} ends at byte {end}, the file at {total_bytes}")


def parse(head: bytes, max_virtual_bytes: int) -> Header:
    """Accept a header or say which field is wrong. `head` holds the first cluster, or 128 KiB of it.

    Raises:
        FormatRejected, TooLarge (virtual size).

    """
    if len(head) < _V2_HEADER_BYTES:
        raise FormatRejected(
            f"qcow2 truncated: a header has at least {_V2_HEADER_BYTES} bytes, the file has {len(head)}"
        )
    (version, backing_offset, backing_size, cluster_bits, size, crypt, l1_size, l1_offset, refcount_offset,
     refcount_clusters, snapshots) = struct.unpack_from(">IQIIQIIQQII", head, 4)  # fmt: skip
    if version not in {2, 3}:
        raise FormatRejected(f"qcow2 version {version} (offset 4) is not 2 or 3")
    if backing_offset or backing_size:
        raise FormatRejected("qcow2 has a backing file (offset 8): an image stands for itself")
    if not 9 <= cluster_bits <= 21:
        raise FormatRejected(f"qcow2 cluster_bits {cluster_bits} (offset 20) is not within 9..21")
    if crypt:
        raise FormatRejected(f"qcow2 is encrypted: crypt_method {crypt} (offset 32)")
    if snapshots:
        raise FormatRejected(f"qcow2 has {snapshots} internal snapshots (offset 60)")
    _check_size(size, max_virtual_bytes)
    header = Header(
        virtual_size_bytes=size,
        cluster_bits=cluster_bits,
        l1_offset=l1_offset,
        l1_entries=l1_size,
        refcount_end=refcount_offset + (refcount_clusters << cluster_bits),
    )
    _check_tables(header, refcount_offset, refcount_clusters)
    extensions = _V2_HEADER_BYTES if version == 2 else _check_v3(head, cluster_bits)
    _check_extensions(head, extensions, min(header.cluster_bytes, len(head)))
    return header


def _check_size(size: int, max_virtual_bytes: int) -> None:
    if size == 0:
        raise FormatRejected("qcow2 virtual size (offset 24) is 0")
    limit = min(max_virtual_bytes, MAX_VIRTUAL_BYTES)
    if size > limit:
        raise TooLarge(f"qcow2 virtual size is {size} bytes (offset 24), {limit} are allowed")


def _check_tables(header: Header, refcount_offset: int, refcount_clusters: int) -> None:
    cluster = header.cluster_bytes
    covered = header.l1_entries * (cluster // 8) * cluster
    if header.l1_entries * 8 > _MAX_L1_BYTES or covered < header.virtual_size_bytes:
        raise FormatRejected(f"qcow2 l1_size {header.l1_entries} (offset 36) does not fit the virtual size")
    if header.l1_offset % cluster or header.l1_offset < cluster:
        raise FormatRejected(f"qcow2 l1_table_offset {header.l1_offset} (offset 40) is not the start of a cluster")
    if refcount_offset % cluster or refcount_offset < cluster:
        raise FormatRejected(f"qcow2 refcount_table_offset {refcount_offset} (offset 48) is not the start of a cluster")
    if not 0 < refcount_clusters <= max(_MAX_REFCOUNT_TABLE_BYTES // cluster, 1):
        raise FormatRejected(f"qcow2 refcount_table_clusters {refcount_clusters} (offset 56) is out of bounds")


def _check_v3(head: bytes, cluster_bits: int) -> int:
    """Check the fields of version 3; return where the extensions start."""
    if len(head) < _V3_HEADER_BYTES:
        raise FormatRejected(
            f"qcow2 truncated: a version 3 header has {_V3_HEADER_BYTES} bytes, the file has {len(head)}"
        )
    incompatible, refcount_order, header_length = struct.unpack_from(">Q16xII", head, 72)
    for bit, what in _INCOMPATIBLE.items():
        if incompatible >> bit & 1:
            raise FormatRejected(f"qcow2 feature bit {bit} (offset 72) is set: {what}")
    if incompatible & ~_COMPRESSION_BIT:
        raise FormatRejected(f"qcow2 has unknown incompatible features {incompatible:#x} (offset 72)")
    if refcount_order > 6:
        raise FormatRejected(f"qcow2 refcount_order {refcount_order} (offset 96) is above 6")
    if header_length % 8 or not _V3_HEADER_BYTES <= header_length <= min(1 << cluster_bits, len(head)):
        raise FormatRejected(f"qcow2 header_length {header_length} (offset 100) is out of bounds")
    compression = head[104] if header_length > _V3_HEADER_BYTES else 0
    if compression != (1 if incompatible & _COMPRESSION_BIT else 0):
        raise FormatRejected(f"qcow2 compression_type {compression} (offset 104) does not fit feature bit 3")
    return int(header_length)


def _check_extensions(head: bytes, start: int, end: int) -> None:
    position = start
    while position + 8 <= end:
        kind, length = struct.unpack_from(">II", head, position)
        if kind == _END_OF_EXTENSIONS:
            return
        if kind != _FEATURE_NAMES:
            what = _EXTENSIONS.get(kind, "is unknown")
            raise FormatRejected(f"qcow2 header extension {kind:#010x} (offset {position}) {what}")
        position += 8 + (length + 7) // 8 * 8
    if position > end:
        raise FormatRejected(f"qcow2 header extensions run past byte {end}, the end of the first cluster")


def l2_offsets(l1: bytes) -> list[int]:
    """Return the offsets of the L2 tables that an L1 table names, sorted."""
    entries = struct.unpack(f">{len(l1) // 8}Q", l1[: len(l1) // 8 * 8])
    return sorted({entry & _L1_OFFSET_MASK for entry in entries} - {0})


def furthest(l2: bytes, cluster_bits: int) -> int:
    """Return the offset behind the last host byte that an L2 table names for sure, 0 where it names none.

    A compressed cluster counts with its first byte: its length is rounded up to sectors and may pass the end.
    """
    shift = 62 - (cluster_bits - 8)
    end = 0
    for entry in struct.unpack(f">{len(l2) // 8}Q", l2[: len(l2) // 8 * 8]):
        if entry & _L2_COMPRESSED:
            end = max(end, (entry & ((1 << shift) - 1)) + 1)
        elif entry & _L1_OFFSET_MASK:
            end = max(end, (entry & _L1_OFFSET_MASK) + 1)
    return end
