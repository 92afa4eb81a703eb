"""A Kubernetes object as the engine sees it, whichever mode it came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Generic, TypeVar

from controller.model.backup_storage import BackupStorageSpec, BackupStorageStatus
from controller.model.image import ImageSpec, ImageStatus

GROUP = "goldmaster.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
REQUESTED_AT = f"{GROUP}/requestedAt"
"""Annotation, the user's to set: look again now."""
DEFAULT_STORAGE = f"{GROUP}/default"
"""Annotation on a BackupStorage, `"true"`: the one that serves Images which name none."""
FORCE_DELETE = f"{GROUP}/force-delete"
"""Annotation on an object that is being deleted, `"true"`: give up on storages that cannot be reached."""


class Kind(StrEnum):
    """The kinds of the API group."""

    IMAGE = "Image"
    BACKUP_STORAGE = "BackupStorage"

    @property
    def plural(self) -> str:
        """The resource name in URLs, CRD names and commands."""
        return {"Image": "images", "BackupStorage": "backupstorages"}[self.value]


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Names one object. `namespace` is empty for a BackupStorage, which is cluster-scoped."""

    kind: Kind
    namespace: str
    name: str

    @property
    def owner(self) -> str:
        """`namespace/name`, as claims and messages have it."""
        return f"{self.namespace}/{self.name}"

    @property
    def shown(self) -> str:
        """As people write it: `default/debian`, `backupstorage/main`."""
        return self.owner if self.namespace else f"{self.kind.lower()}/{self.name}"

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Meta:
    """The part of `metadata` that matters here. `version` is opaque and changes with each write."""

    key: Key
    uid: str
    generation: int
    version: str
    created: datetime
    annotations: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    deleting: bool = False
    finalized: bool = False
    """Whether our finalizer is on it; standalone state always says True."""
    suspend_override: bool | None = None
    """What a `suspend` or `resume` request says over the manifest; None where nobody asked."""
    requested_at: str | None = None
    """Token of the newest request to look again now (annotation or request in the state)."""
    revision: str | None = None
    """The Git commit that this spec was taken from; None where it comes from no repository, as in a cluster."""


SpecT = TypeVar("SpecT", ImageSpec, BackupStorageSpec)
StatusT = TypeVar("StatusT", ImageStatus, BackupStorageStatus)


@dataclass(frozen=True, slots=True)
class Resource(Generic[SpecT, StatusT]):
    """An object: metadata, spec and the status last written."""

    meta: Meta
    spec: SpecT
    status: StatusT


Image = Resource[ImageSpec, ImageStatus]
BackupStorage = Resource[BackupStorageSpec, BackupStorageStatus]
