"""An ImageStore: image bytes in a directory of a POSIX file system with hard links and locks (local, NFS, CephFS).

What is where, for people with `ls` and `sha256sum`:

    <path>/goldmaster.json                   marker: layout version, and the uuid of the BackupStorage this is
    <path>/objects/sha256/ab/<64 hex>        the bytes, mode 0444; the name is their sha256
    <path>/objects/sha256/ab/<64 hex>.json   record: sizes, format, md5, digests as downloaded, when last verified, and
                                             maybe which answers of which urls it was: fingerprint, ETag, length
    <path>/images/<imageUuid>/<40 hex>       the same bytes once more (hard link): what `zstore://<imageUuid>/<40 hex>`
                                             names; 40 hex are the first of the sha256
    <path>/images/<imageUuid>/<40 hex>.json  claim: from where, when, proven by what; and its import receipt
    <path>/staging/<name>.partial, .json     bytes that are on their way, and the record to go on with them
    <path>/trash/<imageUuid>.json            record of a deleted image whose claims are kept: until when
    <path>/scrub.json                        how far reading everything again has come
    <path>/quarantine/<64 hex>.<n>           damaged bytes, out of service, kept for a person; .json says why

One file per content, however many images share it; the link count says how many names it has. A claim is its JSON file:
written last by `link`, removed first by `unlink`. Directories are 0700.

What a crash leaves, all of it harmless, found by `findings` and gone with the next try:
- in `publish`: a temporary file; a record without object; an object whose partial is still there (same inode);
- in `link`: an empty image directory; a link without claim, which keeps the bytes;
- in `unlink`: a link without claim; an object nobody claims; a record without object.
No crash leaves a name in `objects` or `images` with other bytes than the synced ones, as names only ever come from
link(2) and rename(2) of synced files.

Two processes on one store never lose claimed bytes: a claim holds them by its own hard link, whatever happens to the
name in `objects`; `mend` puts that name back. Within a process a lock per content orders the changes.
"""

import contextlib
import errno
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from controller import errors, ports
from controller.adapters import durable_files
from controller.adapters.backup import imagestore_layout as layout
from controller.adapters.backup import imagestore_objects as objects
from controller.adapters.backup import imagestore_records as records
from controller.adapters.backup.imagestore_audit import Auditor
from controller.adapters.backup.imagestore_quarantine import QuarantineRoom
from controller.adapters.backup.imagestore_repair import Repairer
from controller.adapters.backup.imagestore_scrub import Scrubber
from controller.adapters.backup.imagestore_staging import ImageStoreFile, StagingRoom
from controller.adapters.durable_files import Directory, FileCalls
from controller.model.backup_storage import Capacity
from controller.model.digest import Digest
from controller.model.image import Content
from controller.model.quarantine import Quarantine, Quarantined
from controller.model.scrub import ScrubRecord
from controller.model.transfer import Provenance, ResumeRecord, StoredRef, TrashRecord

_UNCLAIMED_GRACE_S = 600.0
"""Seconds that published bytes wait for their first claim before another image's `unlink` may take them along."""


