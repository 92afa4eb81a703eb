"""Look at the world around one image. Storages that cannot be asked are `None`, never empty."""

from dataclasses import dataclass
from types import MappingProxyType

from controller import errors
from controller.engine.holdings import Holdings
from controller.engine.storages import OpenStorage, Storages
from controller.model.digest import Digest
from controller.model.resource import DEFAULT_STORAGE, Image
from controller.model.transfer import Placed, StoredRef, TrashRecord
from controller.plan import source
from controller.plan.case import transfer_keys
from controller.plan.observed import Limits, Observed, Shared, StorageView
from controller.ports import Transfers


def observe(image: Image, storages: Storages, transfers: Transfers, limits: Limits, holdings: Holdings) -> Observed:
    """Return what was seen. Asks every connected storage for this image's claims, and for the contents of interest."""
    owned = transfers.owned(image.meta.uid)
    keys = owned | transfer_keys(image, limits)
    states = {key: state for key in keys if (state := transfers.state(key)) is not None}
    uuid = source.image_uuid(image)
    asked = [(storage, _ask(uuid, storage)) for storage in storages.all()]
    opened = [(storage, found and found.of(image)) for storage, found in asked]
    interest = {state.content.sha256 for state in states.values() if isinstance(state, Placed)}
    interest |= {ref.content.sha256 for _, found in opened if found for ref in found.refs}
    if image.status.current is not None:
        interest.add(image.status.current.content.sha256)
    if (shared := _shared(image, holdings)) is not None:
        interest.add(shared.content.sha256)
    namespace = image.meta.key.namespace
    views = tuple(
        _view(storage, found, interest, permitted=storages.permits(storage.resource.spec, namespace))
        for storage, found in opened
    )
    return Observed(views, MappingProxyType(states), owned, _foreign(image, asked), shared=shared)


def _shared(image: Image, holdings: Holdings) -> Shared | None:
    """Look for the bytes of the spec's digest among those of the namespace, unless the image serves them already."""
    wanted, current = image.spec.checksum, image.status.current
    if wanted is None or not wanted.algorithm.identifies or image.meta.deleting:
        return None
    if current is not None and any(map(wanted.matches, current.content.source_digests)):
        return None
    return holdings.of_namespace(image.meta.key.namespace, wanted, but=image.meta.key)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a storage has under a uuid: claims, and a trash record."""

    refs: tuple[StoredRef, ...]
    trash: TrashRecord | None

    def of(self, image: Image) -> "_Found":
        """Keep what is this image's. A uuid can be written into any manifest: it is a name, not a right."""
        owner = image.meta.key.owner
        mine = tuple(ref for ref in self.refs if ref.owner in {"", owner})
        trash = self.trash if self.trash is not None and f"{self.trash.namespace}/{self.trash.name}" == owner else None
        return _Found(mine, trash)

    def others(self, image: Image) -> set[str]:
        """Name whose the rest is."""
        owners = {ref.owner for ref in self.refs if ref.owner}
        if self.trash is not None:
            owners.add(f"{self.trash.namespace}/{self.trash.name}")
        return owners - {image.meta.key.owner}


def _foreign(image: Image, asked: list[tuple[OpenStorage, _Found | None]]) -> str:
    others = sorted({other for _, found in asked if found is not None for other in found.others(image)})
    if not others:
        return ""
    return f"spec.uuid is that of {', '.join(others)}: choose another, or leave it out"


def _ask(uuid: str, storage: OpenStorage) -> _Found | None:
    """Return an image's claims and trash record; None: could not ask."""
    if storage.connected is not True:
        return None
    try:
        return _Found(storage.adapter.refs(uuid), storage.adapter.discarded(uuid))
    except errors.StorageUnavailable:
        return None


def _view(storage: OpenStorage, found: _Found | None, interest: set[Digest], *, permitted: bool | None) -> StorageView:
    refs = None if found is None else found.refs
    trash = None if found is None else found.trash
    holds = frozenset(ref.content.sha256 for ref in refs or () if ref.intact)
    if refs is not None:
        try:
            holds |= {sha256 for sha256 in interest - holds if storage.adapter.find(sha256) is not None}
        except errors.StorageUnavailable:
            refs = None
    return StorageView(
        uuid=storage.uuid,
        name=storage.name,
        spec=storage.resource.spec,
        connected=storage.connected,
        trouble=storage.trouble,
        room_bytes=storage.room_bytes,
        default=storage.resource.meta.annotations.get(DEFAULT_STORAGE) == "true",
        deleting=storage.resource.meta.deleting,
        permitted=permitted,
        refs=refs,
        trash=trash if refs is not None else None,
        holds=holds,
    )
