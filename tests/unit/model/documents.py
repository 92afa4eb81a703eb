"""The CRDs as the tests read them, and small documents to begin with."""

from pathlib import Path
from typing import Any

import yaml

from controller.model.admission import Admission
from controller.model.schema import Schema

ROOT = Path(__file__).parents[3]
CRDS: dict[str, Any] = {
    kind: yaml.safe_load((ROOT / "crds" / f"{plural}.yaml").read_text())
    for kind, plural in (("Image", "images"), ("BackupStorage", "backupstorages"))
}
SCHEMAS = {kind: Schema(crd) for kind, crd in CRDS.items()}
ADMISSION = Admission(CRDS.values())


def openapi(kind: str) -> dict[str, Any]:
    """Return the structural schema of a kind."""
    schema: dict[str, Any] = CRDS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def image(**spec: object) -> dict[str, Any]:
    """Return a valid Image manifest with these fields in its spec."""
    return {
        "apiVersion": "goldmaster.dev/v1alpha1",
        "kind": "Image",
        "metadata": {"name": "case"},
        "spec": {"url": "https://h.example/a.qcow2", **spec},
    }


def storage(**spec: object) -> dict[str, Any]:
    """Return a valid BackupStorage manifest with these fields in its spec."""
    return {
        "apiVersion": "goldmaster.dev/v1alpha1",
        "kind": "BackupStorage",
        "metadata": {"name": "case"},
        "spec": {"type": "ImageStore", "imageStore": {"path": "/srv/images"}, **spec},
    }
