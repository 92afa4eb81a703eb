"""What deleted images left on a storage: who, how much, and letting it go."""

from collections.abc import Iterable
from dataclasses import dataclass

from controller.engine.storages import OpenStorage
from controller.model.resource import Image, Key
from controller.model.stored import Stored
from controller.model.transfer import StoredRef, TrashRecord
from controller.plan import source


@dataclass(frozen=True, slots=True)
class Discarded:
    """A deleted image on one storage, and the claims that are kept for it."""

    storage: OpenStorage
    record: TrashRecord
    claims: tuple[StoredRef, ...]

    @property
    def size_bytes(self) -> int:
        """Stored bytes that are claimed, each content once; what is freed is less where others share them."""
        return sum({claim.content.sha256: claim.content.size_bytes for claim in self.claims}.values())


def discarded(storage: OpenStorage) -> tuple[Discarded, ...]:
    """Return the trash of a storage, the oldest first. Raises StorageUnavailable."""
    adapter = storage.adapter
    return tuple(Discarded(storage, record, adapter.refs(record.image_uuid)) for record in adapter.trash())


def living(images: Iterable[Image]) -> frozenset[tuple[str, str]]:
    """Return whose claims belong to an object that exists, as `TrashRecord.whose`: nothing of theirs is expunged."""
    return frozenset((source.image_uuid(image), image.meta.key.owner) for image in images)


def owners(images: Iterable[Stored]) -> dict[tuple[str, str], Key]:
    """Return the same by their objects, of documents: also of one whose spec this version cannot read."""
    found = {}
    for image in images:
        document = image.document
        uuid = document["spec"].get("uuid") or document["status"].get("uuid")
        found[uuid or document["metadata"]["uid"].replace("-", ""), image.key.owner] = image.key
    return found


def expunge(storage: OpenStorage, image_uuid: str) -> None:
    """Drop the claims of a deleted image, then its record: broken off in between, the next one goes on.

    Bytes that another image claims stay. Raises StorageUnavailable.
    """
    for ref in storage.adapter.refs(image_uuid):
        storage.adapter.unlink(image_uuid, ref.content.sha256)
    storage.adapter.restore(image_uuid)
