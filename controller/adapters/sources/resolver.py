"""Names to addresses, bounded in time. libc's resolver cannot be interrupted, so it waits in a thread of its own."""

import queue
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

from controller import errors
from controller.ports import Clock, StopToken


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One answer: what `socket.connect` takes. `sockaddr` begins with numeric address and port."""

    family: int
    sockaddr: tuple[str | int, ...]

    @property
    def address(self) -> str:
        """The numeric address; an IPv6 one may carry a zone."""
        return str(self.sockaddr[0])


Resolve = Callable[[str, int], list[Endpoint]]
"""(host, port) -> every answer, in the order in which to try them. May block; raises socket.gaierror."""


def system_resolve(host: str, port: int) -> list[Endpoint]:
    """Ask the system: /etc/hosts, DNS, whatever nsswitch.conf says."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [
        Endpoint(int(family), tuple(part for part in sockaddr if not isinstance(part, bytes)))
        for family, _, _, _, sockaddr in answers
    ]


def resolve_within(
    resolve: Resolve, host: str, port: int, *, timeout_s: float, tick_s: float, clock: Clock, stop: StopToken
) -> list[Endpoint]:
    """Resolve a name, but wait no longer than `timeout_s`; a look-up that hangs is left to itself.

    Raises:
        SourceUnreachable: no answer in time, no such name (they come and go), or the resolver could not say.
        Interrupted.

    """
    answer: queue.SimpleQueue[list[Endpoint] | OSError | UnicodeError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(resolve(host, port))
        except (OSError, UnicodeError) as exc:
            answer.put(exc)

    threading.Thread(target=ask, name=f"resolve-{host[:40]}", daemon=True).start()
    deadline = clock.monotonic() + timeout_s
    while True:
        try:
            found = answer.get(timeout=tick_s)
        except queue.Empty:
            if stop.is_set():
                raise errors.Interrupted("stopped while a name was looked up") from None
            if clock.monotonic() >= deadline:
                raise errors.SourceUnreachable(f"looking up {host} took longer than {timeout_s:g} s") from None
            continue
        if isinstance(found, OSError | UnicodeError):
            raise errors.SourceUnreachable(f"looking up {host} failed: {found}") from found
        if not found:
            raise errors.SourceUnreachable(f"looking up {host} gave no address")
        return found
