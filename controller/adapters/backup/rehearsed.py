"""Storages for `goldmaster plan`: they answer what the real ones would, and nothing is made, written or removed."""

import os
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path

from controller import ports
from controller.adapters.backup.factory import BackupStorages
from controller.adapters.backup.imagestore import ImageStore
from controller.adapters.durable_files import storage_errors
from controller.model.backup_storage import BackupStorageSpec, Capacity
from controller.model.digest import Digest
from controller.model.image import Content
from controller.model.quarantine import Quarantine
from controller.model.scrub import ScrubRecord
from controller.model.transfer import Provenance, StoredRef, TrashRecord

_NOBODY = "0" * 32


class RehearsedStorages(BackupStorages):
    """Builds storages that are only looked at."""

    def _build(self, uuid: str, spec: BackupStorageSpec) -> ports.AuditedStorage:
        return RehearsedStore(
            spec.image_store.path,
            storage_uuid=uuid,
            reserved_bytes=spec.reserved_capacity_bytes,
            clock=self._clock,
        )


class RehearsedStore(ImageStore):
    """An ImageStore that is not made where it does not exist yet, but counts as an empty one."""

    _unmade = False

    def probe(self, *, create: bool = True) -> Capacity:
        """Look without writing; see ports. What would be made has the room of the file system it would be made on."""
        place = Path(self._layout.path)
        with storage_errors(f"{place}: look at the store"):
            self._unmade = create and not (place.is_dir() and any(place.iterdir()))
            while self._unmade and not place.is_dir():
                place = place.parent
            if not self._unmade:
                super().refs(_NOBODY)
            room = os.statvfs(place)
        return Capacity(total_bytes=room.f_frsize * room.f_blocks, available_bytes=room.f_frsize * room.f_bavail)

    def sweep(self, keep: Collection[str], older_than: timedelta) -> list[str]:
        """Remove nothing; see ports."""
        return []

    def refs(self, image_uuid: str) -> tuple[StoredRef, ...]:
        """Return every claim of an image; see ports."""
        return () if self._unmade else super().refs(image_uuid)

    def discarded(self, image_uuid: str) -> TrashRecord | None:
        """Return the trash record of an image; see ports."""
        return None if self._unmade else super().discarded(image_uuid)

    def image_count(self) -> int:
        """Return how many images have a claim; see ports."""
        return 0 if self._unmade else super().image_count()

    def quarantine_use(self) -> Quarantine:
        """Return how much lies in quarantine; see ports."""
        return Quarantine() if self._unmade else super().quarantine_use()

    def provenance(self, sha256: Digest) -> tuple[Provenance, ...]:
        """Return where a stored content came from; see ports."""
        return () if self._unmade else super().provenance(sha256)

    def scrub_record(self) -> ScrubRecord | None:
        """Return how far the last scrub came; see ports."""
        return None if self._unmade else super().scrub_record()

    def find(self, sha256: Digest) -> Content | None:
        """Return the record of a stored content; see ports."""
        return None if self._unmade else super().find(sha256)
