"""qcow2, the safe subset: one file, unencrypted, closed cleanly, no backing file, snapshots, bitmaps, unknown features.

Field offsets from qemu's docs/interop/qcow2.txt, big-endian:

    0 magic "QFI\\xfb"      4 version          8 backing_file_offset   16 backing_file_size   20 cluster_bits
    24 size                32 crypt_method    36 l1_size              40 l1_table_offset
    48 refcount_table_offset   56 refcount_table_clusters   60 nb_snapshots   64 snapshots_offset
    version 3: 72 incompatible_features   80 compatible   88 autoclear   96 refcount_order   100 header_length
    104 compression_type, where incompatible bit 3 is set

extended_l2 (incompatible bit 4) is legitimate but refused: images for distribution do not have it (it serves thin
snapshots), oslo.utils refuses it, and readers other than qemu do not know it.
"""

import struct

from controller.errors import FormatRejected, TooLarge
from controller.media.gate_tables import TableWatch
from controller.media.verdict import MAX_VIRTUAL_BYTES
from controller.model.image import Format

MAGIC = b"QFI\xfb"
_V2_HEADER_BYTES = 72
_V3_HEADER_BYTES = 104
_MAX_L1_BYTES = 32 * 2**20
_MAX_REFCOUNT_TABLE_BYTES = 8 * 2**20
"""Both as qemu has them (QCOW_MAX_L1_SIZE, QCOW_MAX_REFTABLE_SIZE)."""
_COMPRESSION_BIT = 1 << 3
_INCOMPATIBLE = {
    0: "it was not closed cleanly (dirty)",
    1: "it is marked corrupt",
    2: "it has an external data file",
    4: "it has extended L2 entries",
}
_LAZY_REFCOUNTS = 1
_END_OF_EXTENSIONS = 0
_FEATURE_NAMES = 0x6803F857
_EXTENSIONS = {
    0xE2792ACA: "names a backing file format",
    0x44415441: "names an external data file",
    0x23852875: "holds bitmaps",
    0x0537BE77: "is an encryption header (LUKS)",
}
_OFFSET_MASK = 0x00FFFFFFFFFFFE00
_L2_COMPRESSED = 1 << 62
_L2_ZERO = 1


