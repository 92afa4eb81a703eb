"""qcow2: the safe subset and nothing else. Offsets are those of qemu's docs/interop/qcow2.txt."""

import struct
import time

import pytest

from tests.fakes.images import GIB, KIB, MIB, TIB, patched, qcow2
from tests.unit.media.judging import QCOW2, refusal, verdict

GOOD = qcow2()
V2 = qcow2(version=2)


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


def u64(value: int) -> bytes:
    return struct.pack(">Q", value)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("cluster_bits", [9, 10, 12, 16, 21])
def test_a_plain_image_is_accepted_with_its_virtual_size(version: int, cluster_bits: int) -> None:
    image = qcow2(MIB, payload=b"x" * 5000, version=version, cluster_bits=cluster_bits)
    assert verdict(image) == (QCOW2, MIB)


def test_a_feature_name_table_lazy_refcounts_and_compression_types_are_accepted() -> None:
    assert verdict(qcow2(extensions=((0x6803F857, bytes(48 * 8)),))) == (QCOW2, 10 * MIB)
    assert verdict(patched(GOOD, (80, u64(1)))) == (QCOW2, 10 * MIB)
    assert verdict(patched(GOOD, (72, u64(8)), (104, b"\1"))) == (QCOW2, 10 * MIB)


def test_a_header_of_104_bytes_is_accepted() -> None:
    assert verdict(patched(GOOD, (100, u32(104)))) == (QCOW2, 10 * MIB)


def test_header_extensions_may_fill_the_first_cluster_to_its_end() -> None:
    image = patched(qcow2(MIB, cluster_bits=9), (112, u32(0x6803F857) + u32(512 - 120)))
    assert verdict(image) == (QCOW2, MIB)


def test_header_extensions_that_go_on_where_nobody_looks_are_refused() -> None:
    """A large cluster holds more of them than its first 128 KiB; the next one here would name a data file."""
    names = 131072 - 120
    image = patched(qcow2(MIB, cluster_bits=21), (112, u32(0x6803F857) + u32(names)))
    for hidden in (b"", u32(0x44415441) + u32(8) + b"/etc/xyz"):
        said = refusal(patched(image, (131072, hidden)))
        assert said.startswith("FormatRejected: qcow2 header extensions run past byte 131072")
    ended = patched(image, (116, u32(names - 8)))
    assert verdict(ended) == (QCOW2, MIB)


