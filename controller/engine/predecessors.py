"""The deleted images whose name a new one has: their uuid, and with it their bytes, go over to it."""

import threading

from controller import errors
from controller.engine.storages import Storages
from controller.model.resource import Image
from controller.model.transfer import TrashRecord
from controller.ports import Clock

FRESH_FOR_S = 1.0
"""Seconds that a look at the trash of all storages counts for: it is a read per deleted image, and 10,000 images may be
new at once. What this process puts into the trash is seen at once."""


class Predecessors:
    """Thread-safe."""

    def __init__(self, storages: Storages, clock: Clock) -> None:
        self._storages = storages
        self._clock = clock
        self._lock = threading.Lock()
        self._seen_at: float | None = None
        self._uuids: dict[tuple[str, str], str] = {}

    def uuid(self, image: Image) -> str:
        """Return the uuid that the deleted image of the same name had, of several the one deleted last; "" for none.

        Only an image asks that has no uuid of its own choice and never served anything. A storage that cannot be asked
        has no say.
        """
        if image.spec.uuid is not None or image.status.current is not None or image.meta.deleting:
            return ""
        with self._lock:
            now = self._clock.monotonic()
            if self._seen_at is None or now - self._seen_at > FRESH_FOR_S:
                self._uuids, self._seen_at = self._look(), now
            return self._uuids.get((image.meta.key.namespace, image.meta.key.name), "")

    def forget(self) -> None:
        """Look anew next time: the trash changed."""
        with self._lock:
            self._seen_at = None

    def _look(self) -> dict[tuple[str, str], str]:
        records: list[TrashRecord] = []
        for storage in self._storages.all():
            if storage.connected is not True:
                continue
            try:
                records += storage.adapter.trash()
            except errors.StorageUnavailable:
                continue
        records.sort(key=lambda record: (record.deleted_at, record.image_uuid))
        return {(record.namespace, record.name): record.image_uuid for record in records}
