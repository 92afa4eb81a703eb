"""What the engine needs of the outside, as Protocols. Adapters implement them; `wiring` joins the two.

Every method may be called from any thread unless it says otherwise. Every method raises only `controller.errors`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from controller.model.backup_storage import BackupStorageStatus
from controller.model.delivery import Peer
from controller.model.image import ImageStatus, Timeouts
from controller.model.resource import BackupStorage as BackupStorageResource
from controller.model.resource import Image, Key, Kind
from controller.model.secret import Credentials, Secret
from controller.model.transfer import Provenance as Provenance
from controller.model.transfer import ResumeRecord as ResumeRecord
from controller.model.transfer import StoredRef as StoredRef
from controller.model.transfer import TransferRequest as TransferRequest
from controller.model.transfer import TransferState as TransferState
from controller.model.transfer import TrashRecord as TrashRecord
from controller.model.transfer import Validator as Validator
from controller.model.url import SourceUrl
from controller.storage_ports import Audit as Audit
from controller.storage_ports import AuditedStorage as AuditedStorage
from controller.storage_ports import BackupStorage as BackupStorage
from controller.storage_ports import Finding as Finding
from controller.storage_ports import Provenances as Provenances
from controller.storage_ports import Reader as Reader
from controller.storage_ports import Receipts as Receipts
from controller.storage_ports import Scrubbing as Scrubbing
from controller.storage_ports import StagedFile as StagedFile
from controller.storage_ports import Staging as Staging
from controller.storage_ports import StorageFactory as StorageFactory
from controller.storage_ports import Trash as Trash


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


# --- where bytes come from -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What to fetch, as plain data. `resume_from` > 0 asks for the rest of the version that `validator` names."""

    url: SourceUrl
    timeouts: Timeouts
    resume_from: int = 0
    validator: Validator | None = None
    peek: bool = False
    """Only what the source says of itself is wanted: it is asked for one byte, and may answer with all of them."""
    whole_bytes: int | None = None
    """Resume without `validator`: the rest of any version of this length will do, as a digest proves the whole."""
    max_bytes: int | None = None
    credentials: Credentials | None = None
    """For the origin of `url` only, and only if it is one of theirs: no redirect carries them on."""
    namespace: str = ""
    """For whose image: namespaces have what an origin bears in turn."""


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

    @property
    def peer(self) -> Peer | None:
        """Who was connected to; None where nobody was."""
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
