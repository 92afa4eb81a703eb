"""Which living image has which uuid, as far as they were looked at: a spec may name any."""

import threading
from collections import defaultdict

from controller.model.resource import Key


class Holders:
    """Thread-safe. An image may be about to take over its predecessor's uuid, and so has two for a moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: dict[str, Key] = {}
        self._held: defaultdict[Key, set[str]] = defaultdict(set)

    def of(self, uuid: str, key: Key) -> Key:
        """Return who has a uuid: `key` where nobody has."""
        with self._lock:
            holder = self._holders.setdefault(uuid, key)
            self._held[holder].add(uuid)
            return holder

    def give(self, uuid: str, key: Key) -> None:
        """It is this image's from now on."""
        with self._lock:
            before = self._holders.get(uuid)
            if before is not None:
                self._drop(before, uuid)
            self._holders[uuid] = key
            self._held[key].add(uuid)

    def forget(self, key: Key) -> None:
        """The image is gone, or has no right to what it names."""
        with self._lock:
            for uuid in self._held.pop(key, ()):
                del self._holders[uuid]

    def __len__(self) -> int:
        with self._lock:
            return len(self._holders)

    def _drop(self, key: Key, uuid: str) -> None:
        self._held[key].discard(uuid)
        if not self._held[key]:
            del self._held[key]
