"""One connected socket and the patience for it: every wait ends by data, by a limit, or by the stop token.

The socket does not block: data that is there is taken without a look at the clock, and only a real wait costs one.
Limits count time spent waiting for the peer. Time that our own side takes between two reads is not held against it.
"""

import contextlib
import errno
import functools
import os
import select
import socket
import ssl
from collections.abc import Callable
from typing import Self, TypeVar

from controller import errors
from controller.adapters.sources import foreign_errors
from controller.adapters.sources.http_limits import HttpLimits
from controller.adapters.sources.resolver import Endpoint
from controller.ports import Clock, StopToken

_Result = TypeVar("_Result")
_AHEAD_BYTES = 4096
"""How much is read at a time while lines are looked for."""
_GATHER_BYTES = 2**18
"""How much is let come together in the kernel before a wait ends."""
_LOOK_EVERY_BYTES = 2**20
"""The stop token is looked at this often even where no wait is needed."""


class Patience:
    """How long to wait for one peer. `begin` starts a phase; the body phase also keeps the throughput floor."""

    def __init__(self, clock: Clock, stop: StopToken, limits: HttpLimits) -> None:
        self._clock = clock
        self._stop = stop
        self._limits = limits
        self._doing = ""
        self._allowed_s = self._left_s = 0.0
        self._body = False
        self._window_s = 0.0
        self._window_bytes = 0

    def begin(self, doing: str, allowed_s: float) -> None:
        """Allow so much waiting in all for what comes next."""
        self._doing = doing
        self._allowed_s = self._left_s = allowed_s
        self._body = False

    def begin_body(self, doing: str, stall_s: float) -> None:
        """From now on allow `stall_s` without a byte, and no less than the floor over its window."""
        self.begin(doing, stall_s)
        self._body = True
        self._window_s, self._window_bytes = 0.0, 0

    @property
    def doing(self) -> str:
        """What is being waited for."""
        return self._doing

    def look(self) -> None:
        """Raise Interrupted if the stop token is set."""
        if self._stop.is_set():
            raise errors.Interrupted(f"stopped while {self._doing}")

    def wait(self, poll: "select.poll") -> None:
        """Wait for the socket, at most one tick. Raises SourceUnreachable where the phase's time is over."""
        self.look()
        if self._left_s <= 0:
            raise errors.SourceUnreachable(f"{self._doing}: waited for {self._allowed_s:g} s in vain")
        before = self._clock.monotonic()
        poll.poll(max(1.0, 1000 * min(self._limits.tick_s, self._left_s)))
        waited = self._clock.monotonic() - before
        self._left_s -= waited
        self._window_s += waited

    def received(self, count: int) -> None:
        """Take note of body bytes; raise SourceUnreachable where they come slower than the floor."""
        if not self._body:
            return
        self._left_s = self._allowed_s
        self._window_bytes += count
        if self._window_s < self._limits.floor_window_s:
            return
        floor = self._limits.floor_bytes_per_s
        if self._window_bytes < floor * self._window_s:
            raise errors.SourceUnreachable(
                f"{self._doing}: {self._window_bytes} bytes in {self._window_s:.0f} s is below {floor} bytes/s"
            )
        self._window_s, self._window_bytes = 0.0, 0


