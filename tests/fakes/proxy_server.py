"""A real forward proxy on loopback: it tunnels (CONNECT) and relays (whole URLs), and keeps what it was asked."""

import base64
import contextlib
import socket
from urllib.parse import urlsplit

from tests.fakes.loopback import Listener


class ProxyServer(Listener):
    """Runs while its `with` block does. Finds every name on 127.0.0.1. `password` set: asks for user `gold`."""

    def __init__(self, password: str | None = None) -> None:
        super().__init__()
        self._wanted = None if password is None else base64.b64encode(f"gold:{password}".encode()).decode()
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: list[bytes] = []
        """Heads as they came."""
        self.relayed: list[bytes] = []
        """What went through tunnels, towards the origin, piece by piece."""

    @property
    def request_lines(self) -> list[str]:
        return [head.split(b"\r\n")[0].decode() for head in self.requests]

    def serve(self, sock: socket.socket, number: int) -> None:
        """Read one request; tunnel it or pass it on."""
        with contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                data = sock.recv(4096)
                if not data:
                    return
                head += data
            self.requests.append(head)
            self._answer(sock, head)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    def _answer(self, sock: socket.socket, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        if self._wanted is not None and f"Proxy-Authorization: Basic {self._wanted}" not in lines:
            sock.sendall(b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=p\r\nContent-Length: 0\r\n\r\n")
            return
        if method == "CONNECT":
            origin = self._connect(int(target.rpartition(":")[2]))
            sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            url = urlsplit(target)
            origin = self._connect(url.port or 80)
            kept = [line for line in lines[1:] if not line.lower().startswith("proxy-")]
            path = url.path + (f"?{url.query}" if url.query else "")
            # one request per connection: what comes after it is passed on as it is
            head_line = f"{method} {path} HTTP/1.1"
            origin.sendall("\r\n".join([head_line, "Connection: close", *kept]).encode("latin-1"))
        self._start(self._pump, sock, origin, self.relayed)
        self._pump(origin, sock, [])

    def _connect(self, port: int) -> socket.socket:
        origin = socket.create_connection(("127.0.0.1", port))
        self._open.append(origin)
        return origin

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket, seen: list[bytes]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(2**16):
                seen.append(data)
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
