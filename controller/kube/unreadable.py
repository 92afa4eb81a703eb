"""Tells the owners of objects whose spec cannot be read here so, in their status. Nothing else is done for them."""

import threading
from typing import cast

import structlog

from controller import errors
from controller.kube.cache import Cache
from controller.kube.objects import Entry
from controller.model.resource import BackupStorage, Image, Key, Kind
from controller.plan import rejected
from controller.ports import Clock, Resources

log = structlog.get_logger()

TROUBLE_SOON_S = 10.0
"""How soon to go on after the API server did not take a status. There may be thousands to be told."""


class Unreadable:
    """Notes keys from any thread; `tell` writes their statuses."""

    def __init__(self, cache: Cache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock
        self._lock = threading.Lock()
        self._pending: dict[Key, None] = {}
        """In the order in which they are told."""
        self._not_before = float("-inf")

    def note(self, entry: Entry) -> None:
        """Remember an object if it cannot be read."""
        if entry.unreadable and not entry.resource.meta.deleting:
            with self._lock:
                self._pending.setdefault(entry.key)

    def tell(self, resources: Resources) -> None:
        """Write the status of each that was noted.

        What others changed meanwhile is tried again at the next call. The first that the server does not take ends the
        call; it waits a while with the others, and comes after them.
        """
        if self._clock.monotonic() < self._not_before:
            return
        with self._lock:
            pending, self._pending = list(self._pending), {}
        for number, key in enumerate(pending):
            entry = self._cache.get(key)
            if entry is None:
                continue
            try:
                self._tell(resources, entry)
            except errors.Conflict as exc:
                log.debug("kube.unreadable_untold", key=str(key), message=str(exc))
                self.note(entry)
            except errors.TransientError as exc:
                log.warning("kube.unreadable_untold", key=str(key), message=str(exc))
                asked = exc.retry_after.total_seconds() if exc.retry_after else 0.0
                self._not_before = self._clock.monotonic() + max(TROUBLE_SOON_S, asked)
                with self._lock:
                    self._pending = dict.fromkeys([*pending[number + 1 :], *self._pending, key])
                return
            except errors.GoldmasterError as exc:  # the server refuses the status: nothing that a later try mends
                log.exception("kube.unreadable_untold", key=str(key), message=str(exc))

    def _tell(self, resources: Resources, entry: Entry) -> None:
        if not entry.unreadable or entry.resource.meta.deleting:
            return
        now = self._clock.now()
        why = f"{entry.unreadable} (the CRD on the server is of another version than the controller)"
        if entry.key.kind is Kind.IMAGE:
            image = cast(Image, entry.resource)
            status = rejected.reject_image(image, why, now)
            if status != image.status:
                resources.write_image_status(image, status)
                log.error("image.unreadable", image=str(entry.key), message=why)
            return
        storage = cast(BackupStorage, entry.resource)
        verdict = rejected.reject_storage(storage, why, now)
        if verdict != storage.status:
            resources.write_storage_status(storage, verdict)
            log.error("storage.unreadable", storage=str(entry.key), message=why)