class Wire:
    """A connected socket. One thread uses it; `close` may be called twice."""

    def __init__(self, sock: socket.socket, patience: Patience) -> None:
        self._sock = sock
        self._patience = patience
        self._ahead = memoryview(b"")
        self._unlooked = 0
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(sock, select.POLLIN)
        self._writable.register(sock, select.POLLOUT)

    @classmethod
    def connect(cls, endpoint: Endpoint, patience: Patience) -> Self:
        """Open a connection to exactly this address. Raises SourceUnreachable, Interrupted."""
        sock = socket.socket(endpoint.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        wire = cls(sock, patience)
        try:
            wire._ready(lambda: _connected(sock, endpoint), wire._writable)
        except BaseException:
            wire.close()
            raise
        return wire

    @property
    def peer_address(self) -> str:
        """The numeric address of the other end, as the kernel says."""
        try:
            return str(self._sock.getpeername()[0])
        except OSError as exc:
            raise foreign_errors.translate(exc, self._patience.doing) from exc

    def start_tls(self, context: ssl.SSLContext, name: str) -> None:
        """Shake hands; the certificate must be for `name`. Raises ProtocolError, SourceUnreachable, Interrupted."""
        secure = self._ready(
            lambda: context.wrap_socket(self._sock, server_hostname=name, do_handshake_on_connect=False), self._readable
        )
        self._sock = secure
        self._ready(secure.do_handshake, self._readable)

    @property
    def certificate(self) -> bytes | None:
        """The certificate of the other end (DER), None without TLS."""
        return self._sock.getpeercert(binary_form=True) if isinstance(self._sock, ssl.SSLSocket) else None

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._ready(functools.partial(self._sock.send, rest), self._writable) :]

    def readinto(self, view: memoryview) -> int:
        """Take what is there, at least one byte; 0 at the end of the stream."""
        if self._ahead:
            count = min(len(self._ahead), len(view))
            view[:count] = self._ahead[:count]
            self._ahead = self._ahead[count:]
            return count
        try:
            count = self._sock.recv_into(view)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            count = self._ready(lambda: self._sock.recv_into(view), self._readable)
        except OSError as exc:
            # Never asked twice: the kernel tells of a reset once, and then pretends a proper end.
            raise foreign_errors.translate(exc, self._patience.doing) from exc
        self._unlooked += count
        if self._unlooked >= _LOOK_EVERY_BYTES:
            self._unlooked = 0
            self._patience.look()
        self._patience.received(count)
        return count

    def readline(self, limit: int) -> bytes:
        """Return up to and including the next line feed, at most `limit` bytes; less at the end of the stream."""
        line = b""
        while True:
            ahead = bytes(self._ahead[: limit - len(line)])
            end = ahead.find(b"\n") + 1
            taken = ahead[:end] if end else ahead
            line += taken
            self._ahead = self._ahead[len(taken) :]
            if end or len(line) >= limit or not self._read_ahead():
                return line

    def gather(self, left: int) -> int:
        """Let waits last until many bytes are there, of `left` that are still to come; return how many.

        Fewer, larger reads halve the cost of a fast transfer. A wait ends after a tick in any case, and a TLS record is
        too small to wait for several.
        """
        many = 1 if isinstance(self._sock, ssl.SSLSocket) else max(1, min(left, _GATHER_BYTES))
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, many)
        return many

    @property
    def has_ahead(self) -> bool:
        """Whether bytes were read that nobody took yet."""
        return bool(self._ahead)

    def has_more(self) -> bool:
        """Whether bytes are there already; does not wait. Only to be asked at the end: it takes one of them."""
        if self._ahead:
            return True
        try:
            return bool(self._sock.recv(1))
        except OSError:
            return False

    def close(self) -> None:
        """Drop the connection; nothing more is read or sent."""
        self._sock.close()

    def _read_ahead(self) -> bool:
        data = self._ready(lambda: self._sock.recv(_AHEAD_BYTES), self._readable)
        self._patience.received(len(data))
        self._ahead = memoryview(data)
        return bool(data)

    def _ready(self, operation: Callable[[], _Result], poll: "select.poll") -> _Result:
        """Do it as soon as the socket lets us."""
        while True:
            try:
                return operation()
            except ssl.SSLWantReadError:
                awaited = self._readable
            except ssl.SSLWantWriteError:
                awaited = self._writable
            except BlockingIOError:
                awaited = poll
            except foreign_errors.FOREIGN as exc:
                raise foreign_errors.translate(exc, self._patience.doing) from exc
            self._patience.wait(awaited)


def _connected(sock: socket.socket, endpoint: Endpoint) -> None:
    """Go on connecting; raises BlockingIOError until it is done."""
    code = sock.connect_ex(endpoint.sockaddr)
    if code in {errno.EINPROGRESS, errno.EALREADY}:
        raise BlockingIOError(code, os.strerror(code))
    if code not in {0, errno.EISCONN}:
        raise OSError(code, os.strerror(code))
