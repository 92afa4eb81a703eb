"""oslo.utils as second opinion: agrees with the gate on good images, and whatever it does instead is a refusal."""

import subprocess
import sys

import pytest
from oslo_utils.imageutils import format_inspector

from controller import errors
from controller.media.inspect import CHUNK_BYTES, SecondOpinion
from controller.media.verdict import Verdict
from tests.fakes.images import KIB, MIB, foreign, iso, patched, qcow2, raw, vmdk_descriptor, vmdk_sparse, vmdk_stream
from tests.unit.media.judging import ISO, QCOW2, RAW, VMDK

QCOW2_10M = Verdict(QCOW2, 10 * MIB)
VMDK_10M = Verdict(VMDK, 10 * MIB)
RAW_64K = Verdict(RAW, 64 * KIB)


def confirm(image: bytes, verdict: Verdict, *, piece: int = MIB) -> None:
    opinion = SecondOpinion()
    for start in range(0, len(image), piece):
        opinion.feed(memoryview(image)[start : start + piece])
    opinion.confirm(verdict)


@pytest.mark.parametrize(
    ("image", "verdict"),
    [
        (qcow2(), QCOW2_10M),
        (qcow2(version=2, payload=b"\1" * MIB), QCOW2_10M),
        (vmdk_sparse(), VMDK_10M),
        (vmdk_stream(), VMDK_10M),
        (vmdk_stream() + b"", VMDK_10M),
        (iso(), Verdict(ISO, 64 * KIB)),
        (iso(hybrid=True), Verdict(ISO, 64 * KIB)),
        (raw(), RAW_64K),
        (raw(partitioned=False), RAW_64K),
        (raw(4 * MIB, partitioned=False), Verdict(RAW, 4 * MIB)),
        (patched(raw(partitioned=False), (510, b"\x55\xaa")), RAW_64K),
    ],
)
@pytest.mark.parametrize("piece", [4096, 4 * MIB])
def test_good_images_are_confirmed(image: bytes, verdict: Verdict, piece: int) -> None:
    """A boot sector without partitions included: oslo's own check of it would refuse a floppy."""
    confirm(image, verdict, piece=piece)


@pytest.mark.parametrize(
    ("image", "verdict", "why"),
    [
        (qcow2(), RAW_64K, "ambiguous: raw by its header, qcow2 by oslo.utils"),
        (raw(), QCOW2_10M, "ambiguous: qcow2 by its header, gpt by oslo.utils"),
        (patched(qcow2(), (32769, b"CD001")), QCOW2_10M, "ambiguous: qcow2 by its header, iso and qcow2 by oslo.utils"),
        (foreign("vhd"), RAW_64K, "vhd by oslo.utils"),
        (foreign("vdi"), RAW_64K, "vdi by oslo.utils"),
        (foreign("qed"), RAW_64K, "qed by oslo.utils"),
        (foreign("luks1"), RAW_64K, "luks by oslo.utils"),
        (qcow2(), Verdict(QCOW2, 1), "ambiguous: a virtual size of 1 bytes by the header, 10485760 by oslo.utils"),
        (vmdk_sparse(), Verdict(VMDK, 512), "ambiguous: a virtual size of 512 bytes"),
        (
            patched(qcow2(), (8, b"\0" * 7 + b"\x70")),
            QCOW2_10M,
            "SafetyCheckFailed: Safety checks failed: backing_file",
        ),
        (vmdk_sparse(descriptor=vmdk_descriptor(create_type="vmfs")), VMDK_10M, "SafetyCheckFailed"),
        (patched(vmdk_stream(), (68 * KIB - 2, b"x")), VMDK_10M, "oslo.utils"),
    ],
)
def test_any_disagreement_is_a_refusal(image: bytes, verdict: Verdict, why: str) -> None:
    with pytest.raises(errors.FormatRejected) as refused:
        confirm(image, verdict)
    assert why in str(refused.value)


def test_an_exception_out_of_oslo_is_a_refusal() -> None:
    """ASCII and then a byte that is not: `.format` of oslo.utils 10.2 raises AttributeError for it."""
    text = b"plain text " * 60 + b"caf\xc3\xa9" + b"\0" * 1000
    with pytest.raises(errors.FormatRejected, match=r"oslo\.utils does not accept this raw: AttributeError: "):
        confirm(text, RAW_64K)


def test_an_exception_while_reading_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No input is known that does it, so that the wrapper is broken by hand."""

    def broken(self: object, size: int) -> bytes:
        raise KeyError(size)

    monkeypatch.setattr(format_inspector.InspectWrapper, "read", broken)
    for image in (raw(), raw(4 * MIB)):
        with pytest.raises(errors.FormatRejected, match=r"oslo\.utils does not accept this raw: KeyError: "):
            confirm(image, RAW_64K)


def test_nothing_is_kept_once_oslo_has_seen_enough() -> None:
    opinion = SecondOpinion()
    opinion.feed(raw(2 * MIB, partitioned=False))
    position = opinion._source.tell()
    opinion.feed(b"QFI\xfb" * CHUNK_BYTES)
    assert (opinion._source.tell(), len(opinion._chunk)) == (position, 0)
    opinion.confirm(Verdict(RAW, 6 * MIB))


def test_reading_verbs_do_not_pay_for_it() -> None:
    """Importing the module, and all else in media, does not import oslo.utils."""
    code = "import controller.media.pipeline, sys; assert not any(name.startswith('oslo') for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
