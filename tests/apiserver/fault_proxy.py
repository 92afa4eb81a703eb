"""An HTTPS proxy before the real API server, for the answers that a healthy one does not give on demand.

It shows the server's own certificate and passes tokens on, so that everything that is not made to fail is real. It also
counts: what was asked of the server, and so how many writes something costs.
"""

import contextlib
import http.client
import http.server
import io
import json
import queue
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.apiserver import cluster

ANSWER_S = 60.0
CONNECTIONS = 40
"""Served at once; an operator keeps a dozen."""
PIECE = 64 * 1024
_HOP = frozenset({"connection", "transfer-encoding", "keep-alive", "host", "content-length"})


@dataclass(slots=True)
class Fault:
    """What is answered in place of the server, to which requests, how often (None: until it is lifted).

    The status 0 is no answer: the connection ends, as where there is no server.
    """

    status: int
    method: str = ""
    """A regular expression, as `path` is, which is held against path and query."""
    path: str = ""
    times: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    hits: int = 0

    def strikes(self, method: str, path: str) -> bool:
        """Whether this request is one of them."""
        if self.times is not None and self.hits >= self.times:
            return False
        return re.fullmatch(self.method or ".*", method) is not None and re.search(self.path, path) is not None


@dataclass(slots=True)
class Hold:
    """One request that is kept back until a test lets it go."""

    method: str
    path: str
    arrived: threading.Event = field(default_factory=threading.Event)
    free: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request and the status that was answered to it."""

    method: str
    path: str
    status: int

    @property
    def writes(self) -> bool:
        """Whether it changed something, or tried to."""
        return self.method != "GET"


class _Watch:
    """One stream of events to a client. Lines come from the server, and from a test."""

    def __init__(self, path: str, to: io.BufferedIOBase, upstream: socket.socket) -> None:
        self.path = path
        self._to = to
        self._upstream = upstream
        self._lock = threading.Lock()
        self._ended = False
        self.silent = False

    def pass_on(self, data: bytes) -> None:
        with self._lock:
            if not self._ended and not self.silent:
                self._chunk(data)

    def end(self, last: bytes) -> None:
        """Say this, then end in good order, as a server does whose watch is over."""
        with self._lock, contextlib.suppress(OSError):
            if not self._ended:
                self._ended = True
                if last:
                    self._chunk(last)
                self._to.write(b"0\r\n\r\n")
                self._to.flush()
        with contextlib.suppress(OSError):
            self._upstream.shutdown(socket.SHUT_RDWR)

    def _chunk(self, data: bytes) -> None:
        self._to.write(b"%x\r\n%s\r\n" % (len(data), data))
        self._to.flush()


class FaultProxy:
    """Forwards until told otherwise. All methods may be called from any thread."""

    def __init__(self, kube: cluster.Cluster) -> None:
        self._to = ("127.0.0.1", int(kube.server.rsplit(":", 1)[1]))
        self._trust = ssl.create_default_context(cafile=str(kube.authority))
        self._lock = threading.Lock()
        self._answered = threading.Condition(self._lock)
        self._under_way: set[object] = set()
        """Writes that the server may have seen and that are not noted yet."""
        self._faults: list[Fault] = []
        self._holds: list[Hold] = []
        self._watches: list[_Watch] = []
        self._open: set[socket.socket] = set()
        self._asked: list[Asked] = []
        self.refused_tokens: set[str] = set()
        """Bearer tokens that are answered with 401."""
        self.page_size: int | None = None
        """Give lists out in pages of so many objects, however many were asked for at once."""
        self.port = 0

    # --- what a test does ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def faulty(
        self, status: int, method: str = "", path: str = "", times: int | None = None, **headers: str
    ) -> Iterator[Fault]:
        """Answer with this status while the block lasts."""
        fault = Fault(status, method, path, times, {name.replace("_", "-"): value for name, value in headers.items()})
        with self._lock:
            self._faults.append(fault)
        try:
            yield fault
        finally:
            with self._lock:
                self._faults.remove(fault)

    @contextlib.contextmanager
    def holding(self, method: str, path: str) -> Iterator[Hold]:
        """Keep back the first such request, at the latest until the block ends; then it goes to the server."""
        hold = Hold(method, path)
        with self._lock:
            self._holds.append(hold)
        try:
            yield hold
        finally:
            hold.free.set()

    def end_watches(self, last: bytes = b"", path: str = "") -> int:
        """End the watches on a path with some last words; return how many there were."""
        with self._lock:
            found = [watch for watch in self._watches if re.search(path, watch.path)]
        for watch in found:
            watch.end(last)
        return len(found)

    def silence_watches(self) -> int:
        """Pass on no more events of the watches that stand; return how many there were. New ones are served."""
        with self._lock:
            for watch in self._watches:
                watch.silent = True
            return len(self._watches)

    def asked(self, method: str = "", path: str = "") -> list[Asked]:
        """Return the requests so far, in the order of their answers.

        Waits for those that write and are under way: what the server has done already can be seen before its answer
        comes back here.
        """
        with self._answered:
            before = set(self._under_way)
            assert self._answered.wait_for(lambda: not before & self._under_way, ANSWER_S)
            asked = list(self._asked)
        return [one for one in asked if re.fullmatch(method or ".*", one.method) and re.search(path, one.path)]

    def writes(self, path: str = "") -> list[Asked]:
        """Return the requests that changed something, Events aside."""
        return [one for one in self.asked(path=path) if one.writes and "/events" not in one.path]

    # --- what the handler does ----------------------------------------------------------------------------------------

    def verdict(self, method: str, path: str, authorization: str) -> Fault | None:
        """Return the fault that strikes a request."""
        with self._lock:
            if authorization.removeprefix("Bearer ") in self.refused_tokens:
                return Fault(401)
            for fault in self._faults:
                if fault.strikes(method, path):
                    fault.hits += 1
                    return fault
        return None

    def paged(self, path: str) -> str:
        """Return what the server is asked for."""
        return path if self.page_size is None else re.sub(r"\blimit=\d+", f"limit={self.page_size}", path)

    def wait_for(self, method: str, path: str) -> None:
        """Return when a request may go on."""
        with self._lock:
            held = [hold for hold in self._holds if hold.method == method and re.search(hold.path, path)]
            self._holds = [hold for hold in self._holds if hold not in held]
        for hold in held:
            hold.arrived.set()
            hold.free.wait(ANSWER_S)

    def note(self, method: str, path: str, status: int) -> None:
        """Remember a request."""
        with self._lock:
            self._asked.append(Asked(method, path, status))

    @contextlib.contextmanager
    def passing_on(self, method: str) -> Iterator[None]:
        """Know a request that goes to the server, until it was noted or failed."""
        token = object()
        with self._lock:
            self._under_way |= {token} if method != "GET" else set()
        try:
            yield
        finally:
            with self._answered:
                self._under_way.discard(token)
                self._answered.notify_all()

    def connect(self) -> http.client.HTTPSConnection:
        """Open a connection to the server."""
        upstream = http.client.HTTPSConnection(*self._to, context=self._trust, timeout=ANSWER_S)
        upstream.connect()
        self.opened(upstream.sock)
        return upstream

    def opened(self, one: socket.socket) -> None:
        """Remember a connection, to cut it in the end."""
        with self._lock:
            self._open.add(one)

    def closed(self, one: socket.socket) -> None:
        """Forget it."""
        with self._lock:
            self._open.discard(one)

    @contextlib.contextmanager
    def watching(self, watch: _Watch) -> Iterator[None]:
        """Know a watch while the block lasts."""
        with self._lock:
            self._watches.append(watch)
        try:
            yield
        finally:
            with self._lock:
                self._watches.remove(watch)

    def cut_all(self) -> None:
        """End every connection."""
        with self._lock:
            doomed = list(self._open)
        for one in doomed:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _failure(code: int, **fields: object) -> dict[str, object]:
    """Return the v1 Status that an API server sends with an error."""
    plain = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "made up by a test", "code": code}
    return plain | fields


def error_event(code: int, reason: str) -> bytes:
    """Return the line with which a watch ends that went wrong."""
    return json.dumps({"type": "ERROR", "object": _failure(code, reason=reason)}).encode() + b"\n"


class _Handler(http.server.BaseHTTPRequestHandler):
    proxy: FaultProxy
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def setup(self) -> None:
        self.proxy.opened(self.request)
        super().setup()

    def finish(self) -> None:
        self.proxy.closed(self.request)
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            super().handle()

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.verdict(self.command, self.path, self.headers.get("Authorization", ""))
        if fault is not None and not fault.status:
            self.proxy.note(self.command, self.path, 0)
            self.close_connection = True
        elif fault is not None:
            self._answer(
                fault.status,
                {"Content-Type": "application/json", **fault.headers},
                json.dumps(_failure(fault.status)).encode(),
            )
        else:
            self.proxy.wait_for(self.command, self.path)
            with self.proxy.passing_on(self.command):
                self._forward(body)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.proxy.note(self.command, self.path, status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _forward(self, body: bytes) -> None:
        upstream = self.proxy.connect()
        sock = upstream.sock
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            upstream.request(self.command, self.proxy.paged(self.path), body=body or None, headers=headers)
            response = upstream.getresponse()
            kept = {name: value for name, value in response.getheaders() if name.lower() not in _HOP}
            if "watch=true" in self.path and response.status == 200:
                self._stream(response, kept, sock)
            else:
                self._answer(response.status, kept, response.read())
        finally:
            self.proxy.closed(sock)
            upstream.close()

    def _stream(self, response: http.client.HTTPResponse, headers: dict[str, str], sock: socket.socket) -> None:
        self.proxy.note(self.command, self.path, response.status)
        sock.settimeout(None)
        self.close_connection = True
        self.send_response(response.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        watch = _Watch(self.path, self.wfile, sock)
        with self.proxy.watching(watch), contextlib.suppress(OSError, http.client.HTTPException):
            while data := response.read1(PIECE):
                watch.pass_on(data)
        watch.end(b"")

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _do

    def log_message(self, *_: object) -> None:
        pass


class _Server(http.server.HTTPServer):
    """Connections are served by threads that are all there from the start, as tests may not leave new ones."""

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.waiting: queue.SimpleQueue[tuple[socket.socket, object] | None] = queue.SimpleQueue()

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        self.waiting.put((request, client_address))

    def work(self) -> None:
        while (found := self.waiting.get()) is not None:
            with contextlib.suppress(OSError):
                self.finish_request(found[0], found[1])
            self.shutdown_request(found[0])

    def handle_error(self, *_: object) -> None:
        """Clients are cut here on purpose."""


@contextlib.contextmanager
def proxy_to(kube: cluster.Cluster) -> Iterator[FaultProxy]:
    """Yield a proxy to a cluster's API server; operators reach it by its `port`."""
    proxy = FaultProxy(kube)

    handler = type("Handler", (_Handler,), {"proxy": proxy})
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(kube.serving.certificate, kube.serving.key)
    with _Server(handler) as server:
        server.socket = secure.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        proxy.port = server.server_address[1]
        threads = [threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})]
        threads += [threading.Thread(target=server.work) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            for _ in range(CONNECTIONS):
                server.waiting.put(None)
            proxy.cut_all()
            for thread in threads:
                thread.join()
