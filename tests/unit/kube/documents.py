"""Documents as an API server hands them out."""

from typing import Any

from controller.kube.objects import Entry, parse
from controller.model.resource import Kind


def image(
    name: str = "debian", version: int = 1, *, uid: str = "", spec: dict[str, Any] | None = None, **metadata: object
) -> dict[str, Any]:
    return {
        "apiVersion": "goldmaster.dev/v1alpha1",
        "kind": "Image",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": uid or f"uid-of-{name}",
            "resourceVersion": str(version),
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            **metadata,
        },
        "spec": spec or {"url": "https://images.example/a.qcow2"},
    }


def storage(name: str = "main", version: int = 1, **metadata: object) -> dict[str, Any]:
    document = image(name, version, spec={"type": "ImageStore", "imageStore": {"path": "/srv/images"}})
    document["kind"] = "BackupStorage"
    del document["metadata"]["namespace"]
    document["metadata"] |= metadata
    return document


def entry(name: str = "debian", version: int = 1, uid: str = "") -> Entry:
    return parse(Kind.IMAGE, image(name, version, uid=uid))
