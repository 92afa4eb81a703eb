"""The body of an answer: read straight into the caller's buffer, its end proven by length or final chunk."""

import re
from contextlib import ExitStack
from typing import Protocol

from controller import errors
from controller.adapters.sources.http_answer import Framing
from controller.adapters.sources.http_limits import HttpLimits
from controller.adapters.sources.wire import Wire
from controller.model.delivery import Peer
from controller.model.transfer import Validator

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n\Z")


class Frame(Protocol):
    """Takes one body out of a connection."""

    proves_end: bool

    def readinto(self, view: memoryview) -> int:
        """Take at least one byte; 0 at the end of the body."""
        ...


class ByLength:
    """A body of so many bytes."""

    proves_end = True

    def __init__(self, wire: Wire, length: int) -> None:
        self._wire = wire
        self._left = self._length = length
        self._gathered = wire.gather(length)

    def readinto(self, view: memoryview) -> int:
        """Take at least one byte; 0 at the end of the body."""
        if self._left == 0:
            if self._wire.has_more():
                raise errors.ProtocolError(f"the server sends more than the {self._length} bytes that it promised")
            return 0
        count = self._wire.readinto(view[: self._left])
        if count == 0:
            raise errors.SourceUnreachable(
                f"the connection ended after {self._length - self._left} of {self._length} bytes"
            )
        self._left -= count
        if self._left < self._gathered:
            self._gathered = self._wire.gather(self._left)
        return count


class ByChunks:
    """A body in chunks (RFC 9112, 7.1): hex size, CRLF, data, CRLF, … 0, CRLF, trailers, CRLF."""

    proves_end = True

    def __init__(self, wire: Wire, limits: HttpLimits) -> None:
        self._wire = wire
        self._limits = limits
        self._left = 0
        self._in_chunk = False
        self._ended = False

    def readinto(self, view: memoryview) -> int:
        """Take at least one byte; 0 at the end of the body."""
        if self._ended:
            return 0
        if self._left == 0 and not self._next_chunk():
            self._ended = True
            if self._wire.has_more():
                raise errors.ProtocolError("the server sends bytes after the final chunk")
            return 0
        count = self._wire.readinto(view[: self._left])
        if count == 0:
            raise errors.SourceUnreachable("the connection ended within a chunk")
        self._left -= count
        return count

    def _next_chunk(self) -> bool:
        if self._in_chunk and self._line() != b"\r\n":
            raise errors.SourceUnreachable("a chunk is longer than its size says")
        self._in_chunk = True
        match = _CHUNK_LINE.match(self._line())
        if match is None:
            raise errors.SourceUnreachable("a chunk begins without its size")
        self._left = int(match[1], 16)
        if self._left == 0:
            self._skip_trailers()
        return self._left > 0

    def _skip_trailers(self) -> None:
        left = self._limits.max_header_bytes
        while (line := self._line()) != b"\r\n":
            left -= len(line)
            if left < 0:
                raise errors.SourceUnreachable("the trailers do not end")

    def _line(self) -> bytes:
        line = self._wire.readline(self._limits.max_chunk_line_bytes)
        if not line.endswith(b"\n"):
            raise errors.SourceUnreachable("the connection ended between two chunks, or a chunk's size does not end")
        return line


class UntilClose:
    """A body of unknown length: whether it is whole nobody can tell."""

    proves_end = False

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readinto(self, view: memoryview) -> int:
        """Take at least one byte; 0 at the end of the connection."""
        return self._wire.readinto(view)


class Nothing:
    """No body: everything is there already."""

    proves_end = True

    def readinto(self, _view: memoryview) -> int:
        """Return 0."""
        return 0


def frame_of(framing: Framing, wire: Wire, limits: HttpLimits) -> Frame:
    """Return what finds the end of a body that is framed like this."""
    if framing.chunked:
        return ByChunks(wire, limits)
    return UntilClose(wire) if framing.length is None else ByLength(wire, framing.length)


class HttpBody:
    """Implements `ports.Body`. Bytes that came before an error are delivered first; the next call raises it.

    `held`: what goes with the connection, closed with the body; its owner moves it here once the body is to be kept.
    """

    def __init__(
        self,
        held: ExitStack,
        frame: Frame,
        *,
        offset: int,
        total_bytes: int | None,
        validator: Validator,
        served_by: str,
        peer: Peer,
        max_bytes: int | None,
    ) -> None:
        self.offset = offset
        self.total_bytes = total_bytes
        self.validator = validator
        self.served_by = served_by
        self.peer: Peer | None = peer
        self.complete = False
        self._held = held
        self._frame = frame
        self._max_bytes = max_bytes
        self._position = offset
        self._ended = False
        self._failure: errors.GoldmasterError | None = None

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` from its start; 0 only at the end. See `ports.Body`."""
        if self._failure is not None:
            raise self._failure
        filled = 0
        try:
            while filled < len(buffer) and not self._ended:
                count = self._frame.readinto(buffer[filled:])
                filled += count
                self._position += count
                if count == 0:
                    self._end()
                elif self._max_bytes is not None and self._position > self._max_bytes:
                    filled -= self._position - self._max_bytes
                    raise errors.TooLarge(f"the source has more than the {self._max_bytes} bytes that maxSize allows")
        except errors.GoldmasterError as exc:
            self._failure = exc
            self.close()
            if filled == 0:
                raise
        return filled

    def close(self) -> None:
        """Drop the connection; never reads the rest."""
        self._held.close()

    def _end(self) -> None:
        if self.total_bytes is not None and self._position < self.total_bytes:
            raise errors.SourceUnreachable(f"the body ended at byte {self._position} of {self.total_bytes}")
        if self.total_bytes is not None and self._position > self.total_bytes:
            raise errors.ProtocolError(f"the server sends more than the {self.total_bytes} bytes that it promised")
        self._ended = True
        self.complete = self._frame.proves_end
        self.close()
