"""The engine: worker threads take keys from the queue and reconcile them; transfers and storages add keys."""

import threading
from collections.abc import Callable, Iterable, Iterator

import structlog

from controller import errors
from controller.engine import trash
from controller.engine.census import images, keeps
from controller.engine.figures import Figures
from controller.engine.holdings import Holdings
from controller.engine.queue import KeyedQueue
from controller.engine.reconcile import CONFLICT_SOON, ImageReconciler, Outcome, trouble_soon
from controller.engine.scrub import Scrubs
from controller.engine.storages import OpenStorage, Storages
from controller.engine.transfer.berths import source_name
from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.digest import Digest
from controller.model.image import State
from controller.model.resource import Image, Key, Kind
from controller.model.transfer import Running
from controller.plan.case import transfer_keys
from controller.plan.deletion import due
from controller.plan.observed import Limits
from controller.ports import Clock, Resources, Secrets, StorageFactory, Transfers
from controller.settings import EngineSettings, ScrubSettings, TransferSettings

log = structlog.get_logger()

OnChange = Callable[[str, frozenset[str]], None]

STARTED_SOON_S = 1.0
"""Seconds until an image whose transfer began is looked at: most small ones are through by then."""
BUG_BACKOFF_S = 30.0
"""Seconds until a key is looked at again whose pass ended with a bug of ours."""


