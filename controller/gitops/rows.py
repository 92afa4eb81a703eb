"""A row of the state as an object, for the engine and for people."""

import functools
import json
from datetime import UTC, datetime
from sqlite3 import Row

from controller.gitops import desired
from controller.model import manifest
from controller.model.image import ImageSpec
from controller.model.resource import API_VERSION, BackupStorage, Image, Key, Kind, Meta, Resource
from controller.model.stored import Stored

_SPECS_KEPT = 20_000


def columns(key: Key) -> tuple[str, str, str]:
    """Return what the primary key has."""
    return key.kind.value, key.namespace, key.name


def key(row: Row) -> Key:
    """Return the key of a row."""
    return Key(Kind(row["kind"]), row["namespace"], row["name"])


def known(row: Row) -> desired.Known:
    """Return what a comparison with manifests needs."""
    return desired.Known(
        root=row["root"],
        file=row["file"],
        line=row["line"],
        deleting=row["deleting"] is not None,
        spec=row["spec"],
        labels=row["labels"],
        annotations=row["annotations"],
        revision=row["revision"],
    )


@functools.lru_cache(maxsize=_SPECS_KEPT)
def _image_spec(text: str) -> ImageSpec:
    """Parse a spec; most reads are of a spec that was read before."""
    return manifest.parse_image_spec(json.loads(text))


def image(row: Row) -> Image:
    """Return the Image in a row."""
    return Resource(_meta(row), _image_spec(row["spec"]), manifest.image_status_from_dict(json.loads(row["status"])))


def storage(row: Row) -> BackupStorage:
    """Return the BackupStorage in a row."""
    spec = manifest.parse_storage_spec(json.loads(row["spec"]))
    return Resource(_meta(row), spec, manifest.storage_status_from_dict(json.loads(row["status"])))


def _meta(row: Row) -> Meta:
    override = row["suspend_override"]
    return Meta(
        key=key(row),
        uid=row["uid"],
        generation=row["generation"],
        version=str(row["version"]),
        created=datetime.fromisoformat(row["created"]).astimezone(UTC),
        annotations=json.loads(row["annotations"]),
        labels=json.loads(row["labels"]),
        deleting=row["deleting"] is not None,
        finalized=True,
        suspend_override=None if override is None else bool(override),
        requested_at=row["requested_at"],
        revision=row["revision"],
    )


def stored(row: Row) -> Stored:
    """Return a row as the document that people see."""
    name, override = key(row), row["suspend_override"]
    metadata = {
        "name": name.name,
        "namespace": name.namespace,
        "uid": row["uid"],
        "generation": row["generation"],
        "resourceVersion": str(row["version"]),
        "creationTimestamp": row["created"],
        "deletionTimestamp": row["deleting"],
        "labels": json.loads(row["labels"]),
        "annotations": json.loads(row["annotations"]),
    }
    document = {
        "apiVersion": API_VERSION,
        "kind": name.kind.value,
        "metadata": {name: value for name, value in metadata.items() if value},
        "spec": json.loads(row["spec"]),
        "status": json.loads(row["status"]),
    }
    return Stored(
        key=name,
        document=document,
        root=row["root"],
        source=f"{row['file']}:{row['line']}",
        suspend_override=None if override is None else bool(override),
        requested_at=row["requested_at"],
    )
