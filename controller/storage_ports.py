"""What the engine needs of a place that holds bytes, as Protocols: the half of `ports` about storages, which it shows.

Every method may be called from any thread unless it says otherwise. Every method raises only `controller.errors`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from controller.model.backup_storage import BackupStorageSpec, Capacity
from controller.model.digest import Digest
from controller.model.image import Content
from controller.model.quarantine import Quarantine, Quarantined
from controller.model.scrub import ScrubRecord
from controller.model.transfer import Provenance, ResumeRecord, StoredRef, TrashRecord


class StagedFile(Protocol):
    """A named, private, growing file on a storage. One thread writes; nobody reads it under a final name."""

    def write(self, data: memoryview) -> None:
        """Append all of `data`. Whole pages from page-aligned memory are the fast path; any piece is allowed.

        Raises:
            NoSpace, StorageUnavailable. After either the file is only good for `close` or `discard`.

        """
        ...

    @property
    def written_bytes(self) -> int:
        """How many bytes the file holds."""
        ...

    def sync(self) -> None:
        """Make what is written durable (fdatasync). A failed sync is never tried again on the same file."""
        ...

    def read_at(self, offset: int, buffer: memoryview) -> int:
        """Read back; 0 at the end."""
        ...

    def close(self) -> None:
        """Let go of it; the partial stays for resume. Twice is fine."""
        ...

    def discard(self) -> None:
        """Close and remove it and its record. Twice is fine; never raises for an absent file."""
        ...


class Staging(Protocol):
    """The private room of a storage where bytes wait until they are proven."""

    def stage(self, name: str, *, keep_bytes: int, size_hint: int | None) -> StagedFile:
        """Open the partial `name` ([a-z0-9-.]{1,80}), cut to its first `keep_bytes` (0: fresh); create it where absent.

        `size_hint`: how many bytes will come, to refuse early.

        Raises:
            NoSpace: `size_hint` does not fit while keeping reservedCapacity. StorageUnavailable.

        """
        ...

    def resume_record(self, name: str) -> ResumeRecord | None:
        """Return the record beside the partial, None where there is none or it is unreadable."""
        ...

    def save_resume_record(self, name: str, record: ResumeRecord) -> None:
        """Replace the record atomically. Call `StagedFile.sync` first: the record is a promise."""
        ...

    def sweep(self, keep: Collection[str], older_than: timedelta) -> list[str]:
        """Remove partials and temporary files not named in `keep` and untouched for `older_than`; return their names.

        Temporary files of processes that are known to be gone are removed whatever their age.
        """
        ...


class Reader(Protocol):
    """Stored bytes being read. One thread uses it."""

    @property
    def version(self) -> object:
        """What is read, told from bytes that were stored in its place since; for `quarantine`."""
        ...

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` from its start; 0 at the end. Raises StorageDamaged on an I/O error."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Trash(Protocol):
    """Records of deleted images whose claims are kept. One record per image uuid."""

    def discard(self, record: TrashRecord) -> None:
        """Put a record there, durably; replaces an older one of the same uuid. Raises NoSpace, StorageUnavailable."""
        ...

    def discarded(self, image_uuid: str) -> TrashRecord | None:
        """Return the record of an image, None where there is none. Raises StorageUnavailable."""
        ...

    def trash(self) -> tuple[TrashRecord, ...]:
        """Return all records, the oldest first. Raises StorageUnavailable."""
        ...

    def restore(self, image_uuid: str) -> None:
        """Remove a record: the image is back, or its bytes are gone. Absent is fine. Raises StorageUnavailable."""
        ...


class Provenances(Protocol):
    """From which answers of which urls a stored content came: what lets another image prove that it may have it."""

    def provenance(self, sha256: Digest) -> tuple[Provenance, ...]:
        """Return what is known of a stored content, the newest last; empty: nothing is. Raises StorageUnavailable."""
        ...

    def note_provenance(self, sha256: Digest, provenance: Provenance) -> None:
        """Add to it, durably and idempotently; the oldest go beyond 16. Of bytes that are not there nothing is noted.

        Raises:
            NoSpace, StorageUnavailable.

        """
        ...


class BackupStorage(Staging, Provenances, Protocol):
    """A place that holds proven bytes: one file per content, one claim (ref) per image and content."""

    def probe(self, *, create: bool = True) -> Capacity:
        """Check that it can be read and written, and measure it.

        `create`: make its layout where there is nothing yet. Pass False once it was Connected: an empty place is then a
        lost one (an NFS export that is not mounted), never a new one.

        Raises:
            StorageUnavailable: cannot be reached, is read-only, or is not ours (the message says what was found).

        """
        ...

    def publish(self, staged: StagedFile, content: Content, provenance: Provenance | None = None) -> None:
        """Give synced bytes their final, content-addressed name and their record, durably; never replaces.

        Where the content is already there the staged file is discarded. The caller has verified the digests, and that
        `provenance` is true. What is known of where the content came from before stays known.

        Raises:
            StorageDamaged: the staged size is not the content's. NoSpace, StorageUnavailable.

        """
        ...

    def find(self, sha256: Digest) -> Content | None:
        """Return the record of a stored content whose bytes are there with the right size, else None.

        Raises:
            StorageUnavailable: could not ask. Never None for that.

        """
        ...

    def link(self, image_uuid: str, ref: StoredRef, receipt: Mapping[str, Any] | None = None) -> str:
        """Claim `ref.content` for an image, durably and idempotently; return the install path.

        `receipt`, a JSON object, is kept with the claim and goes with it; None keeps the one that is there.

        Raises:
            StorageDamaged: the content is not there. NoSpace, StorageUnavailable.

        """
        ...

    def unlink(self, image_uuid: str, sha256: Digest) -> None:
        """Drop an image's claim; bytes nobody claims go with it. Absent is fine. Raises StorageUnavailable."""
        ...

    def refs(self, image_uuid: str) -> tuple[StoredRef, ...]:
        """Return every claim of an image, checked for existence and size.

        Raises:
            StorageUnavailable: could not ask. Never an empty tuple for that.

        """
        ...

    def open(self, sha256: Digest, *, fresh: bool = False) -> Reader:
        """Open stored bytes for reading. Raises StorageDamaged where absent, StorageUnavailable.

        `fresh`: from the medium, not from a cache, as far as the system lets us; what a check wants.
        """
        ...

    def quarantine(self, sha256: Digest, why: str, version: object = None) -> bool:
        """Take damaged bytes out of service, keeping them for a person to look at; claims on it become not intact.

        Only those that a reader read whose `version` this is, where it is given: reading takes long, and others may
        have put right ones there meanwhile. Returns whether it did.
        """
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One inconsistency of a storage's own files. `repair` says what mending it would do, empty where nothing can."""

    code: str
    path: str
    explanation: str
    repair: str


