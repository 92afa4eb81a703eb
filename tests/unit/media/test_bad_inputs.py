"""The checklist of bad images, one row each: what it is, what is said of it. Details are in the tests per format."""

import gzip
import io
import lzma
import struct
import tarfile

import pytest

from controller import errors
from controller.media.decompress import Compression, Decompressor
from controller.media.pipeline import Understanding
from tests.fakes import images
from tests.fakes.images import GIB, KIB, MIB, PAGES, TIB, foreign, iso, patched, qcow2, raw, vhd_fixed, vmdk_sparse
from tests.unit.media.judging import PIECES, judged

TEXT = images.vmdk_descriptor()
FLAT = TEXT.replace("monolithicSparse", "monolithicFlat").replace('SPARSE "golden.vmdk"', 'FLAT "x.raw" 0')


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


def u64(value: int) -> bytes:
    return struct.pack(">Q", value)


def backed(name: bytes, version: int = 3) -> bytes:
    return patched(qcow2(version=version), (8, u64(0x200) + u32(len(name))), (0x200, name))


def vhdx(*patches: tuple[int, bytes]) -> bytes:
    """A VHDX as far as inspectors look: identifier, region table with a metadata region at 1 MiB, metadata table."""
    metadata = bytes.fromhex("06a27c8b90479a4bb8fe575f050f886e")
    size_item = bytes.fromhex("2442a52f1bcd7648b2115dbed83bf4b8")
    image = bytes(MIB + 128 * KIB)
    region = struct.pack("<4sIII", b"regi", 0, 1, 0) + metadata + struct.pack("<QII", MIB, MIB, 1)
    table = struct.pack("<8sHH", b"metadata", 0, 1).ljust(32, b"\0") + size_item + struct.pack("<III", 65536, 8, 6)
    size = struct.pack("<Q", GIB)
    good = patched(image, (0, b"vhdxfile"), (192 * KIB, region), (MIB, table), (MIB + 65536, size))
    return patched(good, *patches)


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("../../x", "/etc/x", "disk.raw"):
            member = tarfile.TarInfo(name)
            member.size = 1000
            archive.addfile(member, io.BytesIO(bytes(1000)))
    return out.getvalue()