BAD_FIELDS = [
    ((4, u32(1)), "version 1 (offset 4)"),
    ((4, u32(4)), "version 4 (offset 4)"),
    ((8, u64(0x200)), "backing file (offset 8)"),
    ((16, u32(10)), "backing file (offset 8)"),
    ((20, u32(8)), "cluster_bits 8 (offset 20)"),
    ((20, u32(22)), "cluster_bits 22 (offset 20)"),
    ((20, u32(63)), "cluster_bits 63 (offset 20)"),
    ((20, u32(0xFFFFFFFF)), "cluster_bits 4294967295 (offset 20)"),
    ((24, u64(0)), "virtual size 0 (offset 24)"),
    ((24, u64(10 * MIB + 1)), "(offset 24) is not a positive number of sectors"),
    ((32, u32(1)), "encrypted: crypt_method 1 (offset 32)"),
    ((32, u32(2)), "encrypted: crypt_method 2 (offset 32)"),
    ((36, u32(0)), "l1_size 0 (offset 36)"),
    ((36, u32(0xFFFFFFFF)), "l1_size 4294967295 (offset 36)"),
    ((36, u32(4 * MIB + 1)), "l1_size 4194305 (offset 36)"),
    ((24, u64(GIB)), "l1_size 1 (offset 36) is not within 2.."),
    ((40, u64(0)), "l1_table_offset 0 (offset 40)"),
    ((40, u64(0x30200)), "l1_table_offset 197120 (offset 40)"),
    ((40, u64(1 << 60)), "l1_table_offset 1152921504606846976 (offset 40)"),
    ((48, u64(0)), "refcount_table_offset 0 (offset 48)"),
    ((48, u64(0x10001)), "refcount_table_offset 65537 (offset 48)"),
    ((56, u32(0)), "refcount_table_clusters 0 (offset 56)"),
    ((56, u32(0xFFFFFFFF)), "refcount_table_clusters 4294967295 (offset 56)"),
    ((56, u32(129)), "refcount_table_clusters 129 (offset 56) is not within 1..128"),
    ((60, u32(1)), "1 internal snapshots (offset 60)"),
    ((60, u32(65536)), "65536 internal snapshots (offset 60)"),
    ((64, u64(0x200)), "snapshots_offset 512 (offset 64)"),
    ((64, u64(1 << 63)), "snapshots_offset 9223372036854775808 (offset 64)"),
    ((72, u64(1)), "incompatible feature 0 (offset 72) is set: it was not closed cleanly"),
    ((72, u64(2)), "incompatible feature 1 (offset 72) is set: it is marked corrupt"),
    ((72, u64(4)), "incompatible feature 2 (offset 72) is set: it has an external data file"),
    ((72, u64(16)), "incompatible feature 4 (offset 72) is set: it has extended L2 entries"),
    ((72, u64(32)), "unknown incompatible features 0x20 (offset 72)"),
    ((72, u64(1 << 63)), "unknown incompatible features 0x8000000000000000 (offset 72)"),
    ((80, u64(2)), "unknown compatible features 0x2 (offset 80)"),
    ((88, u64(1)), "(offset 88)"),
    ((88, u64(2)), "(offset 88)"),
    ((96, u32(7)), "refcount_order 7 (offset 96)"),
    ((100, u32(96)), "header_length 96 (offset 100)"),
    ((100, u32(105)), "header_length 105 (offset 100)"),
    ((100, u32(0xFFFFFFF0)), "header_length 4294967280 (offset 100)"),
    ((72, u64(8)), "compression_type 0 (offset 104)"),
    ((104, b"\1"), "compression_type 1 (offset 104)"),
    ((104, b"\2"), "compression_type 2 (offset 104)"),
    ((112, u32(0x44415441) + u32(8)), "0x44415441 (offset 112) names an external data file"),
    ((112, u32(0xE2792ACA) + u32(3)), "0xe2792aca (offset 112) names a backing file format"),
    ((112, u32(0x23852875) + u32(24)), "0x23852875 (offset 112) holds bitmaps"),
    ((112, u32(0x0537BE77) + u32(16)), "0x0537be77 (offset 112) is an encryption header"),
    ((112, u32(0x12345678) + u32(0)), "0x12345678 (offset 112) is unknown"),
    ((112, u32(0x6803F857) + u32(0xFFFFFFFF)), "header extensions run past byte 65536"),
    ((112, u32(0) + u32(0x10000)), "header extensions run past byte 65536"),
    ((510, b"\x55\xaa"), "ambiguous: the same bytes are qcow2 (offset 0) and a boot sector (offset 510)"),
    ((32769, b"CD001"), "ambiguous: the same bytes are qcow2 (offset 0) and iso (offset 32769)"),
    ((257, b"ustar"), "ambiguous: the same bytes are qcow2 (offset 0) and tar archive or OVA (offset 257)"),
]


@pytest.mark.parametrize(("patch", "why"), BAD_FIELDS)
def test_a_field_outside_the_subset_is_refused_by_name(patch: tuple[int, bytes], why: str) -> None:
    begun = time.thread_time()
    said = refusal(patched(GOOD, patch))
    assert said.startswith("FormatRejected: ")
    assert why in said
    assert time.thread_time() - begun < 2


@pytest.mark.parametrize("size", [60 * 2**50, 2**63 - 512, 2**64 - 512, 16 * TIB + 512])
def test_a_huge_virtual_size_is_too_large_whatever_the_limit(size: int) -> None:
    said = refusal(patched(GOOD, (24, u64(size))), max_bytes=2**63)
    assert said == f"TooLarge: qcow2 virtual size is {size} bytes (offset 24), {16 * TIB} are allowed"


def test_the_virtual_size_may_be_the_limit_and_not_a_sector_more() -> None:
    assert verdict(GOOD, max_bytes=10 * MIB) == (QCOW2, 10 * MIB)
    assert "TooLarge: qcow2 virtual size is 10485760 bytes" in refusal(GOOD, max_bytes=10 * MIB - 512)


@pytest.mark.parametrize(
    ("patch", "why"),
    [((8, u64(72)), "backing file"), ((60, u32(2)), "snapshots"), ((72, u32(0x44415441) + u32(4)), "data file")],
)
def test_version_2_is_held_to_the_same_rules(patch: tuple[int, bytes], why: str) -> None:
    assert why in refusal(patched(V2, patch))


@pytest.mark.parametrize(
    "backing", [b"/etc/passwd", b"http://127.0.0.1/x", b'json:{"driver":"nbd"}', b"nbd:127.0.0.1:1"]
)
@pytest.mark.parametrize("version", [2, 3])
def test_a_backing_file_of_any_kind_is_refused(backing: bytes, version: int) -> None:
    image = patched(qcow2(version=version), (8, u64(0x200) + u32(len(backing))), (0x200, backing))
    assert "has a backing file (offset 8)" in refusal(image)


