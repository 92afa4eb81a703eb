"""Mends what `imagestore_audit` found. It looks again, under the lock of the content: a finding is a hint, no order."""

import os
import stat

from controller import ports
from controller.adapters.backup import imagestore_layout as layout
from controller.adapters.backup import imagestore_objects as objects
from controller.adapters.backup.imagestore_audit import Auditor
from controller.adapters.backup.imagestore_staging import StagingRoom, staged_entries
from controller.adapters.durable_files import Directory, FileCalls
from controller.model.digest import Algorithm, Digest
from controller.model.image import Content


class Repairer:
    """Changes one thing at a time; twice is fine. Raises StorageUnavailable, NoSpace."""

    def __init__(self, place: layout.Layout, staging: StagingRoom, auditor: Auditor) -> None:
        self._layout = place
        self._files: FileCalls = place.files
        self._staging = staging
        self._auditor = auditor

    def mend(self, finding: ports.Finding) -> None:
        """Do what `finding.repair` says; see ports. A path that is not one of ours changes nothing."""
        match finding.path.split("/"):
            case [layout.STAGING, entry]:
                self._mend_staging(entry)
            case [layout.OBJECTS, layout.SHA256, prefix, name] if _is_object(prefix, name):
                self._mend_object(Digest(Algorithm.SHA256, name))
            case [layout.IMAGES, image_uuid, name] if layout.IMAGE_UUID.match(image_uuid) and layout.CLAIM_NAME.match(
                name
            ):
                self._mend_claim(image_uuid, name)
            case _:
                return

    def quarantine(self, sha256: Digest, why: str, version: object = None) -> bool:
        """Take bytes out of service; see ports. The claims' own links to them go too, so nobody reads them there."""
        digest = layout.require_sha256(sha256)
        with self._layout.lock(digest), self._layout.root(f"quarantine {digest}") as root:
            return self._quarantine(root, digest, why, version)

    def _quarantine(self, root: Directory, digest: Digest, why: str, version: object = None) -> bool:
        with root.within(*layout.shard(digest)) as shard:
            info = shard.stat(digest.hex) if shard is not None else None
            if shard is None or info is None or version not in {None, layout.version(info)}:
                return False
            with root.made(layout.STAGING) as room:
                objects.set_aside(root, room, shard, digest, why)
        with root.within(layout.IMAGES) as images:
            for image_uuid in images.names() if images is not None else []:
                if images is not None and layout.IMAGE_UUID.match(image_uuid):
                    _drop_link(images, image_uuid, digest.hex[:40], info)
        return True

    def _mend_staging(self, entry: str) -> None:
        with self._layout.root(f"remove the leftover {entry}") as root, root.within(layout.STAGING) as room:
            if room is None:
                return
            for name, entries in staged_entries(room).items():
                if entry in entries and self._auditor.is_leaked(room, name, entries):
                    for each in entries:
                        room.remove(each)
            room.sync()

    def _mend_object(self, digest: Digest) -> None:
        with (
            self._layout.lock(digest),
            self._layout.root(f"mend {digest}") as root,
            root.within(*layout.shard(digest)) as shard,
        ):
            if shard is None:
                return
            info, record = shard.stat(digest.hex), objects.read_record(shard, digest)
            size = layout.regular_size(info)
            if info is None:
                if self._auditor.settled(shard.stat(digest.hex + layout.RECORD_SUFFIX)):
                    shard.remove(digest.hex + layout.RECORD_SUFFIX)
            elif size is None:
                self._quarantine(root, digest, "not a regular file")
            elif record is None:
                self._mend_record(root, shard, digest, info)
            elif size != record.size_bytes:
                self._quarantine(root, digest, f"{size} bytes where the record says {record.size_bytes}")
            else:
                self._mend_settled(root, shard, digest, info)
            shard.sync()

    def _mend_settled(self, root: Directory, shard: Directory, digest: Digest, info: os.stat_result) -> None:
        if not self._auditor.settled(info):
            return
        if info.st_nlink == 1 and _claimed_content(root, digest) is None:
            objects.remove_unclaimed(shard, digest)
        elif stat.S_IMODE(info.st_mode) & 0o222:
            shard.set_mode(digest.hex, layout.OBJECT_MODE)

    def _mend_record(self, root: Directory, shard: Directory, digest: Digest, info: os.stat_result) -> None:
        content = _claimed_content(root, digest)
        if content is not None and content.size_bytes == info.st_size:
            with root.made(layout.STAGING) as room:
                objects.write_claimed_record(room, shard, content)
        elif content is not None:
            self._quarantine(root, digest, f"{info.st_size} bytes where a claim says {content.size_bytes}")
        elif info.st_nlink == 1:
            objects.remove_unclaimed(shard, digest)
        else:
            self._quarantine(root, digest, "no record, and links that nobody claims")

    def _mend_claim(self, image_uuid: str, name: str) -> None:
        doing = f"mend the claim {image_uuid}/{name}"
        with self._layout.root(doing) as root, root.within(layout.IMAGES, image_uuid) as mine:
            if mine is None:
                return
            ref = objects.read_claim(mine, image_uuid, name)
            if ref is None:
                self._remove_half_claim(mine, name)
                return
            digest = ref.content.sha256
        with (
            self._layout.lock(digest),
            self._layout.root(doing) as root,
            root.within(layout.IMAGES, image_uuid) as mine,
            root.made(layout.STAGING) as room,
        ):
            ref = objects.read_claim(mine, image_uuid, name) if mine is not None else None
            if mine is not None and ref is not None:
                _attach(root, room, mine, ref.content)

    def _remove_half_claim(self, mine: Directory, name: str) -> None:
        if mine.stat(name + layout.RECORD_SUFFIX) is not None:
            mine.remove(name + layout.RECORD_SUFFIX)
        elif self._auditor.settled(mine.stat(name)):
            mine.remove(name)
        mine.sync()


def _attach(root: Directory, room: Directory, mine: Directory, content: Content) -> None:
    """Make the claim's link and the object one file again, from whichever of the two is there."""
    with root.within(*layout.shard(content.sha256)) as shard:
        there = shard.stat(content.sha256.hex) if shard is not None else None
        if shard is not None and layout.regular_size(there) == content.size_bytes:
            if not objects.is_intact(root, mine, content):
                objects.link_over(room, shard, content.sha256.hex, mine, content.image_id)
                mine.sync()
            return
    if there is None and objects.can_restore(root, mine, content):
        objects.restore(root, room, mine, content)


def _is_object(prefix: str, name: str) -> bool:
    return layout.OBJECT_NAME.match(name) is not None and name[:2] == prefix


def _claimed_content(root: Directory, digest: Digest) -> Content | None:
    """Ask the claims what an object is."""
    with root.within(layout.IMAGES) as images:
        for image_uuid in images.names() if images is not None else []:
            if images is None or not layout.IMAGE_UUID.match(image_uuid):
                continue
            with images.within(image_uuid) as mine:
                ref = objects.read_claim(mine, image_uuid, digest.hex[:40]) if mine is not None else None
            if ref is not None and ref.content.sha256 == digest:
                return ref.content
    return None


def _drop_link(images: Directory, image_uuid: str, name: str, damaged: os.stat_result) -> None:
    with images.within(image_uuid) as mine:
        own = mine.stat(name) if mine is not None else None
        if mine is not None and own is not None and layout.same_file(own, damaged):
            mine.remove(name)
