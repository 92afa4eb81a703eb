"""What the engine did since the process started, as plain figures; `serve/metrics` shows them to Prometheus."""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from controller.model.resource import Kind
from controller.model.transfer import Running
from controller.reasons import Reason

SHORT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds for passes and their queue: a pass is a few file system calls, until a network file system hangs."""
LONG_S = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
"""Bounds for the wait for a transfer slot, which may be as long as somebody else's image is large."""


class ReadFrom(StrEnum):
    """Where a transfer reads."""

    SOURCE = "source"
    STORAGE = "storage"
    """Another storage's copy: no byte comes from the network."""


class Saving(StrEnum):
    """Why bytes did not have to be fetched."""

    RESUME = "resume"
    """An earlier try had left them."""
    DEDUPE = "dedupe"
    """Another image had fetched the same content, or fetches it in the same transfer."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """How many durations were at most each bound [s], how many there were, and their sum [s]."""

    at_most: tuple[tuple[float, int], ...]
    count: int
    sum_s: float


class Durations:
    """Counts durations by size. Thread-safe."""

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds = tuple(bounds_s)
        self._lock = threading.Lock()
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def saw(self, seconds: float) -> None:
        """Count one."""
        place = bisect_left(self._bounds, seconds)
        with self._lock:
            self._counts[place] += 1
            self._sum += seconds

    def taken(self) -> Distribution:
        """Return what was counted so far."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        running, at_most = 0, []
        for bound, count in zip(self._bounds, counts, strict=False):
            running += count
            at_most.append((bound, running))
        return Distribution(tuple(at_most), sum(counts), total)


class Figures:
    """Totals that only grow. Thread-safe. One for the life of a process, over all terms of an operator."""

    def __init__(self) -> None:
        self.queue_wait = Durations(SHORT_S)
        """From the moment at which a key is due to the moment at which a worker takes it."""
        self.reconcile: Mapping[Kind, Durations] = {kind: Durations(SHORT_S) for kind in Kind}
        """One pass over an image; a probe of a storage."""
        self.transfer_wait = Durations(LONG_S)
        """From the request to the slot."""
        self._lock = threading.Lock()
        self._received = Counter(dict.fromkeys(ReadFrom, 0))
        self._saved = Counter(dict.fromkeys(Saving, 0))
        self._ended: Counter[tuple[ReadFrom, Reason]] = Counter()

    def receive(self, read_from: ReadFrom, count: int) -> None:
        """Bytes came in."""
        with self._lock:
            self._received[read_from] += count

    def save(self, why: Saving, count: int) -> None:
        """Bytes did not have to come in."""
        with self._lock:
            self._saved[why] += count

    def end(self, read_from: ReadFrom, reason: Reason) -> None:
        """A transfer ended by itself: Succeeded, or why not."""
        with self._lock:
            self._ended[read_from, reason] += 1

    def received(self) -> Mapping[ReadFrom, int]:
        """Return bytes by where they came from."""
        with self._lock:
            return dict(self._received)

    def saved(self) -> Mapping[Saving, int]:
        """Return bytes that were not fetched, by why not."""
        with self._lock:
            return dict(self._saved)

    def ended(self) -> Mapping[tuple[ReadFrom, Reason], int]:
        """Return how many transfers ended, by where they read and outcome."""
        with self._lock:
            return dict(self._ended)


class Meter:
    """Follows one transfer, so that a long one counts while it runs. For one thread."""

    def __init__(self, figures: Figures, read_from: ReadFrom) -> None:
        self._figures = figures
        self._read_from = read_from
        self._received = 0
        self._resumed = 0

    def saw(self, state: Running) -> None:
        """Take note of how far it is; what was read back from a partial did not come in again."""
        resumed = min(state.bytes, state.resumed_bytes)
        received = state.bytes - resumed
        if resumed < self._resumed or received < self._received:  # it started over
            self._resumed = self._received = 0
        if received > self._received:
            self._figures.receive(self._read_from, received - self._received)
        if resumed > self._resumed:
            self._figures.save(Saving.RESUME, resumed - self._resumed)
        self._received, self._resumed = received, resumed
