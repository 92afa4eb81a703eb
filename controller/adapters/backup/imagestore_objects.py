"""What can be done to one object or one claim of an ImageStore. The caller holds the lock of the content.

Every function raises OSError.
"""

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from controller.adapters import durable_files
from controller.adapters.backup import imagestore_layout as layout
from controller.adapters.backup import imagestore_records as records
from controller.adapters.durable_files import Directory, FileCalls
from controller.media.digester import Hasher
from controller.model.digest import Digest
from controller.model.image import Content
from controller.model.transfer import Provenance, StoredRef

_READ_BYTES = 2**20
_CLAIM_BYTES = 2**18
"""The longest claim that is read: what eight mirrors may have said, in letters that JSON writes as six; a receipt."""


def read_record(shard: Directory, digest: Digest) -> Content | None:
    """Return the record of an object, None where it is missing, damaged or another's."""
    text = shard.read_small(digest.hex + layout.RECORD_SUFFIX)
    content = None if text is None else records.read_content(text)
    return content if content is not None and content.sha256 == digest else None


def read_provenance(shard: Directory, digest: Digest) -> tuple[Provenance, ...]:
    """Return what the record of an object says about where it came from."""
    text = shard.read_small(digest.hex + layout.RECORD_SUFFIX)
    return () if text is None else records.read_provenance(text)


def read_verified_at(shard: Directory, digest: Digest) -> datetime | None:
    """Return when the bytes of an object were right last, None where nobody noted it."""
    text = shard.read_small(digest.hex + layout.RECORD_SUFFIX)
    return None if text is None else records.read_verified_at(text)


def read_claims(mine: Directory, image_uuid: str) -> list[StoredRef]:
    """Return the claims in an image's directory that can be parsed, `intact` not looked at."""
    found = []
    for entry in mine.names():
        name = entry.removesuffix(layout.RECORD_SUFFIX)
        if name == entry or not layout.CLAIM_NAME.match(name):
            continue
        ref = read_claim(mine, image_uuid, name)
        if ref is not None:
            found.append(ref)
    return found


def claim_text(mine: Directory, name: str) -> bytes | None:
    """Return the file of a claim by its 40 hex digits, None where there is none."""
    return mine.read_small(name + layout.RECORD_SUFFIX, _CLAIM_BYTES)


def read_claim(mine: Directory, image_uuid: str, name: str) -> StoredRef | None:
    """Return one claim by its 40 hex digits, None where it is missing, damaged or another's."""
    text = claim_text(mine, name)
    ref = None if text is None else records.read_claim(text, install_prefix=layout.install_prefix(image_uuid))
    return ref if ref is not None and ref.content.image_id == name else None


def seen(root: Directory, mine: Directory, ref: StoredRef) -> StoredRef:
    """Return a claim with what the disk shows of its bytes: whether they are there, and when they were right last."""
    digest = ref.content.sha256
    with root.within(*layout.shard(digest)) as shard:
        there = shard.stat(digest.hex) if shard is not None else None
        verified_at = read_verified_at(shard, digest) if shard is not None else None
    return replace(ref, intact=_one_file(mine, ref.content, there), verified_at=verified_at)


def is_intact(root: Directory, mine: Directory, content: Content) -> bool:
    """Whether the claim's own name and the object are one regular file of the recorded size."""
    with root.within(*layout.shard(content.sha256)) as shard:
        there = shard.stat(content.sha256.hex) if shard is not None else None
    return _one_file(mine, content, there)


def _one_file(mine: Directory, content: Content, there: os.stat_result | None) -> bool:
    own = mine.stat(content.image_id)
    return (
        there is not None
        and own is not None
        and layout.same_file(own, there)
        and layout.regular_size(own) == content.size_bytes
    )


