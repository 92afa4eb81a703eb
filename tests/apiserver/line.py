"""A TCP line between a client and the API server that a test can cut or make silent. TLS passes through unseen."""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

CHUNK = 64 * 1024


@dataclass
class Line:
    """`down`: new connections are refused at once, and those that stood are cut."""

    port: int
    to: tuple[str, int]
    _down: threading.Event = field(default_factory=threading.Event)
    _closing: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: set[socket.socket] = field(default_factory=set)

    def cut(self) -> int:
        """Reset every connection that stands; return how many there were. New ones are served."""
        with self._lock:
            doomed = list(self._open)
        for connection in doomed:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        return len(doomed) // 2

    def take_down(self) -> None:
        """Cut, and refuse until `bring_up`."""
        self._down.set()
        self.cut()

    def bring_up(self) -> None:
        """Serve again."""
        self._down.clear()

    def serve(self, listener: socket.socket) -> None:
        threads = []
        listener.settimeout(0.05)
        while not self._closing.is_set():
            try:
                incoming, _ = listener.accept()
            except TimeoutError:
                continue
            if self._down.is_set():
                incoming.close()
                continue
            thread = threading.Thread(target=self._carry, args=(incoming,))
            thread.start()
            threads.append(thread)
        self.cut()
        for thread in threads:
            thread.join()

    def _carry(self, incoming: socket.socket) -> None:
        with incoming, contextlib.suppress(OSError), socket.create_connection(self.to) as outgoing:
            pair = {incoming: outgoing, outgoing: incoming}
            with self._lock:
                self._open |= set(pair)
            try:
                while not self._closing.is_set():
                    for readable in select.select(list(pair), [], [], 0.1)[0]:
                        data = readable.recv(CHUNK)
                        if not data:
                            return
                        pair[readable].sendall(data)
            finally:
                with self._lock:
                    self._open -= set(pair)

    def close(self) -> None:
        self._closing.set()


@contextlib.contextmanager
def line_to(server: str) -> Iterator[Line]:
    """Yield a line to https://127.0.0.1:PORT."""
    port = int(server.rsplit(":", 1)[1])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = Line(listener.getsockname()[1], ("127.0.0.1", port))
        thread = threading.Thread(target=line.serve, args=(listener,))
        thread.start()
        try:
            yield line
        finally:
            line.close()
            thread.join()
