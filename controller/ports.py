"""What the engine needs of the outside, as Protocols. Adapters implement them; `wiring` joins the two.

Every method may be called from any thread unless it says otherwise. Every method raises only `controller.errors`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from controller.model.backup_storage import BackupStorageSpec, BackupStorageStatus, Capacity
from controller.model.digest import Digest
from controller.model.image import Content, ImageStatus, Timeouts
from controller.model.resource import BackupStorage as BackupStorageResource
from controller.model.resource import Image, Key, Kind
from controller.model.scrub import ScrubRecord
from controller.model.secret import Credentials, Secret
from controller.model.transfer import Provenance as Provenance
from controller.model.transfer import ResumeRecord as ResumeRecord
from controller.model.transfer import StoredRef as StoredRef
from controller.model.transfer import TransferRequest as TransferRequest
from controller.model.transfer import TransferState as TransferState
from controller.model.transfer import TrashRecord as TrashRecord
from controller.model.transfer import Validator as Validator
from controller.model.url import SourceUrl


class Clock(Protocol):
    """The only way to learn the time."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...


class StopToken(Protocol):
    """Says whether the work should end. A `threading.Event` is one."""

    def is_set(self) -> bool:
        """Whether to stop."""
        ...


# --- where manifests come from --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Committed:
    """The commit that is checked out in a working copy. `revision` as `model.git.revision` writes it."""

    revision: str
    top: str
    """The working copy, without symbolic links."""
    blobs: Mapping[str, str]
    """Path below `top` -> Git's id of the bytes that the commit has there; of a link it begins with `link:`."""


class WorkingCopies(Protocol):
    """Working copies of people, which are never changed."""

    def look(self, path: Path) -> Committed | None:
        """Return what is checked out around PATH (at least what lies below it), None where there is nothing to say.

        That is outside of Git, before the first commit, and where git is missing or fails, which is logged once.
        """
        ...


# --- where bytes come from -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What to fetch, as plain data. `resume_from` > 0 asks for the rest of the version that `validator` names."""

    url: SourceUrl
    timeouts: Timeouts
    resume_from: int = 0
    validator: Validator | None = None
    whole_bytes: int | None = None
    """Resume without `validator`: the rest of any version of this length will do, as a digest proves the whole."""
    max_bytes: int | None = None
    credentials: Credentials | None = None
    """For the origin of `url` only, and only if it is one of theirs: no redirect carries them on."""


