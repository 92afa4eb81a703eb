"""Operator mode's loop: objects of an API server into the cache, keys into the engine, until somebody stops it.

A *term* is the time in which this instance is the one that reconciles: all of it without leader election, else as long
as the lease is held. Everything but the client and the cache's server is built anew for each term.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from controller import errors
from controller.engine.engine import Engine
from controller.kube import objects
from controller.kube.cache import Cache
from controller.kube.client import Client
from controller.kube.feed import Deliver, Feed, Tell
from controller.kube.namespaces import Namespaces
from controller.kube.objects import AnyResource
from controller.kube.resync import resync
from controller.kube.status_store import KubeResources
from controller.kube.unreadable import Unreadable
from controller.model.resource import Key, Kind
from controller.ports import Clock, Resources
from controller.settings import OperatorSettings

log = structlog.get_logger()

TICK_S = 0.5
FIRST_RETRY_S = 1.0
LAST_RETRY_S = 30.0
SETTLE_S = 5.0
"""After the watch was started: list once more, as what was deleted between a list and the watch is told by neither."""
DELIVERY_S = 15.0
"""How long the watch may take to report what a list has shown already; after that it is dead."""
WATCHING_EVERY_S = 5.0
"""How often to ask whether there is a watch: kopf keeps a task per busy object, and all of them are looked at."""
UNWATCHED_S = 10.0
"""How long there may be no watch before kopf is started anew."""


Watch = Callable[[Deliver, Tell, Callable[[], bool]], Feed]
"""Makes the feed of a term: of our objects, of namespaces, and of those only while they may be read."""


class Running(Protocol):
    """An engine and what belongs to it, of one term."""

    @property
    def engine(self) -> Engine:
        """Started and fed by the loop."""
        ...

    def close(self) -> bool:
        """Stop transfers, resumable, then the engine."""
        ...


class Leadership(Protocol):
    """Who may reconcile."""

    def acquire(self, stop: threading.Event) -> bool:
        """Wait until it is us; False when `stop` came first."""
        ...

    def lost(self) -> bool:
        """Whether it is not us any more, or we cannot be sure."""
        ...

    def release(self) -> None:
        """Let somebody else have it at once."""
        ...


class Alone:
    """No election: whoever runs, reconciles."""

    def acquire(self, stop: threading.Event) -> bool:
        """Return at once."""
        return not stop.is_set()

    def lost(self) -> bool:
        """Never."""
        return False

    def release(self) -> None:
        """Nothing to let go of."""


@dataclass(slots=True)
class Health:
    """What the probes ask. Written by the loop only."""

    leading: bool = False
    synced_at: float | None = None
    """Monotonic time of the last complete list of this term."""
    term_began: float = 0.0
    feed_starts: int = 0
    resyncs: int = 0
    missed: int = 0
    """Objects that a list had to tell because the watch did not, after the first list of a term."""
    resources: Resources | None = field(default=None, repr=False)
    engine: Engine | None = field(default=None, repr=False)


class Operator:
    """Reconciles an API server's objects. `build` makes the engine of a term over its resources."""

    def __init__(
        self,
        client: Client,
        build: Callable[[Resources], Running],
        settings: OperatorSettings,
        clock: Clock,
        leadership: Leadership,
        on_status: Callable[[AnyResource, AnyResource], None] = lambda _before, _after: None,
        watch: Watch | None = None,
    ) -> None:
        self._client = client
        self._build = build
        self._settings = settings
        self._clock = clock
        self._leadership = leadership
        self._on_status = on_status
        self._watch = watch or (lambda deliver, tell, readable: Feed(client.access, deliver, clock, tell, readable))
        self.health = Health()

    def run(self, stop: threading.Event) -> None:
        """Reconcile until told to stop; wait for the leadership whenever it is somebody else's."""
        while self._leadership.acquire(stop):
            log.info("operator.leads", message=self._client.access.server)
            self.health.leading, self.health.synced_at = True, None
            self.health.term_began = self._clock.monotonic()
            try:
                _Term(self._client, self._settings, self._clock, self.health, self._on_status).serve(
                    self._build, self._watch, lambda: stop.is_set() or self._leadership.lost(), stop
                )
            finally:
                self.health.leading, self.health.engine, self.health.resources = False, None, None
                self._leadership.release()
            if not stop.is_set():
                log.warning("operator.steps_down", message="the lease could not be renewed in time")
        log.info("operator.stopped")