def has_digest(files: FileCalls, shard: Directory, digest: Digest) -> bool:
    """Read an object from start to end and compare; False also where the disk cannot read it."""
    hasher, offset, buffer = Hasher(digest.algorithm), 0, memoryview(bytearray(_READ_BYTES))
    fd = shard.open_file(digest.hex, os.O_RDONLY)
    try:
        while count := files.preadv(fd, buffer, offset):
            hasher.update(buffer[:count])
            offset += count
    except OSError as exc:
        if exc.errno not in durable_files.UNREADABLE:
            raise
        return False
    finally:
        durable_files.close_quietly(files, fd)
    return hasher.digest() == digest


def write_record(
    room: Directory,
    shard: Directory,
    content: Content,
    provenance: Iterable[Provenance] = (),
    verified_at: datetime | None = None,
) -> None:
    """Write the record of an object; the caller syncs `shard`."""
    text = records.content_bytes(content, provenance, verified_at)
    room.write_durably(shard, content.sha256.hex + layout.RECORD_SUFFIX, text)


def write_claimed_record(room: Directory, shard: Directory, content: Content) -> None:
    """Write a lost record anew, as a claim has it; the caller syncs `shard`.

    A claim was made of a status, which more can write than we: what the bytes were downloaded as is not taken over.
    """
    write_record(room, shard, replace(content, source_digests=(content.sha256,)))


def link_over(room: Directory, source: Directory, name: str, target: Directory, new_name: str) -> None:
    """Give a file one more name, atomically in place of whatever has that name."""
    if source.link(name, target, new_name):
        return
    temporary = durable_files.temporary_name()
    source.link(name, room, temporary)
    try:
        room.move(temporary, target, new_name)
    finally:
        with contextlib.suppress(OSError):
            room.remove(temporary)  # still there after a failure, and where both names were one file already


def remove_unclaimed(shard: Directory, digest: Digest) -> bool:
    """Remove an object that has no other name, and its record; False where somebody claims it."""
    info = shard.stat(digest.hex)
    if info is not None and (info.st_nlink > 1 or layout.regular_size(info) is None):
        return False
    gone = [shard.remove(digest.hex), shard.remove(digest.hex + layout.RECORD_SUFFIX)]
    if any(gone):
        shard.sync()
    return True


def set_aside(root: Directory, room: Directory, shard: Directory, digest: Digest, why: str) -> None:
    """Move whatever has an object's name to quarantine, with a note; its record goes."""
    with root.made(layout.QUARANTINE) as quarantine:
        taken = set(quarantine.names())
        number = 1
        while f"{digest.hex}.{number}" in taken:
            number += 1
        name = f"{digest.hex}.{number}"
        note = json.dumps({"sha256": digest.hex, "why": why}, indent=1) + "\n"
        try:
            room.write_durably(quarantine, name + layout.RECORD_SUFFIX, note.encode())
        except OSError as exc:
            if exc.errno not in durable_files.FULL:
                raise  # a full disk, though, must not keep damaged bytes in service for want of a note
        shard.move(digest.hex, quarantine, name)
        shard.remove(digest.hex + layout.RECORD_SUFFIX)
        quarantine.sync()
        shard.sync()


def can_restore(root: Directory, mine: Directory, content: Content) -> bool:
    """Whether a claim's own link still holds bytes of the right size that nobody put in quarantine."""
    own = mine.stat(content.image_id)
    if own is None or layout.regular_size(own) != content.size_bytes:
        return False
    with root.within(layout.QUARANTINE) as quarantine:
        if quarantine is None:
            return True
        infos = map(quarantine.stat, quarantine.names())
        return not any(layout.same_file(own, info) for info in infos if info is not None)


def restore(root: Directory, room: Directory, mine: Directory, content: Content) -> None:
    """Give the bytes of a claim their name and record in `objects` back, durably."""
    with root.made(*layout.shard(content.sha256)) as shard:
        name = content.sha256.hex
        write_claimed_record(room, shard, content)
        mine.link(content.image_id, shard, name)
        shard.sync()
