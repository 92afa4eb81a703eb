"""Namespace manifests, of which only name and labels matter: a BackupStorage may say by them whose Images it takes.

They are other tools' to apply. Here a namespace needs no manifest; one without has the label of its name alone.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Connection

from controller.gitops.tree import Namespace, Problem, Tree, canonical
from controller.model import conformance, objectmeta
from controller.model.schema import Steps

KEPT = "namespaces"
"""Name of the row of `meta` that holds them: {root: {namespace: labels}}."""
_READ = "SELECT value FROM meta WHERE name = ?"
_WRITE = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
_MAX_SHOWN = 80


def is_one(value: object) -> bool:
    """Whether a document is a Namespace of the core API."""
    return isinstance(value, Mapping) and value.get("kind") == "Namespace" and value.get("apiVersion") == "v1"


def read(file: str, line: int, value: Mapping[str, object]) -> Namespace | Problem:
    """Take name and labels from a Namespace, or say what is wrong with them."""
    metadata = value.get("metadata")
    if not isinstance(metadata, Mapping):
        return Problem(file, line, "metadata", "required", "Namespace")
    name, labels = metadata.get("name"), metadata.get("labels") or {}
    if not conformance.compile_check(objectmeta.NAMESPACE_NAME)(name) or not name:
        return Problem(file, line, "metadata.name", f"must be {objectmeta.NAMESPACE_NAME['description']}", "Namespace")
    if not conformance.compile_check(objectmeta.LABELS)(labels):
        wrong: Steps = ("metadata", "labels")
        about = f"Namespace {name}"
        return Problem(
            file, line, ".".join(map(str, wrong)), "keys and values must be those that labels can have", about
        )
    return Namespace(str(name), dict(labels), file, line)


def conflicts(trees: Sequence[Tree]) -> list[Problem]:
    """Say where two manifests of one namespace differ in its labels: which of them would count is anybody's guess."""
    first: dict[str, Namespace] = {}
    found = []
    for tree in trees:
        for namespace in tree.namespaces:
            other = first.setdefault(namespace.name, namespace)
            if other.labels != namespace.labels:
                message = f"has other labels in {other.file}:{other.line}; keep one of the two"
                about = f"Namespace {namespace.name}"
                found.append(Problem(namespace.file, namespace.line, "metadata.labels", message, about))
    return found


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The labels that the manifests of each root gave last."""

    by_root: Mapping[str, Mapping[str, Mapping[str, str]]]

    @classmethod
    def load(cls, connection: Connection) -> "Namespaces":
        """Read what the state keeps."""
        row = connection.execute(_READ, (KEPT,)).fetchone()
        return cls(json.loads(row["value"]) if row else {})

    def save(self, connection: Connection) -> None:
        """Keep them for the next start, which may see other roots."""
        connection.execute(_WRITE, (KEPT, canonical(self.by_root)))

    def labels(self, name: str) -> Mapping[str, str]:
        """Return what is written of a namespace; nothing where nobody wrote anything."""
        for root in sorted(self.by_root):
            if name in self.by_root[root]:
                return self.by_root[root][name]
        return {}

    def after(self, trees: Iterable[Tree]) -> "Namespaces":
        """Return what holds after a look at some roots: of a tree with anything wrong, what is missing still counts."""
        by_root = dict(self.by_root)
        for tree in trees:
            seen = {namespace.name: namespace.labels for namespace in tree.namespaces}
            kept = by_root.get(tree.root, {}) if tree.problems or tree.unreadable or tree.torn else {}
            by_root[tree.root] = {**kept, **seen}
        return Namespaces({root: found for root, found in by_root.items() if found})

    def changed(self, other: "Namespaces") -> frozenset[str]:
        """Name the namespaces whose labels differ."""
        names = {name for kept in (self, other) for found in kept.by_root.values() for name in found}
        return frozenset(name for name in names if self.labels(name) != other.labels(name))
