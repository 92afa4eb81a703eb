"""Good manners towards servers: so many connections and requests a minute per origin, and none before Retry-After.

Where there are fewer requests than are wanted, namespaces have them in turn, so that one with thousands of images keeps
the others waiting for one request and not for thousands: who is sent away, or waits here, has a place in the line, and
whoever is behind it, or in no line, leaves a request for it.

An origin is `scheme://host:port`. All who ask share one `Politeness`. It is kept in memory: a restart forgets who asked
for a pause, save for the images that were answered so, whose status has the time.
"""

import math
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus

import structlog

from controller import errors
from controller.ports import Clock, StopToken
from controller.settings import PolitenessSettings

log = structlog.get_logger()

HOLD_S = 2.0
"""Seconds that a request waits here for its turn; what takes longer is given back to be tried later, as whoever waits
holds a transfer slot that others could use."""
BUSY_FOR_S = 10.0
"""When to come again to an origin whose connections are all in use: nobody knows when one ends."""
LATE_S = 30.0
"""Seconds that a place in the line is kept for a namespace beyond the time that it was told: images are looked at in
passes, and wait for a slot. Nothing is lost by a place that nobody comes for: a request is spared, not its pace."""
MAX_AT_REST = 1024
"""Origins that are remembered; beyond it those without connections, debts and pauses are dropped."""


@dataclass(slots=True)
class _Origin:
    """`tokens` requests may be made at once; they come back with time. Times are monotonic seconds."""

    tokens: float
    counted_at: float
    connections: int = 0
    line: dict[str, float] = field(default_factory=dict)
    """Namespaces that wait for a request, in the order of their turns, and until when their places are kept."""
    promised: dict[str, float] = field(default_factory=dict)
    """Until when requests that were sent away were told to come again, one after the other, by namespace."""
    paused_until: float = 0.0
    paused_because: str = ""
    """What to say of the pause; made when it begins, as a text that moved with the clock would change statuses."""

    def needs(self, namespace: str, now: float, most: int) -> int:
        """Return how many requests there must be for a namespace to have one: one for each that is before it, too."""
        self.line = {name: until for name, until in self.line.items() if until > now}
        before = list(self.line)
        place = before.index(namespace) if namespace in self.line else len(before)
        return min(1 + place, most)

    def wait_in_line(self, namespace: str, until: float) -> None:
        """Keep a place for a namespace, the last one if it has none."""
        self.line[namespace] = max(until, self.line.get(namespace, until))


class Turn:
    """One connection's leave to exist. `close` gives it back; twice is fine."""

    def __init__(self, politeness: "Politeness", origin: str) -> None:
        self._politeness: Politeness | None = politeness
        self._origin = origin

    def close(self) -> None:
        """Let somebody else connect."""
        politeness, self._politeness = self._politeness, None
        if politeness is not None:
            politeness._leave(self._origin)


class Politeness:
    """Says when an origin may be asked. Thread-safe."""

    def __init__(self, clock: Clock, settings: PolitenessSettings | None = None, *, tick_s: float = 0.25) -> None:
        self._clock = clock
        self._settings = settings or PolitenessSettings()
        self._tick_s = tick_s
        self._origins: dict[str, _Origin] = {}
        self._free = threading.Condition()

    def enter(self, origin: str, stop: StopToken, namespace: str = "") -> Turn:
        """Take a connection and a request of an origin's share, waiting `HOLD_S` seconds for it at most.

        `namespace`: for whose image.

        Raises:
            OriginBusy: not so soon; its `retry_after` says when. Nothing was sent. Interrupted.

        """
        deadline = self._clock.monotonic() + HOLD_S
        with self._free:
            while True:
                if stop.is_set():
                    raise errors.Interrupted(f"stopped while waiting for a turn at {origin}")
                now = self._clock.monotonic()
                found = self._origin(origin, now)
                if found.paused_until > now:
                    wait = timedelta(seconds=math.ceil(found.paused_until - now))
                    raise errors.OriginBusy(f"{origin} {found.paused_because}", retry_after=wait)
                per_minute = self._settings.requests_per_minute
                token_s = max(0.0, (found.needs(namespace, now, per_minute) - found.tokens) * 60 / per_minute)
                if token_s == 0 and found.connections < self._settings.connections_per_origin:
                    found.tokens -= 1
                    found.connections += 1
                    found.line.pop(namespace, None)
                    return Turn(self, origin)
                if token_s > 0:
                    found.wait_in_line(namespace, now + token_s + LATE_S)
                if now >= deadline or now + token_s > deadline:
                    raise self._busy(origin, found, namespace, now, token_s)
                self._free.wait(min(token_s or self._tick_s, self._tick_s, deadline - now))

    def pause(self, origin: str, wait: timedelta, status: int) -> None:
        """Ask an origin nothing for so long: it answered `status` with Retry-After. A longer pause stays."""
        with self._free:
            now = self._clock.monotonic()
            found = self._origin(origin, now)
            until = now + wait.total_seconds()
            if until > max(found.paused_until, now):
                ends = self._clock.now() + timedelta(seconds=math.ceil(wait.total_seconds()))
                phrase = HTTPStatus(status).phrase
                found.paused_until = until
                found.paused_because = (
                    f"answered {status} {phrase} and asks for nothing before {ends:%Y-%m-%dT%H:%M:%SZ}"
                )
                log.info("source.origin.paused", origin=origin, status=status, seconds=wait.total_seconds())

    def _leave(self, origin: str) -> None:
        with self._free:
            self._origins[origin].connections -= 1
            self._free.notify_all()

    def _origin(self, name: str, now: float) -> _Origin:
        """Return what is known of an origin, its tokens counted up to now."""
        most = float(self._settings.requests_per_minute)
        found = self._origins.get(name)
        if found is None:
            if len(self._origins) >= MAX_AT_REST:
                self._forget(now)
            found = self._origins[name] = _Origin(most, now)
        found.tokens = min(most, found.tokens + (now - found.counted_at) * most / 60)
        found.counted_at = now
        return found

    def _forget(self, now: float) -> None:
        """Drop what has nothing to remember."""
        most = self._settings.requests_per_minute
        self._origins = {
            name: found
            for name, found in self._origins.items()
            if found.connections
            or found.paused_until > now
            or found.tokens + (now - found.counted_at) * most / 60 < most
        }

    def _busy(self, origin: str, found: _Origin, namespace: str, now: float, token_s: float) -> errors.OriginBusy:
        """Send a request away. Each is told a time of its own, so that they do not come back together."""
        per_minute = self._settings.requests_per_minute
        if token_s > 0:
            found.promised = {name: until for name, until in found.promised.items() if until > now}
            until, last = now + token_s, found.promised.get(namespace)
            if last is not None:
                until = max(until, last + len(found.line) * 60 / per_minute)
            found.promised[namespace] = until
            wait = timedelta(seconds=until - now)
            return errors.OriginBusy(f"{origin} was asked {per_minute} times in a minute already", retry_after=wait)
        most = self._settings.connections_per_origin
        return errors.OriginBusy(
            f"{origin} has {most} connections of ours already", retry_after=timedelta(seconds=BUSY_FOR_S)
        )
