"""Objects in memory, as an API server would keep them."""

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from controller import errors
from controller.model import manifest
from controller.model.backup_storage import BackupStorageSpec, BackupStorageStatus
from controller.model.image import ImageSpec, ImageStatus
from controller.model.resource import REQUESTED_AT, BackupStorage, Image, Key, Kind, Meta, Resource
from controller.model.selector import namespace_labels
from controller.ports import Clock, Resources


class FakeResources:
    """Implements `ports.Resources`; `put` and `remove` are what a person does to manifests, `ask` what a verb does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._objects: dict[Key, Image | BackupStorage] = {}
        self.labels: dict[str, dict[str, str] | None] = {}
        """Of namespaces; of others it is known that they have none."""
        self.writes = 0
        """Status writes that were accepted."""

    def image(self, key: Key) -> Image | None:
        with self._lock:
            found = self._objects.get(key)
        return found if found is None or isinstance(found.spec, ImageSpec) else None

    def storage(self, key: Key) -> BackupStorage | None:
        with self._lock:
            found = self._objects.get(key)
        return found if found is None or isinstance(found.spec, BackupStorageSpec) else None

    def keys(self, kind: Kind) -> list[Key]:
        with self._lock:
            return sorted(key for key in self._objects if key.kind is kind)

    def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        written = self.labels.get(namespace, {})
        return None if written is None else namespace_labels(namespace, written)

    def write_image_status(self, image: Image, status: ImageStatus) -> Image:
        after = replace(image, meta=self._next(image.meta), status=status)
        self._store(image.meta, after)
        return after

    def write_storage_status(self, storage: BackupStorage, status: BackupStorageStatus) -> BackupStorage:
        after = replace(storage, meta=self._next(storage.meta), status=status)
        self._store(storage.meta, after)
        return after

    def hold(self, image: Image) -> Image:
        if image.meta.finalized:
            return image
        after = replace(image, meta=replace(self._next(image.meta), finalized=True))
        self._store(image.meta, after)
        return after

    def release(self, key: Key, uid: str) -> None:
        with self._lock:
            found = self._objects.get(key)
            if found is not None and found.meta.uid == uid and found.meta.deleting:
                del self._objects[key]

    # --- what people do ---------------------------------------------------------------------------------------------

    def put(self, key: Key, spec: Mapping[str, Any], annotations: Mapping[str, str] | None = None) -> None:
        """Apply a manifest."""
        parsed: Any = manifest.parse_image_spec(spec) if key.kind is Kind.IMAGE else manifest.parse_storage_spec(spec)
        wanted = annotations or {}
        with self._lock:
            found = self._objects.get(key)
            if found is None:
                status: Any = ImageStatus() if key.kind is Kind.IMAGE else BackupStorageStatus()
                meta = Meta(key, str(uuid.uuid4()), 1, "1", self._clock.now(), wanted, finalized=True)
                found = Resource(meta, parsed, status)
            elif (found.spec, found.meta.annotations, found.meta.deleting) != (parsed, wanted, False):
                grown = found.meta.generation + (found.spec != parsed)
                meta = replace(self._next(found.meta), generation=grown, annotations=wanted, deleting=False)
                found = replace(found, meta=meta, spec=parsed)
            token = wanted.get(REQUESTED_AT) or found.meta.requested_at
            self._objects[key] = replace(found, meta=replace(found.meta, requested_at=token))

    def remove(self, key: Key) -> None:
        """Delete a manifest."""
        self._change(key, lambda meta: replace(meta, deleting=True))

    def ask_again(self, key: Key) -> None:
        """Ask for a look."""
        self._change(key, lambda meta: replace(meta, requested_at=str(uuid.uuid4())))

    def suspend(self, key: Key) -> None:
        """Suspend over the manifest."""
        self._change(key, lambda meta: replace(meta, suspend_override=True))

    def _change(self, key: Key, change: Callable[[Meta], Meta]) -> None:
        with self._lock:
            found = self._objects[key]
            self._objects[key] = replace(found, meta=change(self._next(found.meta)))

    def _store(self, before: Meta, after: Image | BackupStorage) -> None:
        with self._lock:
            found = self._objects.get(before.key)
            if found is None or (found.meta.uid, found.meta.version) != (before.uid, before.version):
                raise errors.Conflict(f"{before.key} was changed meanwhile")
            self._objects[before.key] = after
            self.writes += 1

    @staticmethod
    def _next(meta: Meta) -> Meta:
        return replace(meta, version=str(int(meta.version) + 1))


def race(resources: Resources, image: Image) -> list[int]:
    """Let four writers that saw the same version write another count of tries each; return the counts that got in."""
    won: list[int] = []
    start = threading.Barrier(4)

    def write(attempts: int) -> None:
        start.wait()
        try:
            resources.write_image_status(image, ImageStatus(attempts=attempts))
        except errors.Conflict:
            return
        won.append(attempts)

    threads = [threading.Thread(target=write, args=(attempts,)) for attempts in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won