class ImageStore:
    """An AuditedStorage (see ports). Any thread may call it; those of one store in a process share one `held`."""

    def __init__(
        self,
        path: str,
        *,
        storage_uuid: str,
        reserved_bytes: int,
        clock: ports.Clock,
        files: FileCalls | None = None,
        held: layout.Held | None = None,
    ) -> None:
        held = held or layout.Held()
        self._files = files or FileCalls()
        self._clock = clock
        self._layout = layout.Layout(path, storage_uuid, self._files, held)
        self._staging = StagingRoom(self._layout, clock, reserved_bytes=reserved_bytes)
        self._audit = Auditor(self._layout, self._staging, clock)
        self._repair = Repairer(self._layout, self._staging, self._audit)
        self._scrubber = Scrubber(self._layout)
        self._quarantine = QuarantineRoom(self._layout)
        self._awaiting_claim = held.awaiting_claim

    def probe(self, *, create: bool = True) -> Capacity:
        """Check by doing: write, sync, hard-link and remove a small file; see ports."""
        if create:
            self._layout.create()
        with self._layout.root("probe") as root, root.made(layout.STAGING) as room:
            name, second = durable_files.temporary_name(), durable_files.temporary_name()
            room.write_durably(room, name, b"probe\n")
            try:
                room.link(name, room, second)
            except OSError as exc:
                if exc.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}:
                    raise
                raise errors.StorageUnavailable(f"{self._layout.path}: the file system has no hard links") from exc
            finally:
                room.remove(name)
                room.remove(second)
            return Capacity(total_bytes=room.total_bytes(), available_bytes=room.available_bytes())

    # --- staging: see StagingRoom ------------------------------------------------------------------------------------

    def stage(self, name: str, *, keep_bytes: int, size_hint: int | None) -> ImageStoreFile:
        """Open a partial; see ports."""
        return self._staging.stage(name, keep_bytes=keep_bytes, size_hint=size_hint)

    def resume_record(self, name: str) -> ResumeRecord | None:
        """Return the record beside a partial; see ports."""
        return self._staging.resume_record(name)

    def save_resume_record(self, name: str, record: ResumeRecord) -> None:
        """Replace the record durably; see ports."""
        self._staging.save_resume_record(name, record)

    def sweep(self, keep: Collection[str], older_than: timedelta) -> list[str]:
        """Remove what is left over; see ports."""
        return self._staging.sweep(keep, older_than)

    # --- contents ----------------------------------------------------------------------------------------------------

    def publish(self, staged: ports.StagedFile, content: Content, provenance: Provenance | None = None) -> None:
        """Name staged bytes by their sha256; see ports. Costs two syncs (record, directory) where the data are synced.

        Bytes that are there already are read (the fresh ones are at hand, so this is the moment to find a flipped bit):
        right ones stay, others of that name go to quarantine and the staged ones take their place.
        """
        if not isinstance(staged, ImageStoreFile):
            raise TypeError(f"staged by something else: {type(staged).__name__}")
        digest = layout.require_sha256(content.sha256)
        staged.sync()
        if staged.written_bytes != content.size_bytes:
            size = staged.written_bytes
            staged.discard()
            raise errors.StorageDamaged(f"{staged.name}: {size} bytes are staged, the content has {content.size_bytes}")
        staged.trim()
        with self._layout.lock(digest), self._layout.root(f"publish {digest}") as root:
            with root.made(layout.STAGING) as room, root.made(*layout.shard(digest)) as shard:
                _place(self._files, root, room, shard, staged, content, provenance, self._clock.now())
            self._note_unclaimed(digest)
        with contextlib.suppress(errors.TransientError):  # the bytes are in place; what stays of the partial is swept
            staged.discard()

    def find(self, sha256: Digest) -> Content | None:
        """Return the record of a stored content; see ports. A damaged record counts as none: publish renews it."""
        digest = layout.require_sha256(sha256)
        with (
            self._layout.root(f"look for {digest}") as root,
            root.within(*layout.shard(digest)) as shard,
        ):
            if shard is None:
                return None
            content = objects.read_record(shard, digest)
            size = layout.regular_size(shard.stat(digest.hex))
            return content if content is not None and size == content.size_bytes else None

    def provenance(self, sha256: Digest) -> tuple[Provenance, ...]:
        """Return where a stored content came from; see ports. A damaged record knows nothing."""
        digest = layout.require_sha256(sha256)
        with self._layout.root(f"look where {digest} came from") as root, root.within(*layout.shard(digest)) as shard:
            return () if shard is None else objects.read_provenance(shard, digest)

    def note_provenance(self, sha256: Digest, provenance: Provenance) -> None:
        """Add to the record of a stored content; see ports."""
        digest = layout.require_sha256(sha256)
        with (
            self._layout.lock(digest),
            self._layout.root(f"note where {digest} came from") as root,
            root.within(*layout.shard(digest)) as shard,
        ):
            content = objects.read_record(shard, digest) if shard is not None else None
            if shard is None or content is None:
                return
            known, verified_at = objects.read_provenance(shard, digest), objects.read_verified_at(shard, digest)
            if provenance not in known:
                with root.made(layout.STAGING) as room:
                    objects.write_record(room, shard, content, (*known, provenance), verified_at)
                shard.sync()

    def link(self, image_uuid: str, ref: StoredRef, receipt: Mapping[str, Any] | None = None) -> str:
        """Claim a content by a hard link and a claim file; see ports. Costs two syncs, three for a new image."""
        layout.require_image_uuid(image_uuid)
        content, digest = ref.content, layout.require_sha256(ref.content.sha256)
        with (
            self._layout.lock(digest),
            self._layout.root(f"link {digest} to image {image_uuid}") as root,
            root.within(*layout.shard(digest)) as shard,
        ):
            info = shard.stat(digest.hex) if shard is not None else None
            if shard is None or info is None or layout.regular_size(info) != content.size_bytes:
                raise errors.StorageDamaged(f"{self._layout.path}: {digest} is not there in full")
            name, record = content.image_id, content.image_id + layout.RECORD_SUFFIX
            with root.made(layout.STAGING) as room, root.made(layout.IMAGES, image_uuid) as mine:
                claimed = mine.stat(name)
                if claimed is None or not layout.same_file(claimed, info):
                    objects.link_over(room, shard, digest.hex, mine, name)
                before = objects.claim_text(mine, name)
                if receipt is None and before is not None:
                    receipt = records.read_receipt(before)
                claim = records.claim_bytes(image_uuid, ref, receipt)
                if before != claim:
                    room.write_durably(mine, record, claim)
                mine.sync()
            self._awaiting_claim.pop(digest.hex, None)
        return layout.install_prefix(image_uuid) + name

    def unlink(self, image_uuid: str, sha256: Digest) -> None:
        """Drop a claim, and the bytes with the last one; see ports."""
        layout.require_image_uuid(image_uuid)
        digest = layout.require_sha256(sha256)
        name = digest.hex[:40]
        doing = f"unlink {digest} from image {image_uuid}"
        with self._layout.lock(digest), self._layout.root(doing) as root:
            with root.within(layout.IMAGES, image_uuid) as mine:
                if mine is not None:
                    mine.remove(name + layout.RECORD_SUFFIX)
                    mine.remove(name)
                    mine.sync()
            with root.within(layout.IMAGES) as images:
                if images is not None:
                    images.remove_empty_directory(image_uuid)
            with root.within(*layout.shard(digest)) as shard:
                if shard is not None and self._awaiting_claim.get(digest.hex, 0) < self._clock.monotonic():
                    objects.remove_unclaimed(shard, digest)

    def refs(self, image_uuid: str) -> tuple[StoredRef, ...]:
        """Return every claim of an image; see ports. A claim that cannot be parsed is none: `link` renews it."""
        layout.require_image_uuid(image_uuid)
        with (
            self._layout.root(f"look for claims of image {image_uuid}") as root,
            root.within(layout.IMAGES, image_uuid) as mine,
        ):
            if mine is None:
                return ()
            return tuple(objects.seen(root, mine, ref) for ref in objects.read_claims(mine, image_uuid))

    def receipt(self, image_uuid: str, sha256: Digest) -> dict[str, Any] | None:
        """Return the receipt of a claim; see ports."""
        layout.require_image_uuid(image_uuid)
        name = layout.require_sha256(sha256).hex[:40]
        with (
            self._layout.root(f"look for the receipt of image {image_uuid}") as root,
            root.within(layout.IMAGES, image_uuid) as mine,
        ):
            text = objects.claim_text(mine, name) if mine is not None else None
            return None if text is None else records.read_receipt(text)

    def open(self, sha256: Digest, *, fresh: bool = False) -> "ObjectReader":
        """Open stored bytes for reading; see ports."""
        digest = layout.require_sha256(sha256)
        with (
            self._layout.root(f"open {digest}") as root,
            root.within(*layout.shard(digest)) as shard,
        ):
            if shard is None or layout.regular_size(shard.stat(digest.hex)) is None:
                raise errors.StorageDamaged(f"{self._layout.path}: {digest} is not there as a file")
            fd = shard.open_file(digest.hex, os.O_RDONLY)
            try:
                version = layout.version(self._files.fstat(fd))
            except OSError:
                durable_files.close_quietly(self._files, fd)
                raise
            return ObjectReader(self._files, fd, f"{self._layout.path}: {digest}", version, fresh=fresh)

    # --- trash: the claims of a deleted image stay, its record says until when ------------------------------------

    def discard(self, record: TrashRecord) -> None:
        """Put a record there; see ports."""
        name = layout.require_image_uuid(record.image_uuid) + layout.RECORD_SUFFIX
        text = records.trash_bytes(record)
        with (
            self._layout.root(f"put image {record.image_uuid} in the trash") as root,
            root.made(layout.STAGING) as room,
            root.made(layout.TRASH) as trash,
        ):
            if trash.read_small(name) != text:
                room.write_durably(trash, name, text)
                trash.sync()

    def discarded(self, image_uuid: str) -> TrashRecord | None:
        """Return the record of an image; see ports. One that cannot be parsed is none."""
        name = layout.require_image_uuid(image_uuid) + layout.RECORD_SUFFIX
        with (
            self._layout.root(f"look for image {image_uuid} in the trash") as root,
            root.within(layout.TRASH) as trash,
        ):
            text = None if trash is None else trash.read_small(name)
            return None if text is None else records.read_trash(text)

    def trash(self) -> tuple[TrashRecord, ...]:
        """Return all records; see ports."""
        with self._layout.root("look at the trash") as root, root.within(layout.TRASH) as trash:
            texts = [] if trash is None else [trash.read_small(name) for name in trash.names()]
        found = [record for text in texts if text is not None and (record := records.read_trash(text)) is not None]
        return tuple(sorted(found, key=lambda record: (record.deleted_at, record.image_uuid)))

    def restore(self, image_uuid: str) -> None:
        """Remove a record; see ports."""
        name = layout.require_image_uuid(image_uuid) + layout.RECORD_SUFFIX
        with (
            self._layout.root(f"take image {image_uuid} out of the trash") as root,
            root.within(layout.TRASH) as trash,
        ):
            if trash is not None:
                trash.remove(name)
                trash.sync()

    def _note_unclaimed(self, digest: Digest) -> None:
        now = self._clock.monotonic()
        for name, deadline in list(self._awaiting_claim.items()):
            if deadline < now:
                self._awaiting_claim.pop(name, None)
        self._awaiting_claim[digest.hex] = now + _UNCLAIMED_GRACE_S

    # --- audit: see Auditor, Repairer --------------------------------------------------------------------------------

    def claims(self) -> Iterator[tuple[str, Digest]]:
        """Yield (image uuid, sha256) of every claim; see ports."""
        return self._audit.claims()

    def image_count(self) -> int:
        """Return how many images have a claim; see ports."""
        return self._audit.image_count()

    def findings(self) -> Iterable[ports.Finding]:
        """Look for inconsistencies; see ports."""
        return self._audit.findings()

    def mend(self, finding: ports.Finding) -> None:
        """Do what a finding says; see ports."""
        self._repair.mend(finding)

    def quarantine(self, sha256: Digest, why: str, version: object = None) -> bool:
        """Take damaged bytes out of service; see ports."""
        return self._repair.quarantine(sha256, why, version)

    def quarantine_use(self) -> Quarantine:
        """Return how much lies in quarantine; see ports."""
        return self._quarantine.use()

    def in_quarantine(self) -> tuple[Quarantined, ...]:
        """Return what lies in quarantine; see ports."""
        return self._quarantine.all()

    def let_go(self, name: str) -> None:
        """Remove one for good; see ports."""
        self._quarantine.let_go(name)

    # --- scrubbing: see Scrubber -------------------------------------------------------------------------------------

    def stored(self, after: Digest | None) -> Iterator[Digest]:
        """Yield what is stored; see ports."""
        return self._scrubber.stored(after)

    def note_verified(self, sha256: Digest, at: datetime) -> None:
        """Note when a content was right; see ports."""
        self._scrubber.note_verified(sha256, at)

    def scrub_record(self) -> ScrubRecord | None:
        """Return how far the last scrub came; see ports."""
        return self._scrubber.scrub_record()

    def save_scrub_record(self, record: ScrubRecord) -> None:
        """Replace it; see ports."""
        self._scrubber.save_scrub_record(record)


