"""What the bytes on a storage are for: served now, kept for going back, or waiting in the trash."""

from collections.abc import Iterable
from dataclasses import dataclass

from controller.engine import trash
from controller.engine.storages import OpenStorage
from controller.model.digest import Digest
from controller.model.image import RefStatus
from controller.model.resource import Image


@dataclass(frozen=True, slots=True)
class Usage:
    """Stored bytes of one storage. Each content counts once, for the first of these that wants it."""

    current_bytes: int
    history_bytes: int
    trash_bytes: int


def measure(storage: OpenStorage, images: Iterable[Image]) -> Usage:
    """Add up what the statuses say and, where there are older revisions or trash, what the storage claims for them.

    An image without older revisions costs no look at the storage. Raises StorageUnavailable.
    """
    known = list(images)
    current: dict[Digest, int] = {}
    history: dict[Digest, int] = {}
    for image in known:
        here = next((ref for ref in image.status.refs if ref.storage_uuid == storage.uuid), None)
        serving = image.status.current
        if here is not None and here.status is RefStatus.READY and serving is not None:
            current[serving.content.sha256] = serving.content.size_bytes
        if here is not None and image.status.history and image.status.uuid:
            older = {revision.content.sha256 for revision in image.status.history}
            claims = storage.adapter.refs(image.status.uuid)
            history |= {
                claim.content.sha256: claim.content.size_bytes for claim in claims if claim.content.sha256 in older
            }
    alive = trash.living(known)
    deleted = [entry for entry in trash.discarded(storage) if entry.record.image_uuid not in alive]
    discarded = {claim.content.sha256: claim.content.size_bytes for entry in deleted for claim in entry.claims}
    return Usage(
        current_bytes=sum(current.values()),
        history_bytes=_sum(history, set(current)),
        trash_bytes=_sum(discarded, {*current, *history}),
    )


def _sum(sizes: dict[Digest, int], counted: set[Digest]) -> int:
    return sum(size for sha256, size in sizes.items() if sha256 not in counted)