class Engine:
    """Start, feed, stop. `start` probes every storage first: no image is judged by storages nobody asked yet."""

    def __init__(
        self,
        resources: Resources,
        factory: StorageFactory,
        transfers: Callable[[OnChange, Holdings], Transfers],
        clock: Clock,
        engine: EngineSettings,
        transfer: TransferSettings,
        on_pass: Callable[[Key, Outcome], None] = lambda _key, _outcome: None,
        figures: Figures | None = None,
        secrets: Secrets | None = None,
        scrub: ScrubSettings | None = None,
    ) -> None:
        self._resources = resources
        self._clock = clock
        self._settings = engine
        self._transfer_settings = transfer
        self._on_pass = on_pass
        self.figures = figures or Figures()
        self.queue: KeyedQueue[Key] = KeyedQueue(clock, self.figures.queue_wait.saw)
        self.scrubs = Scrubs(
            clock,
            scrub or ScrubSettings(),
            busy=lambda: self.transfers.busy,
            on_damage=self._damage_found,
            on_change=lambda name: self.queue.add(Key(Kind.BACKUP_STORAGE, "", name)),
        )
        self.storages = Storages(resources, factory, clock, self._storage_changed, self.scrubs.state)
        self.holdings = Holdings(resources, self.storages, self.figures)
        self.transfers = transfers(self._transfer_changed, self.holdings)
        limits = Limits(
            default_max_size_bytes=transfer.default_max_size_bytes,
            progress_interval_s=engine.progress_interval.total_seconds(),
            resync_interval_s=engine.resync_interval.total_seconds(),
        )
        self.images = ImageReconciler(resources, self.storages, self.transfers, clock, limits, self.holdings, secrets)
        self._limits = limits
        self._uids: dict[str, Key] = {}
        self._seen: dict[Key, str] = {}
        self._hurt: set[Key] = set()
        """Images that lost a copy to a scrub and were not looked at since."""
        self._next_sweep: dict[Key, float] = {}
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def probe_storages(self) -> None:
        """Open and probe every storage, in this thread."""
        for key in self._resources.keys(Kind.BACKUP_STORAGE):
            self.do(key)

    def start(self, *, scrub: bool = True) -> None:
        """Probe the storages, ask for a look at every image, and start the workers; with `scrub`, scrubs that are due.

        Who only converges once does not scrub: it would read for hours, or be cut off each time.
        """
        if scrub:
            self.scrubs.open()
        self.probe_storages()
        self.enqueue(self._resources.keys(Kind.IMAGE))
        for number in range(self._settings.workers):
            thread = threading.Thread(target=self._work, name=f"reconcile-{number}")
            thread.start()
            self._threads.append(thread)

    def enqueue(self, keys: Iterable[Key]) -> None:
        """Ask for a look at each."""
        for key in keys:
            self.queue.add(key)

    def stop(self) -> None:
        """End scrubs, and the workers after their pass; transfers are stopped by whoever built them.

        Who lost a copy to a scrub and was not looked at since is written down: nobody may do it for a long time.
        """
        self.scrubs.stop()
        self.queue.close()
        for thread in self._threads:
            thread.join()
        with self._lock:
            hurt, self._hurt = self._hurt, set()
        self.note(hurt)

    def note(self, keys: Iterable[Key], *, probe: bool = False) -> None:
        """Write down how the copies of images look now, start nothing. While no worker runs."""
        try:
            for key in self._resources.keys(Kind.BACKUP_STORAGE) if probe else ():
                self.storages.reconcile(key)
            for key in sorted(keys):
                self.images.note(key)
        except errors.TransientError as exc:
            log.warning("image.copies_not_noted", message=str(exc))

    def _work(self) -> None:
        while (key := self.queue.get()) is not None:
            began = self._clock.monotonic()
            try:
                self.do(key)
            finally:
                self.queue.done(key)
                self.figures.reconcile[key.kind].saw(self._clock.monotonic() - began)

    def do(self, key: Key) -> None:
        """Do one pass over a key, in this thread. Never raises: a bug of ours is logged and the key looked at again."""
        try:
            if key.kind is Kind.BACKUP_STORAGE:
                if self.storages.reconcile(key):
                    self.queue.add_after(key, self._settings.probe_interval.total_seconds())
                    self._tidy(key)
                else:
                    self.scrubs.forget(key.name, "the storage is gone")
                return
            image = self._resources.image(key)
            self._know(key, None if image is None else image.meta.uid)
            with self._lock:
                self._hurt.discard(key)
            outcome = self.images.reconcile(key, image)
            if outcome.gone:
                self._know(key, None)
            for name in outcome.unanswered:
                self.queue.add(Key(Kind.BACKUP_STORAGE, "", name))
            self._on_pass(key, outcome)
            if outcome.requeue is not None:
                self.queue.add_after(key, outcome.requeue.total_seconds())
        except errors.TransientError as exc:
            log.warning("reconcile.broken_off", key=str(key), message=str(exc))
            self.queue.add_after(
                key, (CONFLICT_SOON if isinstance(exc, errors.Conflict) else trouble_soon(exc)).total_seconds()
            )
        except Exception:
            log.exception("reconcile.bug", key=str(key))
            self.queue.add_after(key, BUG_BACKOFF_S)

    def _know(self, key: Key, uid: str | None) -> None:
        """Remember whose transfers wake which key; let go of those of an object that went without a deletion pass.

        In a cluster that is one whose finalizer somebody took off.
        """
        if uid is None:
            self.holdings.forget(key)
        with self._lock:
            before = self._seen.pop(key, None)
            if uid is not None:
                self._seen[key], self._uids[uid] = uid, key
            if before is None or before == uid:
                return
            self._uids.pop(before, None)
        self.images.rotations.forget(before)
        self.images.holders.forget(key)
        for transfer in self.transfers.owned(before):
            self.transfers.release(transfer, before)

    def _tidy(self, key: Key) -> None:
        """Remove what nobody waits for from a storage that answers; what fails of it is done another time, alone."""
        storage = next((storage for storage in self.storages.all() if storage.name == key.name), None)
        if storage is None:
            return
        steps: list[Callable[[OpenStorage], None]] = [self.scrubs.look]
        if storage.connected:
            steps += [lambda one: self._sweep(key, one), self._expunge]
        for step in steps:
            try:
                step(storage)
            except errors.TransientError as exc:
                log.warning("storage.not_tidied", storage=storage.name, message=str(exc))

    def _sweep(self, key: Key, storage: OpenStorage) -> None:
        """Remove partials that no image waits for; at the first probe and then every so often."""
        now = self._clock.monotonic()
        if self._next_sweep.get(key, now) > now:
            return
        self._next_sweep[key] = now + self._transfer_settings.sweep_interval.total_seconds()
        keep = frozenset(name for image in images(self._resources) for name in self._partials(image))
        for name in storage.adapter.sweep(keep, self._transfer_settings.abandoned_after):
            log.info("staging.swept", storage=storage.name, path=name)

    def _expunge(self, storage: OpenStorage) -> None:
        """Remove the bytes of deleted images whose time is up."""
        if storage.resource.spec.state is not State.ENABLED or not (records := storage.adapter.trash()):
            return
        living = trash.living(images(self._resources))
        for record in records:
            if not due(record, living, self._clock.now()):
                continue
            name = f"{record.namespace}/{record.name}"
            try:
                trash.expunge(storage, record.image_uuid)
            except errors.TransientError as exc:  # those behind it take room, too
                log.warning("trash.not_expunged", storage=storage.name, image=name, message=str(exc))
            else:
                log.info("trash.expunged", storage=storage.name, image=name)

    def _partials(self, image: Image) -> Iterator[str]:
        """Yield the names under which a transfer of this image may go on."""
        if conditions.is_true(image.status.conditions, ConditionType.READY):
            return
        for key in transfer_keys(image, self._limits):
            yield key
            yield source_name(key)

    def _transfer_changed(self, transfer: str, owners: frozenset[str]) -> None:
        """One that ended is looked at at once, one that began only if it does not end soon: a write less."""
        running = isinstance(self.transfers.state(transfer), Running)
        with self._lock:
            keys = [self._uids[owner] for owner in owners if owner in self._uids]
        for key in keys:
            self.queue.add_after(key, STARTED_SOON_S if running else 0)

    def _damage_found(self, storage: OpenStorage, sha256: Digest) -> None:
        """Look again at the images that serve or keep a content which went to quarantine."""
        try:
            hurt = [image.meta.key for image in images(self._resources) if keeps(image, sha256)]
            with self._lock:
                self._hurt.update(hurt)
            self.enqueue(hurt)
        except errors.GoldmasterError as exc:
            log.warning("scrub.images_not_asked", storage=storage.name, message=str(exc))

    def _storage_changed(self, storage: OpenStorage) -> None:
        log.debug("storage.wakes_images", storage=storage.name)
        self.enqueue(self._resources.keys(Kind.IMAGE))
