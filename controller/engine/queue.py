"""A work queue of keys, as client-go's: each key once, one worker per key, delays merge to the earliest."""

import heapq
import threading
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from controller.ports import Clock

K = TypeVar("K", bound=Hashable)


class KeyedQueue(Generic[K]):
    """Thread-safe. A key added while a worker has it is given out again after `done`, never to a second worker."""

    def __init__(self, clock: Clock, on_wait: Callable[[float], None] = lambda _seconds: None) -> None:
        """`on_wait` hears of each key how many seconds it waited for a worker."""
        self._clock = clock
        self._on_wait = on_wait
        self._wake = threading.Condition()
        self._ready: deque[K] = deque()
        self._waiting: dict[K, float] = {}
        """Since when, by the monotonic clock."""
        self._busy: set[K] = set()
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._serial = 0
        self._closed = False

    def add(self, key: K) -> None:
        """Ask for a look at `key` as soon as a worker is free."""
        with self._wake:
            self._due.pop(key, None)
            self._add(key)

    def add_after(self, key: K, delay_s: float) -> None:
        """Ask for a look in `delay_s` seconds; an earlier request that is still pending wins."""
        if delay_s <= 0:
            self.add(key)
            return
        with self._wake:
            due = self._clock.monotonic() + delay_s
            if key in self._waiting or self._due.get(key, due + 1) <= due:
                return
            self._due[key] = due
            self._serial += 1
            heapq.heappush(self._heap, (due, self._serial, key))
            self._wake.notify()

    def get(self, timeout_s: float | None = None) -> K | None:
        """Return a key for the caller alone until `done(key)`; None when closed or after `timeout_s`."""
        deadline = None if timeout_s is None else self._clock.monotonic() + timeout_s
        with self._wake:
            while not self._closed:
                now = self._clock.monotonic()
                self._promote(now)
                if self._ready:
                    key = self._ready.popleft()
                    self._on_wait(max(now - self._waiting.pop(key, now), 0.0))
                    self._busy.add(key)
                    return key
                if deadline is not None and now >= deadline:
                    return None
                bounds = [bound for bound in (deadline, self._heap[0][0] if self._heap else None) if bound is not None]
                self._wake.wait(max(min(bounds) - now, 0) if bounds else None)
            return None

    def done(self, key: K) -> None:
        """Give `key` back; it is handed out again at once if it was added meanwhile."""
        with self._wake:
            self._busy.discard(key)
            if key in self._waiting:
                self._ready.append(key)
                self._wake.notify()

    def close(self) -> None:
        """Wake every worker with None."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()

    @property
    def idle(self) -> bool:
        """Whether nothing is ready and nobody is working; delayed keys do not count."""
        with self._wake:
            return not self._ready and not self._busy and not self._waiting

    def __len__(self) -> int:
        with self._wake:
            return len(self._ready)

    def _add(self, key: K) -> None:
        if key in self._waiting or self._closed:
            return
        self._waiting[key] = self._clock.monotonic()
        if key not in self._busy:
            self._ready.append(key)
            self._wake.notify()

    def _promote(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self._add(key)
