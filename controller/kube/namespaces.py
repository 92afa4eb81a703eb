"""The labels of a cluster's namespaces, which say whose Images a BackupStorage with a namespaceSelector takes.

Fed by lists and by the watch, of metadata only. Where we may not list them they are not known, and no image is judged
by a selector: storages without one serve all the same.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from controller import errors
from controller.kube.client import Client, Forbidden, Gone
from controller.model.selector import namespace_labels

log = structlog.get_logger()

COLLECTION = "/api/v1/namespaces"
PLURAL = "namespaces"
PAGE = 500
TRIES = 3
"""A list is begun anew so often if it takes longer than the server keeps its old versions (5 minutes)."""


@dataclass(frozen=True, slots=True)
class _Known:
    uid: str
    version: int
    labels: Mapping[str, str]


class Namespaces:
    """Thread-safe. Methods that learn something return the names of namespaces whose labels are others now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self.readable = True
        """Whether the last list was allowed."""

    def labels(self, name: str) -> Mapping[str, str] | None:
        """Return the labels of a namespace, None where they are not known."""
        with self._lock:
            known = self._known.get(name)
        return None if known is None else known.labels

    def learn(self, change: str | None, document: Mapping[str, Any]) -> frozenset[str]:
        """Take an event of the watch."""
        name, found = _parse(document)
        with self._lock:
            before = self._known.get(name)
            if before is not None and before.version >= found.version:
                return frozenset()
            if change == "DELETED":
                if before is not None and before.uid == found.uid:
                    del self._known[name]
                return frozenset()
            self._known[name] = found
        return frozenset() if before is not None and before.labels == found.labels else frozenset({name})

    def resync(self, client: Client) -> frozenset[str]:
        """List all, and believe the list. Raises ClusterUnavailable; where we may not, nothing is known any more."""
        with self._lock:
            highest = max((known.version for known in self._known.values()), default=0)
        try:
            listed, version = _list(client)
        except Forbidden as exc:
            if self.readable:
                log.warning("kube.namespaces_unreadable", message=str(exc))
            listed, version, self.readable = {}, 0, False
        else:
            self.readable = True
        with self._lock:
            before = self._known
            if version >= highest:  # else the server was restored from a backup, or we may not look any more
                told = {name: known for name, known in before.items() if known.version > version}
                listed |= told
            self._known = listed
        return frozenset(
            name
            for name in before.keys() | listed.keys()
            if (before[name].labels if name in before else None) != (listed[name].labels if name in listed else None)
        )


def _parse(document: Mapping[str, Any]) -> tuple[str, _Known]:
    metadata = document["metadata"]
    name = metadata["name"]
    labels = namespace_labels(name, metadata.get("labels") or {})
    return name, _Known(metadata["uid"], int(metadata["resourceVersion"]), labels)


def _list(client: Client) -> tuple[dict[str, _Known], int]:
    """Return all namespaces, and as of when; begun anew where the list expires between two pages."""
    for _ in range(TRIES):
        listed: dict[str, _Known] = {}
        query = {"limit": str(PAGE)}
        try:
            while True:
                page = client.metadata_list(COLLECTION, **query)
                listed |= dict(_parse(item) for item in page["items"])
                token = page["metadata"].get("continue")
                if not token:
                    return listed, int(page["metadata"]["resourceVersion"])
                query["continue"] = token
        except Gone as exc:
            log.warning("kube.list_expired", kind="Namespace", message=str(exc))
    raise errors.ClusterUnavailable("a list of namespaces expires before it is read")