class Image:
    """An accepted header, and what the tables behind it say as they go by."""

    format = Format.QCOW2

    def __init__(self, head: bytes, max_bytes: int) -> None:
        """Take the first cluster, or 128 KiB of it; at least 512 bytes. Raises FormatRejected, TooLarge."""
        (self._version, backing_offset, backing_bytes, self._cluster_bits, size, crypt, self._l1_entries, l1_offset,
         refcount_offset, refcount_clusters, snapshots, snapshots_offset
         ) = struct.unpack_from(">IQIIQIIQQIIQ", head, 4)  # fmt: skip
        if self._version not in {2, 3}:
            raise FormatRejected(f"qcow2 version {self._version} (offset 4) is not 2 or 3")
        if backing_offset or backing_bytes:
            raise FormatRejected("qcow2 has a backing file (offset 8): an image stands for itself")
        if not 9 <= self._cluster_bits <= 21:
            raise FormatRejected(f"qcow2 cluster_bits {self._cluster_bits} (offset 20) is not within 9..21")
        if crypt:
            raise FormatRejected(f"qcow2 is encrypted: crypt_method {crypt} (offset 32)")
        if snapshots:
            raise FormatRejected(f"qcow2 has {snapshots} internal snapshots (offset 60)")
        self.virtual_size_bytes = size
        self._cluster_bytes = 1 << self._cluster_bits
        self._check_size(min(max_bytes, MAX_VIRTUAL_BYTES))
        self._check_tables(l1_offset, refcount_offset, refcount_clusters)
        if snapshots_offset % self._cluster_bytes or snapshots_offset > _OFFSET_MASK:
            # qemu-img looks at it even where there are none
            raise FormatRejected(f"qcow2 snapshots_offset {snapshots_offset} (offset 64) is not the start of a cluster")
        extensions = _V2_HEADER_BYTES if self._version == 2 else self._check_v3(head)
        _check_extensions(head, extensions, self._cluster_bytes)
        self._refcount_table_end = refcount_offset + refcount_clusters * self._cluster_bytes
        self._tables = TableWatch(
            l1_offset,
            self._l1_entries * 8,
            pointers=self._l2_offsets,
            second_bytes=self._cluster_bytes,
            reach=self._reach,
        )

    def feed(self, position: int, data: memoryview) -> None:
        """Look at the tables. Raises FormatRejected."""
        self._tables.feed(position, data)

    def finish(self, total_bytes: int, tail: bytes) -> None:
        """Refuse a file that ends before what its header and tables name. Raises FormatRejected."""
        del tail
        reach = max(self._tables.must_reach, self._refcount_table_end)
        if reach > total_bytes:
            raise FormatRejected(f"qcow2 truncated: its tables reach to byte {reach}, the file has {total_bytes}")

    # --- the header -------------------------------------------------------------------------------------------------

    def _check_size(self, limit: int) -> None:
        size = self.virtual_size_bytes
        if size == 0 or size % 512:
            raise FormatRejected(f"qcow2 virtual size {size} (offset 24) is not a positive number of sectors")
        if size > limit:
            raise TooLarge(f"qcow2 virtual size is {size} bytes (offset 24), {limit} are allowed")

    def _check_tables(self, l1_offset: int, refcount_offset: int, refcount_clusters: int) -> None:
        needed = -(-self.virtual_size_bytes // (self._cluster_bytes * (self._cluster_bytes // 8)))
        if not needed <= self._l1_entries <= _MAX_L1_BYTES // 8:
            raise FormatRejected(
                f"qcow2 l1_size {self._l1_entries} (offset 36) is not within {needed}..{_MAX_L1_BYTES // 8}"
            )
        for name, where, offset in (("l1", 40, l1_offset), ("refcount", 48, refcount_offset)):
            if offset % self._cluster_bytes or not self._cluster_bytes <= offset <= _OFFSET_MASK:
                raise FormatRejected(
                    f"qcow2 {name}_table_offset {offset} (offset {where}) is not the start of a later cluster"
                )
        limit = max(1, _MAX_REFCOUNT_TABLE_BYTES // self._cluster_bytes)
        if not 1 <= refcount_clusters <= limit:
            raise FormatRejected(
                f"qcow2 refcount_table_clusters {refcount_clusters} (offset 56) is not within 1..{limit}"
            )

    def _check_v3(self, head: bytes) -> int:
        """Check the fields of version 3; return where the extensions start."""
        incompatible, compatible, autoclear, refcount_order, header_bytes = struct.unpack_from(">QQQII", head, 72)
        for bit, what in _INCOMPATIBLE.items():
            if incompatible >> bit & 1:
                raise FormatRejected(f"qcow2 incompatible feature {bit} (offset 72) is set: {what}")
        if incompatible & ~_COMPRESSION_BIT:
            raise FormatRejected(f"qcow2 has unknown incompatible features {incompatible:#x} (offset 72)")
        if compatible & ~_LAZY_REFCOUNTS:
            raise FormatRejected(f"qcow2 has unknown compatible features {compatible:#x} (offset 80)")
        if autoclear:
            raise FormatRejected(f"qcow2 has bitmaps, raw external data or unknown features {autoclear:#x} (offset 88)")
        if refcount_order > 6:
            raise FormatRejected(f"qcow2 refcount_order {refcount_order} (offset 96) is above 6")
        if header_bytes % 8 or not _V3_HEADER_BYTES <= header_bytes <= min(self._cluster_bytes, len(head)):
            raise FormatRejected(f"qcow2 header_length {header_bytes} (offset 100) is out of bounds")
        compression = head[104] if header_bytes > _V3_HEADER_BYTES else 0
        if compression != (1 if incompatible & _COMPRESSION_BIT else 0):
            raise FormatRejected(f"qcow2 compression_type {compression} (offset 104) does not fit feature bit 3")
        return int(header_bytes)

    # --- the tables -------------------------------------------------------------------------------------------------

    def _l2_offsets(self, l1: bytes) -> list[int]:
        offsets: set[int] = set()
        for number, (entry,) in enumerate(struct.iter_unpack(">Q", l1)):
            offset = entry & _OFFSET_MASK
            if offset % self._cluster_bytes:
                raise FormatRejected(f"qcow2 L1 entry {number} ({entry:#x}) is not the start of a cluster")
            if offset in offsets:
                # only snapshots share tables; this is how a small file claims to hold a huge disk
                raise FormatRejected(f"qcow2 L1 entry {number} ({entry:#x}) names an L2 table for a second time")
            if offset:
                offsets.add(offset)
        return list(offsets)

    def _reach(self, l2: bytes) -> int:
        """First bytes count: the length of a compressed cluster is rounded up, the last cluster may be cut short."""
        compressed_mask = (1 << 62 - (self._cluster_bits - 8)) - 1
        zero = _L2_ZERO if self._version == 3 else 0
        reach = 0
        for (entry,) in struct.iter_unpack(">Q", l2):
            if entry & _L2_COMPRESSED:
                end = (entry & compressed_mask) + 1
            elif entry & zero or not entry & _OFFSET_MASK:
                continue
            else:
                end = (entry & _OFFSET_MASK) + 1
            if end > reach:  # noqa: PLR1730 - max() would be a call for each of some million entries
                reach = end
        return reach


def _check_extensions(head: bytes, start: int, cluster_bytes: int) -> None:
    """Walk the header extensions: type, length, body padded to 8 bytes, in the first cluster.

    The list ends with its END or with the cluster, and within `head`: what is not seen may name a data file.
    """
    end = min(cluster_bytes, len(head))
    position = start
    while position + 8 <= end:
        kind, length = struct.unpack_from(">II", head, position)
        if kind not in {_END_OF_EXTENSIONS, _FEATURE_NAMES}:
            what = _EXTENSIONS.get(kind, "is unknown")
            raise FormatRejected(f"qcow2 header extension {kind:#010x} (offset {position}) {what}")
        position += 8 + (length + 7) // 8 * 8
        if kind == _END_OF_EXTENSIONS and position <= end:
            return
    if position != end or end != cluster_bytes:
        raise FormatRejected(
            f"qcow2 header extensions run past byte {end}, where the first cluster, the file or the first 128 KiB end"
        )
