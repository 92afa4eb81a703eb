"""Gate, second opinion and what the spec declares, together."""

import pytest

from controller import errors
from controller.media.gate import HEAD_BYTES
from controller.media.pipeline import Understanding
from controller.media.verdict import Verdict
from controller.model.image import Format
from tests.fakes.images import GIB, KIB, MIB, iso, qcow2, raw, vmdk_sparse, vmdk_stream
from tests.unit.media.judging import ISO, PIECES, QCOW2, RAW, VMDK, judged

BIG = {
    QCOW2: qcow2(payload=b"\1" * 300 * KIB),
    VMDK: vmdk_sparse(payload=b"\1" * 300 * KIB),
    ISO: iso(400 * KIB, hybrid=True),
    RAW: raw(400 * KIB),
}
SMALL = {QCOW2: qcow2(64 * KIB, cluster_bits=9), VMDK: vmdk_stream(), ISO: iso(), RAW: raw(600)}


@pytest.mark.parametrize("images", [BIG, SMALL], ids=["big", "small"])
@pytest.mark.parametrize("found", Format)
@pytest.mark.parametrize("declared", [None, *Format])
@pytest.mark.parametrize("iso_expected", [True, False])
def test_what_is_declared_must_be_what_is_found(
    images: dict[Format, bytes], found: Format, declared: Format | None, iso_expected: bool
) -> None:
    understanding = Understanding(GIB, declared=declared, iso_expected=iso_expected)
    if declared in {None, found} and iso_expected == (found is ISO):
        assert judged(understanding, images[found]).format is found
    elif declared not in {None, found}:
        with pytest.raises(errors.FormatRejected, match=f"spec.format says {declared}, the bytes are {found}"):
            judged(understanding, images[found])
    elif iso_expected:
        with pytest.raises(errors.FormatRejected, match=f"spec.mediaType is ISO, the bytes are {found}"):
            judged(understanding, images[found])
    else:
        with pytest.raises(errors.FormatRejected, match=r"the bytes are iso, spec\.mediaType is not ISO"):
            judged(understanding, images[found])


@pytest.mark.parametrize("declared", [RAW, ISO])
def test_a_wrong_declaration_stops_the_download_at_the_head(declared: Format) -> None:
    understanding = Understanding(GIB, declared=declared)
    image = BIG[QCOW2]
    understanding.feed(image[: HEAD_BYTES - 1])
    with pytest.raises(errors.FormatRejected, match=r"spec\.format says"):
        understanding.feed(image[HEAD_BYTES - 1 : HEAD_BYTES])


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("found", Format)
def test_the_cuts_do_not_matter(found: Format, piece: int) -> None:
    image = SMALL[found]
    understanding = Understanding(MIB * 10, iso_expected=found is ISO)
    sizes = {QCOW2: 64 * KIB, VMDK: 10 * MIB, ISO: 64 * KIB, RAW: 1024}
    assert judged(understanding, image, piece=piece) == Verdict(found, sizes[found])


def test_the_limit_is_that_of_the_gate() -> None:
    with pytest.raises(errors.TooLarge):
        judged(Understanding(MIB), raw(2 * MIB))


def test_where_the_second_opinion_differs_the_image_is_refused() -> None:
    understanding = Understanding(GIB)
    understanding.feed(raw(600))
    understanding._opinion._failure = ValueError("no")
    with pytest.raises(errors.FormatRejected, match=r"oslo\.utils does not accept this raw: ValueError: no"):
        understanding.finish(600)
