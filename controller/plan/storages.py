"""Which storages an image belongs on."""

from collections.abc import Mapping
from dataclasses import dataclass

from controller.model.resource import Image
from controller.plan.observed import Observed, StorageView

NOT_FOR_US = "whose namespaceSelector does not select this namespace"
UNKNOWN_LABELS = "whose namespaceSelector cannot be judged: the labels of this namespace are not known"


@dataclass(frozen=True, slots=True)
class Choice:
    """`targets` in order, and why there are fewer than asked for (`missing` names, or no storage at all)."""

    targets: tuple[StorageView, ...]
    missing: tuple[str, ...] = ()
    why: str = ""


def choose(image: Image, observed: Observed) -> Choice:
    """Return the storages that the spec names; where it names none, the ones in use, the default, or the roomiest.

    A choice made for an image stays: a new default never moves bytes that are already placed.
    """
    used = {ref.storage_uuid for ref in image.status.refs}
    # one that is being deleted, or is not for this namespace, serves what it has and takes nothing new
    willing = [
        storage
        for storage in observed.storages
        if storage.uuid in used or (not storage.deleting and storage.permitted is True)
    ]
    by_name = {storage.name: storage for storage in willing}
    names = image.spec.backup_storages
    if names:
        missing = tuple(name for name in names if name not in by_name)
        why = _why_missing(missing, observed) if missing else ""
        return Choice(tuple(by_name[name] for name in names if name in by_name), missing, why)
    in_use = tuple(by_name[ref.storage_name] for ref in image.status.refs if ref.storage_name in by_name)
    if in_use:
        return Choice(in_use)
    defaults = tuple(storage for storage in by_name.values() if storage.default)
    if len(defaults) > 1:
        return Choice((), why=f"{len(defaults)} storages are marked as default: {_names(defaults)}; mark one")
    if defaults:
        return Choice(defaults)
    if any(storage.connected is None for storage in observed.storages):
        return Choice((), why="waits for the first probe of the storages")
    usable = [storage for storage in by_name.values() if storage.reachable and storage.enabled]
    if not usable:
        return Choice((), why=_why_none(by_name, observed))
    return Choice((max(usable, key=lambda storage: (storage.room_bytes, storage.name)),))


def _why_missing(names: tuple[str, ...], observed: Observed) -> str:
    refusing = {storage.name: storage for storage in observed.storages if not storage.deleting}
    gone = [name for name in names if name not in refusing]
    parts = [f"BackupStorage {', '.join(gone)} does not exist, or is being deleted"] if gone else []
    for text, verdict in ((NOT_FOR_US, False), (UNKNOWN_LABELS, None)):
        found = [name for name in names if name in refusing and refusing[name].permitted is verdict]
        if found:
            parts.append(f"may not use BackupStorage {', '.join(found)}, {text}")
    return "; ".join(parts)


def _why_none(by_name: Mapping[str, StorageView], observed: Observed) -> str:
    if by_name:
        return "no BackupStorage is connected and enabled"
    refusing = tuple(storage for storage in observed.storages if not storage.deleting)
    if not refusing:
        return "there is no BackupStorage"
    known = all(storage.permitted is False for storage in refusing)
    return f"there are only BackupStorages {NOT_FOR_US if known else UNKNOWN_LABELS}: {_names(refusing)}"


def _names(storages: tuple[StorageView, ...]) -> str:
    return ", ".join(sorted(storage.name for storage in storages))
