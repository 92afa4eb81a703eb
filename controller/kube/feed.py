"""The watch on the API server: kopf, as an event feed and nothing more.

One `on.event` handler per kind hands the object over and returns. No other handler: kopf then writes neither
annotations nor finalizers nor events. It runs in a thread and loop of its own, because it ends with any error of the
server's watch that it does not know, and because it must not meet our signal handlers.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import aiohttp
import kopf
import structlog

from controller import logs
from controller.kube.access import Access
from controller.kube.exec_plugin import Login
from controller.kube.namespaces import PLURAL as NAMESPACES
from controller.kube.route import Route
from controller.model.resource import GROUP, VERSION, Kind
from controller.ports import Clock

log = structlog.get_logger()

Deliver = Callable[[Kind, str | None, dict[str, Any]], None]
"""(kind, None for an object of a list, else ADDED, MODIFIED or DELETED, the object). Must be quick and never raise."""

Tell = Callable[[str | None, dict[str, Any]], None]
"""The same of a namespace."""

SERVER_TIMEOUT_S = 290
"""A whole number: kopf takes 290.0 too and sends it so, which an API server refuses, and kopf ends."""
CLIENT_TIMEOUT_S = 300.0
"""A watch is renewed this often, in case the connection died without a sign."""
REQUEST_TIMEOUT_S = 60.0
CHUNK = 500
IDENTITY: Any = "goldmaster"
"""Said to kopf, which else asks for the name of our user: in a container it may have none, and the watch would end."""
FIRST_BACKOFF_S = 1.0
LAST_BACKOFF_S = 60.0
STEADY_S = 20.0
"""After so long it broke for another reason than the last time: the next start waits for as little as the first."""
STOP_WITHIN_S = 20.0
END_WITHIN_S = 5.0
"""kopf gets so long to end when asked; then its loop is stopped."""
CLEAN_UP_S = 2.0


class Backoffs:
    """Seconds between tries of one request, without an end: else kopf ends after a minute of 5xx."""

    def __iter__(self) -> Iterator[float]:
        delay = FIRST_BACKOFF_S
        while True:
            yield delay
            delay = min(delay * 1.5, 30.0)


class Feed:
    """Runs kopf until closed, however often it ends. All methods may be called from any thread."""

    def __init__(
        self,
        access: Access,
        deliver: Deliver,
        clock: Clock,
        namespaces: Tell,
        readable: Callable[[], bool],
    ) -> None:
        """`namespaces` is told of namespaces as `deliver` of objects; asked at each start whether they are `readable`.

        A list that is forbidden ends kopf, and with it the other watches.
        """
        self._namespaces = namespaces
        self._readable = readable
        self._watched: tuple[str, ...] = ()
        self._access = access
        self._deliver = deliver
        self._clock = clock
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._sessions: list[aiohttp.ClientSession] = []
        self.starts = 0
        """How often kopf was started: what is above 1 were restarts."""

    def start(self) -> None:
        """Begin to watch."""
        _speak_structlog()
        self._thread = threading.Thread(target=self._run, name="kopf")
        self._thread.start()

    def restart(self) -> None:
        """End the running watches and start new ones: after each of them, all objects are delivered again."""
        self._ask_to_stop()

    def close(self) -> None:
        """End for good."""
        self._closing.set()
        self._ask_to_stop()
        if self._thread is not None:
            self._thread.join(STOP_WITHIN_S)

    def watching(self) -> bool:
        """Whether there is a watch for each kind: kopf does not notice if one of its watchers is cancelled."""
        with self._lock:
            loop = self._loop
        if loop is None:
            return False
        try:
            names = [task.get_name() for task in asyncio.all_tasks(loop)]
        except RuntimeError:
            return True  # the set changed under our eyes: somebody is alive
        return all(any(name.startswith(f"watcher for {plural}.") for name in names) for plural in self._watched)

    def _ask_to_stop(self) -> None:
        with self._lock:
            loop, stop = self._loop, self._stop
            if loop is not None and stop is not None:
                loop.call_soon_threadsafe(stop.set)
                loop.call_soon_threadsafe(loop.call_later, END_WITHIN_S, loop.stop)

    def _run(self) -> None:
        delay = FIRST_BACKOFF_S
        while not self._closing.is_set():
            began = self._clock.monotonic()
            self.starts += 1
            try:
                self._run_once()
            except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001  whatever ended it, the feed goes on
                log.warning("kube.feed_broke", message=f"{type(exc).__name__}: {exc}")
            if self._clock.monotonic() - began > STEADY_S:
                delay = FIRST_BACKOFF_S
            self._closing.wait(delay)
            delay = min(delay * 2, LAST_BACKOFF_S)

    def _run_once(self) -> None:
        """Run kopf in a loop of its own until it ends, or until the loop is stopped under it.

        Not by asyncio.run, which waits for tasks that were cancelled: where one of kopf's watchers fails, others may
        wait for credentials that nobody gives them any more, and cancelling does not wake them.
        """
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._watch())
        finally:
            with suppress(RuntimeError):  # the stop of a loop that ended by itself just before may come now
                self._clean_up(loop)
            loop.close()

    def _clean_up(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            self._loop = self._stop = None
            sessions, self._sessions = self._sessions, []
        for task in (left := asyncio.all_tasks(loop)):
            task.cancel()
        ends = [*left, *(loop.create_task(session.close()) for session in sessions)]
        if ends:
            loop.run_until_complete(asyncio.wait(ends, timeout=CLEAN_UP_S))
        if stuck := sum(not task.done() for task in ends):
            log.warning("kube.feed_stuck", message=f"{stuck} tasks of kopf's do not end; left behind")
        loop.run_until_complete(loop.shutdown_asyncgens())

    async def _watch(self) -> None:
        stop = asyncio.Event()
        with self._lock:
            self._loop, self._stop = asyncio.get_running_loop(), stop
        if self._closing.is_set():
            stop.set()
        await kopf.operator(
            registry=self._registry(),
            settings=_settings(),
            clusterwide=True,
            identity=IDENTITY,
            stop_flag=stop,
        )

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry, id="login", retries=1)
        async def login(**_: object) -> kopf.AiohttpSession:
            found = await asyncio.to_thread(self._access.login)
            return self._session(found)

        for kind in Kind:
            self._register(registry, kind)
        self._watched = tuple(kind.plural for kind in Kind)
        if self._readable():
            self._register_namespaces(registry)
            self._watched += (NAMESPACES,)
        return registry

    def _register_namespaces(self, registry: kopf.OperatorRegistry) -> None:
        def feed(event: kopf.RawEvent, **_: object) -> bool:
            self._namespaces(event["type"], dict(event["object"]))
            return False

        kopf.on.event("v1", NAMESPACES, registry=registry, id=f"feed-{NAMESPACES}", when=feed)(_never)

    def _register(self, registry: kopf.OperatorRegistry, kind: Kind) -> None:
        def feed(event: kopf.RawEvent, **_: object) -> bool:
            self._deliver(kind, event["type"], dict(event["object"]))
            return False

        # the filter is all we need, and kopf asks it once per event: running a handler costs as much again
        kopf.on.event(GROUP, VERSION, kind.plural, registry=registry, id=f"feed-{kind.plural}", when=feed)(_never)

    def _session(self, login: Login) -> kopf.AiohttpSession:
        """Return a session of our own making: the same trust and credentials as for writing."""
        headers = {}
        if login.token:
            headers["Authorization"] = f"Bearer {login.token}"
        elif login.basic:
            headers["Authorization"] = aiohttp.encode_basic_auth(*login.basic.split(":", 1))
        tls = self._access.tls(login) if self._access.server.startswith("https:") else False
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls),
            headers=headers,
            proxy=self._access.route.proxy or None,
            middlewares=(_routed(self._access.route),),
        )
        with self._lock:
            # kopf logs in again before each token expires, and closes what it had
            self._sessions = [*(one for one in self._sessions if not one.closed), session]
        expires = login.expires
        if login.rotates:
            expires = self._clock.now() + timedelta(minutes=10)  # the kubelet renews a token long before it expires
        return kopf.AiohttpSession(server=self._access.server, aiohttp_session=session, expiration=expires)


def _routed(route: Route) -> aiohttp.ClientMiddlewareType:
    """Say with each request what a session cannot be told once for all: kopf makes the requests, not we.

    A proxy's credentials are not in its URL, as kopf logs errors of connections, in which that stands.
    """

    async def say(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        request.server_hostname = route.server_name or None
        if route.proxy:
            request.update_proxy(request.proxy, None, route.proxy_headers)
        return await handler(request)

    return say


async def _never(**_: object) -> None:
    """Stand for a handler: its filter takes every event and lets none through."""


class _NoMemory(kopf.DiffBaseStorage):
    """Keeps kopf from copying every object twice to find out what changed: nobody asks for that."""

    def build(self, **_: object) -> Any:  # noqa: ANN401  kopf's own type is private
        return {}

    def fetch(self, **_: object) -> None:
        return None

    def store(self, **_: object) -> None:
        pass


def _settings() -> kopf.OperatorSettings:
    """Return kopf's settings; the defaults that are changed have each ended an operator somewhere."""
    settings = kopf.OperatorSettings()
    settings.process.ultimate_exiting_timeout = None  # no SIGKILL to ourselves ten minutes after a stop
    settings.peering.standalone = True  # a foreign ClusterKopfPeering must not pause us
    settings.scanning.disabled = True  # no watches on CRDs and namespaces, which we have no rights for
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = _NoMemory()
    settings.queueing.idle_timeout = 0.5  # handlers are instant: do not keep a task per object for 5 s
    settings.watching.server_timeout = SERVER_TIMEOUT_S
    settings.watching.client_timeout = CLIENT_TIMEOUT_S
    settings.watching.connect_timeout = 10.0
    settings.watching.chunk_size = CHUNK
    settings.networking.request_timeout = REQUEST_TIMEOUT_S
    settings.networking.error_backoffs = Backoffs()
    return settings


class _ToStructlog(logging.Handler):
    """Says in our format what kopf says with the standard library's."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on."""
        message = record.getMessage()
        expected = message.startswith("OS signals are ignored")  # ours are handled by the command
        say = log.warning if record.levelno >= logging.WARNING and not expected else log.debug
        say("kube.kopf", message=logs.clip(message))


def _speak_structlog() -> None:
    for name in ("kopf", "asyncio"):
        logger = logging.getLogger(name)
        if not any(isinstance(handler, _ToStructlog) for handler in logger.handlers):
            logger.addHandler(_ToStructlog())
            logger.propagate = False
            logger.setLevel(logging.WARNING)
