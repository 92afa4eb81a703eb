"""Looks through an ImageStore for what a crash, a person or a disk left behind. Changes nothing.

Nothing here reads the bytes: that is `verify`. What an operation under way leaves for a moment (a partial without
record, bytes that wait for their first claim) counts only after an hour untouched. `imagestore_repair` mends.
"""

import os
import stat
from collections.abc import Iterator, Set
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from controller import ports
from controller.adapters.backup import imagestore_layout as layout
from controller.adapters.backup import imagestore_objects as objects
from controller.adapters.backup.imagestore_staging import StagingRoom, staged_entries
from controller.adapters.durable_files import Directory
from controller.model.digest import Algorithm, Digest
from controller.model.image import Content

IN_PROGRESS = timedelta(hours=1)
"""How long an operation may leave something half done; only older leftovers are findings."""
RESUMABLE = timedelta(days=7)
"""How long a partial with a resume record is kept for the next try before it is a finding."""
_KNOWN = frozenset({
    layout.MARKER, layout.OBJECTS, layout.IMAGES, layout.STAGING, layout.TRASH, layout.QUARANTINE, layout.SCRUB,
    "lost+found",
})  # fmt: skip


class Code(StrEnum):
    """What a finding is about."""

    LEAKED_STAGING = "leaked-staging"
    OBJECT_WITHOUT_RECORD = "object-without-record"
    RECORD_WITHOUT_OBJECT = "record-without-object"
    UNCLAIMED_OBJECT = "unclaimed-object"
    WRONG_SIZE = "wrong-size"
    WRONG_MODE = "wrong-mode"
    NOT_A_REGULAR_FILE = "not-a-regular-file"
    CLAIM_WITHOUT_OBJECT = "claim-without-object"
    CLAIM_DETACHED = "claim-detached"
    CLAIM_UNREADABLE = "claim-unreadable"
    LINK_WITHOUT_CLAIM = "link-without-claim"
    FOREIGN_FILE = "foreign-file"


