"""A clock that stands still until a test moves it."""

import threading
from datetime import UTC, datetime, timedelta


class FakeClock:
    """Implements `ports.Clock`. `tick` > 0: every look at `monotonic` moves it by so many seconds. Thread-safe."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC), *, tick: float = 0.0) -> None:
        self._now = start
        self._seconds = 1000.0
        self._tick = tick
        self._moving = threading.Lock()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        if self._tick:
            self.advance(self._tick)
        return self._seconds

    def advance(self, by: float | timedelta) -> None:
        """Let time pass for both clocks, in seconds or as a timedelta; never backwards."""
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        if step < timedelta(0):
            raise ValueError("monotonic time does not go back; use set()")
        with self._moving:
            self._now += step
            self._seconds += step.total_seconds()

    def set(self, now: datetime) -> None:
        """Put the wall clock somewhere, also into the past, as NTP does; the monotonic one stays."""
        self._now = now
