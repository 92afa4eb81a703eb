"""VMDK: monolithicSparse and streamOptimized in one file, with an exact descriptor."""

import struct

import pytest

from tests.fakes.images import (
    FOREIGN,
    KIB,
    MIB,
    SECTOR,
    TIB,
    patched,
    vmdk_descriptor,
    vmdk_sparse,
    vmdk_stream,
)
from tests.unit.media.judging import VMDK, refusal, verdict

SPARSE = vmdk_sparse()
STREAM = vmdk_stream()
TEXT = vmdk_descriptor()
FLAT = TEXT.replace("monolithicSparse", "monolithicFlat").replace("SPARSE", "FLAT")
GD_AT_END = 2**64 - 1


@pytest.mark.parametrize("size", [64 * KIB, 10 * MIB, 100 * MIB, TIB])
def test_both_subformats_are_accepted_with_their_virtual_size(size: int) -> None:
    assert verdict(vmdk_sparse(size)) == (VMDK, size)
    assert verdict(vmdk_stream(size)) == (VMDK, size)


def test_a_stream_with_its_directory_in_front_is_accepted_as_qemu_img_makes_it() -> None:
    fields = {"version": 3, "flags": 0x30003, "compression": 1}
    image = vmdk_sparse(fields=fields, descriptor=vmdk_descriptor(create_type="streamOptimized"))
    assert verdict(image) == (VMDK, 10 * MIB)


@pytest.mark.parametrize("fewer", range(1, 8))
def test_the_end_that_a_longer_cid_leaves_behind_the_text_is_accepted(fewer: int) -> None:
    """As qemu-img rewrites it in place: CID, the rest of the text, a NUL byte, and what stood there before."""
    longer = TEXT.replace("CID=", "CID=" + "f" * fewer, 1)
    rewritten = TEXT + "\0" + longer[len(TEXT) + 1 :]
    assert verdict(vmdk_sparse(descriptor=rewritten)) == (VMDK, 10 * MIB)
    assert "behind a NUL" in refusal(vmdk_sparse(descriptor=TEXT + "\0" + longer[len(TEXT) + 1 :] + "x"))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"version": 0}, "version 0 (offset 4)"),
        ({"version": 4}, "version 4 (offset 4)"),
        ({"flags": 3 | 8}, "unknown flags 0xb (offset 8)"),
        ({"flags": 0x80000003}, "unknown flags 0x80000003 (offset 8)"),
        ({"capacity": 0}, "capacity (offset 12) is 0"),
        ({"capacity": 20480 + 128}, "capacity 20608 (offset 12) is not the 20480 sectors"),
        ({"capacity": 20480 - 1}, "capacity 20479 (offset 12) is not the 20480 sectors"),
        ({"grain": 0}, "grainSize 0 (offset 20)"),
        ({"grain": 4}, "grainSize 4 (offset 20)"),
        ({"grain": 100}, "grainSize 100 (offset 20)"),
        ({"grain": 2**63}, "(offset 20)"),
        ({"descriptor_offset": 0}, "descriptor at sector 0 (offset 28)"),
        ({"descriptor_offset": 2}, "descriptor at sector 2 (offset 28)"),
        ({"descriptor_size": 0}, "of 0 sectors (offset 36)"),
        ({"descriptor_size": 129}, "of 129 sectors (offset 36)"),
        ({"descriptor_size": 2**64 - 1}, "(offset 36)"),
        ({"gtes": 0}, "numGTEsPerGT 0 (offset 44)"),
        ({"gtes": 1024}, "numGTEsPerGT 1024 (offset 44)"),
        ({"gd_offset": 0}, "gdOffset 0 (offset 56)"),
        ({"gd_offset": 2**62}, "(offset 56) is out of bounds"),
        ({"overhead": 2**40}, "tables reach to byte 562949953421312"),
        ({"rgd_offset": 2**40}, "tables reach to byte 562949953421312"),
        ({"gd_offset": GD_AT_END}, "no footer 1024 bytes before the end"),
        ({"compression": 1}, "flags 0x3 (offset 8) and compressAlgorithm 1 (offset 77)"),
        ({"flags": 0x10003, "compression": 1}, "flags 0x10003 (offset 8)"),
        ({"flags": 0x30003, "compression": 1}, "do not fit the createType"),
    ],
)
def test_a_header_field_outside_the_subset_is_refused_by_name(fields: dict[str, int], why: str) -> None:
    said = refusal(vmdk_sparse(fields=fields))
    assert said.startswith("FormatRejected: ")
    assert why in said