class Body(Protocol):
    """An answered request. One thread uses it. `close()` may be called twice."""

    @property
    def offset(self) -> int:
        """Position in the source of the first byte: `resume_from`, or 0 where the source starts over."""
        ...

    @property
    def total_bytes(self) -> int | None:
        """Size of the whole source, None where it did not say."""
        ...

    @property
    def validator(self) -> Validator:
        """What names this version."""
        ...

    @property
    def served_by(self) -> str:
        """Who answered: the redacted final URL; fit for a status."""
        ...

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` from its start, as far as possible; return the count, 0 only at the end.

        At the end `complete` is decided. Checks the stop token, the stall timeout, and the throughput floor.

        Raises:
            SourceUnreachable: reset, stall, drip, or fewer bytes than promised.
            TooLarge: more than `max_bytes` (also before the first byte, where the length is known), ProtocolError: more
                bytes than promised. Interrupted: the stop token is set.

        """
        ...

    @property
    def complete(self) -> bool:
        """After the end: whether the protocol proved that nothing is missing (length, or final chunk)."""
        ...

    def close(self) -> None:
        """Drop the connection; never reads the rest."""
        ...


class Source(Protocol):
    """Something that answers for one or more URL schemes."""

    def open(self, request: FetchRequest, stop: StopToken) -> Body:
        """Ask for the bytes; follows redirects under the source policy.

        A changed validator, an ignored Range or a Content-Range that does not fit gives a Body with `offset` 0.

        Raises:
            SourceUnreachable (with `retry_after` where the server said so), SourceNotFound, AuthenticationFailed,
            PolicyDenied (nothing was sent to the denied address), ProtocolError, TooLarge, Interrupted.

        """
        ...


class Secrets(Protocol):
    """Where Secrets are read, anew for every transfer, so that a changed one is taken up by the next try."""

    def read(self, namespace: str, name: str) -> Secret:
        """Return the Secret as it is now.

        Raises:
            DependencyNotReady: there is none of this name, or it cannot be read; says why, without a value of it.

        """
        ...

    def version(self, namespace: str, name: str) -> str:
        """Return a word that changes with the Secret and tells nothing of its values; empty: it cannot be asked now."""
        ...


@dataclass(frozen=True, slots=True)
class Verified:
    """A good signature: the text that it is of, and who made it."""

    text: bytes
    fingerprint: str
    expired_at: datetime | None
    """Since when the key has expired; the signature was made before."""


class SignatureVerifier(Protocol):
    """Judges OpenPGP signatures by the keys that it is given; never asks anybody for another."""

    def verify(self, data: bytes, signature: bytes | None, keys: Sequence[bytes]) -> Verified:
        """Judge a detached signature of `data`, or, where it is None, a clear-signed `data`.

        Raises:
            SignatureInvalid: none is good; says which key, and whether it is unknown, revoked, or had expired.
            DependencyNotReady: one of `keys` is no certificate.

        """
        ...


# --- where bytes are kept ---------------------------------------------------------------------------------------------


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

    def link(self, image_uuid: str, ref: StoredRef) -> str:
        """Claim `ref.content` for an image, durably and idempotently; return the install path.

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

    def quarantine(self, sha256: Digest, why: str) -> None:
        """Take damaged bytes out of service, keeping them for a person to look at; claims on it become not intact."""
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
        """Return how far the last scrub came, None where there is none or it cannot be parsed."""
        ...

    def save_scrub_record(self, record: ScrubRecord) -> None:
        """Replace it, durably."""
        ...


class StorageFactory(Protocol):
    """Builds the adapter for a spec; no I/O."""

    def __call__(self, uuid: str, spec: BackupStorageSpec) -> "AuditedStorage":
        """Return the adapter."""
        ...


class AuditedStorage(BackupStorage, Trash, Audit, Scrubbing, Protocol):
    """What an adapter is: a storage that can also be looked into."""


# --- where objects live -----------------------------------------------------------------------------------------------


class Resources(Protocol):
    """The objects of this instance: an API server's, or the standalone state's."""

    def image(self, key: Key) -> Image | None:
        """Return the object, None where it is gone."""
        ...

    def storage(self, key: Key) -> BackupStorageResource | None:
        """Return the object, None where it is gone."""
        ...

    def keys(self, kind: Kind) -> list[Key]:
        """Return the keys of all objects of a kind. Raises StateBroken, ClusterUnavailable; never a short list."""
        ...

    def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        """Return the labels of a namespace, its name among them. None: they are not known; never an empty guess."""
        ...

    def write_image_status(self, image: Image, status: ImageStatus) -> Image:
        """Replace the status if the object is still at `image.meta.version`; return it as it is now.

        Raises:
            Conflict: somebody wrote it in between, or it is gone.

        """
        ...

    def write_storage_status(
        self, storage: BackupStorageResource, status: BackupStorageStatus
    ) -> BackupStorageResource:
        """Do the same for a BackupStorage."""
        ...

    def hold(self, image: Image) -> Image:
        """Put our finalizer on an object, before anything is done for it; return it as it is now.

        Raises Conflict where somebody wrote it in between, it is being deleted, or it is gone.
        """
        ...

    def release(self, key: Key, uid: str) -> None:
        """The object is being deleted and everything of it is cleaned up: let it go. Idempotent."""
        ...


# --- the work between --------------------------------------------------------------------------------


class Transfers(Protocol):
    """Background work from sources to storages. Plain data in, plain data out; owners are image uids."""

    def start(self, request: TransferRequest, owner: str) -> None:
        """Begin, or join one of the same key. Returns at once. A finished one that is not forgotten stays as it is."""
        ...

    def state(self, key: str) -> TransferState | None:
        """Return where it stands, None where nothing of that key is known."""
        ...

    def owned(self, owner: str) -> frozenset[str]:
        """Return the keys that this owner started or joined and has not released."""
        ...

    @property
    def busy(self) -> bool:
        """Whether any is moving bytes: what can wait gives way."""
        ...

    def release(self, key: str, owner: str) -> None:
        """The owner is done with it. Without owners a running one stops (resumable) and a finished one is forgotten."""
        ...

    def load(self) -> tuple[int, int]:
        """Return how many wait for a slot, and how many have one."""
        ...
