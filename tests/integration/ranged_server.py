"""A small HTTP server on loopback with strong validators, ranges and a speed limit. It remembers what it was asked."""

import http.server
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PIECE = 16 * 1024


@dataclass
class Served:
    """What the server has. `bytes_per_s` 0: as fast as it goes."""

    port: int = 0
    scheme: str = "http"
    files: dict[str, bytes] = field(default_factory=dict)
    """By path; the ETag is the path and `version`, unless `etags` says another."""
    etags: dict[str, str | None] = field(default_factory=dict)
    version: int = 1
    bytes_per_s: float = 0
    closing: threading.Event = field(default_factory=threading.Event)
    guard: Callable[[str, str | None], int] = lambda _path, _authorization: 200
    """Says the status for a path and an Authorization header; anything but 200 is answered without a body."""
    on_body: Callable[[str], None] = lambda _path: None
    """Called before a whole body is sent. Where it raises ConnectionError, none is."""
    asked: list[tuple[str, int]] = field(default_factory=list)
    """Path and status, in order."""
    sent_bytes: int = 0

    def url(self, path: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def whole(self, path: str) -> int:
        """How often all of a file was asked for."""
        return self.asked.count((path, 200))


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served
    lock = threading.Lock()

    def do_GET(self) -> None:
        served = self.served
        status = served.guard(self.path, self.headers.get("Authorization"))
        if status == 200 and self.path not in served.files:
            status = 404
        if status != 200:
            self._answer(status, {"Content-Length": "0"})
            return
        data = served.files[self.path]
        etag = served.etags.get(self.path, f'"{self.path}-{served.version}"')
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        partly = asked is not None and self.headers.get("If-Range", etag) == etag
        start, end = (int(asked[1]), int(asked[2] or len(data) - 1) + 1) if asked and partly else (0, len(data))
        headers = {"Content-Length": str(end - start)} | ({} if etag is None else {"ETag": etag})
        if partly:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        body = memoryview(data)[start:end]
        counted = min(len(body), PIECE) if partly else 0
        self._answer(206 if partly else 200, headers, counted)
        try:
            if not partly:
                served.on_body(self.path)
            self._send(body, counted)
        except OSError:
            self.close_connection = True

    def _answer(self, status: int, headers: dict[str, str], counted: int = 0) -> None:
        """Say how it begins. So many bytes count as sent with it: who asked for a part may read no more than this."""
        with self.lock:
            self.served.asked.append((self.path, status))
            self.served.sent_bytes += counted
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, data: memoryview, counted: int) -> None:
        served = self.served
        for at in range(0, len(data), PIECE):
            piece = data[at : at + PIECE]
            with self.lock:  # before it is sent: with it the client may be back sooner than this thread goes on
                served.sent_bytes += 0 if at < counted else len(piece)
            self.wfile.write(piece)
            if served.bytes_per_s and served.closing.wait(PIECE / served.bytes_per_s):
                return

    def log_message(self, *_: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, *_: object) -> None:
        """A client that was killed is what these tests are about."""


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Served]:
    """Serve until the end of the block."""
    served = Served(scheme="http" if tls is None else "https")
    with _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"served": served})) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        served.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield served
        finally:
            served.closing.set()
            server.shutdown()
            thread.join()
