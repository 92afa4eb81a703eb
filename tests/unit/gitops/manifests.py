"""Manifests and trees for the tests of standalone mode."""

from collections.abc import Mapping
from typing import Any

from controller.gitops import crds
from controller.gitops.tree import Namespace, Problem, Tree, Wanted
from controller.model.resource import API_VERSION, Key, Kind

ADMISSION = crds.admission()
URL = "http://images.example/debian.qcow2"


def document(name: str = "debian", **spec: object) -> dict[str, Any]:
    """Return an Image manifest."""
    return {"apiVersion": API_VERSION, "kind": "Image", "metadata": {"name": name}, "spec": {"url": URL, **spec}}


def image_key(name: str = "debian") -> Key:
    return Key(Kind.IMAGE, "default", name)


def wanted(
    name: str = "debian",
    *,
    file: str = "",
    line: int = 1,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    **spec: object,
) -> Wanted:
    """Return an Image as the loader gives it."""
    complete = ADMISSION.review(document(name, **spec)).document["spec"]
    return Wanted.of(image_key(name), complete, labels or {}, annotations or {}, file or f"/tree/{name}.yaml", line)


def tree(
    *objects: Wanted,
    root: str = "/tree",
    problems: tuple[Problem, ...] = (),
    unreadable: bool = False,
    silent: frozenset[str] = frozenset(),
    namespaces: Mapping[str, Mapping[str, str]] | None = None,
    torn: bool = False,
) -> Tree:
    found = tuple(
        Namespace(name, labels, f"{root}/namespaces.yaml", line)
        for line, (name, labels) in enumerate((namespaces or {}).items(), 1)
    )
    return Tree(root, objects, problems, unreadable, silent, namespaces=found, torn=torn)
