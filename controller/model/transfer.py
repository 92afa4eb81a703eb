"""Plain data of a transfer: what goes in, where it stands, what came out, and what is claimed on a storage."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from controller.model.backup_storage import BackupStorageSpec
from controller.model.delivery import Delivery, Peer, Sighting, Skipped
from controller.model.delivery import Validator as Validator  # noqa: PLC0414  part of the plain data of a transfer
from controller.model.digest import Digest
from controller.model.image import ChecksumFrom, Content, Format, Timeouts
from controller.model.url import SourceUrl
from controller.reasons import Reason


@dataclass(frozen=True, slots=True)
class ResumeRecord:
    """What lies beside a partial so that any later process can go on with it."""

    source_id: str
    """Fingerprint of (url, checksum); another one means another source."""
    validator: Validator
    total_bytes: int | None
    durable_bytes: int
    """How many leading bytes of the partial are surely on disk."""
    witness: str | None = None
    """By what the url was known of which all of them came (as Provenance.source); None: of several, or not noted."""
    url_id: str = ""
    """Names the url that they came from; empty: not noted."""


@dataclass(frozen=True, slots=True)
class StoredRef:
    """One image's claim on a stored content. `intact`: the bytes exist with the recorded size and inode facts."""

    content: Content
    source_id: str
    install_path: str
    intact: bool
    imported_at: datetime
    proof: str
    url: str
    """Redacted."""
    owner: str = ""
    """`namespace/name` of the image that claimed it; empty where nobody noted it."""
    delivery: Delivery | None = None
    """What the source said of these bytes; None where nobody noted it."""
    verified_at: datetime | None = None
    """When the bytes were last read and right, or proven while they were stored; None: nobody noted it."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """A proven download, as a fact about its url: it answered so, and these bytes were the whole of the answer.

    Only made of a download that was complete, with a strong validator and a length, and whose digests agreed.
    """

    source: str
    """Fingerprint of the url, its query included, and of the authorities that TLS trusted in place of the system's."""
    etag: str
    """As sent; never weak."""
    total_bytes: int
    """Of the answer, before any decompression."""
    source_digests: tuple[Digest, ...]
    namespace: str
    """Of the image it was fetched for."""
    anonymous: bool
    """Whether the server was told nothing of a Secret's."""


@dataclass(frozen=True, slots=True)
class TrashRecord:
    """An image that was deleted and whose bytes are still claimed. Lies beside the bytes, outlives the object."""

    image_uuid: str
    namespace: str
    name: str
    deleted_at: datetime
    expunge_at: datetime | None
    """When the bytes go; None: never by themselves."""
    serving: Digest | None = None
    """The sha256 of the content that was served last, among what is claimed; None: not noted."""

    @property
    def whose(self) -> tuple[str, str]:
        """Uuid and `namespace/name`: a uuid alone can be written into any manifest."""
        return self.image_uuid, f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class TransferTarget:
    """A storage to place bytes on, as plain data: enough to build the adapter in another process."""

    uuid: str
    name: str
    spec: BackupStorageSpec


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """One pass from a source to storages, as plain data in; `key` names it and its partial.

    `copy_from` set: the bytes are `expected_content` of that storage and the URL is not asked. `checksum_from` set: the
    list is asked first, and where it names one of the `known` contents of this image no byte is fetched.
    """

    key: str
    namespace: str
    url: SourceUrl
    source_id: str
    targets: tuple[TransferTarget, ...]
    checksum: Digest | None
    format: Format | None
    iso_expected: bool
    max_size_bytes: int
    timeouts: Timeouts
    copy_from: TransferTarget | None = None
    expected_content: Content | None = None
    checksum_from: ChecksumFrom | None = None
    known: tuple[Content, ...] = ()
    secret_ref: str | None = None
    """Name of a Secret of the namespace. Its values are never part of a request."""
    mirrors: tuple[SourceUrl, ...] = ()
    """Asked in turn where `url` does not give the bytes that a digest pins."""
    look: bool = False
    """Only ask what the source has now, and end Looked: `url`, the mirror if there is one, or the list if there is one.
    There are no targets."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something did not work, as plain data out. `terminal`: cannot without a change of the spec."""

    reason: Reason
    message: str
    terminal: bool
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Queued:
    """Waits for a slot; `position` counts from 1 in the order in which slots will be given."""

    position: int
    behind: bool = False
    """Takes no slot yet: another transfer fetches the same, and this one waits for its end, to share the bytes."""
    into: frozenset[str] = field(default=frozenset(), compare=False)
    """The storages that it will write to, by uuid."""


@dataclass(frozen=True, slots=True)
class Running:
    """Under way; in source bytes. `resumed_bytes` were there before this try."""

    bytes: int
    total_bytes: int | None
    resumed_bytes: int = 0
    into: frozenset[str] = field(default=frozenset(), compare=False)
    """The storages that it writes to, by uuid."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Ended well on the storages in `stored`; `failed` says why not on the others (by storage uuid).

    `stored` is empty where the content was known already and nothing was fetched. `proof` None: as the spec says.
    """

    content: Content
    stored: frozenset[str]
    failed: tuple[tuple[str, Failure], ...]
    validator: Validator
    served_by: str
    fetched_bytes: int
    resumed_bytes: int
    proof: str | None = None
    length: int | None = None
    """Bytes as downloaded; None where nothing was."""
    mirror: str | None = None
    """The mirror that was asked, redacted; None: `url` itself was."""
    skipped: tuple[Skipped, ...] = ()
    """Those that were asked before in vain."""
    peer: Peer | None = None
    """Who was connected to; None: nobody."""
    copied_from: str | None = None
    """Name of the storage whose copy this is; None: the source was asked."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    """When the last byte had its name; with `started_at`, of the try that ended well."""

    @property
    def delivery(self) -> Delivery | None:
        """What the source said of the version that was placed; None where it was not asked for the bytes."""
        if not self.served_by:
            return None
        return Delivery(self.served_by, self.validator, self.length, self.mirror, self.skipped, self.fetched_bytes)


@dataclass(frozen=True, slots=True)
class Broken:
    """Ended without a placed copy. `advanced`: it got further than any try before (resets the attempts)."""

    failure: Failure
    advanced: bool


@dataclass(frozen=True, slots=True)
class Looked:
    """The source was asked what it has, and no byte of it was read."""

    sighting: Sighting


TransferState = Queued | Running | Placed | Broken | Looked
