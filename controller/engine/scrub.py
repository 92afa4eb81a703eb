"""Scrubs: a thread per storage reads every stored copy again, slowly, and takes damaged ones out of service.

No reconcile worker reads bytes here: it only says that a storage is there, and the scrub of it begins if it is due.
"""

import threading
from collections.abc import Callable

import structlog

from controller import errors
from controller.engine.storages import OpenStorage
from controller.engine.verify import hash_reader
from controller.model.digest import Digest
from controller.model.scrub import Scrub, ScrubRecord
from controller.plan import scrub as planned
from controller.ports import AuditedStorage, Clock
from controller.settings import ScrubSettings

log = structlog.get_logger()

CHARGED_AT_LEAST_BYTES = 2**20
"""What a copy counts at least for the budget: opening it and noting the time cost the disk something, too."""
READINGS = 2
"""How often a copy must read wrong before it is believed: memory and wires flip bits as well."""


class Scrubs:
    """Begins, keeps and ends the scrubs of this instance. Thread-safe.

    `busy`: whether transfers move bytes, which go first. `on_damage` is told of each copy that went to quarantine,
    `on_change` of each storage (by name) whose scrub began, ended or broke off. `event` makes what a scrub waits on.
    """

    def __init__(
        self,
        clock: Clock,
        settings: ScrubSettings,
        *,
        busy: Callable[[], bool],
        on_damage: Callable[[OpenStorage, Digest], None],
        on_change: Callable[[str], None],
        event: Callable[[], threading.Event] = threading.Event,
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._busy = busy
        self._on_damage = on_damage
        self._on_change = on_change
        self._event = event
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}
        self._ended: dict[str, Scrub] = {}
        self._open = False

    def open(self) -> None:
        """From now on, begin what is due: this process stays."""
        with self._lock:
            self._open = True

    def look(self, storage: OpenStorage) -> None:
        """Begin the scrub of a storage if it is due; end it where none is wanted any more. Returns soon.

        Raises:
            StorageUnavailable: could not ask when the last one was.

        """
        interval = storage.resource.spec.scrub_interval
        if interval is None or not storage.connected or storage.resource.meta.deleting:
            self.forget(storage.name, "spec.scrubInterval was taken off" if interval is None else "the storage is away")
            return
        if not self._open or self.running(storage.uuid):
            return
        record = storage.adapter.scrub_record()
        if planned.due(interval, record, storage.uuid, self._clock.now()):
            self._begin(storage, planned.begin(record, self._clock.now()))

    def running(self, uuid: str) -> bool:
        """Whether a scrub of the storage of this uuid is under way."""
        with self._lock:
            return uuid in self._runs

    def state(self, uuid: str) -> Scrub | None:
        """Return what this instance knows of the scrub of a storage; None: it has begun none."""
        with self._lock:
            run = self._runs.get(uuid)
            return run.scrub if run is not None else self._ended.get(uuid)

    def forget(self, name: str, why: str) -> None:
        """End the scrub of the storage of this name soon, if there is one."""
        with self._lock:
            runs = [run for run in self._runs.values() if run.name == name]
        for run in runs:
            run.end(why)

    def stop(self) -> None:
        """End all, resumable, and wait for their threads."""
        with self._lock:
            self._open = False
            runs = list(self._runs.values())
        for run in runs:
            run.end("stopped; the next start goes on with it")
        for run in runs:
            run.thread.join()

    def _begin(self, storage: OpenStorage, record: ScrubRecord) -> None:
        with self._lock:
            if not self._open or storage.uuid in self._runs:
                return
            run = _Run(
                storage, record, self._clock, self._settings, self._busy, self._on_damage, self._end, self._event()
            )
            self._runs[storage.uuid] = run
            run.thread.start()
        self._on_change(storage.name)

    def _end(self, storage: OpenStorage) -> None:
        with self._lock:
            run = self._runs.pop(storage.uuid)
            self._ended[storage.uuid] = run.scrub
        self._on_change(storage.name)


