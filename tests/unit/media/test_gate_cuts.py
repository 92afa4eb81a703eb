"""However the bytes are cut, damaged or continued: one verdict, only our own errors, little memory."""

import struct
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller import errors
from controller.media.gate import HEAD_BYTES, Gate
from controller.media.verdict import Verdict
from tests.fakes.images import (
    FOREIGN,
    GIB,
    KIB,
    MIB,
    PAGES,
    foreign,
    iso,
    patched,
    qcow2,
    raw,
    vhd_fixed,
    vmdk_sparse,
    vmdk_stream,
)
from tests.unit.media.judging import PIECES, RAW, judged, outcome

GOOD = {
    "qcow2": qcow2(payload=b"\1" * 300 * KIB),
    "qcow2 of 512 byte clusters": qcow2(64 * KIB, payload=b"\1" * 30 * KIB, cluster_bits=9),
    "qcow2 version 2": qcow2(payload=b"\1" * 100 * KIB, version=2),
    "qcow2 of two L2 tables": qcow2(4 * MIB, payload=b"\1" * (2 * MIB + 5000), cluster_bits=12),
    "vmdk": vmdk_sparse(payload=b"\1" * 200 * KIB),
    "vmdk of many tables": vmdk_sparse(GIB, payload=b"\1" * 70 * KIB),
    "vmdk stream": vmdk_stream(),
    "iso": iso(200 * KIB),
    "hybrid iso": iso(64 * KIB, hybrid=True),
    "raw": raw(300 * KIB + 1),
    "raw, small": raw(700, partitioned=False),
}
BAD = {
    **{f"foreign {name}": foreign(name, 1000) for name in FOREIGN},
    **{f"page {name}": page for name, page in PAGES.items()},
    "fixed vhd": vhd_fixed(200 * KIB),
    "empty": b"",
    "cut qcow2": GOOD["qcow2"][: 300 * KIB],
    "cut vmdk": GOOD["vmdk"][: 100 * KIB],
    "cut stream": GOOD["vmdk stream"][:-1],
    "shared L2": patched(qcow2(GIB), (0x30000, struct.pack(">2Q", 0x40000, 0x40000))),
    "ambiguous": patched(GOOD["qcow2"], (32769, b"CD001")),
}
ALL = {**GOOD, **BAD}
BOUNDARIES = (0, 4, 72, 104, 112, 512, 1024, 0x10000, 0x20000, 0x30000, 0x30008, 32769, 34816, HEAD_BYTES)


@pytest.mark.parametrize("name", ALL)
def test_the_cuts_do_not_matter(name: str) -> None:
    """A digest of the bytes and the verdict on them are the same for pieces of 1 byte and of 1 MiB."""
    image = ALL[name]
    whole = outcome(image, piece=2**30)
    assert isinstance(whole, Verdict) == (name in GOOD), whole
    for piece in PIECES if len(image) < 100 * KIB else PIECES[1:]:
        assert outcome(image, piece=piece) == whole


@settings(max_examples=150)
@given(
    name=st.sampled_from(sorted(ALL)),
    sizes=st.lists(st.integers(0, 70_000), min_size=1, max_size=8),
    limit=st.sampled_from([600, 64 * KIB, 150 * KIB, MIB, GIB]),
)
def test_any_cuts_and_any_limit_give_one_verdict(name: str, sizes: list[int], limit: int) -> None:
    image = ALL[name]
    pieces: list[bytes] = []
    position = 0
    while position < len(image):
        size = sizes[len(pieces) % len(sizes)] or 5000
        pieces.append(image[position : position + size])
        position += size
    gate = Gate(limit)
    try:
        for piece in pieces:
            gate.feed(piece)
            gate.feed(b"")
        found: Verdict | tuple[str, str] = gate.finish(len(image))
    except (errors.FormatRejected, errors.TooLarge) as refusal:
        found = type(refusal).__name__, str(refusal)
    assert found == outcome(image, max_bytes=limit)


