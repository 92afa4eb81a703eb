"""Compressed sources: told by content, expanded whole or refused, within bounds."""

import bz2
import collections
import gzip
import lzma
import random
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import errors
from controller.media import decompress
from controller.media.decompress import Compression, Decompressor

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 2**20
NOISE = random.Random(5)
DATA = b"".join(NOISE.randbytes(300) + bytes(500) for _ in range(60))


def _zstd(data: bytes) -> bytes:
    return bytes(zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}))


PACK: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.GZIP: gzip.compress,
    Compression.XZ: lzma.compress,
    Compression.BZIP2: bz2.compress,
    Compression.ZSTD: _zstd,
}
COMMANDS = {
    Compression.GZIP: "gzip",
    Compression.XZ: "xz",
    Compression.BZIP2: "bzip2",
    Compression.ZSTD: "zstd",
}
EACH = pytest.mark.parametrize("compression", Compression)


def expand(compression: Compression, packed: bytes, *, piece: int = MIB, limit: int = 2**40) -> bytes:
    decompressor = Decompressor(compression, limit)
    out = []
    for start in range(0, len(packed), piece):
        out += list(decompressor.feed(memoryview(packed)[start : start + piece]))
    decompressor.finish()
    assert all(0 < len(found) <= decompress.PIECE_BYTES for found in out)
    assert decompressor.input_bytes == len(packed)
    assert decompressor.output_bytes == sum(map(len, out))
    return b"".join(out)


# --- told by content ------------------------------------------------------------------------------------------------


@pytest.mark.needs_compressors
@EACH
def test_what_the_usual_tool_makes_is_told_and_expanded(compression: Compression) -> None:
    command = [COMMANDS[compression], "-c"]
    packed = subprocess.run(command, input=DATA, capture_output=True, check=True).stdout
    assert decompress.sniff(packed[: decompress.SNIFF_BYTES]) is compression
    assert decompress.sniff(memoryview(packed)) is compression
    assert expand(compression, packed) == DATA


@pytest.mark.parametrize("head", [b"", b"\x1f", b"BZh", b"BZh0", b"BZh9not a block", b"QFI\xfb", b"\x50", bytes(16)])
def test_anything_else_is_not_taken_for_compressed(head: bytes) -> None:
    assert decompress.sniff(head) is None


def test_an_empty_bzip2_stream_is_one() -> None:
    assert decompress.sniff(bz2.compress(b"")) is Compression.BZIP2


# --- whole or refused -----------------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("piece", [1, 17, 511, 512, 65536, MIB])
def test_the_cuts_of_the_input_do_not_matter(compression: Compression, piece: int) -> None:
    packed = PACK[compression](DATA[:3000])
    assert expand(compression, packed, piece=piece) == DATA[:3000]


@EACH
def test_members_one_after_another_are_one_stream(compression: Compression) -> None:
    packed = PACK[compression](DATA) + PACK[compression](b"") + PACK[compression](DATA[:1000])
    assert expand(compression, packed) == DATA + DATA[:1000]
    assert expand(compression, packed, piece=13) == DATA + DATA[:1000]


@EACH
@settings(max_examples=40)
@given(data=st.data())
def test_a_cut_stream_is_refused_wherever_it_is_cut(compression: Compression, data: st.DataObject) -> None:
    packed = PACK[compression](DATA)
    cut = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(errors.FormatRejected, match=f"{compression} data is cut off after {cut} bytes"):
        expand(compression, packed[:cut])


@EACH
@pytest.mark.parametrize(
    "tail", [b"x", b"garbage behind it", bytes(5), bytes(601)], ids=["1", "text", "5 NUL", "601 NUL"]
)
def test_other_bytes_behind_the_end_are_refused(compression: Compression, tail: bytes) -> None:
    with pytest.raises(errors.FormatRejected):
        expand(compression, PACK[compression](DATA) + tail)


def test_zeros_between_and_behind_xz_streams_are_padding_in_fours() -> None:
    packed = lzma.compress(DATA)
    assert expand(Compression.XZ, packed + bytes(8) + packed + bytes(4), piece=3) == DATA * 2
    for odd in (packed + bytes(6) + packed, packed + bytes(3)):
        with pytest.raises(errors.FormatRejected, match="padding: not a multiple of four"):
            expand(Compression.XZ, odd)


def test_a_skippable_zstd_frame_is_skipped() -> None:
    packed = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345" + _zstd(DATA)
    assert decompress.sniff(packed) is Compression.ZSTD
    assert expand(Compression.ZSTD, packed) == DATA


@EACH
@settings(max_examples=60)
@given(data=st.data())
def test_a_flipped_bit_is_refused_or_changes_nothing(compression: Compression, data: st.DataObject) -> None:
    packed = bytearray(PACK[compression](DATA))
    position = data.draw(st.integers(0, len(packed) - 1))
    packed[position] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = expand(compression, bytes(packed), limit=MIB)
    except errors.FormatRejected:
        return
    assert found == DATA  # a bit of a file name or a date in the header


