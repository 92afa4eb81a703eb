"""The Quarantine part of an ImageStore (see ports): what lies in `quarantine/`, and letting it go."""

import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from controller import errors
from controller.adapters.backup import imagestore_layout as layout
from controller.adapters.durable_files import Directory
from controller.model.digest import Algorithm, Digest
from controller.model.quarantine import Quarantine, Quarantined

_NAME = re.compile(r"([0-9a-f]{64})\.[1-9][0-9]{0,8}\Z", re.ASCII)
"""What `imagestore_objects.set_aside` calls them; what else lies there is a person's."""


class QuarantineRoom:
    """Raises StorageUnavailable where the store cannot be asked."""

    def __init__(self, place: layout.Layout) -> None:
        self._layout = place

    def use(self) -> Quarantine:
        """Count without opening a file: this is asked at each probe; see ports."""
        with self._layout.root("measure the quarantine") as root, root.within(layout.QUARANTINE) as room:
            sizes = [info.st_size for _, info in _bytes_in(room)] if room is not None else []
        return Quarantine(len(sizes), sum(sizes))

    def all(self) -> tuple[Quarantined, ...]:
        """Return what lies there, the oldest first; see ports."""
        with self._layout.root("look into the quarantine") as root, root.within(layout.QUARANTINE) as room:
            found = [_read(room, name, info) for name, info in _bytes_in(room)] if room is not None else []
        return tuple(sorted(found, key=lambda one: (one.since, one.name)))

    def let_go(self, name: str) -> None:
        """Remove the bytes first, so that what a crash leaves is a note, which takes no room; see ports."""
        if not _NAME.match(name):
            raise errors.InvalidSpec(f"nothing in a quarantine is called {name[:100]!r}")
        with self._layout.root(f"let {name} go") as root, root.within(layout.QUARANTINE) as room:
            if room is not None:
                room.remove(name)
                room.remove(name + layout.RECORD_SUFFIX)
                room.sync()


def _bytes_in(room: Directory) -> Iterator[tuple[str, os.stat_result]]:
    for name in filter(_NAME.match, room.names()):
        if (info := room.stat(name)) is not None and stat.S_ISREG(info.st_mode):
            yield name, info


def _read(room: Directory, name: str, info: os.stat_result) -> Quarantined:
    """Return one with what its note says. The note was written when the bytes were set aside, and never since."""
    record = name + layout.RECORD_SUFFIX
    noted, text, why = room.stat(record), room.read_small(record), ""
    with suppress(ValueError):
        read = json.loads(text or b"{}")
        why = str(read.get("why", "")) if isinstance(read, dict) else ""
    since = datetime.fromtimestamp(info.st_ctime if noted is None else noted.st_mtime, UTC)
    return Quarantined(name, Digest(Algorithm.SHA256, name[:64]), info.st_size, since, why)