@pytest.mark.parametrize("name", GOOD)
def test_cut_at_every_boundary_nothing_structured_becomes_raw(name: str) -> None:
    """And nothing that is accepted has another virtual size than the whole image, ISO and raw aside."""
    image = GOOD[name]
    whole = outcome(image)
    assert isinstance(whole, Verdict)
    cuts = {boundary + off for boundary in BOUNDARIES for off in (-1, 0, 1)} | {len(image) // 2, len(image) - 1}
    for cut in sorted(cut for cut in cuts if 0 <= cut < len(image)):
        found = outcome(image[:cut])
        if isinstance(found, tuple) or whole.format.value in {"raw", "iso"}:
            continue
        assert found == whole


@pytest.mark.parametrize("name", [name for name in GOOD if name.startswith(("qcow2", "vmdk"))])
def test_noise_behind_the_end_changes_nothing_but_a_footer(name: str) -> None:
    longer = outcome(GOOD[name] + bytes(range(256)) * 8)
    assert longer == outcome(GOOD[name]) or (name == "vmdk stream" and isinstance(longer, tuple))


MUTATION = st.tuples(
    st.one_of(st.integers(0, 120), st.integers(0, 2048), st.integers(0, 300 * KIB), st.sampled_from(BOUNDARIES)),
    st.one_of(
        st.binary(min_size=1, max_size=16),
        st.sampled_from([b"\xff" * 4, b"\xff" * 8, b"\x7f" + b"\xff" * 7, bytes(8), b"\x80" + bytes(7)]),
    ),
)


@settings(max_examples=600)
@given(name=st.sampled_from(sorted(GOOD)), mutations=st.lists(MUTATION, max_size=4), cut=st.integers(0, 400 * KIB))
@example(name="qcow2", mutations=[(20, b"\x00\x00\x00\x3f")], cut=400 * KIB)
def test_damage_never_raises_anything_else(name: str, mutations: list[tuple[int, bytes]], cut: int) -> None:
    image = patched(GOOD[name], *mutations)[:cut]
    assert outcome(image, piece=4096) == outcome(image)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=20_000)
@given(name=st.sampled_from(sorted(GOOD)), mutations=st.lists(MUTATION, max_size=6), cut=st.integers(0, 400 * KIB))
def test_damage_never_raises_anything_else_at_length(name: str, mutations: list[tuple[int, bytes]], cut: int) -> None:
    image = patched(GOOD[name], *mutations)[:cut]
    assert outcome(image, piece=9000) == outcome(image)


@settings(max_examples=300)
@given(
    head=st.sampled_from([b"", b"QFI\xfb\0\0\0\2", b"QFI\xfb\0\0\0\3", b"KDMV\1\0\0\0", b"# Disk DescriptorFile\n"]),
    rest=st.binary(min_size=512, max_size=4096),
)
def test_noise_behind_a_magic_never_raises_anything_else(head: bytes, rest: bytes) -> None:
    outcome(head + rest)


@pytest.mark.parametrize("name", ["qcow2", "vmdk", "iso"])
def test_each_flipped_bit_of_a_header_keeps_the_format_or_is_refused(name: str) -> None:
    image = GOOD[name][:HEAD_BYTES]
    start = 32 * KIB if name == "iso" else 4
    whole = outcome(GOOD[name])
    assert isinstance(whole, Verdict)
    for bit in range(start * 8, (start + 108) * 8):
        flipped = bytearray(image)
        flipped[bit // 8] ^= 1 << bit % 8
        found = outcome(bytes(flipped) + GOOD[name][HEAD_BYTES:])
        # without its magic an ISO is a raw disk: nobody can know better
        assert isinstance(found, tuple) or found.format is whole.format or name == "iso"


def test_a_bad_image_is_refused_with_its_first_buffer() -> None:
    """128 KiB decide, so that a bad image stops its download."""
    gate = Gate(GIB)
    seen = []
    for piece in (bytes(HEAD_BYTES - 1), b"\0"):
        gate.feed(piece)
        seen.append(gate.format)
    assert seen == [None, RAW]
    with pytest.raises(errors.FormatRejected):
        Gate(GIB).feed(foreign("vhdx", HEAD_BYTES))


def test_finish_wants_the_count_of_what_was_fed() -> None:
    gate = Gate(GIB)
    gate.feed(raw())
    with pytest.raises(ValueError, match="fed 65536 bytes, not 65535"):
        gate.finish(65535)


def _hostile_tables() -> bytes:
    """40,000 L2 tables of 512 bytes, back to back behind the L1 table."""
    first = (3 * 512 + 40_000 * 8) // 512 + 1
    l1 = struct.pack(">40000Q", *(number * 512 for number in range(first, first + 40_000)))
    size = struct.pack(">Q", 40_000 * 32 * KIB)
    return patched(qcow2(MIB, cluster_bits=9), (24, size), (36, struct.pack(">I", 40_000)), (3 * 512, l1))


@pytest.mark.parametrize("bits", [9, 21])
def test_memory_stays_small_whatever_the_tables_say(bits: int) -> None:
    image = _hostile_tables() if bits == 9 else qcow2(32 * MIB, payload=b"\xff" * 100, cluster_bits=21)
    filler = memoryview(b"\xff" * MIB)
    tracemalloc.start()
    try:
        gate = Gate(2**50)
        gate.feed(image)
        for _ in range(4):
            gate.feed(filler)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * MIB


def test_one_gate_judges_what_another_did_independently() -> None:
    """No state is shared between images."""
    first, second = Gate(GIB), Gate(GIB)
    first.feed(GOOD["qcow2"])
    assert judged(second, GOOD["iso"]).format == "iso"
    assert first.finish(len(GOOD["qcow2"])).format == "qcow2"
