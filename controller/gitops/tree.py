"""What a tree of manifests says, as plain data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from controller.model import foreign_text
from controller.model.resource import Key


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the manifests, for a person: where, what, and what is allowed instead."""

    file: str
    line: int
    """Counts from 1; 0 where the whole file (or directory) is meant."""
    path: str
    """JSON path of the field, `spec.url`; empty where the whole document is meant."""
    message: str
    object: str = ""
    """`Image default/debian`, where it is known."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        about = f" ({self.object})" if self.object else ""
        field = f"{self.path}: " if self.path else ""
        return foreign_text.printable(f"{place}: {field}{self.message}{about}")


def canonical(value: Mapping[str, Any]) -> str:
    """Return the one JSON text of a value: equal values, equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One valid manifest: defaults applied, nothing unknown in it. The `_json` texts are canonical."""

    key: Key
    spec: Mapping[str, Any]
    annotations: Mapping[str, str]
    spec_json: str
    labels_json: str
    annotations_json: str
    file: str
    line: int

    @classmethod
    def of(
        cls,
        key: Key,
        spec: Mapping[str, Any],
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        file: str,
        line: int,
    ) -> Self:
        """Build one; the texts are made once, as every scan compares them."""
        texts = canonical(spec), canonical(labels), canonical(annotations)
        return cls(key, spec, annotations, *texts, file, line)


@dataclass(frozen=True, slots=True)
class Namespace:
    """What a Namespace manifest says that matters here."""

    name: str
    labels: Mapping[str, str]
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Tree:
    """All manifests below one PATH. `root` names the PATH: what once came from it and is gone is a deletion."""

    root: str
    objects: tuple[Wanted, ...] = ()
    problems: tuple[Problem, ...] = ()
    unreadable: bool = False
    """The PATH itself could not be read: it says nothing about what should exist."""
    silent: frozenset[str] = frozenset()
    """Files that hold no object of ours: empty ones, and those of other tools."""
    ignored: int = 0
    """Documents of other API groups, which are somebody else's."""
    blobs: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """What Git calls the bytes that were read of each file with objects, see `model.git.blob_ids`."""
    revisions: Mapping[str, str] = field(default_factory=dict)
    """The commit that each file with objects comes from; empty where they come from no repository."""
    namespaces: tuple[Namespace, ...] = ()
    """Somebody else's too; their labels say who may use which storage."""
    torn: bool = False
    """Whether a file of others is not well-formed, so that a Namespace may be missing."""
