"""Raw disks and ISOs; and everything that would pass for raw if nobody looked."""

import random

import pytest

from tests.fakes.images import FOREIGN, KIB, MIB, PAGES, foreign, iso, mbr, patched, raw, vhd_fixed
from tests.unit.media.judging import ISO, RAW, refusal, verdict


@pytest.mark.parametrize("size", [512, 513, 1023, 64 * KIB, 128 * KIB, 128 * KIB + 1, MIB + 7])
@pytest.mark.parametrize("partitioned", [True, False])
def test_a_disk_is_accepted_as_whole_sectors(size: int, partitioned: bool) -> None:
    assert verdict(raw(size, partitioned=partitioned)) == (RAW, -(-size // 512) * 512)


@pytest.mark.parametrize("byte", [b"\0", b"\xff", b"\x01", b"\xf6"])
def test_an_empty_disk_is_a_disk(byte: bytes) -> None:
    assert verdict(byte * 64 * KIB) == (RAW, 64 * KIB)


def test_noise_is_never_taken_for_text() -> None:
    noise = random.Random(2)
    for _ in range(200):
        assert verdict(noise.randbytes(512)) == (RAW, 512)


@pytest.mark.parametrize("size", [0, 1, 3, 511])
def test_less_than_a_sector_is_no_image(size: int) -> None:
    said = refusal(raw(size, partitioned=False)) if size else refusal(b"")
    assert said == f"FormatRejected: too small for an image: {size} bytes, a sector has 512"


@pytest.mark.parametrize("name", FOREIGN)
def test_what_begins_like_another_format_is_refused_by_name(name: str) -> None:
    said = refusal(foreign(name))
    assert said.startswith(("FormatRejected: the bytes are ", "FormatRejected: qcow2 version 1"))
    assert "(offset " in said


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("padding", [0, 64 * KIB])
def test_a_page_is_no_image_padded_or_not(name: str, padding: int) -> None:
    assert refusal(PAGES[name] + bytes(padding)).startswith("FormatRejected: not an image: the first bytes are text")


def test_latin_1_and_a_character_cut_by_the_sector_are_text_too() -> None:
    assert "are text" in refusal("Image nicht gefunden, schön ist das nicht. ".encode("latin-1") * 20)
    assert "are text" in refusal(b"x" * 511 + "ö".encode() + bytes(100))
    assert "are text" in refusal("文件不存在".encode() * 100)


@pytest.mark.parametrize("name", ["vhdx", "vhd", "qed", "luks1", "parallels", "gzip", "tar"])
def test_a_boot_signature_does_not_excuse_another_format(name: str) -> None:
    assert refusal(patched(foreign(name), (510, b"\x55\xaa"))).startswith("FormatRejected: the bytes are ")


def test_a_disk_that_is_a_tar_archive_too_is_refused() -> None:
    assert "tar archive or OVA (offset 257)" in refusal(patched(raw(), (257, b"ustar\0")))


def test_a_fixed_vhd_is_never_raw() -> None:
    assert (
        refusal(vhd_fixed()) == "FormatRejected: ambiguous: the file ends with a VHD trailer (512 bytes before its end)"
    )
    assert "VHD trailer (511 bytes" in refusal(vhd_fixed()[:-1])
    assert "DMG trailer (512 bytes" in refusal(raw() + b"koly".ljust(512, b"\0"))
    assert verdict(vhd_fixed() + bytes(512)) == (RAW, 66560)


def test_a_disk_may_be_as_large_as_the_limit_and_not_a_byte_more() -> None:
    assert verdict(raw(MIB), max_bytes=MIB) == (RAW, MIB)
    assert refusal(raw(MIB + 1), max_bytes=MIB) == "TooLarge: the image has more than 1048576 bytes, the limit"
    assert refusal(raw(600), max_bytes=100) == "TooLarge: the image has more than 100 bytes, the limit"


# --- ISO 9660 -------------------------------------------------------------------------------------------------------

DISC = iso()
VOLUME = 32 * KIB


@pytest.mark.parametrize("hybrid", [True, False])
@pytest.mark.parametrize("size", [38 * KIB, 64 * KIB, MIB])
def test_a_disc_is_accepted_hybrid_or_not(size: int, hybrid: bool) -> None:
    assert verdict(iso(size, hybrid=hybrid)) == (ISO, size)


def test_bytes_behind_the_volume_are_accepted() -> None:
    assert verdict(DISC + bytes(150 * 2048)) == (ISO, len(DISC) + 150 * 2048)


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        ((VOLUME, b"\0"), "does not begin with a primary volume descriptor"),
        ((VOLUME + 6, b"\2"), "of version 1 (offset 32768)"),
        ((VOLUME + 128, b"\0\0"), "block size 0 (offset 32896)"),
        ((VOLUME + 128, b"\xff\xff"), "block size 65535 (offset 32896)"),
        ((VOLUME + 80, bytes(4)), "volume size (offset 32848) is 0"),
        ((VOLUME + 80, b"\xff\xff\xff\xff"), "iso truncated: its volume has 8796093020160 bytes, the file 65536"),
        ((0, b"conectix"), "ambiguous: the same bytes are iso (offset 32769) and VHD (offset 0)"),
        ((257, b"ustar"), "ambiguous: the same bytes are iso (offset 32769) and tar archive or OVA (offset 257)"),
        ((len(DISC) - 512, b"conectix"), "ambiguous: the file ends with a VHD trailer"),
    ],
)
def test_a_disc_that_is_damaged_or_something_else_too_is_refused(patch: tuple[int, bytes], why: str) -> None:
    assert why in refusal(patched(DISC, patch))


@pytest.mark.parametrize("block", [512, 1024])
def test_smaller_blocks_are_accepted(block: int) -> None:
    assert verdict(patched(DISC, (VOLUME + 128, block.to_bytes(2, "little")))) == (ISO, len(DISC))


@pytest.mark.parametrize("size", [VOLUME + 6, VOLUME + 2047])
def test_a_disc_cut_in_its_volume_descriptor_is_refused(size: int) -> None:
    assert "iso truncated: its volume descriptor ends at byte 34816" in refusal(DISC[:size])


def test_a_disc_cut_in_its_volume_is_refused() -> None:
    assert refusal(DISC[:-1]) == "FormatRejected: iso truncated: its volume has 65536 bytes, the file 65535"


def test_a_partition_table_alone_is_no_disc() -> None:
    assert verdict(mbr() + bytes(64 * KIB)) == (RAW, 64 * KIB + 512)
