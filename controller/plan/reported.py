"""What statuses tell of the world around an image, for who cannot ask the storages. Pure.

A status may be older than what is there, and says nothing of trash or of running transfers: good enough to foresee what
a change would lead to, never to act on.
"""

from collections.abc import Callable, Iterator, Sequence

from controller.model import conditions
from controller.model.backup_storage import BackupStorageSpec, StorageStatus
from controller.model.conditions import ConditionType
from controller.model.image import Ref, RefStatus
from controller.model.resource import DEFAULT_STORAGE, BackupStorage, Image
from controller.model.transfer import StoredRef
from controller.plan import source
from controller.plan.observed import Observed, StorageView

_CONNECTED = {StorageStatus.CONNECTED: True, StorageStatus.DISCONNECTED: False, StorageStatus.CONNECTING: None}


def reported(
    image: Image, storages: Sequence[BackupStorage], permitted: Callable[[BackupStorageSpec], bool | None]
) -> Observed:
    """Return what would be seen if everything still were as the statuses say."""
    return Observed(tuple(_view(image, storage, permitted(storage.spec)) for storage in storages))


def _view(image: Image, storage: BackupStorage, permitted: bool | None) -> StorageView:
    uuid, status = source.storage_uuid(storage), storage.status
    connected = _CONNECTED[status.status]
    ready = conditions.find(status.conditions, ConditionType.READY)
    available = status.capacity.available_bytes if status.capacity else 0
    refs = tuple(claim for ref in image.status.refs if ref.storage_uuid == uuid for claim in _claims(image, ref))
    return StorageView(
        uuid=uuid,
        name=storage.meta.key.name,
        spec=storage.spec,
        connected=connected,
        trouble=ready.message if ready is not None and connected is False else "",
        room_bytes=max(available - storage.spec.reserved_capacity_bytes, 0),
        default=storage.meta.annotations.get(DEFAULT_STORAGE) == "true",
        deleting=storage.meta.deleting,
        permitted=permitted,
        refs=refs if connected else None,
        holds=frozenset(claim.content.sha256 for claim in refs if claim.intact),
    )


def _claims(image: Image, ref: Ref) -> Iterator[StoredRef]:
    """Yield what a ref that has its copy claims: the current content and the older ones that are kept."""
    current = (image.status.current,) if image.status.current is not None else ()
    for revision in (*current, *image.status.history) if ref.install_path else ():
        yield StoredRef(
            content=revision.content,
            source_id=revision.source_id,
            install_path=ref.install_path,
            intact=ref.status is RefStatus.READY or revision not in current,
            imported_at=revision.imported_at,
            proof=revision.proof,
            url=revision.url,
            owner=image.meta.key.owner,
            delivery=revision.delivery,
        )
