"""Git's own http-backend behind a small server on loopback, with users, faults, and a count of what was asked."""

import base64
import contextlib
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class GitServer:
    """Serves the repositories below a directory; what is set here holds from the next request on."""

    def __init__(self, root: Path, port: int, scheme: str) -> None:
        self.root = root
        self.url = f"{scheme}://127.0.0.1:{port}"
        self.port = port
        self.authorization: str | None = None
        """The header that a request must have."""
        self.redirect_to: str | None = None
        self.status: int | None = None
        """Answer with this, and no more."""
        self.message = b""
        self.asks_for = 'Basic realm="git"'
        """The way to log in that it offers to who is not let in."""
        self.told: list[str] = []
        """Every Authorization that came."""
        self.dumb = False
        """Serve the files of repositories as they are, as any web server does."""
        self.stall = False
        """Send half of a pack, and nothing more until the server ends."""
        self.hang = False
        """Say nothing until the server ends."""
        self.requests: list[str] = []
        self.ended = threading.Event()

    def let_in(self, user: str, password: str) -> None:
        self.authorization = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: GitServer

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        served = self.served
        served.requests.append(f"{self.command} {self.path}")
        served.told += self.headers.get_all("Authorization", [])
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if served.hang:
            served.ended.wait(60)
            self.close_connection = True
        elif served.redirect_to is not None:
            self._answer(302, {"Location": served.redirect_to + self.path}, b"")
        elif served.status is not None:
            self._answer(served.status, {}, served.message)
        elif served.authorization not in {None, self.headers.get("Authorization")}:
            self._answer(401, {"WWW-Authenticate": served.asks_for}, served.message)
        elif served.dumb:
            file = served.root / self.path.partition("?")[0].strip("/")
            self._answer(200, {}, file.read_bytes()) if file.is_file() else self._answer(404, {}, b"")
        else:
            self._run(body)

    def _run(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.served.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=environment, capture_output=True, check=False, timeout=60
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        if self.served.stall and b"PACK" in content:
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.served.ended.wait(60)
            self.close_connection = True
            return
        self._answer(int(headers.pop("Status", "200").split()[0]), headers, content)

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def serving(root: Path, tls: ssl.SSLContext | None = None) -> Iterator[GitServer]:
    """Serve while the block runs."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = False
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    served = handler.served = GitServer(root, server.server_address[1], "https" if tls else "http")  # type: ignore[attr-defined]
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that goes away is what is tested
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="git-http")
    thread.start()
    try:
        yield served
    finally:
        served.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
