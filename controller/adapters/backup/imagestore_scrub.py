"""The Scrubbing part of an ImageStore (see ports): what is there, when it was right last, how far a scrub came."""

import errno
from collections.abc import Iterator
from datetime import datetime

from controller.adapters import durable_files
from controller.adapters.backup import imagestore_layout as layout
from controller.adapters.backup import imagestore_objects as objects
from controller.adapters.backup import imagestore_records as records
from controller.model.digest import Algorithm, Digest
from controller.model.scrub import ScrubRecord


class Scrubber:
    """What is noted lies in the record of each object, and of the whole in `scrub.json`."""

    def __init__(self, place: layout.Layout) -> None:
        self._layout = place

    def stored(self, after: Digest | None) -> Iterator[Digest]:
        """Yield what is stored, one shard in memory at a time; see ports."""
        last = "" if after is None else layout.require_sha256(after).hex
        with self._layout.root("list what is stored") as root, root.within(layout.OBJECTS, layout.SHA256) as shards:
            prefixes = sorted(shards.names()) if shards is not None else []
        for prefix in prefixes:
            if prefix < last[:2]:
                continue
            with (
                self._layout.root("list what is stored") as root,
                root.within(layout.OBJECTS, layout.SHA256, prefix) as shard,
            ):
                names = sorted(filter(layout.OBJECT_NAME.match, shard.names())) if shard is not None else []
            for name in names:
                if name > last and name[:2] == prefix:
                    yield Digest(Algorithm.SHA256, name)

    def note_verified(self, sha256: Digest, at: datetime) -> None:
        """Note the time in the record of the object; see ports. A damaged record stays: `doctor` mends it."""
        digest = layout.require_sha256(sha256)
        with (
            self._layout.lock(digest),
            self._layout.root(f"note that {digest} is right") as root,
            root.within(*layout.shard(digest)) as shard,
        ):
            content = objects.read_record(shard, digest) if shard is not None else None
            if shard is None or content is None or shard.stat(digest.hex) is None:
                return
            with root.made(layout.STAGING) as room:
                objects.write_record(room, shard, content, objects.read_provenance(shard, digest), at)

    def scrub_record(self) -> ScrubRecord | None:
        """Return what `scrub.json` says; see ports. A file that cannot be read is as one that cannot be parsed."""
        with self._layout.root("look how far the scrub is") as root:
            try:
                text = root.read_small(layout.SCRUB)
            except OSError as exc:
                if exc.errno not in durable_files.UNREADABLE | {errno.EACCES, errno.EPERM}:
                    raise
                return None
        return None if text is None else records.read_scrub(text)

    def save_scrub_record(self, record: ScrubRecord) -> None:
        """Replace `scrub.json`; see ports."""
        with self._layout.root("note how far the scrub is") as root, root.made(layout.STAGING) as room:
            room.write_durably(root, layout.SCRUB, records.scrub_bytes(record))
            root.sync()
