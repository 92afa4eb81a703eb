"""Where things are in an ImageStore, and whether the directory at hand is that store; `imagestore` has the picture."""

import contextlib
import os
import re
import stat
import threading
from collections.abc import Iterator

from controller import errors
from controller.adapters import durable_files
from controller.adapters.backup import imagestore_records as records
from controller.adapters.durable_files import Directory, FileCalls
from controller.model.digest import Algorithm, Digest

MARKER = "goldmaster.json"
OBJECTS = "objects"
SHA256 = "sha256"
IMAGES = "images"
STAGING = "staging"
QUARANTINE = "quarantine"
TRASH = "trash"
SCRUB = "scrub.json"
RECORD_SUFFIX = ".json"
PARTIAL_SUFFIX = ".partial"
OBJECT_MODE = 0o444
IMAGE_UUID = re.compile(r"[0-9a-f]{32}\Z", re.ASCII)
OBJECT_NAME = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)
CLAIM_NAME = re.compile(r"[0-9a-f]{40}\Z", re.ASCII)
STAGE_NAME = re.compile(r"[a-z0-9.-]{1,80}\Z", re.ASCII)
_FRESH_ENTRIES = frozenset({"lost+found"})
"""What may lie in a directory without a marker: what mkfs puts there."""


class Held:
    """What the adapters of one store share within a process, whatever each was built with."""

    def __init__(self) -> None:
        self.locks = tuple(threading.RLock() for _ in range(64))
        self.awaiting_claim: dict[str, float] = {}
        """Hex sha256 of bytes published and not claimed yet: monotonic seconds until when they wait."""


class Layout:
    """The directories of one store, opened anew for every operation, so that a mount may come and go."""

    def __init__(self, path: str, storage_uuid: str, files: FileCalls, held: Held) -> None:
        self.path = path
        self.storage_uuid = storage_uuid
        self.files = files
        self._locks = held.locks
        self._checked: tuple[int, ...] | None = None

    def lock(self, sha256: Digest) -> threading.RLock:
        """Return what serialises changes to one content, within this process."""
        return self._locks[int(sha256.hex[:2], 16) % len(self._locks)]

    @contextlib.contextmanager
    def root(self, doing: str) -> Iterator[Directory]:
        """Open the store for one operation; an OSError of the block becomes an error that starts with `doing`.

        Raises:
            StorageUnavailable: there is no directory, or it is not this store. An unmounted mount point is an empty
                directory, so a missing marker never means an empty store.

        """
        with durable_files.storage_errors(f"{self.path}: {doing}"), Directory.open(self.files, self.path) as root:
            self._require_marker(root)
            yield root

    def create(self) -> None:
        """Make an absent or empty directory this store; one that is this store already is left as it is.

        Raises:
            StorageUnavailable: something else lies there, or it cannot be written.

        """
        with durable_files.storage_errors(f"{self.path}: create the store"):
            with contextlib.suppress(FileExistsError):
                self.files.mkdir(self.path)
            with Directory.open(self.files, self.path) as root:
                if root.stat(MARKER) is None:
                    self._require_fresh(root)
                    root.write_durably(root, MARKER, records.marker_bytes(self.storage_uuid))
                    root.sync()

    def _require_fresh(self, root: Directory) -> None:
        unfinished = []
        for name in root.names():
            if durable_files.TEMPORARY_NAME.match(name):
                unfinished.append(name)  # of a creation that a crash ended
            elif name not in _FRESH_ENTRIES:
                raise errors.StorageUnavailable(
                    f"{self.path} holds {name!r} and no {MARKER}: an ImageStore needs a directory of its own, "
                    f"or the {MARKER} that it once had"
                )
        for name in unfinished:
            root.remove(name)

    def _require_marker(self, root: Directory) -> None:
        here = self.files.fstat(root.fd)
        info = root.stat(MARKER)
        if info is None:
            raise errors.StorageUnavailable(f"{self.path} has no {MARKER}: is it mounted?")
        facts = (here.st_dev, here.st_ino, info.st_ino, info.st_mtime_ns, info.st_ctime_ns, info.st_size)
        if facts == self._checked:
            return
        text = root.read_small(MARKER)
        marker = None if text is None else records.read_marker(text)
        if marker is None:
            raise errors.StorageUnavailable(f"{self.path}/{MARKER} is not readable as a marker of an ImageStore")
        if marker.layout != records.LAYOUT_VERSION:
            raise errors.StorageUnavailable(
                f"{self.path} has layout {marker.layout}, this version knows {records.LAYOUT_VERSION}"
            )
        if marker.storage_uuid != self.storage_uuid:
            raise errors.StorageUnavailable(
                f"{self.path} is the store {marker.storage_uuid}, this BackupStorage is {self.storage_uuid}; where the "
                f"former is given up, write the latter into {self.path}/{MARKER}"
            )
        self._checked = facts


def shard(sha256: Digest) -> tuple[str, str, str]:
    """Return the directories, from the root down, that an object lies in."""
    return OBJECTS, SHA256, sha256.hex[:2]


def require_sha256(digest: Digest) -> Digest:
    """Return the digest; contents are named by sha256 only."""
    if digest.algorithm is not Algorithm.SHA256:
        raise errors.InvalidSpec(f"contents are stored by sha256, got {digest.algorithm}")
    return digest


def require_image_uuid(image_uuid: str) -> str:
    """Return the uuid; it becomes a directory name."""
    if not IMAGE_UUID.match(image_uuid):
        raise errors.InvalidSpec(f"an image uuid is 32 lower-case hexadecimal digits, got {image_uuid[:80]!r}")
    return image_uuid


def require_stage_name(name: str) -> str:
    """Return the name of a partial; it becomes a file name."""
    if not STAGE_NAME.match(name):
        raise errors.InvalidSpec(f"a partial is named by 1 to 80 of a-z 0-9 . -, got {name[:100]!r}")
    return name


def regular_size(info: os.stat_result | None) -> int | None:
    """Return the size in bytes of a regular file, None for anything else."""
    return info.st_size if info is not None and stat.S_ISREG(info.st_mode) else None


def same_file(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether two entries are names of one inode."""
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def version(info: os.stat_result) -> tuple[int, int, int]:
    """Name a file as it was written: an inode whose file is gone is used again, at a later time."""
    return info.st_dev, info.st_ino, info.st_mtime_ns


def install_prefix(image_uuid: str) -> str:
    """Return what an install path of this image starts with."""
    return f"zstore://{image_uuid}/"
