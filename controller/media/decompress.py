"""Compression found by content, and undone within bounds.

One layer only: compressed output that is itself compressed is refused. The output is bounded in bytes; a ratio says
nothing, as an empty disk compresses like a bomb. Memory is bounded: output comes in small pieces, xz gets a memory
limit, zstd a window limit. Time is the caller's to bound, between pieces (media knows no clock).
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
    from compression import zstd
else:
    from backports import zstd

SNIFF_BYTES = 6
"""How many leading bytes `sniff` needs for a sure answer."""
PIECE_BYTES = 1 << 20
"""The largest piece of output."""
XZ_MEMORY_BYTES = 128 << 20
"""xz -9 needs 65 MiB to decompress; more is an attack."""
ZSTD_WINDOW_LOG_MAX = 27
"""128 MiB, what `zstd -d` allows without --long; 31 would need 2 GiB."""


class Compression(StrEnum):
    """What a source may be wrapped in, once."""

    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    ZSTD = "zstd"


_MAGIC = {
    b"\x1f\x8b\x08": Compression.GZIP,  # RFC 1952: ID1 ID2, CM = deflate
    b"BZh": Compression.BZIP2,
    b"\xfd7zXZ\x00": Compression.XZ,
    b"\x28\xb5\x2f\xfd": Compression.ZSTD,  # RFC 8878
}


def sniff(head: bytes | memoryview) -> Compression | None:
    """Tell the compression by the first bytes; a name or a Content-Type never counts."""
    start = bytes(head[:SNIFF_BYTES])
    return next((found for magic, found in _MAGIC.items() if start.startswith(magic)), None)


class _Member(Protocol):
    """One member (frame, stream) of a compressed file, as bz2, lzma and zstd have it."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes | memoryview, max_length: int = -1) -> bytes: ...


class _GzipMember:
    """zlib under that interface."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes | memoryview, max_length: int = -1) -> bytes:
        tail = self._inner.unconsumed_tail
        out = self._inner.decompress(tail + bytes(data) if tail else data, max_length)
        self.needs_input = not self._inner.eof and not self._inner.unconsumed_tail and len(out) < max_length
        return out


_NEW_MEMBER: dict[Compression, Callable[[], _Member]] = {
    Compression.GZIP: _GzipMember,
    Compression.BZIP2: bz2.BZ2Decompressor,
    Compression.XZ: lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES),
    Compression.ZSTD: lambda: zstd.ZstdDecompressor(
        options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG_MAX}
    ),
}
_CORRUPT = (zlib.error, lzma.LZMAError, zstd.ZstdError, OSError, EOFError, ValueError)
"""What the libraries raise for bytes they do not like (bz2 raises OSError)."""


class Decompressor:
    """Undoes one layer of compression. Several members after each other are one stream, as the formats say."""

    def __init__(self, compression: Compression, max_output_bytes: int) -> None:
        self._compression = compression
        self._max_output_bytes = max_output_bytes
        self._member: _Member | None = None
        self._head = b""
        self._first = b""
        self.input_bytes = 0
        """Compressed bytes taken so far."""
        self.output_bytes = 0
        """Bytes given out so far."""

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Yield the output of the next bytes in pieces of at most PIECE_BYTES; exhaust it before the next call.

        Raises:
            FormatRejected: corrupt, followed by garbage, too much memory, or compressed twice. TooLarge.

        """
        start = self.input_bytes
        self.input_bytes += len(data)
        rest: bytes | memoryview = data
        while rest:
            if self._member is None:
                rest = self._begin(rest)
                if self._member is None:
                    return
            member = self._member
            while not member.eof:
                piece = self._decompress(member, rest, start)
                rest = b""
                if piece:
                    yield self._checked(piece)
                elif member.needs_input:
                    break
            if not member.eof:
                return
            rest = member.unused_data
            self._member = None
            self._head = b""

    def finish(self) -> None:
        """Check that the stream ended where a stream may end. Raises FormatRejected."""
        if self._member is not None or self._head:
            raise errors.FormatRejected(
                f"the {self._compression} stream ends too early, after {self.input_bytes} compressed bytes"
            )
        if self.output_bytes == 0:
            raise errors.FormatRejected(f"the {self._compression} stream is empty")

    def _begin(self, data: bytes | memoryview) -> bytes:
        """Open the next member once enough of it is there to tell; padding of zeros between members is skipped."""
        self._head += bytes(data)
        if self._compression in {Compression.XZ, Compression.GZIP}:
            self._head = self._head.lstrip(b"\0")  # xz: stream padding; gzip: what tape drives leave, as gzip -d has it
        if not self._head or (len(self._head) < SNIFF_BYTES and not sniff(self._head)):
            return b""
        if sniff(self._head) is not self._compression:
            raise errors.FormatRejected(
                f"bytes after the {self._compression} stream are not another one "
                f"(before compressed byte {self.input_bytes})"
            )
        self._member = _NEW_MEMBER[self._compression]()
        head, self._head = self._head, b""
        return head

    def _decompress(self, member: _Member, data: bytes | memoryview, start: int) -> bytes:
        try:
            return member.decompress(data, PIECE_BYTES)
        except MemoryError as exc:
            raise errors.FormatRejected(f"the {self._compression} stream needs too much memory") from exc
        except _CORRUPT as exc:
            where = f"between compressed bytes {start} and {self.input_bytes}"
            raise errors.FormatRejected(f"the {self._compression} stream is corrupt {where}: {exc}") from exc

    def _checked(self, piece: bytes) -> bytes:
        if len(self._first) < SNIFF_BYTES:
            self._first += piece[:SNIFF_BYTES]
            if (second := sniff(self._first)) is not None:
                raise errors.FormatRejected(f"compressed twice: {second} inside {self._compression}")
        self.output_bytes += len(piece)
        if self.output_bytes > self._max_output_bytes:
            raise errors.TooLarge(f"decompressed to more than {self._max_output_bytes} bytes, the limit")
        return piece