@pytest.mark.parametrize("size", [24, 72, 104, 144, 511])
def test_a_header_and_nothing_else_is_too_small_and_never_raw(size: int) -> None:
    """144 bytes with a backing name are enough for qemu-img, and too few for oslo.utils to see."""
    image = patched(GOOD[:size], (8, u64(120) + u32(11)))
    assert refusal(image) == f"FormatRejected: too small for an image: {size} bytes, a sector has 512"


# --- cut files and shared tables: what L1 and L2 say -----------------------------------------------------------------

PAYLOAD = qcow2(payload=b"\1" * 640 * KIB)


def test_a_file_cut_before_the_last_cluster_that_its_tables_name_is_refused() -> None:
    assert verdict(PAYLOAD) == (QCOW2, 10 * MIB)
    last = len(PAYLOAD) - 64 * KIB
    for size in (len(PAYLOAD) // 2, last - 1, last):
        said = refusal(PAYLOAD[:size])
        assert said == f"FormatRejected: qcow2 truncated: its tables reach to byte {last + 1}, the file has {size}"


def test_the_last_cluster_may_be_cut_short_as_qemu_leaves_it() -> None:
    assert verdict(PAYLOAD[: len(PAYLOAD) - 65535]) == (QCOW2, 10 * MIB)


@pytest.mark.parametrize(("size", "reach"), [(512, 0x30008), (0x20000, 0x30008), (0x30007, 0x30008)])
def test_a_file_cut_in_its_own_tables_is_refused(size: int, reach: int) -> None:
    assert f"tables reach to byte {reach}" in refusal(GOOD[:size])
    assert verdict(GOOD[:reach]) == (QCOW2, 10 * MIB)


def test_a_refcount_table_beyond_the_end_is_refused() -> None:
    assert "tables reach to byte 1114112" in refusal(patched(GOOD, (48, u64(0x100000))))


def test_an_l2_table_must_be_whole() -> None:
    image = patched(GOOD, (0x30000, u64(0x40000 | 1 << 63)))
    assert "tables reach to byte 327680" in refusal(image)
    assert verdict(image + bytes(64 * KIB)) == (QCOW2, 10 * MIB)


@pytest.mark.parametrize(
    ("entry", "reach"),
    [
        (0x70000 | 1 << 63, 0x70001),  # a standard cluster
        (1 << 62 | 0x71234, 0x71235),  # compressed: the first byte counts
        (1 << 62 | 3 << 54 | 0x71234, 0x71235),  # and more sectors
        (0x70000 | 1, 0),  # allocated and zero: nothing is read
        (0, 0),
    ],
)
def test_what_an_l2_entry_needs(entry: int, reach: int) -> None:
    image = patched(GOOD, (0x30000, u64(0x40000 | 1 << 63)), (0x40000, u64(entry) + bytes(65528)))
    if reach:
        assert f"tables reach to byte {reach}" in refusal(image)
        image = patched(image, (reach - 1, b"\0"))
    assert verdict(image) == (QCOW2, 10 * MIB)


def test_in_version_2_the_zero_bit_means_nothing() -> None:
    image = patched(V2, (0x30000, u64(0x40000 | 1 << 63)), (0x40000, u64(0x70000 | 1) + bytes(65528)))
    assert "tables reach to byte 458753" in refusal(image)


def test_a_table_in_front_of_the_one_that_names_it_is_not_looked_into() -> None:
    """It has gone by; the same whether the file comes whole or in pieces."""
    image = patched(GOOD, (0x20000, u64(0x70000)), (0x30000, u64(0x20000 | 1 << 63)))
    assert verdict(image) == (QCOW2, 10 * MIB)


def test_an_unaligned_l2_table_is_refused() -> None:
    said = refusal(patched(GOOD, (0x30000, u64(0x40200 | 1 << 63))))
    assert said == "FormatRejected: qcow2 L1 entry 0 (0x8000000000040200) is not the start of a cluster"


def test_a_bomb_that_shares_one_l2_table_is_refused_early() -> None:
    """Only internal snapshots share tables; the download stops as soon as the L1 table is there."""
    bomb = patched(qcow2(TIB), (0x30000, u64(0x40000 | 1 << 63) * 2048))
    assert "L1 entry 1 (0x8000000000040000) names an L2 table for a second time" in refusal(bomb, max_bytes=16 * TIB)


def test_a_bomb_within_the_rules_is_stopped_by_its_virtual_size() -> None:
    assert refusal(qcow2(16 * TIB), max_bytes=100 * GIB).startswith("TooLarge: qcow2 virtual size is 17592186044416")
