"""Write a raw disk as a qcow2, so that the demo needs no qemu-img. Layout: QEMU's docs/interop/qcow2.txt, version 3."""

import struct
from pathlib import Path

CLUSTER_BITS = 16
CLUSTER = 1 << CLUSTER_BITS
ENTRIES = CLUSTER // 8
"""Entries of 8 bytes in one L2 table, or in the one L1 table and the one refcount table written here."""
COPIED = 1 << 63
"""Bit 63 of an L1 or L2 entry: the refcount is exactly one."""
MAX_CLUSTERS = CLUSTER // 2
"""Clusters that one refcount block of 16-bit counts covers: 2 GiB."""


def convert(raw: Path, target: Path) -> None:
    """Write `target` with the content of `raw`; clusters of zeros are left out. The same bytes for the same bytes.

    Raises ValueError above 1 GiB, for which one refcount block would get tight.
    """
    data = raw.read_bytes()
    size = -(-len(data) // 512) * 512
    if size > 2**30:
        raise ValueError(f"{raw} is too large for this small writer")
    clusters = [data[at : at + CLUSTER].ljust(CLUSTER, b"\0") for at in range(0, size, CLUSTER)]
    zeros = bytes(CLUSTER)
    l2_tables = -(-len(clusters) // ENTRIES)
    first_data = 4 + l2_tables
    stored = [index for index, cluster in enumerate(clusters) if cluster != zeros]
    place = {index: first_data + order for order, index in enumerate(stored)}
    used = first_data + len(stored)

    l1 = [(4 + table) * CLUSTER | COPIED for table in range(l2_tables)]
    l2 = [place[index] * CLUSTER | COPIED if index in place else 0 for index in range(len(clusters))]
    with target.open("wb") as file:
        file.write(_header(size, l2_tables).ljust(CLUSTER, b"\0"))
        file.write(_table([2 * CLUSTER], 1))
        file.write(struct.pack(f">{used}H", *[1] * used).ljust(CLUSTER, b"\0"))
        file.write(_table(l1, 1))
        file.write(_table(l2, l2_tables))
        for index in stored:
            file.write(clusters[index])


def _header(size: int, l1_entries: int) -> bytes:
    return struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        b"QFI\xfb",
        3,
        0,  # no backing file
        0,
        CLUSTER_BITS,
        size,
        0,  # no encryption
        l1_entries,
        3 * CLUSTER,  # L1 table
        1 * CLUSTER,  # refcount table
        1,  # of one cluster
        0,  # no snapshots
        0,
        0,  # no incompatible,
        0,  # compatible
        0,  # or autoclear features
        4,  # refcounts of 16 bits
        104,  # length of this header
    )


def _table(entries: list[int], clusters: int) -> bytes:
    return struct.pack(f">{len(entries)}Q", *entries).ljust(clusters * CLUSTER, b"\0")
