"""A server on loopback that says exactly what a test tells it, byte for byte, wrong or not.

A script is a function that gets one `Peer` after its request was read; the n-th connection runs the n-th script, later
ones the last. A script that returns ends its connection properly (FIN); `Peer.reset` ends it rudely.
"""

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Iterable
from types import TracebackType

from tests.fakes.loopback import Listener

_ZEROS = bytes(2**18)


class Peer:
    """One connection of a client. `request` is what it sent, up to the blank line."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.request = b""
        self.sent_bytes = 0

    def read_request(self) -> None:
        while b"\r\n\r\n" not in self.request:
            data = self._sock.recv(4096)
            if not data:
                return
            self.request += data

    @property
    def request_line(self) -> str:
        return self.request.split(b"\r\n")[0].decode("latin-1")

    @property
    def headers(self) -> dict[str, str]:
        """What the client sent, names in lower case."""
        lines = self.request.decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines if line)
        return {name.lower(): value.strip() for name, _, value in pairs}

    def send(self, *pieces: bytes) -> None:
        """Send all of it, in one go."""
        data = b"".join(pieces)
        self._sock.sendall(data)
        self.sent_bytes += len(data)

    def send_zeros(self, count: int) -> None:
        """Send so many zero bytes, as long as the client takes them."""
        while count > 0:
            count -= (step := min(count, len(_ZEROS)))
            self.send(_ZEROS[:step])

    def reset(self) -> None:
        """End the connection with a RST."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def hold(self) -> None:
        """Say nothing more until the client hangs up or the server stops."""
        with contextlib.suppress(OSError):
            while self._sock.recv(4096):
                pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


Script = Callable[[Peer], None]


class HostileServer(Listener):
    """Listens while its `with` block runs. `tls` makes it speak TLS."""

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> None:
        super().__init__(address)
        self._scripts = scripts
        self._tls = tls
        self.peers: list[Peer] = []
        self.problems: list[BaseException] = []

    def url(self, path: str = "/image", host: str = "127.0.0.1") -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        super().__exit__(kind, error, at)
        if error is None and self.problems:
            raise self.problems[0]

    def serve(self, sock: socket.socket, number: int) -> None:
        """Run the script of this connection."""
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._open.append(sock)
            peer = Peer(sock)
            self.peers.append(peer)
            peer.read_request()
            if peer.request:
                self._scripts[min(number, len(self._scripts)) - 1](peer)
            peer.close()
        except OSError:
            sock.close()  # the client hung up: whether it should have, the test knows
        except BaseException as exc:  # noqa: BLE001  a mistake in a script is shown to the test
            self.problems.append(exc)
            sock.close()


def head(status: str = "200 OK", headers: Iterable[str] = ()) -> bytes:
    """Return a status line and headers, blank line included."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode("latin-1")


def answering(status: str, *headers: str, body: bytes = b"") -> Script:
    """Return a script that sends this and hangs up."""
    return lambda peer: peer.send(head(status, headers), body)


def serving(data: bytes, *headers: str) -> Script:
    """Return a script of a proper answer without ranges."""
    return answering("200 OK", f"Content-Length: {len(data)}", *headers, body=data)


def redirecting(location: str, status: str = "302 Found") -> Script:
    """Return a script that sends the client elsewhere."""
    return answering(status, f"Location: {location}", "Content-Length: 0")