class ObjectReader:
    """A Reader (see ports) of one object."""

    def __init__(self, files: FileCalls, fd: int, doing: str, version: object, *, fresh: bool = False) -> None:
        self.version = version
        self._files = files
        self._fresh = fresh
        self._fd = fd
        self._doing = doing
        self._offset = 0
        with contextlib.suppress(OSError):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        self._forget(0, 0)

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` from its start; 0 at the end. Raises StorageDamaged, StorageUnavailable."""
        filled, began = 0, self._offset
        try:
            while filled < len(buffer):
                count = self._files.preadv(self._fd, buffer[filled:], self._offset)
                if count == 0:
                    break
                filled += count
                self._offset += count
            self._forget(began, filled)
        except OSError as exc:
            if exc.errno in durable_files.UNREADABLE:
                raise errors.StorageDamaged(f"{self._doing}: unreadable at byte {self._offset}") from exc
            raise durable_files.storage_error(self._doing, exc) from exc
        return filled

    def _forget(self, offset: int, count: int) -> None:
        """Let the page cache forget clean pages: a check must see the disk, and leave the cache to who needs it."""
        if self._fresh:
            with contextlib.suppress(OSError):
                self._files.forget(self._fd, offset, count)

    def close(self) -> None:
        """Let go of it; twice is fine."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            durable_files.close_quietly(self._files, fd)


def _place(
    files: FileCalls,
    root: Directory,
    room: Directory,
    shard: Directory,
    staged: ImageStoreFile,
    content: Content,
    provenance: Provenance | None,
    now: datetime,
) -> None:
    """Record first, object second: a crash between leaves a record of nothing, never bytes without their facts."""
    digest, partial = content.sha256, staged.name + layout.PARTIAL_SUFFIX
    ours = room.stat(partial)
    if ours is None or not layout.same_file(ours, staged.facts) or ours.st_size != content.size_bytes:
        raise errors.StorageUnavailable(f"{room.path}/{partial} is not the file that was staged")
    there = shard.stat(digest.hex)
    wrong = None if there is None else _what_is_wrong(files, shard, content, there, ours)
    if wrong is not None:
        objects.set_aside(root, room, shard, digest, wrong)
        there = None
    record, known = objects.read_record(shard, digest), objects.read_provenance(shard, digest)
    news = () if provenance is None or provenance in known else (provenance,)
    if record is None or record.size_bytes != content.size_bytes:
        record, known = content, ()
    objects.write_record(room, shard, record, (*known, *news), now)
    if there is None and room.link(partial, shard, digest.hex):
        staged.protect(layout.OBJECT_MODE)  # after the link: an object may not be written, a partial has to be
    elif there is not None:
        shard.set_mode(digest.hex, layout.OBJECT_MODE)  # also makes it young again: no audit calls it unclaimed now
    shard.sync()


def _what_is_wrong(
    files: FileCalls, shard: Directory, content: Content, there: os.stat_result, ours: os.stat_result
) -> str | None:
    """Say why an object cannot be what the content is; None: it is."""
    if layout.regular_size(there) != content.size_bytes:
        return f"not a file of {content.size_bytes} bytes"
    if layout.same_file(there, ours) or objects.has_digest(files, shard, content.sha256):
        return None
    return f"not the bytes of {content.sha256}: seen when the same content was stored again"
