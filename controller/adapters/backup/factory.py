"""Builds the storage that a spec describes."""

import threading
from typing import assert_never

from controller import ports
from controller.adapters.backup.imagestore import ImageStore
from controller.adapters.backup.imagestore_layout import Held
from controller.model.backup_storage import BackupStorageSpec, StorageType


class BackupStorages:
    """A StorageFactory (see ports): one adapter per store and spec; those of one store share its locks. No I/O."""

    def __init__(self, clock: ports.Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._built: dict[str, tuple[BackupStorageSpec, ports.AuditedStorage]] = {}
        self._held: dict[str, Held] = {}

    def __call__(self, uuid: str, spec: BackupStorageSpec) -> ports.AuditedStorage:
        """Return the adapter of this uuid; a changed spec builds it anew, while the former may still be at work."""
        with self._lock:
            known = self._built.get(uuid)
            if known is None or known[0] != spec:
                known = (spec, self._build(uuid, spec))
                self._built[uuid] = known
            return known[1]

    def _build(self, uuid: str, spec: BackupStorageSpec) -> ports.AuditedStorage:
        match spec.type:
            case StorageType.IMAGE_STORE:
                return ImageStore(
                    spec.image_store.path,
                    storage_uuid=uuid,
                    reserved_bytes=spec.reserved_capacity_bytes,
                    clock=self._clock,
                    held=self._held.setdefault(uuid, Held()),
                )
            case _:
                assert_never(spec.type)
