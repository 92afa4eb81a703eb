"""The storages of this instance: their adapters, and what the last probe said."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from controller import errors
from controller.engine.census import images
from controller.model.backup_storage import BackupStorageSpec, Capacity, StorageStatus
from controller.model.resource import DEFAULT_STORAGE, BackupStorage, Key, Kind
from controller.model.scrub import Scrub
from controller.model.transfer import Failure
from controller.plan import source
from controller.plan.backup_storage import Probed, plan_storage
from controller.ports import AuditedStorage, Clock, Resources, StorageFactory

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class OpenStorage:
    """A storage object with its adapter. `connected` None: not probed yet."""

    resource: BackupStorage
    adapter: AuditedStorage
    connected: bool | None = None
    trouble: str = ""
    capacity: Capacity | None = None

    @property
    def uuid(self) -> str:
        """The uuid by which refs name it."""
        return source.storage_uuid(self.resource)

    @property
    def name(self) -> str:
        """Its metadata.name."""
        return self.resource.meta.key.name

    @property
    def room_bytes(self) -> int:
        """Bytes that may still be placed."""
        available = self.capacity.available_bytes if self.capacity else 0
        return max(available - self.resource.spec.reserved_capacity_bytes, 0)


class Storages:
    """Reconciles BackupStorage objects and hands their adapters to whoever reconciles images.

    `on_change` is called when a storage came, went, changed its spec, or began or ceased to answer. `scrub` says
    what this instance knows of the scrub of a storage, by uuid.
    """

    def __init__(
        self,
        resources: Resources,
        factory: StorageFactory,
        clock: Clock,
        on_change: Callable[[OpenStorage], None],
        scrub: Callable[[str], Scrub | None] = lambda _: None,
    ) -> None:
        self._resources = resources
        self._factory = factory
        self._clock = clock
        self._on_change = on_change
        self._scrub = scrub
        self._lock = threading.Lock()
        self._open: dict[str, OpenStorage] = {}

    def all(self) -> tuple[OpenStorage, ...]:
        """Return every storage, by name."""
        with self._lock:
            return tuple(self._open[name] for name in sorted(self._open))

    def by_uuid(self, uuid: str) -> OpenStorage:
        """Return one. Raises StorageUnavailable where it is gone."""
        for storage in self.all():
            if storage.uuid == uuid:
                return storage
        raise errors.StorageUnavailable(f"storage {uuid} is not known any more")

    def permits(self, spec: BackupStorageSpec, namespace: str) -> bool | None:
        """Whether images of a namespace may use a storage; None: the namespace's labels are not known."""
        if spec.namespace_selector is None:
            return True
        labels = self._resources.namespace_labels(namespace)
        return None if labels is None else spec.namespace_selector.matches(labels)

    def load(self) -> None:
        """Open the adapter of every BackupStorage object without probing it."""
        for key in self._resources.keys(Kind.BACKUP_STORAGE):
            resource = self._resources.storage(key)
            if resource is not None:
                self._adapter(resource)

    def reconcile(self, key: Key) -> bool:
        """Probe one storage and write its status; return whether it should be looked at again.

        Raises:
            Conflict, ClusterUnavailable: the status could not be written; what the probe said counts all the same.

        """
        resource = self._resources.storage(key)
        if resource is None:
            self._forget(key)
            return False
        if resource.meta.deleting and not self._in_use(resource):
            self._resources.release(key, resource.meta.uid)
            self._forget(key)
            return False
        before = self._adapter(resource)
        probed = self._probe(before.adapter, create=not connected_before(resource))
        if (ours := self._scrub(source.storage_uuid(resource))) is not None:
            probed = replace(probed, scrub=ours, scrubbing=True)
        status = plan_storage(resource, probed, self._clock.now())
        unwritten: errors.TransientError | None = None
        try:
            if status != resource.status:
                resource = self._resources.write_storage_status(resource, status)
        except errors.TransientError as exc:
            unwritten = exc
        after = replace(
            before,
            resource=resource,
            connected=probed.failure is None,
            trouble=probed.failure.message if probed.failure else "",
            capacity=status.capacity,
        )
        with self._lock:
            self._open[key.name] = after
        if _matters(after) != _matters(before):
            log.info("storage.changed", storage=key.name, connected=after.connected, message=after.trouble)
            self._on_change(after)
        if unwritten is not None:
            raise unwritten
        return True

    def _adapter(self, resource: BackupStorage) -> OpenStorage:
        with self._lock:
            known = self._open.get(resource.meta.key.name)
            if (
                known is not None
                and known.resource.spec == resource.spec
                and known.resource.meta.uid == resource.meta.uid
            ):
                return known
            fresh = OpenStorage(resource, self._factory(source.storage_uuid(resource), resource.spec))
            self._open[resource.meta.key.name] = fresh
            return fresh

    def _in_use(self, storage: BackupStorage) -> bool:
        """Whether an image has a ref on it: one that is being deleted still serves reads and deletions."""
        refs = (ref for image in images(self._resources) for ref in image.status.refs)
        return any(ref.storage_uuid == storage.status.uuid for ref in refs)

    def _forget(self, key: Key) -> None:
        with self._lock:
            gone = self._open.pop(key.name, None)
        if gone is not None:
            self._on_change(gone)

    @staticmethod
    def _probe(adapter: AuditedStorage, *, create: bool) -> Probed:
        try:
            capacity, record = adapter.probe(create=create), adapter.scrub_record()
            scrub = record.scrub if record else None
            return Probed(capacity, None, adapter.image_count(), adapter.quarantine_use(), scrub)
        except errors.TransientError as exc:
            return Probed(None, Failure(exc.reason, str(exc), terminal=False))
        except errors.TerminalError as exc:
            return Probed(None, Failure(exc.reason, str(exc), terminal=True))


def _matters(storage: OpenStorage) -> tuple[object, ...]:
    """Return what of a storage decides what images may do with it: when that changes they are looked at."""
    meta = storage.resource.meta
    return storage.connected, storage.resource.spec, meta.annotations.get(DEFAULT_STORAGE), meta.deleting


def connected_before(resource: BackupStorage) -> bool:
    """Whether the status says that this storage answered once: then an empty place is a lost one."""
    return resource.status.status is not StorageStatus.CONNECTING