class Auditor:
    """The Audit half of an ImageStore (see ports)."""

    def __init__(self, place: layout.Layout, staging: StagingRoom, clock: ports.Clock) -> None:
        self._layout = place
        self._staging = staging
        self._clock = clock

    def claims(self) -> Iterator[tuple[str, Digest]]:
        """Yield (image uuid, sha256) of every claim that can be read."""
        found = []
        with self._layout.root("list the claims") as root, root.within(layout.IMAGES) as images:
            for image_uuid in images.names() if images is not None else []:
                if images is None or not layout.IMAGE_UUID.match(image_uuid):
                    continue
                with images.within(image_uuid) as mine:
                    claims = objects.read_claims(mine, image_uuid) if mine is not None else []
                found += [(image_uuid, ref.content.sha256) for ref in claims]
        return iter(found)

    def image_count(self) -> int:
        """Count the folders of claims: 10,000 take 10 ms, where reading the claims takes a second."""
        with self._layout.root("count the images") as root:
            with root.within(layout.IMAGES) as images:
                claimed = set() if images is None else set(filter(layout.IMAGE_UUID.match, images.names()))
            with root.within(layout.TRASH) as trash:
                names = () if trash is None else trash.names()
        return len(claimed.difference(name.removesuffix(layout.RECORD_SUFFIX) for name in names))

    def findings(self) -> list[ports.Finding]:
        """Look at every entry of the store; see ports. Paths are relative to the store."""
        claimed = {digest for _, digest in self.claims()}
        with self._layout.root("audit") as root:
            return [
                *(_foreign(name) for name in root.names() if name not in _KNOWN),
                *self._staging_findings(root),
                *self._object_findings(root, claimed),
                *self._image_findings(root),
            ]

    # --- staging -----------------------------------------------------------------------------------------------------

    def _staging_findings(self, root: Directory) -> Iterator[ports.Finding]:
        with root.within(layout.STAGING) as room:
            if room is None:
                return
            staged = staged_entries(room)
            ours = {entry for entries in staged.values() for entry in entries}
            for name, entries in staged.items():
                if self.is_leaked(room, name, entries):
                    yield _finding(
                        Code.LEAKED_STAGING,
                        f"{layout.STAGING}/{entries[0]}",
                        "a transfer began it and nobody went on with it",
                        "remove it",
                    )
            for entry in room.names():
                if entry not in ours:
                    yield _foreign(f"{layout.STAGING}/{entry}")

    def is_leaked(self, room: Directory, name: str, entries: list[str]) -> bool:
        """Whether nobody went on with a partial, or removed a temporary file, for too long."""
        resumable = {name + layout.PARTIAL_SUFFIX, name + layout.RECORD_SUFFIX} == set(entries)
        return self._staging.untouched_for(room, entries) >= (RESUMABLE if resumable else IN_PROGRESS)

    # --- objects -----------------------------------------------------------------------------------------------------

    def _object_findings(self, root: Directory, claimed: Set[Digest]) -> Iterator[ports.Finding]:
        with root.within(layout.OBJECTS) as above:
            for name in above.names() if above is not None else []:
                if name != layout.SHA256:
                    yield _foreign(f"{layout.OBJECTS}/{name}")
        path = f"{layout.OBJECTS}/{layout.SHA256}"
        with root.within(layout.OBJECTS, layout.SHA256) as shards:
            for prefix in shards.names() if shards is not None else []:
                info = shards.stat(prefix) if shards is not None else None
                if info is None or not stat.S_ISDIR(info.st_mode) or len(prefix) != 2:
                    yield _foreign(f"{path}/{prefix}")
                    continue
                with root.within(layout.OBJECTS, layout.SHA256, prefix) as shard:
                    if shard is not None:
                        yield from self._shard_findings(shard, f"{path}/{prefix}", claimed)

    def _shard_findings(self, shard: Directory, path: str, claimed: Set[Digest]) -> Iterator[ports.Finding]:
        prefix = path.rpartition("/")[2]
        digests = set()
        for entry in shard.names():
            name = entry.removesuffix(layout.RECORD_SUFFIX)
            if layout.OBJECT_NAME.match(name) and name.startswith(prefix):
                digests.add(name)
            else:
                yield _foreign(f"{path}/{entry}")
        for name in sorted(digests):
            digest = Digest(Algorithm.SHA256, name)
            info, record = shard.stat(name), objects.read_record(shard, digest)
            if info is not None:
                yield from self._of_object(info, record, f"{path}/{name}", claimed=digest in claimed)
            elif self.settled(shard.stat(name + layout.RECORD_SUFFIX)):
                what = "there is a record and no bytes"
                yield _finding(Code.RECORD_WITHOUT_OBJECT, f"{path}/{name}", what, "remove the record")

    def _of_object(
        self, info: os.stat_result, record: Content | None, path: str, *, claimed: bool
    ) -> Iterator[ports.Finding]:
        if layout.regular_size(info) is None:
            yield _finding(Code.NOT_A_REGULAR_FILE, path, "something else has the name of bytes", "quarantine it")
            return
        if record is not None and info.st_size != record.size_bytes:
            what = f"{info.st_size} bytes are there, the record says {record.size_bytes}"
            yield _finding(Code.WRONG_SIZE, path, what, "quarantine it; images that claim it are imported again")
            return
        if record is None:
            yield _finding(
                Code.OBJECT_WITHOUT_RECORD,
                path,
                "nobody knows what these bytes are",
                "write the record again from a claim; without one, remove the bytes",
            )
        elif info.st_nlink == 1 and not claimed and self.settled(info):
            yield _finding(Code.UNCLAIMED_OBJECT, path, "no image claims these bytes", "remove them")
        if stat.S_IMODE(info.st_mode) & 0o222 and self.settled(info):
            yield _finding(Code.WRONG_MODE, path, "the bytes can be written to", "set mode 0444")

    def settled(self, info: os.stat_result | None) -> bool:
        """Whether nobody changed an entry for so long that no operation is still at it. False where it is gone."""
        if info is None:
            return False
        return self._clock.now() - datetime.fromtimestamp(info.st_ctime, tz=UTC) >= IN_PROGRESS

    # --- images ------------------------------------------------------------------------------------------------------

    def _image_findings(self, root: Directory) -> Iterator[ports.Finding]:
        with root.within(layout.IMAGES) as images:
            if images is None:
                return
            for image_uuid in images.names():
                info = images.stat(image_uuid)
                if info is None or not stat.S_ISDIR(info.st_mode) or not layout.IMAGE_UUID.match(image_uuid):
                    yield _foreign(f"{layout.IMAGES}/{image_uuid}")
                    continue
                with images.within(image_uuid) as mine:
                    if mine is not None:
                        yield from self._claim_findings(root, mine, image_uuid)

    def _claim_findings(self, root: Directory, mine: Directory, image_uuid: str) -> Iterator[ports.Finding]:
        entries = set(mine.names())
        names = {entry.removesuffix(layout.RECORD_SUFFIX) for entry in entries}
        for name in sorted(names):
            path = f"{layout.IMAGES}/{image_uuid}/{name}"
            if not layout.CLAIM_NAME.match(name):
                yield from (
                    _foreign(f"{layout.IMAGES}/{image_uuid}/{entry}")
                    for entry in sorted(entries)
                    if entry.removesuffix(layout.RECORD_SUFFIX) == name
                )
            elif name + layout.RECORD_SUFFIX not in entries:
                if self.settled(mine.stat(name)):
                    yield _finding(
                        Code.LINK_WITHOUT_CLAIM, path, "a claim was begun or half removed", "remove the link"
                    )
            else:
                ref = objects.read_claim(mine, image_uuid, name)
                if ref is None:
                    yield _finding(Code.CLAIM_UNREADABLE, path, "the claim cannot be parsed", "remove the claim")
                else:
                    yield from _of_claim(root, mine, ref.content, path)


def _of_claim(root: Directory, mine: Directory, content: Content, path: str) -> Iterator[ports.Finding]:
    own = mine.stat(content.image_id)
    with root.within(*layout.shard(content.sha256)) as shard:
        there = shard.stat(content.sha256.hex) if shard is not None else None
    if own is not None and layout.regular_size(own) is None:
        yield _finding(Code.NOT_A_REGULAR_FILE, path, "something else has the name of bytes", "link the bytes again")
    elif there is None:
        restorable = objects.can_restore(root, mine, content)
        repair = "give the bytes their name in objects/ back" if restorable else ""
        yield _finding(Code.CLAIM_WITHOUT_OBJECT, path, "an image claims bytes that are not there", repair)
    elif own is None or not layout.same_file(own, there):
        yield _finding(Code.CLAIM_DETACHED, path, "the image's link is not the stored bytes", "link the bytes again")


def _finding(code: Code, path: str, explanation: str, repair: str) -> ports.Finding:
    return ports.Finding(code=code, path=path, explanation=explanation, repair=repair)


def _foreign(path: str) -> ports.Finding:
    return _finding(Code.FOREIGN_FILE, path, "nothing of ours has such a name", "")
