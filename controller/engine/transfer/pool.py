"""The embedded Transfers: a bounded pool of threads in this process, fair between namespaces."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import structlog

from controller.engine.figures import Figures, Meter, ReadFrom, Saving
from controller.engine.holdings import Holdings
from controller.engine.transfer import look, one_pass
from controller.engine.transfer.berths import StorageOpener
from controller.engine.transfer.fair_queue import FairQueue
from controller.engine.transfer.flights import Flights, StandBack, flights_of
from controller.engine.transfer.limits import PassLimits
from controller.engine.transfer.proving import AmongOthers
from controller.model.transfer import Broken, Failure, Looked, Placed, Queued, Running, TransferRequest, TransferState
from controller.ports import Clock, Secrets, SignatureVerifier, Source
from controller.reasons import Reason

log = structlog.get_logger()

STUCK_S = 600.0
"""Seconds without a byte more after which nobody waits for a transfer any longer: more than syncing and reading back a
large image takes, and a hung storage of one image does not hold up those of others for ever."""
UNANSWERED_S = 60.0
"""The same until its source has answered: a checksum list that drips, which is one image's own, holds up nobody."""

OnChange = Callable[[str, frozenset[str]], None]


@dataclass(slots=True)
class _Job:
    """One transfer that somebody owns. `state` None: it waits for a slot."""

    request: TransferRequest
    owners: set[str]
    state: Running | Placed | Broken | Looked | None = None
    waits_since: float = 0.0
    moved_at: float = 0.0
    """When it last got further."""
    stop: threading.Event = field(default_factory=threading.Event)


