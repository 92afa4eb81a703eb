"""A BackupStorage: a place that holds image bytes."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from controller.model.conditions import Condition
from controller.model.image import State
from controller.model.quarantine import EMPTY, Quarantine
from controller.model.scrub import Scrub
from controller.model.selector import LabelSelector


class StorageType(StrEnum):
    """The kinds that are built."""

    IMAGE_STORE = "ImageStore"


class StorageStatus(StrEnum):
    """Whether the last probe reached it."""

    CONNECTING = "Connecting"
    CONNECTED = "Connected"
    DISCONNECTED = "Disconnected"


@dataclass(frozen=True, slots=True)
class ImageStoreSpec:
    """A directory on any POSIX file system: local, NFS, CephFS."""

    path: str


@dataclass(frozen=True, slots=True)
class BackupStorageSpec:
    """The `spec` of a BackupStorage, parsed; exactly the block that `type` names is there."""

    type: StorageType
    image_store: ImageStoreSpec
    state: State = State.ENABLED
    reserved_capacity_bytes: int = 2**30
    namespace_selector: LabelSelector | None = None
    """Whose Images may use it, by the labels of their namespaces. None: everybody's."""
    scrub_interval: timedelta | None = None
    """How often every copy is read again; None: never."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a storage has, in bytes. `available_bytes` is what an unprivileged writer can still use."""

    total_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True)
class BackupStorageStatus:
    """The `status` of a BackupStorage. The default is one that was never probed."""

    uuid: str | None = None
    status: StorageStatus = StorageStatus.CONNECTING
    observed_generation: int = 0
    capacity: Capacity | None = None
    images: int = 0
    create_date: datetime | None = None
    last_op_date: datetime | None = None
    last_handled_reconcile_at: str | None = None
    last_scrub: Scrub | None = None
    conditions: tuple[Condition, ...] = field(default=())
    quarantine: Quarantine = EMPTY
