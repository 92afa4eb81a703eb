"""Compressed sources: told by content, expanded in bounded pieces, one layer only.

Limits, and why these:
- Output bytes, exactly: no piece beyond `max_output_bytes` is handed out.
- Memory: at most PIECE_BYTES of output and SLICE_BYTES of input at a time, and the decoder's own window (gzip 32 KiB,
  bzip2 4 MiB, xz XZ_MEMORY_BYTES, zstd 2 ** ZSTD_WINDOW_LOG).
- No ratio: a sparse image of zeros compresses as well as a bomb does, and is legitimate.
- Time is the caller's, as there is no clock here: `feed` gives control back after each piece, between pieces at most
  one slice of input is worked on, and `input_bytes` and `output_bytes` say how far it got. A floor on their sum per
  second of work separates the slowest honest decoder (bzip2, 20 MB/s) from an attack.
"""

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Protocol

from controller import errors

if sys.version_info >= (3, 14):
    from compression import zstd  # pragma: no cover - not on the Python that measures coverage
else:
    from backports import zstd

PIECE_BYTES = 2**20
SLICE_BYTES = 2**17
XZ_MEMORY_BYTES = 96 * 2**20
"""`xz -9` needs 65 MiB to decode; larger dictionaries are made by hand."""
ZSTD_WINDOW_LOG = 27
"""128 MiB: the limit of the zstd command without --long=28 or more."""
SNIFF_BYTES = 16
"""How many leading bytes decide; fewer are fine at the end of a short stream."""


class Compression(StrEnum):
    """What a source may be compressed with."""

    GZIP = "gzip"
    XZ = "xz"
    BZIP2 = "bzip2"
    ZSTD = "zstd"


def sniff(head: bytes | memoryview) -> Compression | None:
    """Return what the first SNIFF_BYTES say, None for anything else."""
    head = bytes(head[:SNIFF_BYTES])
    if head.startswith(b"\x1f\x8b\x08"):
        return Compression.GZIP
    if head.startswith(b"\xfd7zXZ\x00"):
        return Compression.XZ
    if head.startswith(b"BZh") and head[3:4] in b"123456789" and head[4:10] in {_BZIP2_BLOCK, _BZIP2_END}:
        return Compression.BZIP2
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return Compression.ZSTD
    return None


_BZIP2_BLOCK = b"\x31\x41\x59\x26\x53\x59"
_BZIP2_END = b"\x17\x72\x45\x38\x50\x90"


class Member(Protocol):
    """One self-contained part of a compressed stream. `eof`: it ended, the rest of the input is `unused_data`."""

    @property
    def eof(self) -> bool: ...  # noqa: D102  (named as in the standard library)
    @property
    def needs_input(self) -> bool: ...  # noqa: D102
    @property
    def unused_data(self) -> bytes: ...  # noqa: D102
    def decompress(self, data: bytes, max_length: int) -> bytes: ...  # noqa: D102


class Decompressor:
    """Expands one stream: members one after another as the format allows, nothing else behind them.

    Raises (from `feed`, while its pieces are taken, and from `finish`):
        FormatRejected: damaged or truncated data, other bytes after the end, a window beyond the memory limit, or
            output that is compressed itself. Damage is located to within SLICE_BYTES of input.
        TooLarge: more than `max_output_bytes` of output.

    """

    def __init__(self, compression: Compression, max_output_bytes: int) -> None:
        self.compression = compression
        self.input_bytes = 0
        self.output_bytes = 0
        self._max_output_bytes = max_output_bytes
        self._member: Member | None = None
        self._members_ended = 0
        self._padding = 0
        self._head = b""

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Yield the output of the next input in pieces of at most PIECE_BYTES; take all before the next call."""
        view = memoryview(data)
        for start in range(0, len(view), SLICE_BYTES):
            piece = bytes(view[start : start + SLICE_BYTES])
            yield from self._expand(piece)
            self.input_bytes += len(piece)

    def finish(self) -> None:
        """Say that the input ended."""
        if self._member is not None or not self._members_ended:
            where = f"after {self.input_bytes} bytes, behind {self._members_ended} whole streams"
            raise errors.FormatRejected(f"the {self.compression} data is cut off {where}")
        self._check_padding()
        self._check_layers()

    def _expand(self, data: bytes) -> Iterator[bytes]:
        """Take one slice to its end; an empty `data` drains what the member holds back."""
        while True:
            if self._member is None:
                data = self._skip_padding(data)
                if not data:
                    return
                self._member = _NEW_MEMBER[self.compression]()
            member = self._member
            piece = self._decompress(member, data)
            if piece:
                yield piece
            if member.eof:
                data = member.unused_data
                self._member = None
                self._members_ended += 1
            elif member.needs_input:
                return
            else:
                data = b""

    def _decompress(self, member: Member, data: bytes) -> bytes:
        left = self._max_output_bytes - self.output_bytes
        try:
            piece = member.decompress(data, min(PIECE_BYTES, left + 1))
        except _DAMAGED as exc:
            where = f"after byte {self.input_bytes}, behind {self._members_ended} whole streams"
            raise errors.FormatRejected(f"damaged {self.compression} data {where}: {exc}") from exc
        if len(piece) > left:
            raise errors.TooLarge(f"the {self.compression} source expands to more than {self._max_output_bytes} bytes")
        if self.output_bytes < SNIFF_BYTES and piece:
            self._head += piece[: SNIFF_BYTES - len(self._head)]
            if len(self._head) == SNIFF_BYTES:
                self._check_layers()
        self.output_bytes += len(piece)
        return piece

    def _check_layers(self) -> None:
        inner = sniff(self._head)
        if inner is not None:
            raise errors.FormatRejected(f"the source is compressed twice: {inner} inside {self.compression}")

    def _skip_padding(self, data: bytes) -> bytes:
        """Between xz streams zeros may stand, a multiple of four of them (The .xz File Format, 2.2)."""
        if self.compression is not Compression.XZ or not self._members_ended:
            return data
        rest = data.lstrip(b"\0")
        self._padding += len(data) - len(rest)
        if rest:
            self._check_padding()
            self._padding = 0
        return rest

    def _check_padding(self) -> None:
        if self._padding % 4:
            raise errors.FormatRejected(f"{self._padding} zero bytes of xz padding: not a multiple of four")


class _GzipMember:
    """zlib, seen through the interface that bz2 and lzma have."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(wbits=31)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._inflater.eof

    @property
    def needs_input(self) -> bool:
        # output that filled the room may have more behind it although all input is taken
        return not (self._full or self._inflater.unconsumed_tail)

    @property
    def unused_data(self) -> bytes:
        return self._inflater.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._inflater.decompress(self._inflater.unconsumed_tail + data, max_length)
        self._full = len(piece) == max_length
        return piece


_NEW_MEMBER: dict[Compression, Callable[[], Member]] = {
    Compression.GZIP: _GzipMember,
    Compression.XZ: lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES),
    Compression.BZIP2: bz2.BZ2Decompressor,
    Compression.ZSTD: lambda: zstd.ZstdDecompressor(
        options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
    ),
}
_DAMAGED = (zlib.error, lzma.LZMAError, zstd.ZstdError, OSError, MemoryError)
"""What the libraries raise for bytes they do not take; bz2 raises OSError, all of them MemoryError for odd sizes."""