class _Run:
    """One scrub, in a thread of its own."""

    def __init__(
        self,
        storage: OpenStorage,
        record: ScrubRecord,
        clock: Clock,
        settings: ScrubSettings,
        busy: Callable[[], bool],
        on_damage: Callable[[OpenStorage, Digest], None],
        on_end: Callable[[OpenStorage], None],
        stop: threading.Event,
    ) -> None:
        self._storage = storage
        self._adapter: AuditedStorage = storage.adapter
        self._record = record
        self._clock = clock
        self._settings = settings
        self._busy = busy
        self._on_damage = on_damage
        self._on_end = on_end
        self._stop = stop
        self._why = ""
        self._read_at = self._saved_at = clock.monotonic()
        self.thread = threading.Thread(target=self._scrub, name=f"scrub-{storage.name}")

    @property
    def name(self) -> str:
        """Of the storage."""
        return self._storage.name

    @property
    def scrub(self) -> Scrub:
        """How far it is. From any thread."""
        return self._record.scrub

    def end(self, why: str) -> None:
        """Ask it to end at once. From any thread."""
        self._why = self._why or why
        self._stop.set()

    def _scrub(self) -> None:
        name, before = self._storage.name, self._record.scrub
        log.info("scrub.began", storage=name, bytes=before.bytes)
        try:
            self._save()
            for sha256 in self._adapter.stored(self._record.position):
                self._look_at(sha256)
            self._record = planned.finished(self._record, self._clock.now())
            self._save()
            log.info("scrub.finished", storage=name, bytes=self._record.scrub.bytes)
        except (errors.Interrupted, errors.TransientError, errors.TerminalError) as exc:
            self._break_off(str(exc))
        except Exception as exc:  # the edge: a bug in one scrub must not take the others with it
            log.exception("scrub.bug", storage=name)
            self._break_off(f"internal error: {type(exc).__name__}")
        finally:
            self._on_end(self._storage)

    def _break_off(self, why: str) -> None:
        """What was not read is not clean: it is not known."""
        self._record = planned.interrupted(self._record, self._why or why)
        log.info("scrub.interrupted", storage=self._storage.name, message=self._record.scrub.message)
        try:
            self._save()
        except errors.GoldmasterError as exc:
            log.warning("scrub.not_noted", storage=self._storage.name, message=str(exc))

    def _look_at(self, sha256: Digest) -> None:
        """Read one copy; note that it is right, or take it out of service."""
        if self._stop.is_set():
            raise errors.Interrupted(self._why)
        size, problem, version = self._read(sha256)
        if size is None:
            return
        self._pay(max(CHARGED_AT_LEAST_BYTES - size, 0))
        if problem:
            self._adapter.probe(create=False)  # a server that went away in the middle also reads as damage
            if not self._took_out(sha256, problem, version):
                log.info("scrub.replaced_meanwhile", storage=self._storage.name, digest=str(sha256), message=problem)
                return  # what is there by now was read by whoever put it there
            log.error("scrub.damaged", storage=self._storage.name, digest=str(sha256), message=problem)
        else:
            self._note(sha256)
        self._record = planned.past(self._record, sha256, size, damaged=bool(problem))
        if problem or self._clock.monotonic() - self._saved_at >= self._settings.note_every.total_seconds():
            self._save()
        if problem:
            self._on_damage(self._storage, sha256)

    def _took_out(self, sha256: Digest, problem: str, version: object) -> bool:
        """Put a copy into quarantine; False where another one is there by now.

        One that a sick disk does not even let go of is told of and left behind: those after it are read all the same.
        """
        try:
            return self._adapter.quarantine(sha256, problem, version)
        except errors.TransientError as exc:
            self._adapter.probe(create=False)
            log.warning("scrub.not_quarantined", storage=self._storage.name, digest=str(sha256), message=str(exc))
            return True

    def _read(self, sha256: Digest) -> tuple[int | None, str, object]:
        """Return the size, None where it was deleted meanwhile; what is wrong, empty where nothing is; of what.

        A copy that cannot be read while its storage answers is wrong. Raises StorageUnavailable where that is away.
        """
        size, problem, version = 0, "", None
        for _ in range(READINGS):
            try:
                reader = self._adapter.open(sha256, fresh=True)
            except errors.StorageDamaged:
                return None, "", None
            except errors.StorageUnavailable as exc:
                problem = self._unreadable(exc)
                continue
            version = reader.version
            try:
                got, size = hash_reader(reader, self._pay)
            except (errors.StorageDamaged, errors.StorageUnavailable) as exc:
                problem = self._unreadable(exc)
                continue
            if got == sha256:
                if problem:
                    log.warning("scrub.read_right_at_last", storage=self._storage.name, message=problem)
                return size, "", version
            problem = f"found by a scrub: expected {sha256}, got {got} ({size} bytes)"
        return size, problem, version

    def _unreadable(self, why: errors.GoldmasterError) -> str:
        self._adapter.probe(create=False)
        return f"found by a scrub: {why}"

    def _pay(self, count: int) -> None:
        """Wait until so many bytes are within the budget; a stop ends the wait."""
        allowed = self._settings.busy_bytes_per_s if self._busy() else self._settings.bytes_per_s
        took = self._clock.monotonic() - self._read_at
        if self._stop.wait(max(count / allowed - took, 0)):
            raise errors.Interrupted(self._why)
        self._read_at = self._clock.monotonic()

    def _note(self, sha256: Digest) -> None:
        try:
            self._adapter.note_verified(sha256, self._clock.now())
        except errors.TransientError as exc:
            self._adapter.probe(create=False)
            log.debug("scrub.not_noted", storage=self._storage.name, message=str(exc))

    def _save(self) -> None:
        self._saved_at = self._clock.monotonic()
        try:
            self._adapter.save_scrub_record(self._record)
        except errors.NoSpace as exc:
            log.debug("scrub.not_noted", storage=self._storage.name, message=str(exc))