class Audit(Protocol):
    """What `doctor` asks of a storage."""

    def claims(self) -> Iterator[tuple[str, Digest]]:
        """Yield (image uuid, sha256) of every claim."""
        ...

    def image_count(self) -> int:
        """Return how many images have a claim, whosever they are; those in the trash do not count.

        Cheap enough for every probe: opens no claim. Raises StorageUnavailable.
        """
        ...

    def findings(self) -> Iterable[Finding]:
        """Look for leftovers, missing or odd files; changes nothing. Does not read the bytes."""
        ...

    def mend(self, finding: Finding) -> None:
        """Do what `finding.repair` says; idempotent."""
        ...


class Quarantines(Protocol):
    """Where `BackupStorage.quarantine` puts damaged bytes, until a person lets them go. StorageUnavailable."""

    def quarantine_use(self) -> Quarantine:
        """Return how much lies there. Cheap enough for every probe: opens no file."""
        ...

    def in_quarantine(self) -> tuple[Quarantined, ...]:
        """Return what lies there, the oldest first."""
        ...

    def let_go(self, name: str) -> None:
        """Remove one for good, by its name; absent is fine."""
        ...


class Receipts(Protocol):
    """The receipts of claims."""

    def receipt(self, image_uuid: str, sha256: Digest) -> dict[str, Any] | None:
        """Return the receipt of a claim, None where there is none (an older version made it). StorageUnavailable."""
        ...


class Scrubbing(Protocol):
    """What reading everything again needs of a storage. All raise StorageUnavailable, the writing ones also NoSpace."""

    def stored(self, after: Digest | None) -> Iterator[Digest]:
        """Yield the sha256 of every stored content above `after`, ascending, claimed or not. Reads no bytes."""
        ...

    def note_verified(self, sha256: Digest, at: datetime) -> None:
        """Note beside a content that its bytes were read and right; shows in `StoredRef.verified_at`. Absent: no-op."""
        ...

    def scrub_record(self) -> ScrubRecord | None:
        """Return how far the last scrub came, None where there is none or it cannot be read or parsed."""
        ...

    def save_scrub_record(self, record: ScrubRecord) -> None:
        """Replace it, durably."""
        ...


class StorageFactory(Protocol):
    """Builds the adapter for a spec; no I/O."""

    def __call__(self, uuid: str, spec: BackupStorageSpec) -> "AuditedStorage":
        """Return the adapter."""
        ...


class AuditedStorage(BackupStorage, Trash, Audit, Quarantines, Receipts, Scrubbing, Protocol):
    """What an adapter is: a storage that can also be looked into."""
