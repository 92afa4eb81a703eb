"""A small HTTP server on loopback with strong validators, ranges and a speed limit."""

import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PIECE = 16 * 1024


@dataclass
class Served:
    """What the server has. `bytes_per_s` 0: as fast as it goes."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    """By path; the ETag is the path and `version`."""
    version: int = 1
    bytes_per_s: float = 0
    sent_bytes: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def serving() -> Iterator[Served]:
    served = Served()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            data = served.files[self.path]
            etag = f'"{self.path}-{served.version}"'
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(asked[1]) if asked and self.headers.get("If-Range", etag) == etag else 0
            self.send_response(206 if start else 200)
            self.send_header("ETag", etag)
            self.send_header("Content-Length", str(len(data) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            try:
                self._send(memoryview(data)[start:])
            except OSError:
                self.close_connection = True

        def _send(self, data: memoryview) -> None:
            for at in range(0, len(data), PIECE):
                self.wfile.write(data[at : at + PIECE])
                served.sent_bytes += len(data[at : at + PIECE])
                if served.bytes_per_s and served.closing.wait(PIECE / served.bytes_per_s):
                    return

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = False

        def handle_error(self, *_: object) -> None:
            """A client that was killed is what these tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        served.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield served
        finally:
            served.closing.set()
            server.shutdown()
            thread.join()