ROWS: dict[str, tuple[bytes, str]] = {
    "1 backing file": (backed(b"/etc/passwd"), "backing file"),
    "1 backing file, version 2": (backed(b"/etc/passwd", 2), "backing file"),
    "1 backing http": (backed(b"http://127.0.0.1/x"), "backing file"),
    "1 backing json": (backed(b'json:{"driver":"nbd"}'), "backing file"),
    "1 backing nbd": (backed(b"nbd:127.0.0.1:1"), "backing file"),
    "2 144 byte qcow2 with a backing name": (backed(b"x")[:144], "too small"),
    "3 external data file": (patched(qcow2(), (72, u64(4))), "external data file"),
    "3 data file extension, bit clear": (patched(qcow2(), (112, u32(0x44415441) + u32(8))), "external data file"),
    "4 VMDK parent hint": (vmdk_sparse(descriptor=TEXT + 'parentFileNameHint="x"'), "parentfilenamehint"),
    "4 VMDK parent CID": (vmdk_sparse(descriptor=TEXT.replace("ffffffff", "12345678")), "line 4"),
    "5 text descriptor": (FLAT.encode().ljust(600), "text"),
    "5 NUL-padded text descriptor": (FLAT.encode().ljust(512, b"\0"), "text"),
    "5 createType after 5 KB": (("# " + "x" * 5000 + "\n" + FLAT).encode(), "text"),
    "5 createType after 1.1 MB": (("# " + "x" * 1_100_000 + "\n" + FLAT).encode(), "text"),
    "5 upper-case decoy": (vmdk_sparse(descriptor='CREATETYPE="monolithicSparse"\n' + TEXT), "2 times"),
    "5 commented decoy": (vmdk_sparse(descriptor='# createtype="monolithicsparse"\n' + FLAT), "2 times"),
    "6 capacity 0": (vmdk_sparse(descriptor=FLAT, fields={"capacity": 0}), "capacity (offset 12) is 0"),
    "6 two createTypes": (vmdk_sparse(descriptor=TEXT + 'createType="vmfs"'), "2 times"),
    **{
        f"6 extent {name}": (vmdk_sparse(descriptor=TEXT.replace("golden.vmdk", name)), "line 8 is not allowed")
        for name in ("nbd:127.0.0.1:1", "json:{}", "../x", "/etc/passwd")
    },
    "7 qcow2 and ISO": (patched(qcow2(), (32769, b"CD001")), "ambiguous"),
    "7 qcow2 and boot sector": (patched(qcow2(), (510, b"\x55\xaa")), "ambiguous"),
    "7 GPT and VHD footer": (vhd_fixed(), "ambiguous"),
    "7 tar and raw": (patched(raw(), (257, b"ustar\x0000")), "tar archive"),
    "8 60 PB": (patched(qcow2(), (24, u64(60 * 2**50))), "virtual size"),
    "8 2^63-512": (patched(qcow2(), (24, u64(2**63 - 512))), "virtual size"),
    "8 0": (patched(qcow2(), (24, u64(0))), "virtual size"),
    "8 L1": (patched(qcow2(), (36, u32(0xFFFFFFFF))), "l1_size"),
    "8 refcount": (patched(qcow2(), (56, u32(0xFFFFFFFF))), "refcount_table_clusters"),
    **{f"8 cluster_bits {bits}": (patched(qcow2(), (20, u32(bits))), "cluster_bits") for bits in (8, 22, 63)},
    "8 header_length": (patched(qcow2(), (100, u32(0xFFFFFFF0))), "header_length"),
    **{f"8 version {version}": (patched(qcow2(), (4, u32(version))), "version") for version in (1, 4)},
    "8 unknown bits": (patched(qcow2(), (72, u64(1 << 40))), "unknown incompatible features"),
    "9 65536 snapshots": (patched(qcow2(), (60, u32(65536))), "internal snapshots"),
    "9 a snapshot": (patched(qcow2(), (60, u32(1))), "internal snapshots"),
    "9 AES": (patched(qcow2(), (32, u32(1))), "encrypted"),
    "9 LUKS": (patched(qcow2(), (32, u32(2))), "encrypted"),
    "9 bitmaps": (patched(qcow2(), (88, u64(1))), "bitmaps"),
    "10 bomb of 16 TiB": (qcow2(16 * TIB), "TooLarge"),
    "10 bomb that shares tables": (patched(qcow2(GIB), (0x30000, u64(0x40000) * 2)), "for a second time"),
    "11 VHDX": (vhdx(), "VHDX"),
    "11 VHDX, metadata before the header": (vhdx((192 * KIB + 32, bytes(8))), "VHDX"),
    "11 VHDX, size item of 0 bytes": (vhdx((MIB + 52, bytes(4))), "VHDX"),
    "11 VHDX, size item of 4 bytes": (vhdx((MIB + 52, b"\4\0\0\0")), "VHDX"),
    "11 VHDX, 2047 entries": (vhdx((MIB + 10, b"\xff\x07")), "VHDX"),
    "11 VHDX, 4000 entries": (vhdx((192 * KIB + 8, b"\xa0\x0f")), "VHDX"),
    "11 VHDX, offset 2^62": (vhdx((192 * KIB + 32, b"\0" * 7 + b"\x40")), "VHDX"),
    "11 VHDX, size 0": (vhdx((MIB + 65536, bytes(8))), "VHDX"),
    "12 fixed VHD": (vhd_fixed(), "VHD trailer"),
    "13 qcow2 cut at 50 %": (qcow2(payload=b"\1" * MIB)[: MIB // 2], "truncated"),
    "13 VMDK cut at 50 %": (vmdk_sparse(payload=b"\1" * MIB)[: MIB // 2], "truncated"),
    "13 ISO cut at 50 %": (iso(MIB)[: MIB // 2], "truncated"),
    "14 empty": (b"", "too small for an image: 0 bytes"),
    "14 one byte": (b"\0", "too small for an image: 1 bytes"),
    "14 511 bytes": (bytes(511), "too small for an image: 511 bytes"),
    **{f"15 {name}": (page, "the first bytes are text") for name, page in PAGES.items()},
    "16 ASCII and one other byte": (b"readme " * 85 + b"caf\xe9 " * 40 + bytes(600), "the first bytes are text"),
    "17 gzip where an image should be": (foreign("gzip"), "gzip"),
    "18 tar": (tar(), "tar archive"),
}


def said_of(image: bytes, piece: int) -> str:
    understanding = Understanding(10 * TIB, iso_expected=image[32769:32774] == b"CD001")
    try:
        judged(understanding, image, piece=piece)
    except (errors.FormatRejected, errors.TooLarge) as refusal:
        return f"{type(refusal).__name__}: {refusal}"
    return "accepted"


@pytest.mark.parametrize("row", ROWS)
def test_a_bad_image_is_refused_for_its_reason_however_it_is_cut(row: str) -> None:
    image, why = ROWS[row]
    pieces = PIECES if len(image) < 100 * KIB else (512, 512 * KIB, 4 * MIB)
    said = {said_of(image, piece) for piece in pieces}
    assert len(said) == 1
    assert why in said.pop()


def test_the_exception_to_the_polyglots_is_a_hybrid_iso() -> None:
    assert judged(Understanding(TIB, iso_expected=True), iso(hybrid=True)).format == "iso"


def double(data: bytes) -> bytes:
    return gzip.compress(gzip.compress(data))


@pytest.mark.parametrize(
    ("packed", "why"),
    [
        (gzip.compress(bytes(20 * MIB)), "TooLarge"),
        (lzma.compress(bytes(20 * MIB)), "TooLarge"),
        (double(bytes(MIB)), "compressed twice"),
        (gzip.compress(raw()) + b"garbage", "damaged gzip data"),
    ],
    ids=["gzip bomb", "xz bomb", "double", "garbage"],
)
def test_17_what_is_wrong_with_compressed_images(packed: bytes, why: str) -> None:
    decompressor = Decompressor(Compression.XZ if packed.startswith(b"\xfd7zXZ") else Compression.GZIP, 10 * MIB)
    with pytest.raises((errors.FormatRejected, errors.TooLarge)) as refused:
        list(decompressor.feed(packed))
    assert why in f"{refused.type.__name__}: {refused.value}"


def test_a_compressed_image_of_several_members_is_an_image() -> None:
    image = raw()
    decompressor = Decompressor(Compression.GZIP, MIB)
    packed = gzip.compress(image[:1000]) + gzip.compress(image[1000:])
    out = b"".join(decompressor.feed(packed))
    decompressor.finish()
    assert judged(Understanding(MIB), out).format == "raw"
