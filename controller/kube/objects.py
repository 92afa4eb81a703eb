"""A document of the API server as the engine sees it, and where it lives on the server."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from controller import errors, logs
from controller.model import manifest
from controller.model.backup_storage import BackupStorageStatus
from controller.model.fields import parse_time
from controller.model.image import ImageSpec, ImageStatus
from controller.model.resource import (
    API_VERSION,
    GROUP,
    REQUESTED_AT,
    VERSION,
    BackupStorage,
    Image,
    Key,
    Kind,
    Meta,
    Resource,
)
from controller.model.url import SourceUrl

API = f"/apis/{GROUP}/{VERSION}"
FINALIZERS = {Kind.IMAGE: f"{GROUP}/image", Kind.BACKUP_STORAGE: f"{GROUP}/backupstorage"}
"""Ours: keeps an object until what belongs to it is cleaned up."""
_NOTHING: Mapping[str, str] = MappingProxyType({})
_ANY_URL = SourceUrl.parse("https://unreadable.invalid/")


AnyResource = Image | BackupStorage


@dataclass(frozen=True, slots=True)
class Entry:
    """One object as it was last seen. `unreadable` is why its spec cannot be read; then nothing starts for it."""

    resource: AnyResource
    finalizers: tuple[str, ...]
    unreadable: str = ""

    @property
    def key(self) -> Key:
        """Return which object it is."""
        return self.resource.meta.key

    @property
    def version(self) -> int:
        """The resourceVersion as a number: the revision of the server's one store, which only grows."""
        return int(self.resource.meta.version)


def collection(kind: Kind, namespace: str = "") -> str:
    """Return the path of all objects of a kind, or of those in a namespace."""
    return f"{API}/namespaces/{quote(namespace, safe='')}/{kind.plural}" if namespace else f"{API}/{kind.plural}"


def events(namespace: str) -> str:
    """Return the path of the Events in a namespace."""
    return f"/api/v1/namespaces/{namespace}/events"


def path(key: Key) -> str:
    """Return the path of one object."""
    scope = f"{API}/namespaces/{quote(key.namespace, safe='')}" if key.namespace else API
    return f"{scope}/{key.kind.plural}/{quote(key.name, safe='')}"


def key_of(kind: Kind, document: Mapping[str, Any]) -> Key:
    """Return which object a document is."""
    metadata = document["metadata"]
    return Key(kind, metadata.get("namespace") or "", metadata["name"])


def parse(kind: Kind, document: Mapping[str, Any]) -> Entry:
    """Read a document of the server. Never fails on what a user wrote: see `Entry.unreadable`.

    A spec that the schema of the server let through and we cannot read comes from a CRD of another version. A status
    that we cannot read was written by another version: it counts as none, and is rebuilt from what is on the storages.
    """
    metadata = document["metadata"]
    finalizers = tuple(metadata.get("finalizers") or ())
    annotations = metadata.get("annotations") or _NOTHING
    meta = Meta(
        key=key_of(kind, document),
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        version=metadata["resourceVersion"],
        created=parse_time(metadata["creationTimestamp"]),
        annotations=annotations,
        labels=metadata.get("labels") or _NOTHING,
        deleting="deletionTimestamp" in metadata,
        finalized=FINALIZERS[kind] in finalizers,
        requested_at=annotations.get(REQUESTED_AT),
    )
    spec, status = document.get("spec"), document.get("status") or {}
    if kind is Kind.IMAGE:
        resource, why = _image(meta, spec, status)
        return Entry(resource, finalizers, why)
    storage, why = _storage(meta, spec, status)
    return Entry(storage, finalizers, why)


def _image(meta: Meta, spec: object, status: Mapping[str, Any]) -> tuple[Image, str]:
    try:
        known = manifest.image_status_from_dict(status)
    except errors.InvalidSpec as exc:
        logs.logger().warning("kube.status_unreadable", image=str(meta.key), message=str(exc))
        known = ImageStatus(uuid=_text(status, "uuid"))
    try:
        return Resource(meta, manifest.parse_image_spec(spec), known), ""
    except errors.InvalidSpec as exc:
        # stands in, so that a deletion finds what to clean up: for that no spec is needed
        return Resource(meta, ImageSpec(url=_ANY_URL, uuid=_text(spec, "uuid")), known), str(exc)


def _storage(meta: Meta, spec: object, status: Mapping[str, Any]) -> tuple[BackupStorage, str]:
    try:
        known = manifest.storage_status_from_dict(status)
    except errors.InvalidSpec as exc:
        logs.logger().warning("kube.status_unreadable", storage=str(meta.key), message=str(exc))
        known = BackupStorageStatus(uuid=_text(status, "uuid"))
    try:
        return Resource(meta, manifest.parse_storage_spec(spec), known), ""
    except errors.InvalidSpec as exc:
        return Resource(meta, manifest.parse_storage_spec(_NO_STORAGE), known), str(exc)


_NO_STORAGE = {"type": "ImageStore", "imageStore": {"path": "/nonexistent/unreadable"}, "state": "Disabled"}


def _text(holder: object, name: str) -> str | None:
    value = holder.get(name) if isinstance(holder, Mapping) else None
    return value if isinstance(value, str) else None


def status_document(resource: AnyResource, status: ImageStatus | BackupStorageStatus) -> dict[str, Any]:
    """Return the body of a status write, bound to the version and uid that were seen. The server ignores the rest."""
    key = resource.meta.key
    written = (
        manifest.image_status_to_dict(status)
        if isinstance(status, ImageStatus)
        else manifest.storage_status_to_dict(status)
    )
    return {
        "apiVersion": API_VERSION,
        "kind": key.kind.value,
        "metadata": bound(resource.meta) | {"name": key.name} | ({"namespace": key.namespace} if key.namespace else {}),
        "status": written,
    }


def bound(meta: Meta) -> dict[str, Any]:
    """Return the metadata that makes a write fail with a conflict if somebody wrote in between."""
    return {"uid": meta.uid, "resourceVersion": meta.version}
