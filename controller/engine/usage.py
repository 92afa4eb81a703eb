"""What the bytes on a storage are for: served now, kept for going back, or waiting in the trash; and who holds them."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from controller import errors
from controller.engine import trash
from controller.engine.storages import OpenStorage
from controller.model.digest import Digest
from controller.model.image import RefStatus
from controller.model.quarantine import EMPTY, Quarantine
from controller.model.resource import Image
from controller.plan.room import Held, Holder, Use
from controller.ports import Clock

FRESH_FOR_S = 60.0
"""Seconds that a measurement counts for where a full storage is explained: it looks at every image."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """Stored bytes by use. Each content counts once, for the first of these that wants it."""

    current: int = 0
    history: int = 0
    trash: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What one storage holds. What several namespaces share counts in each of them, and once in `total`."""

    total: Bytes
    namespaces: Mapping[str, Bytes] = field(default_factory=dict)
    """By name; those that hold nothing are not in."""
    quarantine: Quarantine = EMPTY
    """Damaged bytes that are kept for a person; nobody knows any more whose they were."""
    holders: tuple[Holder, ...] = ()
    """What would be freed if one image's older revisions, or trash, went: bytes that nobody else wants, most first."""


_Wanted = tuple[Use, str, str, Digest, int]
"""For what, namespace and name of whom, which content, of how many bytes."""


def measure(storage: OpenStorage, images: Iterable[Image]) -> Usage:
    """Add up what the statuses say and, where there are older revisions or trash, what the storage claims for them.

    An image without older revisions costs no look at the storage. Raises StorageUnavailable.
    """
    sizes: dict[Digest, int] = {}
    wanted: defaultdict[Digest, set[tuple[Use, str, str]]] = defaultdict(set)
    for use, namespace, name, sha256, size in _all(storage, list(images)):
        sizes[sha256] = size
        wanted[sha256].add((use, namespace, name))
    total: defaultdict[Use, int] = defaultdict(int)
    by_namespace: defaultdict[str, defaultdict[Use, int]] = defaultdict(lambda: defaultdict(int))
    alone: defaultdict[tuple[Use, str, str], int] = defaultdict(int)
    for sha256, who in wanted.items():
        total[min(use for use, _, _ in who)] += sizes[sha256]
        for namespace in {namespace for _, namespace, _ in who}:
            by_namespace[namespace][min(use for use, other, _ in who if other == namespace)] += sizes[sha256]
        if len(who) == 1:
            alone[next(iter(who))] += sizes[sha256]
    holders = [
        Holder(use, namespace, name, size) for (use, namespace, name), size in alone.items() if use is not Use.CURRENT
    ]
    return Usage(
        _bytes(total),
        {namespace: _bytes(by_namespace[namespace]) for namespace in sorted(by_namespace)},
        storage.adapter.quarantine_use(),
        tuple(sorted(holders, key=lambda one: (-one.size_bytes, one))),
    )


def _all(storage: OpenStorage, images: list[Image]) -> Iterator[_Wanted]:
    for image in images:
        namespace, name = image.meta.key.namespace, image.meta.key.name
        here = next((ref for ref in image.status.refs if ref.storage_uuid == storage.uuid), None)
        serving = image.status.current
        if here is not None and here.status is RefStatus.READY and serving is not None:
            yield Use.CURRENT, namespace, name, serving.content.sha256, serving.content.size_bytes
        if here is not None and image.status.history and image.status.uuid:
            older = {revision.content.sha256 for revision in image.status.history}
            for claim in storage.adapter.refs(image.status.uuid):
                if claim.content.sha256 in older:
                    yield Use.HISTORY, namespace, name, claim.content.sha256, claim.content.size_bytes
    alive = trash.living(images)
    for entry in trash.discarded(storage):
        if entry.record.whose not in alive:
            for claim in entry.claims:
                record, content = entry.record, claim.content
                yield Use.TRASH, record.namespace, record.name, content.sha256, content.size_bytes


def _bytes(by_use: Mapping[Use, int]) -> Bytes:
    return Bytes(by_use.get(Use.CURRENT, 0), by_use.get(Use.HISTORY, 0), by_use.get(Use.TRASH, 0))


class Measured:
    """Remembers what was measured, so that many images which a full storage stops cost one measurement. Thread-safe."""

    def __init__(self, clock: Clock, images: Callable[[], Iterable[Image]]) -> None:
        self._clock = clock
        self._images = images
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Held]] = {}

    def held(self, storages: Iterable[OpenStorage]) -> tuple[Held, ...]:
        """Return what could be freed on these; of one that cannot be asked nothing is said."""
        found = []
        with self._lock:
            for storage in storages:
                now = self._clock.monotonic()
                known = self._known.get(storage.uuid)
                if known is None or now - known[0] > FRESH_FOR_S:
                    try:
                        usage = measure(storage, self._images())
                    except errors.StorageUnavailable:
                        continue
                    bad = usage.quarantine.bytes
                    known = self._known[storage.uuid] = now, Held(storage.uuid, storage.name, usage.holders, bad)
                found.append(known[1])
        return tuple(found)