@EACH
@settings(max_examples=60)
@given(noise=st.binary(max_size=400), keep=st.integers(0, 40))
def test_noise_is_refused_with_our_own_errors_only(compression: Compression, noise: bytes, keep: int) -> None:
    packed = PACK[compression](DATA)[:keep] + noise
    with pytest.raises((errors.FormatRejected, errors.TooLarge)):
        expand(compression, packed, limit=MIB)


@EACH
def test_damage_is_located(compression: Compression) -> None:
    packed = bytearray(PACK[compression](NOISE.randbytes(600_000)))
    packed[400_000:400_200] = bytes(200)
    with pytest.raises(
        errors.FormatRejected, match=rf"damaged {compression} data after byte \d+, behind 0 whole streams"
    ):
        expand(compression, bytes(packed))


def test_nothing_at_all_is_a_cut_stream() -> None:
    with pytest.raises(errors.FormatRejected, match="cut off after 0 bytes"):
        Decompressor(Compression.GZIP, MIB).finish()


# --- one layer ------------------------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("inner", Compression)
@pytest.mark.parametrize("piece", [1, MIB])
def test_a_second_layer_is_refused(compression: Compression, inner: Compression, piece: int) -> None:
    packed = PACK[compression](PACK[inner](DATA[:2000]))
    with pytest.raises(errors.FormatRejected, match=f"compressed twice: {inner} inside {compression}"):
        expand(compression, packed, piece=piece)


def test_a_second_layer_shorter_than_what_is_sniffed_is_refused_at_the_end() -> None:
    with pytest.raises(errors.FormatRejected, match="compressed twice: zstd inside gzip"):
        expand(Compression.GZIP, gzip.compress(b"\x28\xb5\x2f\xfd\x00"))


# --- within bounds --------------------------------------------------------------------------------------------------


@EACH
def test_output_up_to_the_limit_is_given_and_one_byte_more_refused(compression: Compression) -> None:
    packed = PACK[compression](bytes(3 * MIB))
    assert len(expand(compression, packed, limit=3 * MIB)) == 3 * MIB
    decompressor = Decompressor(compression, 3 * MIB - 1)
    with pytest.raises(errors.TooLarge, match=f"{compression} source expands to more than {3 * MIB - 1} bytes"):
        collections.deque(decompressor.feed(packed), maxlen=0)
    assert decompressor.output_bytes < 3 * MIB


@EACH
def test_a_bomb_needs_little_memory(compression: Compression) -> None:
    bomb = BOMBS[compression]
    decompressor = Decompressor(compression, 2**40)
    tracemalloc.start()
    try:
        total = sum(len(found) for found in decompressor.feed(bomb))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    decompressor.finish()
    assert total == decompressor.output_bytes == 64 * MIB
    assert peak < 16 * MIB  # xz: a dictionary of 8 MiB


BOMBS = {compression: pack(bytes(64 * MIB)) for compression, pack in PACK.items()}


@EACH
def test_a_bomb_stops_at_the_limit_long_before_its_end(compression: Compression) -> None:
    decompressor = Decompressor(compression, MIB)
    with pytest.raises(errors.TooLarge):
        collections.deque(decompressor.feed(BOMBS[compression]), maxlen=0)
    assert decompressor.output_bytes <= MIB


@pytest.mark.needs_compressors
def test_xz_with_a_dictionary_beyond_the_limit_is_refused_and_xz_9_is_not() -> None:
    nine = subprocess.run(["xz", "-9e", "-c"], input=DATA, capture_output=True, check=True).stdout
    assert expand(Compression.XZ, nine) == DATA
    with pytest.raises(errors.FormatRejected, match="damaged xz data"):
        list(Decompressor(Compression.XZ, MIB).feed(xz_that_wants_a_gibibyte()))


def xz_that_wants_a_gibibyte() -> bytes:
    """The .xz File Format, 5.3.1: the filter's one property byte is the dictionary size; 36 is 1 GiB."""
    packed = bytearray(lzma.compress(DATA))
    header_end = 12 + (packed[12] + 1) * 4
    packed[packed.index(b"\x21\x01", 12, header_end) + 2] = 36
    packed[header_end - 4 : header_end] = zlib.crc32(packed[12 : header_end - 4]).to_bytes(4, "little")
    return bytes(packed)


@pytest.mark.parametrize(("log", "fine"), [(27, True), (28, False), (31, False)])
def test_zstd_windows_up_to_128_mib(log: int, fine: bool) -> None:
    """RFC 8878, 3.1.1.1.2: a frame with a window descriptor, no checksum; one raw block of 16 bytes."""
    frame = b"\x28\xb5\x2f\xfd\x00" + bytes([(log - 10) << 3]) + (16 << 3 | 1).to_bytes(3, "little") + b"QFI\xfb" * 4
    if fine:
        assert expand(Compression.ZSTD, frame) == b"QFI\xfb" * 4
    else:
        with pytest.raises(errors.FormatRejected, match="damaged zstd data after byte 0"):
            expand(Compression.ZSTD, frame)