def test_the_second_directory_counts_only_where_the_header_says_there_is_one() -> None:
    assert verdict(vmdk_sparse(fields={"flags": 1, "rgd_offset": 2**40})) == (VMDK, 10 * MIB)


def test_line_ends_damaged_by_a_text_transfer_are_refused() -> None:
    assert "line end bytes (offset 73) are damaged" in refusal(patched(SPARSE, (73, b"\r\n\r\n")))


def test_a_huge_capacity_is_too_large_whatever_the_limit() -> None:
    said = refusal(vmdk_sparse(fields={"capacity": 2**54}), max_bytes=2**63)
    assert said == f"TooLarge: vmdk virtual size is {2**63} bytes (offset 12), {16 * TIB} are allowed"
    assert "TooLarge" in refusal(SPARSE, max_bytes=10 * MIB - 512)


@pytest.mark.parametrize("where", [(510, b"\x55\xaa"), (257, b"ustar"), (32769, b"CD001"), (0x40, FOREIGN["vdi"][64:])])
def test_what_is_something_else_too_is_ambiguous(where: tuple[int, bytes]) -> None:
    assert "FormatRejected: ambiguous: the same bytes are vmdk (offset 0) and " in refusal(patched(SPARSE, where))


# --- the descriptor -------------------------------------------------------------------------------------------------

VIRTUALBOX = """\
# Disk DescriptorFile
version=1
CID=1a2b3c4d
parentCID=ffffffff
createType="monolithicSparse"

# Extent description
RDONLY 20480 SPARSE "disk 1.vmdk"

# The disk Data Base
#DDB

ddb.virtualHWVersion = "4"
ddb.uuid.image="2b2f3a5e-0000-4000-8000-000000000000"
ddb.comment=""
"""


@pytest.mark.parametrize(
    "text",
    [
        VIRTUALBOX,
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("version=1", 'version=1\nencoding="windows-1252"\nisNativeSnapshot="no"'),
        TEXT.replace("ffffffff", "FFFFFFFF"),
        TEXT.rstrip("\n"),
        TEXT + "\0" * 100,
        TEXT.replace("CID=a7bb2a3e", "\tCID=fffffffe  "),
    ],
)
def test_descriptors_as_other_tools_write_them_are_accepted(text: str) -> None:
    assert verdict(vmdk_sparse(descriptor=text)) == (VMDK, 10 * MIB)


def test_a_capacity_rounded_up_to_whole_grains_is_accepted() -> None:
    assert verdict(vmdk_sparse(descriptor=TEXT.replace("RW 20480", "RW 20479"))) == (VMDK, 10 * MIB)


