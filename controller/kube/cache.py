"""What is known of the API server's objects: fed by the watch, by lists and by the answers to our own writes.

An object is only replaced by a newer version of it. The order of versions is that of the server's one store, so a late
event, an old list page and the echo of our own write are all told apart from news by a number.
"""

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from controller.kube import objects
from controller.kube.objects import Entry
from controller.model.resource import Key, Kind


@dataclass(frozen=True, slots=True)
class Compared:
    """What a list of the server told beyond what the watch had told. All are healed already."""

    missed: tuple[Key, ...] = ()
    """Objects, new or changed, that the watch has not reported yet; or never will."""
    ghosts: tuple[Key, ...] = ()
    """Objects that are gone, of which the watch did not say so."""
    went_back: bool = False
    """The server knows less than it did: it was restored from a backup, and all of the cache was replaced."""


class Cache:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[Kind, dict[Key, Entry]] = {kind: {} for kind in Kind}
        self._buried: dict[str, int] = {}
        """uid -> version of objects that are gone: the echo of an earlier change must not bring them back."""
        self._highest = 0
        self._writing: dict[Key, list[int]] = {}
        """Versions of an object that were told while we write it."""

    def get(self, key: Key) -> Entry | None:
        """Return what is known of an object, None where it does not exist."""
        with self._lock:
            return self._entries[key.kind].get(key)

    def known(self, kind: Kind, document: Mapping[str, Any]) -> Entry | None:
        """Return what is known of an object if that is this very version of it: then nobody need parse it again."""
        metadata = document["metadata"]
        entry = self.get(objects.key_of(kind, document))
        if entry is None or entry.resource.meta.uid != metadata["uid"]:
            return None
        return entry if entry.resource.meta.version == metadata["resourceVersion"] else None

    def keys(self, kind: Kind) -> list[Key]:
        """Return the keys of all objects of a kind, sorted."""
        with self._lock:
            return sorted(self._entries[kind])

    def entries(self, kind: Kind) -> list[Entry]:
        """Return all objects of a kind."""
        with self._lock:
            return list(self._entries[kind].values())

    def accept(self, entry: Entry) -> bool:
        """Take note of an object as it is now; return whether that was news.

        While we write the object it is not said to be news: the watch is often faster than the answer to the write, and
        `wrote` tells our own change from others'.
        """
        with self._lock:
            accepted = self._accept(entry)
            if accepted and entry.key in self._writing:
                self._writing[entry.key].append(entry.version)
                return False
            return accepted

    def writes(self, key: Key) -> None:
        """We are about to write this object. `wrote` follows, whatever comes of it."""
        with self._lock:
            self._writing.setdefault(key, [])

    def wrote(self, key: Key, version: int | None) -> bool:
        """Return whether anything but our own write, which made `version` (None: it failed), was told meanwhile."""
        with self._lock:
            return any(told != version for told in self._writing.pop(key, []))

    def answered(self, entry: Entry) -> None:
        """Take note of an answer to our own write: it never brings back what is gone meanwhile."""
        with self._lock:
            known = self._entries[entry.key.kind].get(entry.key)
            if known is not None and known.resource.meta.uid == entry.resource.meta.uid:
                self._accept(entry)

    def remove(self, key: Key, uid: str, version: int) -> bool:
        """Take note that an object is gone; return whether that was news. A successor of another uid stays."""
        with self._lock:
            known = self._entries[key.kind].get(key)
            self._buried[uid] = max(version, self._buried.get(uid, 0))
            self._highest = max(self._highest, version)
            if known is None or known.resource.meta.uid != uid:
                return False
            del self._entries[key.kind][key]
            return True

    @property
    def highest(self) -> int:
        """The newest version that was seen."""
        with self._lock:
            return self._highest

    def compare(self, kind: Kind, listed: Collection[Entry], version: int, highest_before: int) -> Compared:
        """Heal by a full list of a kind as of `version`. `highest_before`: `highest` when the list was asked for."""
        with self._lock:
            entries = self._entries[kind]
            if version < highest_before:
                self._entries[kind] = {entry.key: entry for entry in listed}
                self._buried.clear()
                self._highest = version
                return Compared(tuple(self._entries[kind]), tuple(set(entries) - set(self._entries[kind])), True)
            missed = tuple(entry.key for entry in listed if self._accept(entry))
            there = {entry.resource.meta.uid for entry in listed}
            ghosts = [
                entry for entry in entries.values() if entry.version <= version and entry.resource.meta.uid not in there
            ]
            for ghost in ghosts:
                del entries[ghost.key]
                self._buried[ghost.resource.meta.uid] = version
            self._highest = max(self._highest, version)
            return Compared(missed, tuple(ghost.key for ghost in ghosts))

    def forget_buried(self, before: int) -> None:
        """Drop the memory of what was gone before a version: no event of it is on its way any more."""
        with self._lock:
            self._buried = {uid: version for uid, version in self._buried.items() if version >= before}

    def _accept(self, entry: Entry) -> bool:
        known = self._entries[entry.key.kind].get(entry.key)
        self._highest = max(self._highest, entry.version)
        if entry.resource.meta.uid in self._buried or (known is not None and entry.version <= known.version):
            return False
        self._entries[entry.key.kind][entry.key] = entry
        return True
