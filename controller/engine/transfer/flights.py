"""Which transfers fetch the same thing, so that one of them does and the others wait for it without a slot.

Pure data, no locks: the owner serialises. A flight is what two transfers may have in common: a url, or the digest of
the bytes within a namespace. A transfer that is taken while another leads one of its flights waits. It goes on when the
leader has ended, well or not, or has found that its source names no version; then it has a pass, so that those who
only ask whether the bytes may be shared do not wait for each other. Whoever then has to fetch after all leads, or waits
again where somebody else was faster.

Nobody waits for ever: only a running transfer leads, and every one ends. One that gets no further, as a storage of its
own hangs, say, is given up on (`let_go`), and much sooner one that is not answered, as it may wait for a checksum list
that is its own. One that is slow is not: its source's throughput limit bounds that.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from controller.model.transfer import TransferRequest
from controller.plan.right import WEB
from controller.plan.source import fingerprint


class StandBack(Exception):
    """Ends a pass that found another one fetching the same: nothing was placed, and it is not over."""


@dataclass(frozen=True, slots=True)
class Flight:
    """`named`: the source must name its version (strong ETag, length) for the others to share what comes of it."""

    name: str
    named: bool


def flights_of(request: TransferRequest) -> tuple[Flight, ...]:
    """Return what a transfer may have in common with others, in which all that shares must be able to prove it.

    Over plain http only those of one namespace, or of one sha256/sha512, can (see plan/right.py).
    """
    if request.copy_from is not None or request.look:
        return ()
    found = []
    url, digest = request.url, request.checksum
    identified = digest if digest is not None and digest.algorithm.identifies else None
    if identified is not None:
        found.append(Flight(fingerprint("digest", request.namespace, str(identified)), named=False))
    if url.scheme == "https":
        found.append(Flight(fingerprint("url", url.text), named=True))
    elif url.scheme in WEB:
        found.append(Flight(fingerprint("url", url.text, "namespace", request.namespace), named=True))
        if identified is not None:
            found.append(Flight(fingerprint("url", url.text, "digest", str(identified)), named=True))
    return tuple(found)


class Flights:
    """Who leads which flight, and who waits for it. Keys are those of transfers."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[Flight, ...]] = {}
        """Of those that run, wait, or are to go on."""
        self._leader: dict[str, str] = {}
        self._waiting: dict[str, dict[str, None]] = {}
        """Flight -> keys in order; never empty, and never without a leader."""
        self._waits_for: dict[str, str] = {}
        self._passes: set[str] = set()
        self._fetching: set[str] = set()
        """Running, and told that it may; others lead only until somebody is."""

    def __contains__(self, key: str) -> bool:
        return key in self._waits_for

    def __len__(self) -> int:
        return len(self._waits_for)

    def board(self, key: str, flights: tuple[Flight, ...]) -> bool:
        """Say whether a transfer may begin now; else it waits, and comes back from `land` or `fetching`."""
        self._of[key] = flights
        if key in self._passes:
            return True
        for flight in flights:
            if flight.name in self._leader:
                self._wait(key, flight.name)
                return False
        self._lead(key, flights)
        return True

    def fetching(self, key: str, *, named: bool) -> tuple[bool, list[str]]:
        """Say whether a running transfer may fetch, now that its source answered; False: it shall stand back.

        `named`: the source named its version. Where it did not, nobody waits for it who would need that. Also returns
        who goes on.
        """
        flights = self._of.get(key, ())
        useful = [flight for flight in flights if named or not flight.named]
        if any(self._leader.get(flight.name) in self._fetching - {key} for flight in useful):
            return False, []
        self._passes.discard(key)
        self._fetching.add(key)
        freed = self._free(
            flight for flight in flights if flight not in useful and self._leader.get(flight.name) == key
        )
        names = {flight.name for flight in useful}
        self._lead(key, useful)
        self._passes -= {other for other in self._passes if names & {flight.name for flight in self._of[other]}}
        return True, freed

    def land(self, key: str) -> list[str]:
        """A running transfer ended: return who goes on, in order."""
        self._passes.discard(key)
        self._fetching.discard(key)
        freed = self.let_go(key)
        self._of.pop(key, None)
        return freed

    def leader(self, key: str) -> str | None:
        """Return for whom one that waits does; None where it does not."""
        flight = self._waits_for.get(key)
        return None if flight is None else self._leader[flight]

    def answered(self, key: str) -> bool:
        """Whether a leader's source has answered, so that it fetches."""
        return key in self._fetching

    def let_go(self, key: str) -> list[str]:
        """Nobody waits any longer for this transfer, though it runs: return who goes on."""
        flights = self._of.get(key, ())
        return self._free(flight for flight in flights if self._leader.get(flight.name) == key)

    def stand_back(self, key: str) -> tuple[bool, list[str]]:
        """A running transfer lets another one fetch: say whether it waits, and who goes on."""
        flights = self._of.get(key, ())
        freed = self.land(key)
        self._of[key] = flights
        leading = next((flight.name for flight in flights if flight.name in self._leader), None)
        if leading is None:
            self._passes.add(key)
            return False, freed
        self._wait(key, leading)
        return True, freed

    def leave(self, key: str) -> None:
        """One that does not run is not wanted any more, whether it waits, was to go on, or is not known here."""
        self._passes.discard(key)
        self._of.pop(key, None)
        flight = self._waits_for.pop(key, None)
        if flight is not None:
            del self._waiting[flight][key]
            if not self._waiting[flight]:
                del self._waiting[flight]

    def _wait(self, key: str, flight: str) -> None:
        self._waiting.setdefault(flight, {})[key] = None
        self._waits_for[key] = flight

    def _lead(self, key: str, flights: Iterable[Flight]) -> None:
        for flight in flights:
            self._leader[flight.name] = key

    def _free(self, flights: Iterator[Flight]) -> list[str]:
        freed: list[str] = []
        for flight in list(flights):
            del self._leader[flight.name]
            freed += self._waiting.pop(flight.name, {})
        for key in freed:
            del self._waits_for[key]
        self._passes.update(freed)
        return freed
