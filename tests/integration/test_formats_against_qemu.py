"""qemu-img as oracle: what it makes within the safe subset we accept with its virtual size, what is unsafe we refuse.

The images are made here, by the oracle itself. Nothing that we refuse needs qemu-img to be refused: media does no I/O.
"""

import json
import random
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from controller import errors
from controller.media.pipeline import Understanding
from controller.media.verdict import Verdict
from controller.model.image import Format
from tests.fakes import images
from tests.fakes.images import KIB, MIB, TIB

pytestmark = pytest.mark.needs_qemu

SIZE = 10 * MIB
CANARY = b"CANARY " * 1000


def qemu_img(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        ["qemu-img", *arguments], cwd=cwd, check=True, timeout=60, capture_output=True, text=True, errors="replace"
    )
    return done.stdout


def virtual_size(path: Path, driver: str) -> int:
    said = json.loads(qemu_img("info", "-f", driver, "--output=json", path.name, cwd=path.parent))
    return int(said["virtual-size"])


def understood(image: bytes, *, iso: bool = False) -> Verdict:
    understanding = Understanding(TIB, iso_expected=iso)
    for start in range(0, len(image), MIB):
        understanding.feed(memoryview(image)[start : start + MIB])
    return understanding.finish(len(image))


def refused(image: bytes) -> str:
    with pytest.raises((errors.FormatRejected, errors.TooLarge)) as caught:
        understood(image)
    return str(caught.value)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw disk of 10 MiB, noise here and there, zeros elsewhere."""
    path = tmp_path_factory.mktemp("disk") / "disk.raw"
    noise = random.Random(9)
    data = bytearray(SIZE)
    for megabyte in (0, 3, 4, 9):
        data[megabyte * MIB : megabyte * MIB + 700_000] = noise.randbytes(700_000)
    path.write_bytes(data)
    return path


QCOW2_OPTIONS = [
    "compat=1.1",
    "compat=0.10",
    "cluster_size=512",
    "cluster_size=4k",
    "cluster_size=2M",
    "lazy_refcounts=on",
    "refcount_bits=1",
    "refcount_bits=64",
    "compression_type=zstd",
]


@pytest.mark.parametrize("preallocation", ["off", "metadata", "falloc", "full"])
@pytest.mark.parametrize("options", QCOW2_OPTIONS)
def test_a_created_qcow2_is_accepted(tmp_path: Path, options: str, preallocation: str) -> None:
    path = tmp_path / "a.qcow2"
    qemu_img(
        "create", "-q", "-f", "qcow2", "-o", f"{options},preallocation={preallocation}", path.name, "10M", cwd=tmp_path
    )
    assert understood(path.read_bytes()) == Verdict(Format.QCOW2, virtual_size(path, "qcow2"))


@pytest.mark.parametrize("options", QCOW2_OPTIONS)
@pytest.mark.parametrize("compress", [[], ["-c"]], ids=["plain", "compressed"])
def test_a_converted_qcow2_is_accepted_and_its_first_half_is_not(
    tmp_path: Path, disk: Path, options: str, compress: list[str]
) -> None:
    path = tmp_path / "a.qcow2"
    qemu_img("convert", *compress, "-O", "qcow2", "-o", options, str(disk), path.name, cwd=tmp_path)
    image = path.read_bytes()
    assert understood(image) == Verdict(Format.QCOW2, SIZE)
    assert "truncated" in refused(image[: len(image) // 2])


def test_a_qcow2_that_grew_and_lost_its_snapshots_is_accepted(tmp_path: Path, disk: Path) -> None:
    path = tmp_path / "a.qcow2"
    qemu_img("convert", "-O", "qcow2", str(disk), path.name, cwd=tmp_path)
    qemu_img("snapshot", "-c", "one", path.name, cwd=tmp_path)
    assert "1 internal snapshots" in refused(path.read_bytes())
    qemu_img("snapshot", "-d", "one", path.name, cwd=tmp_path)
    qemu_img("resize", "-q", path.name, "20G", cwd=tmp_path)
    qemu_img("resize", "-q", "--shrink", path.name, "15G", cwd=tmp_path)
    assert understood(path.read_bytes()) == Verdict(Format.QCOW2, virtual_size(path, "qcow2"))


@pytest.mark.parametrize(
    "options",
    [
        "subformat=monolithicSparse",
        "subformat=monolithicSparse,adapter_type=lsilogic",
        "subformat=monolithicSparse,zeroed_grain=on",
        "subformat=monolithicSparse,compat6=on",
        "subformat=streamOptimized",
        "subformat=streamOptimized,adapter_type=lsilogic,compat6=on",
    ],
)
def test_a_vmdk_is_accepted_and_its_first_half_is_not(tmp_path: Path, disk: Path, options: str) -> None:
    path = tmp_path / "a.vmdk"
    qemu_img("create", "-q", "-f", "vmdk", "-o", options, path.name, "10M", cwd=tmp_path)
    assert understood(path.read_bytes()) == Verdict(Format.VMDK, virtual_size(path, "vmdk"))
    path.unlink()
    qemu_img("convert", "-O", "vmdk", "-o", options, str(disk), path.name, cwd=tmp_path)
    image = path.read_bytes()
    assert understood(image) == Verdict(Format.VMDK, SIZE)
    assert "truncated" in refused(image[: len(image) // 2])


@pytest.mark.parametrize("size", [512, 513, 65536, 70001, 3 * MIB])
@pytest.mark.parametrize("partitioned", [True, False])
def test_a_raw_disk_is_as_large_as_qemu_img_says(tmp_path: Path, size: int, partitioned: bool) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(images.raw(size, partitioned=partitioned))
    assert understood(path.read_bytes()) == Verdict(Format.RAW, virtual_size(path, "raw"))


@pytest.mark.parametrize("hybrid", [True, False])
def test_a_disc_is_as_large_as_qemu_img_says(tmp_path: Path, hybrid: bool) -> None:
    path = tmp_path / "a.iso"
    path.write_bytes(images.iso(100 * KIB, hybrid=hybrid))
    assert understood(path.read_bytes(), iso=True) == Verdict(Format.ISO, virtual_size(path, "raw"))


@pytest.mark.parametrize("make", [images.qcow2, images.vmdk_sparse], ids=["qcow2", "vmdk"])
@pytest.mark.parametrize("size", [MIB, 100 * MIB])
def test_the_images_that_other_tests_use_are_real(tmp_path: Path, make: Callable[..., bytes], size: int) -> None:
    """The payload comes back out of them, and `qemu-img check` finds nothing wrong."""
    payload = random.Random(4).randbytes(200_000)
    path = tmp_path / "image"
    path.write_bytes(make(size, payload=payload))
    driver = str(understood(path.read_bytes()).format)
    qemu_img("check", "-q", "-f", driver, path.name, cwd=tmp_path)
    qemu_img("convert", "-f", driver, "-O", "raw", path.name, "out", cwd=tmp_path)
    out = (tmp_path / "out").read_bytes()
    assert (len(out), out[: len(payload)]) == (size, payload)


def test_the_stream_that_other_tests_use_is_real(tmp_path: Path) -> None:
    (tmp_path / "a.vmdk").write_bytes(images.vmdk_stream(SIZE))
    assert virtual_size(tmp_path / "a.vmdk", "vmdk") == SIZE


# --- what is unsafe -------------------------------------------------------------------------------------------------

SECRET = ["--object", "secret,id=s,data=x"]
UNSAFE_QCOW2 = {
    "a backing file": (["-F", "raw", "-b", "canary.raw"], "backing file"),
    "a backing file, version 2": (["-o", "compat=0.10", "-F", "raw", "-b", "canary.raw"], "backing file"),
    "backing http": (["-u", "-F", "raw", "-b", "http://127.0.0.1:1/x"], "backing file"),
    "backing nbd": (["-u", "-F", "raw", "-b", "nbd:127.0.0.1:1"], "backing file"),
    "backing json": (["-u", "-F", "raw", "-b", 'json:{"driver":"file","filename":"/etc/passwd"}'], "backing file"),
    "a data file": (["-o", "data_file=data.raw"], "external data file"),
    "a raw data file": (["-o", "data_file=data.raw,data_file_raw=on"], "external data file"),
    "extended L2": (["-o", "extended_l2=on"], "extended L2"),
    "AES": ([*SECRET, "-o", "encrypt.format=aes,encrypt.key-secret=s"], "crypt_method 1"),
}


@pytest.mark.parametrize(("options", "why"), UNSAFE_QCOW2.values(), ids=UNSAFE_QCOW2)
def test_an_unsafe_qcow2_is_refused(tmp_path: Path, options: list[str], why: str) -> None:
    (tmp_path / "canary.raw").write_bytes(CANARY.ljust(MIB))
    qemu_img("create", "-q", "-f", "qcow2", *options, "a.qcow2", "10M", cwd=tmp_path)
    assert why in refused((tmp_path / "a.qcow2").read_bytes())


def test_bitmaps_are_refused(tmp_path: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", "a.qcow2", "10M", cwd=tmp_path)
    qemu_img("bitmap", "--add", "a.qcow2", "b0", cwd=tmp_path)
    assert "has bitmaps" in refused((tmp_path / "a.qcow2").read_bytes())


@pytest.mark.parametrize("subformat", ["monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"])
def test_a_vmdk_of_several_files_is_refused(tmp_path: Path, subformat: str) -> None:
    qemu_img("create", "-q", "-f", "vmdk", "-o", f"subformat={subformat}", "a.vmdk", "10M", cwd=tmp_path)
    assert "first bytes are text" in refused((tmp_path / "a.vmdk").read_bytes())
    if "Sparse" in subformat:
        assert "createtype" in refused((tmp_path / "a-s001.vmdk").read_bytes())


@pytest.mark.parametrize(
    ("driver", "options", "why"),
    [
        ("vpc", "subformat=dynamic", "VHD"),
        ("vpc", "subformat=fixed", "VHD trailer"),
        ("vhdx", "subformat=dynamic", "VHDX"),
        ("vdi", "static=off", "VDI"),
        ("qed", "cluster_size=65536", "QED"),
        ("qcow", "encryption=off", "version 1"),
        ("parallels", "cluster_size=1M", "Parallels"),
    ],
)
def test_another_format_is_refused_by_name(tmp_path: Path, driver: str, options: str, why: str) -> None:
    qemu_img("create", "-q", "-f", driver, "-o", options, "a", "10M", cwd=tmp_path)
    assert why in refused((tmp_path / "a").read_bytes())


def _tiny_header(folder: Path) -> bytes:
    """144 bytes: header, the name of a file, and an L1 table that is all zeros behind the end."""
    name = str(folder / "canary.raw").encode()
    image = images.qcow2(MIB, version=2, cluster_bits=9)[:72]
    return images.patched(image, (8, struct.pack(">QI", 80, len(name))), (80, name))[: 80 + len(name)]


def _parent_hint(folder: Path) -> bytes:
    (folder / "parent.vmdk").write_bytes(images.vmdk_sparse(MIB, payload=CANARY))
    text = images.vmdk_descriptor(MIB).replace(
        "parentCID=ffffffff", 'parentCID=a7bb2a3e\nparentFileNameHint="parent.vmdk"'
    )
    return images.vmdk_sparse(MIB, descriptor=text)


def _decoy(folder: Path) -> bytes:
    del folder
    text = images.vmdk_descriptor(MIB).replace("monolithicSparse", "monolithicFlat")
    text = text.replace('SPARSE "golden.vmdk"', 'FLAT "canary.raw" 0')
    return text.replace("version=1", '# createtype="monolithicsparse"\nversion=1').encode()


def _no_capacity(folder: Path) -> bytes:
    return images.vmdk_sparse(MIB, descriptor=_decoy(folder), fields={"capacity": 0})


@pytest.mark.parametrize(
    ("make", "driver"),
    [(_tiny_header, None), (_parent_hint, "vmdk"), (_decoy, "vmdk"), (_no_capacity, "vmdk")],
    ids=["144 byte qcow2", "vmdk parent", "vmdk decoy", "vmdk without capacity"],
)
def test_what_makes_qemu_img_copy_another_file_is_refused(
    tmp_path: Path, make: Callable[[Path], bytes], driver: str | None
) -> None:
    """The canary proves that the image is dangerous: qemu-img puts its bytes into the copy, without any error."""
    (tmp_path / "canary.raw").write_bytes(CANARY.ljust(MIB, b"\0"))
    image = make(tmp_path)
    (tmp_path / "a").write_bytes(image)
    qemu_img("convert", *(["-f", driver] if driver else []), "-O", "raw", "a", "out", cwd=tmp_path)
    assert CANARY[:500] in (tmp_path / "out").read_bytes()
    refused(image)


# --- random damage --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [60, pytest.param(3000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
@pytest.mark.parametrize("driver", ["qcow2", "vmdk"])
def test_what_passes_the_gate_qemu_img_takes_for_the_same(tmp_path: Path, driver: str, rounds: int) -> None:
    """Headers with a few random bytes: never accepted here and refused there, never of another virtual size."""
    chance = random.Random(rounds)
    good = images.qcow2() if driver == "qcow2" else images.vmdk_sparse()
    path = tmp_path / "a"
    accepted = 0
    for number in range(rounds):
        image = bytearray(good)
        for _ in range(chance.randint(1, 2)):
            image[chance.randrange(4, 600)] = chance.choice([0, 1, 2, 4, 8, 0x7F, 0xFF, chance.randrange(256)])
        try:
            verdict = understood(bytes(image))
        except (errors.FormatRejected, errors.TooLarge):
            continue
        accepted += 1
        path.write_bytes(image)
        assert virtual_size(path, driver) == verdict.virtual_size_bytes, f"round {number}"
    assert accepted
