"""The web server that the demo downloads from: one folder, on loopback, with byte ranges and strong ETags."""

import hashlib
import re
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

PREFERRED_PORT = 8421
"""The same one each time, so that the manifests of a second run are those of the first."""
BYTES_PER_SECOND = 2 * 2**20
"""Slow enough that there is something to see."""
CHUNK_BYTES = 64 * 2**10
RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{0,18})")


class ImageServer(ThreadingHTTPServer):
    """Serves the files of `folder`, and counts what it sends.

    Raises OSError where loopback has no free port at all.
    """

    daemon_threads = True

    def __init__(
        self, folder: Path, port: int = PREFERRED_PORT, bytes_per_second: int | None = BYTES_PER_SECOND
    ) -> None:
        self.folder = folder
        self.bytes_per_second = bytes_per_second
        self.bytes_sent = 0
        self.closing = threading.Event()
        self._lock = threading.Lock()
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except OSError:
            super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://127.0.0.1:{self.server_port}"

    def count(self, sent: int) -> None:
        """Add to `bytes_sent`, from any thread."""
        with self._lock:
            self.bytes_sent += sent

    def __enter__(self) -> "ImageServer":
        """Serve from a thread until the block ends."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, name="demo-server").start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving and let go of the port."""
        self.closing.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD of a file, whole or from an offset on."""

    server: ImageServer
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        """Answer with the bytes."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer without them."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is http.server's
        """Say nothing: the demo's output is the command's."""

    def _answer(self, *, with_body: bool) -> None:
        name = unquote(urlsplit(self.path).path).removeprefix("/")
        path = self.server.folder / name
        if "/" in name or name.startswith(".") or not path.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        etag = f'"{file_sha256(path)[:32]}"'
        with path.open("rb") as file:
            size = path.stat().st_size
            wanted = self._wanted_range(etag, size)
            if wanted is None:
                self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(HTTPStatus.PARTIAL_CONTENT if len(wanted) < size else HTTPStatus.OK)
            if len(wanted) < size:
                self.send_header("Content-Range", f"bytes {wanted.start}-{wanted.stop - 1}/{size}")
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(wanted)))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", etag)
            self.end_headers()
            if with_body:
                self._send(file, wanted)

    def _wanted_range(self, etag: str, size: int) -> range | None:
        """Return which bytes to send; None for a range that lies outside."""
        match = RANGE.fullmatch(self.headers.get("Range", ""))
        if not match or self.headers.get("If-Range", etag) != etag:
            return range(size)
        start, stop = int(match[1]), int(match[2]) + 1 if match[2] else size
        return range(start, min(stop, size)) if start < min(stop, size) else None

    def _send(self, file: BinaryIO, wanted: range) -> None:
        file.seek(wanted.start)
        left = len(wanted)
        rate = self.server.bytes_per_second
        try:
            while left and (chunk := file.read(min(CHUNK_BYTES, left))):
                self.server.count(len(chunk))  # before the client can have it, who may ask for the count at once
                self.wfile.write(chunk)
                left -= len(chunk)
                if rate and self.server.closing.wait(len(chunk) / rate):
                    break
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client hung up, which is its right
        if left:
            self.close_connection = True


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
