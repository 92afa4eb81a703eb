"""A web server on loopback that counts what is fetched and can hold an answer back in the middle."""

import contextlib
import http.server
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PIECE = 64 * 1024
TRICKLE_S = 0.1
FLOWS = 9 * 1024 * 1024 // 2
"""What comes of a held file at that pace: two buffers, and more than the five seconds after which the next that is full
is made durable. Then it only drips."""
LAST = 1024 * 1024
SIP = 2048
"""A drip, also all through the last mebibyte: more a second than the least that a source may send, and nothing that is
held comes far, or to its end, while a busy machine does what it is held for."""


@dataclass
class ImageServer:
    """Files by path. Those in `held` only trickle after `hold_after` bytes, ever thinner, until `flow` is set."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    hold_after: int = 0
    flow: threading.Event = field(default_factory=threading.Event)
    guards: dict[str, str] = field(default_factory=dict)
    """The Authorization that a path wants; without it the answer is 401, and repeats what was sent."""
    requests: list[tuple[str, int]] = field(default_factory=list)
    """(path, first byte that was asked for)."""
    sent: dict[str, int] = field(default_factory=dict)
    """Bytes by path, of all answers together."""
    closing: bool = False
    _answering: dict[str, set[socket.socket]] = field(default_factory=dict)

    def add(self, path: str, content: bytes) -> str:
        """Serve a file; return its URL."""
        self.files[path] = content
        return f"http://127.0.0.1:{self.port}{path}"

    def cut(self, path: str) -> int:
        """Reset the connections on which a file is sent just now; return how many there were."""
        doomed = list(self._answering.get(path, ()))
        for one in doomed:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        return len(doomed)

    def asked(self, path: str) -> int:
        """Return how often a file was asked for."""
        return sum(asked == path for asked, _ in self.requests)


def _handler(state: ImageServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            data = state.files.get(self.path)
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(asked[1]) if asked else 0
            state.requests.append((self.path, start))
            if data is None:
                self.send_error(404)
                return
            told = self.headers.get("Authorization", "")
            if state.guards.get(self.path, told) != told:
                self.send_response(401, f"not {told}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            self.send_header("ETag", f'"{hash(data)}"')
            self.send_header("Content-Length", str(len(data) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            state._answering.setdefault(self.path, set()).add(self.connection)
            try:
                self._send(memoryview(data), start)
            except OSError:
                self.close_connection = True
            finally:
                state._answering[self.path].discard(self.connection)

        def _send(self, data: memoryview, start: int) -> None:
            at = start
            while at < len(data) and not state.closing:
                size = PIECE
                if self.path in state.held and at >= state.hold_after and not state.flow.wait(TRICKLE_S):
                    size = PIECE if at < min(state.hold_after + FLOWS, len(data) - LAST) else SIP
                piece = data[at : at + size]
                # before it is sent: with it the client may be done sooner than this thread goes on
                state.sent[self.path] = state.sent.get(self.path, 0) + len(piece)
                self.wfile.write(piece)
                at += len(piece)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def serving() -> Iterator[ImageServer]:
    state = ImageServer()

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = False

        def handle_error(self, *_: object) -> None:
            """Clients are killed here on purpose."""

    with Server(("127.0.0.1", 0), _handler(state)) as server:
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield state
        finally:
            state.closing = True
            state.flow.set()
            server.shutdown()
            thread.join()