class EmbeddedTransfers:
    """Implements `ports.Transfers`. `on_change(key, owners)` is called when a transfer starts running and when it ends.

    Threads start with the first work, at most `concurrency` of them; one namespace never has the last of several, and
    one origin at most `per_origin` (None: any number). A released transfer that still runs is no longer told of; the
    same key started again waits for it to end, so that a partial never has two writers.
    """

    def __init__(
        self,
        source: Source,
        storages: StorageOpener,
        clock: Clock,
        on_change: OnChange,
        *,
        concurrency: int,
        per_origin: int | None = None,
        pace: PassLimits | None = None,
        secrets: Secrets | None = None,
        verifier: SignatureVerifier | None = None,
        figures: Figures | None = None,
        holdings: Holdings | None = None,
    ) -> None:
        self._source = source
        self._storages = storages
        self._clock = clock
        self._on_change = on_change
        self._concurrency = concurrency
        self._pace = pace or PassLimits()
        self._secrets = secrets
        self._verifier = verifier
        self._figures = figures or Figures()
        self._holdings = holdings
        self._flights = Flights()
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._jobs: dict[str, _Job] = {}
        self._owned: defaultdict[str, set[str]] = defaultdict(set)
        self._queue = FairQueue(concurrency, per_origin)
        self._running: dict[str, _Job] = {}
        """By key, released ones included until their thread is done."""
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closing = False

    def start(self, request: TransferRequest, owner: str) -> None:
        """Begin, or join one of the same key. Ignored while closing."""
        with self._lock:
            if self._closing:
                return
            job = self._jobs.get(request.key)
            if job is None:
                job = self._jobs[request.key] = _Job(request, set())
                if request.key not in self._running:
                    self._enqueue(request)
            elif isinstance(job.state, Placed) and owner not in job.owners:
                self._figures.save(Saving.DEDUPE, job.state.fetched_bytes)
            job.owners.add(owner)
            self._owned[owner].add(request.key)

    def state(self, key: str) -> TransferState | None:
        """Return where it stands, None where nothing of that key is known."""
        with self._lock:
            job = self._jobs.get(key)
            if job is None:
                return None
            into = frozenset(target.uuid for target in job.request.targets)
            if job.state is not None:
                return replace(job.state, into=into) if isinstance(job.state, Running) else job.state
            if key in self._flights and not self._gives_up_waiting(key):
                return Queued(0, behind=True, into=into)
            return Queued(self._queue.position(key) or len(self._queue) + 1, into=into)

    def owned(self, owner: str) -> frozenset[str]:
        """Return the keys that this owner started or joined and has not released."""
        with self._lock:
            return frozenset(self._owned.get(owner, ()))

    def release(self, key: str, owner: str) -> None:
        """The owner is done with it; without owners it stops, or is forgotten."""
        with self._lock:
            job = self._jobs.get(key)
            if job is None or owner not in job.owners:
                return
            job.owners.discard(owner)
            self._owned[owner].discard(key)
            if not self._owned[owner]:
                del self._owned[owner]
            if not job.owners:
                del self._jobs[key]
                self._queue.remove(key)
                if key not in self._running:
                    self._flights.leave(key)
                job.stop.set()

    def load(self) -> tuple[int, int]:
        """Return how many wait for a slot, and how many have one."""
        with self._lock:
            return len(self._queue), len(self._running)

    @property
    def busy(self) -> bool:
        """Whether any is moving bytes."""
        with self._lock:
            return bool(self._running)

    @property
    def closing(self) -> bool:
        """Whether `close` was called."""
        with self._lock:
            return self._closing

    def close(self, deadline_s: float) -> bool:
        """Stop everything, resumable, and wait at most so many seconds; return whether all threads ended."""
        with self._lock:
            self._closing = True
            self._queue.clear()
            for job in self._running.values():
                job.stop.set()
            self._work.notify_all()
            threads = list(self._threads)
        end = self._clock.monotonic() + deadline_s
        for thread in threads:
            thread.join(max(end - self._clock.monotonic(), 0))
        return not any(thread.is_alive() for thread in threads)

    def _enqueue(self, request: TransferRequest) -> None:
        self._queue.put(request.namespace, request.key, _asked(request))
        self._jobs[request.key].waits_since = self._clock.monotonic()
        if self._idle < len(self._queue) and len(self._threads) < self._concurrency:
            thread = threading.Thread(target=self._serve, name=f"transfer-{len(self._threads)}")
            self._threads.append(thread)
            thread.start()
        self._work.notify()

    def _serve(self) -> None:
        while (job := self._take()) is not None:
            self._notify(job)
            state = self._look(job) if job.request.look else self._run(job)
            self._end(job, state)
            self._notify(job)

    def _take(self) -> _Job | None:
        with self._lock:
            while (key := self._next()) is None:
                if self._closing:
                    return None
                self._idle += 1
                self._work.wait()
                self._idle -= 1
            job = self._running[key] = self._jobs[key]
            job.state, job.moved_at = Running(0, None), self._clock.monotonic()
            self._figures.transfer_wait.saw(self._clock.monotonic() - job.waits_since)
            return job

    def _next(self) -> str | None:
        """Return whose turn it is; those whose bytes another transfer fetches just now wait for it, without a slot."""
        while (key := self._queue.take()) is not None:
            request = self._jobs[key].request
            if self._holdings is None or self._flights.board(key, flights_of(request)):
                return key
            self._queue.give_back(request.namespace, _asked(request))
        return None

    def _gives_up_waiting(self, key: str) -> bool:
        """Let those go on who wait for a transfer that gets no further; whoever waits asks now and then."""
        leader = self._flights.leader(key)
        if leader is None:
            return False
        allowed_s = STUCK_S if self._flights.answered(leader) else UNANSWERED_S
        if self._clock.monotonic() - self._running[leader].moved_at < allowed_s:
            return False
        log.warning("transfer.stuck", key=leader, seconds=allowed_s)
        self._go_on(self._flights.let_go(leader))
        return True

    def _may_fetch(self, key: str, *, named: bool) -> bool:
        with self._lock:
            self._running[key].moved_at = self._clock.monotonic()  # its source answered
            allowed, freed = self._flights.fetching(key, named=named)
            self._go_on(freed)
            return allowed

    def _go_on(self, keys: Iterable[str]) -> None:
        if not self._closing:
            for key in keys:
                self._enqueue(self._jobs[key].request)

    def _run(self, job: _Job) -> Placed | Broken | None:
        """Transfer once; None where it stood back for another one."""
        read_from = ReadFrom.SOURCE if job.request.copy_from is None else ReadFrom.STORAGE
        meter = Meter(self._figures, read_from)

        def report(state: Running) -> None:
            job.state, job.moved_at = state, self._clock.monotonic()
            meter.saw(state)

        key, url = job.request.key, job.request.url.redacted
        began = self._clock.monotonic()
        sharing = None
        if self._holdings is not None:
            sharing = AmongOthers(self._holdings, lambda named: self._may_fetch(key, named=named))
        try:
            state = one_pass.run(
                job.request,
                self._source,
                self._storages,
                self._clock,
                job.stop,
                report,
                self._pace,
                self._secrets,
                self._verifier,
                sharing,
            )
        except StandBack:
            log.debug("transfer.stands_back", key=key, url=url)
            return None
        except Exception as error:  # the edge: a bug in one transfer must not take the pool with it
            log.exception("transfer.crashed", key=key, url=url)
            self._figures.end(read_from, Reason.INTERNAL_ERROR)
            failure = Failure(Reason.INTERNAL_ERROR, f"internal error: {type(error).__name__}", terminal=False)
            return Broken(failure, advanced=False)
        if job.stop.is_set():
            log.info("transfer.stopped", key=key, url=url)
            return state
        seconds = round(self._clock.monotonic() - began, 3)
        if isinstance(state, Placed):
            self._figures.end(read_from, Reason.SUCCEEDED)
            digest = str(state.content.sha256)
            log.info("transfer.finished", key=key, url=url, bytes=state.fetched_bytes, seconds=seconds, digest=digest)
        else:
            reason, message = state.failure.reason, state.failure.message
            self._figures.end(read_from, reason)
            tell = log.info if reason is Reason.QUEUED else log.warning  # it did not begin, and nothing is wrong
            tell("transfer.broken", key=key, url=url, reason=reason, message=message, seconds=seconds)
        return state

    def _look(self, job: _Job) -> Looked | Broken:
        request, url = job.request, job.request.url.redacted
        try:
            state = look.run(request, self._source, self._clock, job.stop, self._secrets, self._verifier)
        except Exception as error:  # the edge, as for a transfer
            log.exception("look.crashed", key=request.key, url=url)
            failure = Failure(Reason.INTERNAL_ERROR, f"internal error: {type(error).__name__}", terminal=False)
            return Broken(failure, advanced=False)
        if isinstance(state, Broken) and not job.stop.is_set():
            reason = state.failure.reason
            tell = log.debug if reason is Reason.QUEUED else log.warning
            tell("look.failed", key=request.key, url=url, reason=reason, message=state.failure.message)
        return state

    def _end(self, job: _Job, state: Placed | Broken | Looked | None) -> None:
        key = job.request.key
        with self._lock:
            del self._running[key]
            self._queue.give_back(job.request.namespace, _asked(job.request))
            if state is None and not job.stop.is_set():
                waits, freed = self._flights.stand_back(key)
            else:
                waits, freed = False, self._flights.land(key)
            self._go_on(freed)
            if not job.stop.is_set():
                job.state = state
                if isinstance(state, Placed):
                    self._figures.save(Saving.DEDUPE, state.fetched_bytes * max(len(job.owners) - 1, 0))
            successor = self._jobs.get(key)
            again = successor is not job or (state is None and not waits)
            if successor is not None and again and not self._closing:
                self._enqueue(successor.request)
            self._work.notify()  # beside the one for this thread, the slot of another namespace or origin may be free

    def _notify(self, job: _Job) -> None:
        with self._lock:
            owners = frozenset(job.owners)
        if owners and not job.stop.is_set():
            self._on_change(job.request.key, owners)


def _asked(request: TransferRequest) -> str:
    """Return the origin that has to bear the transfer; "" where it asks no server."""
    return "" if request.copy_from is not None or request.url.scheme == "file" else request.url.origin