class _Term:
    """One term: a cache, a watch and an engine."""

    def __init__(
        self,
        client: Client,
        settings: OperatorSettings,
        clock: Clock,
        health: Health,
        on_status: Callable[[AnyResource, AnyResource], None],
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._health = health
        self._cache = Cache()
        self._unreadable = Unreadable(self._cache, clock)
        self._namespaces = Namespaces()
        self._resources = KubeResources(client, self._cache, on_status, self._gone, self._look, self._namespaces)
        self._engine: Engine | None = None
        self._delivered = dict.fromkeys(Kind, 0)
        self._owed: dict[Kind, int] = {}
        self._owed_at = 0.0
        self._due = 0.0
        self._retry_s = FIRST_RETRY_S

    def serve(
        self,
        build: Callable[[Resources], Running],
        watch: Watch,
        over: Callable[[], bool],
        pause: threading.Event,
    ) -> None:
        """List, watch, reconcile, until `over`."""
        while not over() and not self._resync():
            pause.wait(min(self._due - self._clock.monotonic(), 1.0))
        if over():
            return
        running = build(self._resources)
        self._engine = running.engine
        self._health.resources, self._health.engine = self._resources, running.engine
        feed = watch(self._deliver, self._deliver_namespace, lambda: self._namespaces.readable)
        try:
            feed.start()
            running.engine.start()
            self._keep(feed, over, pause)
        finally:
            running.close()  # first, as the next leader may begin before kopf has ended
            feed.close()

    def _keep(self, feed: Feed, over: Callable[[], bool], pause: threading.Event) -> None:
        starts, watched_at, readable = 0, self._clock.monotonic(), self._namespaces.readable
        asks_at = watched_at
        while not over():
            now = self._clock.monotonic()
            if feed.starts != starts:
                starts = self._health.feed_starts = feed.starts
                self._due = min(self._due, now + SETTLE_S)
            if now < asks_at:
                pass
            elif feed.watching():
                asks_at, watched_at = now + WATCHING_EVERY_S, now
            elif now - watched_at > UNWATCHED_S:
                log.warning("kube.not_watching", seconds=UNWATCHED_S)
                feed.restart()
                watched_at = now
            if now >= self._due:
                self._resync()
            if self._namespaces.readable != readable:  # our rights were changed: watch what we may
                readable = self._namespaces.readable
                feed.restart()
            if self._owed and now >= self._owed_at:
                self._collect(feed)
            self._unreadable.tell(self._resources)
            pause.wait(TICK_S)

    def _collect(self, feed: Feed) -> None:
        """The watch has had time to tell what a list told before it: if it did not, it is dead."""
        owed, self._owed = self._owed, {}
        dead = [kind.plural for kind, version in owed.items() if self._delivered[kind] < version]
        if dead:
            log.warning("kube.watch_is_dead", message=f"a list of {', '.join(dead)} told what the watch did not")
            feed.restart()

    def _resync(self) -> bool:
        """List everything; return whether it worked. Sets when the next one is due."""
        now = self._clock.monotonic()
        try:
            relabelled = self._namespaces.resync(self._client)
            found = resync(self._client, self._cache)
        except errors.TransientError as exc:
            log.warning("kube.resync_failed", message=str(exc))
            self._due = now + self._retry_s
            self._retry_s = min(self._retry_s * 2, LAST_RETRY_S)
            return False
        self._due, self._retry_s = now + self._settings.list_interval.total_seconds(), FIRST_RETRY_S
        first = self._health.synced_at is None
        self._health.synced_at = self._clock.monotonic()
        self._health.resyncs += 1
        keys = [key for compared in found.values() for key in (*compared.missed, *compared.ghosts)]
        if keys and not first:
            log.info("kube.resync_found", message=f"{len(keys)} changes that the watch has not told yet")
            self._health.missed += len(keys)
            for kind, compared in found.items():
                seen = (self._cache.get(key) for key in compared.missed)
                self._owed |= {kind: max((entry.version for entry in seen if entry), default=0)}
            self._owed_at = now + DELIVERY_S
        for key in keys:
            self._look(key)
        self._look_into(relabelled)
        return True

    def _deliver(self, kind: Kind, change: str | None, document: dict[str, Any]) -> None:
        """Take an event of the watch: into the cache, and if it is news, its key to the engine."""
        known = self._cache.known(kind, document)  # of an echo of our own write, and of all that a list told
        entry = known or objects.parse(kind, document)
        self._delivered[kind] = max(self._delivered[kind], entry.version)
        if change == "DELETED":
            news = self._cache.remove(entry.key, entry.resource.meta.uid, entry.version)
        else:
            news = self._cache.accept(entry)
        if news:
            self._look(entry.key)

    def _deliver_namespace(self, change: str | None, document: dict[str, Any]) -> None:
        """Take an event of the watch on namespaces: other labels may open or close storages to the images there."""
        self._look_into(self._namespaces.learn(change, document))

    def _look_into(self, namespaces: frozenset[str]) -> None:
        if namespaces and self._engine is not None:
            self._engine.enqueue(key for key in self._cache.keys(Kind.IMAGE) if key.namespace in namespaces)

    def _look(self, key: Key) -> None:
        entry = self._cache.get(key)
        if entry is not None:
            self._unreadable.note(entry)
        if self._engine is not None:
            self._engine.queue.add(key)
        if entry is None and key.kind is Kind.IMAGE:
            self._gone(key)

    def _gone(self, _: Key) -> None:
        """An image went: a storage that is being deleted may have waited for it."""
        if self._engine is None:
            return
        for entry in self._cache.entries(Kind.BACKUP_STORAGE):
            if entry.resource.meta.deleting:
                self._engine.queue.add(entry.key)