PARENT = 'parentFileNameHint="/etc/passwd"'
BAD_DESCRIPTORS = {
    "nothing": "",
    "no first line": TEXT.removeprefix("# Disk DescriptorFile\n"),
    "other first line": "\n" + TEXT,
    "parent hint": TEXT.replace("createType", PARENT + "\ncreateType"),
    "parent hint in a comment": TEXT + "# " + PARENT,
    "parent hint, case": TEXT + 'PARENTFILENAMEHINT="x"',
    "parent hint in a value": TEXT + f"ddb.x = '{PARENT}'",
    "parent CID": TEXT.replace("parentCID=ffffffff", "parentCID=12345678"),
    "no parent CID": TEXT.replace("parentCID=ffffffff\n", ""),
    "two parent CIDs": TEXT.replace("parentCID=ffffffff", "parentCID=ffffffff\nparentCID=ffffffff"),
    "long parent CID": TEXT.replace("parentCID=ffffffff", "parentCID=ffffffff0"),
    "two createTypes": TEXT + 'createType="monolithicSparse"\n',
    "no createType": TEXT.replace('createType="monolithicSparse"\n', ""),
    "createType case": TEXT.replace("createType", "CREATETYPE"),
    "value case": TEXT.replace("monolithicSparse", "monolithicsparse"),
    "decoy in a comment": TEXT.replace("version=1", '# createType="monolithicSparse"\nversion=1'),
    "decoy in upper case": TEXT.replace("version=1", 'CREATETYPE="monolithicSparse"\nversion=1'),
    "decoy in the database": TEXT + 'ddb.x = "createType=monolithicFlat"\n',
    "createType with blanks": TEXT.replace("createType=", "createType ="),
    "createType without quotes": TEXT.replace('"monolithicSparse"', "monolithicSparse"),
    "flat": FLAT,
    "vmfs": TEXT.replace("monolithicSparse", "vmfs"),
    "split": TEXT.replace("monolithicSparse", "twoGbMaxExtentSparse"),
    "stream in a sparse header": TEXT.replace("monolithicSparse", "streamOptimized"),
    "no CID": TEXT.replace("CID=a7bb2a3e\n", "", 1),
    "two versions": TEXT.replace("version=1", "version=1\nversion=2"),
    "version 5": TEXT.replace("version=1", "version=5"),
    "native snapshot": TEXT.replace("version=1", 'version=1\nisNativeSnapshot="yes"'),
    "change tracking names a file": TEXT + 'changeTrackPath="golden-ctk.vmdk"\n',
    "unknown key": TEXT + 'foo="bar"\n',
    "unknown line": TEXT + "foo\n",
    "database with a second value": TEXT + 'ddb.x = "1" "2"\n',
    "no extent": "\n".join(line for line in TEXT.split("\n") if not line.startswith("RW")),
    "two extents": TEXT.replace("# The Disk", 'RW 20480 SPARSE "b.vmdk"\n# The Disk'),
    "flat extent": TEXT.replace("SPARSE", "FLAT") + " 0",
    "no access": TEXT.replace("RW 20480", "NOACCESS 20480"),
    "extent nbd": TEXT.replace('"golden.vmdk"', '"nbd:127.0.0.1:10809"'),
    "extent json": TEXT.replace('"golden.vmdk"', '"json:{}"'),
    "extent above": TEXT.replace('"golden.vmdk"', '"../x"'),
    "extent absolute": TEXT.replace('"golden.vmdk"', '"/etc/passwd"'),
    "extent on Windows": TEXT.replace('"golden.vmdk"', r'"\\server\share\x"'),
    "extent without a name": TEXT.replace('"golden.vmdk"', '""'),
    "extent of no sectors": TEXT.replace("RW 20480", "RW 0"),
    "extent of more sectors": TEXT.replace("RW 20480", "RW 20481"),
    "extent of 10^40 sectors": TEXT.replace("RW 20480", "RW 1" + "0" * 40),
    "form feed": TEXT.replace("version=1", "version=1\x0c"),
    "lone carriage return": TEXT.replace("version=1\n", "version=1\r"),
    "not ASCII": TEXT.replace("golden", "größe"),
    "Unicode line end": TEXT.replace("version=1\n", "version=1\u2028"),
    "behind a NUL": TEXT + "\0" + 'createType="monolithicFlat"',
}


@pytest.mark.parametrize("what", BAD_DESCRIPTORS)
@pytest.mark.parametrize("capacity", [20480, 0])
def test_a_descriptor_with_anything_else_is_refused(what: str, capacity: int) -> None:
    """Also with capacity 0, which makes qemu-img believe the descriptor."""
    said = refusal(vmdk_sparse(descriptor=BAD_DESCRIPTORS[what], fields={"capacity": capacity}))
    assert said.startswith("FormatRejected: vmdk ")


def test_a_refused_line_is_numbered_and_shown() -> None:
    said = refusal(vmdk_sparse(descriptor=TEXT + 'foo="bar"\n'))
    assert said == "FormatRejected: vmdk descriptor line 18 is not allowed: 'foo=\"bar\"'"


