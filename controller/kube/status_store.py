"""`ports.Resources` on an API server: reads come from the cache, writes go out bound to the version that was seen.

What a write is answered goes into the cache at once, so that the next pass sees it, and the watch's echo of it is no
news. Only the status subresource and our finalizer are ever written.
"""

from collections.abc import Callable, Mapping
from typing import cast

import structlog

from controller import errors
from controller.kube import objects
from controller.kube.cache import Cache
from controller.kube.client import Client, Gone
from controller.kube.namespaces import Namespaces
from controller.kube.objects import AnyResource, Entry
from controller.model.backup_storage import BackupStorageStatus
from controller.model.image import ImageStatus
from controller.model.resource import BackupStorage, Image, Key, Kind, Meta

log = structlog.get_logger()

RELEASE_TRIES = 5
"""How often a finalizer is taken off anew where somebody writes the same object all the time, before a pause."""


class KubeResources:
    """Implements `ports.Resources`. Thread-safe.

    `on_status` is told of each accepted status write, with the object before and after it: for Kubernetes Events.
    `on_gone` is told of each object that was let go, `on_news` of each that others changed while we wrote it.
    """

    def __init__(
        self,
        client: Client,
        cache: Cache,
        on_status: Callable[[AnyResource, AnyResource], None] = lambda _before, _after: None,
        on_gone: Callable[[Key], None] = lambda _key: None,
        on_news: Callable[[Key], None] = lambda _key: None,
        namespaces: Namespaces | None = None,
    ) -> None:
        self._client = client
        self._cache = cache
        self._on_status = on_status
        self._on_gone = on_gone
        self._on_news = on_news
        self._namespaces = namespaces or Namespaces()

    def image(self, key: Key) -> Image | None:
        """Return the object, None where it is gone; also None while its spec cannot be read, until it is deleted."""
        entry = self._cache.get(key)
        if entry is None or (entry.unreadable and not entry.resource.meta.deleting):
            return None
        return _image(entry)

    def storage(self, key: Key) -> BackupStorage | None:
        """Return the object, None where it is gone; also None while its spec cannot be read, until it is deleted."""
        entry = self._cache.get(key)
        if entry is None or (entry.unreadable and not entry.resource.meta.deleting):
            return None
        return _storage(entry)

    def keys(self, kind: Kind) -> list[Key]:
        """Return the keys of all objects of a kind, as of the last list and everything the watch told since."""
        return self._cache.keys(kind)

    def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        """Return the labels of a namespace, None where they are not known."""
        return self._namespaces.labels(namespace)

    def write_image_status(self, image: Image, status: ImageStatus) -> Image:
        """Replace the status if the object is still at `image.meta.version`. Raises Conflict, ClusterUnavailable."""
        after = _image(self._write_status(image, status))
        self._on_status(image, after)
        return after

    def write_storage_status(self, storage: BackupStorage, status: BackupStorageStatus) -> BackupStorage:
        """Do the same for a BackupStorage; the first write puts our finalizer on it.

        So a storage that is deleted together with its images goes after them, in whichever order a tool asks for it.
        """
        if not storage.meta.finalized and not storage.meta.deleting:
            storage = _storage(self._hold(storage.meta))
        after = _storage(self._write_status(storage, status))
        self._on_status(storage, after)
        return after

    def hold(self, image: Image) -> Image:
        """Put our finalizer on an object. Raises Conflict where it is being deleted or was changed."""
        if image.meta.finalized:
            return image
        return _image(self._hold(image.meta))

    def release(self, key: Key, uid: str) -> None:
        """Take our finalizer off an object that is being deleted. Idempotent."""
        for _ in range(RELEASE_TRIES):
            entry = self._cache.get(key)
            if entry is None or entry.resource.meta.uid != uid or not entry.resource.meta.deleting:
                return
            left = [name for name in entry.finalizers if name != objects.FINALIZERS[key.kind]]
            if len(left) == len(entry.finalizers):
                return
            try:
                self._released(key, self._patch(entry.resource.meta, left))
            except errors.Conflict:
                continue  # the cache was refreshed: once more with what is there now
            return
        raise errors.Conflict(f"{key} is written by others all the time")

    def _released(self, key: Key, entry: Entry) -> None:
        if not entry.finalizers:
            self._cache.remove(key, entry.resource.meta.uid, entry.version)
        log.info("kube.released", key=str(key))
        self._on_gone(key)

    def _hold(self, meta: Meta) -> Entry:
        entry = self._cache.get(meta.key)
        if entry is None or entry.resource.meta.version != meta.version or meta.deleting:
            raise errors.Conflict(f"{meta.key} was changed meanwhile")
        return self._patch(meta, [*entry.finalizers, objects.FINALIZERS[meta.key.kind]])

    def _patch(self, meta: Meta, finalizers: list[str]) -> Entry:
        body = {"metadata": objects.bound(meta) | {"finalizers": finalizers}}
        return self._do(meta, lambda: self._client.merge(objects.path(meta.key), body))

    def _write_status(self, before: AnyResource, status: ImageStatus | BackupStorageStatus) -> Entry:
        body = objects.status_document(before, status)
        return self._do(before.meta, lambda: self._client.replace(f"{objects.path(before.meta.key)}/status", body))

    def _do(self, meta: Meta, write: Callable[[], dict[str, object]]) -> Entry:
        """Write, and take the answer into the cache; after a conflict, what is there instead."""
        made = None
        self._cache.writes(meta.key)
        try:
            entry = self._answer(meta, write)
            made = entry.version
            return entry
        finally:
            if self._cache.wrote(meta.key, made):
                self._on_news(meta.key)

    def _answer(self, meta: Meta, write: Callable[[], dict[str, object]]) -> Entry:
        try:
            written = write()
            # the answer to taking the last finalizer off has the version of before: it went, unchanged
            known = None if meta.deleting else self._cache.known(meta.key.kind, written)
            entry = known or objects.parse(meta.key.kind, written)
        except Gone as exc:
            self._cache.remove(meta.key, meta.uid, int(meta.version))
            raise errors.Conflict(f"{meta.key} is gone") from exc
        except errors.Conflict:
            self._refresh(meta)
            raise
        self._cache.answered(entry)
        return entry

    def _refresh(self, meta: Meta) -> None:
        """Read what is there now: the watch may lag, and the next pass should not fail the same way."""
        try:
            entry = objects.parse(meta.key.kind, self._client.get(objects.path(meta.key)))
        except Gone:
            self._cache.remove(meta.key, meta.uid, int(meta.version))
            return
        if entry.resource.meta.uid != meta.uid:
            self._cache.remove(meta.key, meta.uid, int(meta.version))
        self._cache.accept(entry)


def _image(entry: Entry) -> Image:
    if entry.key.kind is not Kind.IMAGE:
        raise TypeError(f"{entry.key} is not an image")
    return cast(Image, entry.resource)


def _storage(entry: Entry) -> BackupStorage:
    if entry.key.kind is not Kind.BACKUP_STORAGE:
        raise TypeError(f"{entry.key} is not a storage")
    return cast(BackupStorage, entry.resource)
