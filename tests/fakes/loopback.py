"""Addresses on loopback, and what listens there."""

import contextlib
import random
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

END_S = 60.0
_LOWEST = 10_000
_CHANCE = random.SystemRandom()
"""Not the seeded one: all processes of a test run would choose the same ports."""


def free_port() -> int:
    """Return a port that nobody has at this moment; who wants it tries again where somebody else was faster.

    It is none of those that the kernel gives to who asks for any port, as dozens of servers and clients of the tests
    beside this one do between this answer and its use.
    """
    given_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(100):
        port = _CHANCE.randrange(_LOWEST, given_from) if given_from > 2 * _LOWEST else 0
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise AssertionError("no port of loopback is free")


class Listener:
    """Has a thread for each connection while its `with` block runs; a subclass says what it does with one."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family)
        self.address = address
        self.port = int(self._listener.getsockname()[1])
        self.connections = 0
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Take no more connections, and cut those that stand. Twice is fine."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(END_S)  # from then on nobody comes
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(END_S)
        for sock in self._open:
            sock.close()

    def serve(self, sock: socket.socket, number: int) -> None:
        """Answer the connection `number`, from 1."""
        raise NotImplementedError

    def _start(self, target: object, *arguments: object) -> None:
        name = f"{type(self).__name__}-{self.port}"
        thread = threading.Thread(target=target, args=arguments, name=name)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(sock)
            self.connections += 1
            self._start(self.serve, sock, self.connections)