@pytest.mark.parametrize(
    "image",
    [
        FLAT.encode(),
        FLAT.encode().ljust(512, b"\0"),
        FLAT.encode().ljust(64 * KIB, b"\0"),
        ("# " + "x" * 5000 + "\n" + FLAT).encode(),
        ("# x\n" * 280_000 + FLAT).encode(),
        ("\r\n \n# \n" + FLAT).encode(),
        FLAT.replace("createType", "CREATETYPE").encode().ljust(1024, b"\0"),
        b"# \x80\x81\x01\n" + FLAT.encode() + bytes(1024),
        b"#\0\n" * 300 + b"version=1\n" + bytes(1024),
    ],
    ids=["plain", "512", "64K", "after 5 KB", "after 1.1 MB", "blank lines", "upper case", "binary comment", "NULs"],
)
def test_a_text_descriptor_is_never_accepted(image: bytes) -> None:
    said = refusal(image)
    assert "VMDK text descriptor" in said or "the first bytes are text" in said


# --- cut files, shared tables, the footer ---------------------------------------------------------------------------

PAYLOAD = vmdk_sparse(payload=b"\1" * 640 * KIB)


def test_a_file_cut_before_the_last_grain_that_its_tables_name_is_refused() -> None:
    assert verdict(PAYLOAD) == (VMDK, 10 * MIB)
    last = len(PAYLOAD) - 64 * KIB
    for size in (len(PAYLOAD) // 2, last - 1, last):
        said = refusal(PAYLOAD[:size])
        assert said == f"FormatRejected: vmdk truncated: its tables reach to byte {last + 1}, the file has {size}"


@pytest.mark.parametrize("size", [512, 1024, 10 * KIB, 11 * KIB, 64 * KIB - 1])
def test_a_file_cut_in_its_own_tables_is_refused(size: int) -> None:
    assert "vmdk truncated: its " in refusal(SPARSE[:size])


def test_a_grain_table_shared_by_two_directory_entries_is_refused() -> None:
    image = vmdk_sparse(100 * MIB)
    (first,) = struct.unpack_from("<Q", image, 56)
    twice = patched(image, (first * SECTOR + 4, image[first * SECTOR : first * SECTOR + 4]))
    assert "grain directory entry 1 (" in refusal(twice)
    assert "names a grain table for a second time" in refusal(twice)
    assert verdict(patched(image, (first * SECTOR, bytes(16)))) == (VMDK, 100 * MIB)


def test_overlapping_grain_tables_are_read_once() -> None:
    image = vmdk_sparse(100 * MIB)
    (first,) = struct.unpack_from("<Q", image, 56)
    (table,) = struct.unpack_from("<I", image, first * SECTOR)
    assert verdict(patched(image, (first * SECTOR + 4, struct.pack("<I", table + 1)))) == (VMDK, 100 * MIB)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (STREAM[:-512], "no footer 1024 bytes before the end"),
        (STREAM[:-1], "no footer 1024 bytes before the end"),
        (STREAM + bytes(512), "no footer 1024 bytes before the end"),
        (STREAM[: 64 * KIB], "no footer 1024 bytes before the end"),
        (patched(STREAM, (len(STREAM) - 1, b"x")), "does not stand between its markers"),
        (patched(STREAM, (len(STREAM) - 1536 + 12, b"\2")), "does not stand between its markers"),
        (vmdk_stream(footer={"capacity": 0}), "differs from the header"),
        (vmdk_stream(footer={"flags": 0x30003}), "differs from the header"),
        (vmdk_stream(footer={"overhead": 256}), "differs from the header"),
        (vmdk_stream(footer={"gd_offset": GD_AT_END}), "gdOffset 18446744073709551615 of the footer"),
        (vmdk_stream(footer={"gd_offset": 0}), "gdOffset 0 of the footer"),
        (vmdk_stream(footer={"gd_offset": 134}), "gdOffset 134 of the footer (offset "),
    ],
)
def test_a_stream_without_its_exact_footer_is_refused(image: bytes, why: str) -> None:
    said = refusal(image)
    assert said.startswith("FormatRejected: vmdk ")
    assert why in said
