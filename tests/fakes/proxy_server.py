"""A real forward proxy on loopback: it tunnels (CONNECT) and relays (whole URLs), and keeps what it was asked."""

import base64
import contextlib
import socket
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class ProxyServer:
    """Runs while its `with` block does. Finds every name on 127.0.0.1. `password` set: asks for user `gold`."""

    def __init__(self, password: str | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._wanted = None if password is None else base64.b64encode(f"gold:{password}".encode()).decode()
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: list[bytes] = []
        """Heads as they came."""
        self.relayed: list[bytes] = []
        """What went through tunnels, towards the origin, piece by piece."""
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []

    @property
    def request_lines(self) -> list[str]:
        return [head.split(b"\r\n")[0].decode() for head in self.requests]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
        for sock in self._open:
            sock.close()

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name=f"proxy-{self.port}")  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(sock)
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
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
            origin.sendall("\r\n".join([f"{method} {path} HTTP/1.1", *kept]).encode("latin-1"))
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
