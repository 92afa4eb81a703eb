"""An HTTP server that answers what a test tells it to, for what a real API server does not do on demand."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from controller.kube.access import Access
from controller.kube.exec_plugin import Login


@dataclass
class Api:
    """Answers in order: (status, body, headers). Without any left, 200 and `{}`."""

    port: int = 0
    answers: list[tuple[int, object, dict[str, str]]] = field(default_factory=list)
    asked: list[tuple[str, str, str, Any]] = field(default_factory=list)
    """(method, path, Authorization, body)."""
    accepted: list[str] = field(default_factory=list)
    """What each request said that it accepts."""
    tokens: list[str] = field(default_factory=lambda: ["token"])
    """Handed out by the login, the last one again and again."""
    lists: dict[str, object] = field(default_factory=dict)
    """What is answered to a path when no answer is left."""
    missing: set[str] = field(default_factory=set)
    """Paths that are answered 404 instead."""
    logins: int = 0
    connections: int = 0
    """Those that clients have opened so far."""
    down: bool = False
    """Answer 503 to everything."""

    def answer(self, status: int, body: object = None, **headers: str) -> None:
        self.answers.append((status, {} if body is None else body, headers))

    def access(self, **login: Any) -> Access:  # noqa: ANN401  whatever a Login takes
        def log_in() -> Login:
            self.logins += 1
            token = self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]
            return Login(token=token, **login)

        return Access(f"http://127.0.0.1:{self.port}", log_in)


@contextmanager
def serving() -> Iterator[Api]:
    api = Api()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            api.connections += 1
            super().setup()

        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            api.asked.append((self.command, self.path, self.headers.get("Authorization", ""), body))
            api.accepted.append(self.headers.get("Accept", ""))
            usual: tuple[int, object, dict[str, str]] = (200, api.lists.get(self.path.partition("?")[0], {}), {})
            if self.path in api.missing:
                usual = (404, {}, {})
            if api.down:
                usual = (503, {}, {})
            status, document, headers = api.answers.pop(0) if api.answers else usual
            data = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_PATCH = _do

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()
