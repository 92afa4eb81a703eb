"""An Image: what is asked for (`ImageSpec`) and what is known about it (`ImageStatus`)."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from controller.model.conditions import Condition
from controller.model.delivery import Delivery, Watch
from controller.model.digest import Digest
from controller.model.url import SourceUrl
from controller.reasons import Reason


class MediaType(StrEnum):
    """What a VM does with the image."""

    ROOT_VOLUME_TEMPLATE = "RootVolumeTemplate"
    DATA_VOLUME_TEMPLATE = "DataVolumeTemplate"
    ISO = "ISO"


class Format(StrEnum):
    """What the bytes are. Nothing else is accepted."""

    QCOW2 = "qcow2"
    RAW = "raw"
    ISO = "iso"
    VMDK = "vmdk"

    @property
    def volume_format(self) -> "Format":
        """What volumes made from such an image are: a thin qcow2 clone, whatever the image is."""
        return Format.QCOW2


class Platform(StrEnum):
    """A hint which devices the guest can drive."""

    LINUX = "Linux"
    WINDOWS = "Windows"
    WINDOWS_VIRTIO = "WindowsVirtio"
    PARAVIRTUALIZATION = "Paravirtualization"
    OTHER = "Other"

    @property
    def paravirtual(self) -> bool:
        """Whether volumes and NICs are virtio; otherwise IDE disk and e1000 NIC."""
        return self in {Platform.LINUX, Platform.WINDOWS_VIRTIO, Platform.PARAVIRTUALIZATION}


class Architecture(StrEnum):
    """The CPU the guest is built for."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"
    MIPS64EL = "mips64el"
    LOONGARCH64 = "loongarch64"


class BootMode(StrEnum):
    """The firmware the guest expects."""

    LEGACY = "Legacy"
    UEFI = "UEFI"
    UEFI_WITH_CSM = "UEFI_WITH_CSM"


class State(StrEnum):
    """Disabled: nothing new is created from it; never touches the bytes. Also used by BackupStorage."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class Phase(StrEnum):
    """The inventory's words. The truth is in the conditions; Ready exactly when Available is True."""

    PENDING = "Pending"
    DOWNLOADING = "Downloading"
    READY = "Ready"
    FAILED = "Failed"


class DeletionPolicy(StrEnum):
    """What deleting the object does to the bytes."""

    DIRECT = "Direct"
    DELAY = "Delay"
    NEVER = "Never"


class UpdatePolicy(StrEnum):
    """What a source that changed does to an image whose spec did not."""

    NOTIFY = "Notify"
    IMPORT = "Import"
    IGNORE = "Ignore"


class RefStatus(StrEnum):
    """Where one copy stands."""

    DOWNLOADING = "Downloading"
    READY = "Ready"
    FAILED = "Failed"
    UNKNOWN = "Unknown"
    """The storage could not be asked: neither there nor gone."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How transient failures are tried again. `limit` None means for ever."""

    limit: int | None = None
    initial_backoff: timedelta = timedelta(seconds=5)
    max_backoff: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds on waiting for a source. `total` None means no bound on the whole transfer."""

    connect: timedelta = timedelta(seconds=10)
    stall: timedelta = timedelta(seconds=60)
    total: timedelta | None = None


@dataclass(frozen=True, slots=True)
class SignedBy:
    """The OpenPGP signature of a list. `url` is the list's own where that is clear-signed."""

    url: SourceUrl
    key_ref: str
    """Name of a Secret with certificates."""


@dataclass(frozen=True, slots=True)
class ChecksumFrom:
    """A publisher's checksum list. `entry` None: the line of the url's last segment."""

    url: SourceUrl
    entry: str | None = None
    signature: SignedBy | None = None


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """The `spec` of an Image, parsed; defaults of the CRD are applied. None means: not given."""

    url: SourceUrl
    display_name: str | None = None
    description: str = ""
    media_type: MediaType = MediaType.ROOT_VOLUME_TEMPLATE
    format: Format | None = None
    platform: Platform = Platform.LINUX
    virtio: bool | None = None
    guest_os_type: str | None = None
    architecture: Architecture = Architecture.X86_64
    boot_mode: BootMode | None = None
    system: bool = False
    state: State = State.ENABLED
    uuid: str | None = None
    checksum: Digest | None = None
    checksum_from: ChecksumFrom | None = None
    secret_ref: str | None = None
    mirrors: tuple[SourceUrl, ...] = ()
    interval: timedelta | None = None
    """How often the source is looked at again; None: never."""
    update_policy: UpdatePolicy = UpdatePolicy.NOTIFY
    backup_storages: tuple[str, ...] = ()
    suspend: bool = False
    retry: RetryPolicy = RetryPolicy()
    timeouts: Timeouts = Timeouts()
    max_size_bytes: int | None = None
    revision_history_limit: int = 2
    deletion_policy: DeletionPolicy = DeletionPolicy.DELAY
    expunge_after: timedelta = timedelta(hours=72)

    @property
    def paravirtualized(self) -> bool:
        """Whether the guest gets virtio devices: `virtio` where given, else what the platform says."""
        return self.platform.paravirtual if self.virtio is None else self.virtio

    @property
    def secrets(self) -> tuple[str, ...]:
        """Name the Secrets that a fetch of this spec reads."""
        signed = self.checksum_from.signature if self.checksum_from is not None else None
        named = (self.secret_ref, None if signed is None else signed.key_ref)
        return tuple(name for name in named if name is not None)


@dataclass(frozen=True, slots=True)
class Content:
    """One verified content: facts found while the bytes went by, never taken from a spec.

    `sha256` and `md5` are of the bytes as stored; `source_digests` of the bytes as downloaded (sha256 always, and the
    algorithm that was asked for). `virtual_size_bytes` is what a guest sees, `size_bytes` what is stored.
    """

    sha256: Digest
    md5: Digest
    size_bytes: int
    virtual_size_bytes: int
    format: Format
    source_digests: tuple[Digest, ...]

    @property
    def image_id(self) -> str:
        """The second half of a zstore:// path: the first 40 hex digits of the sha256 of the stored bytes."""
        return self.sha256.hex[:40]


@dataclass(frozen=True, slots=True)
class Revision:
    """A content and the source it was imported from.

    `source_id` fingerprints (url, checksumFrom); it is not a secret.
    """

    content: Content
    source_id: str
    url: str
    imported_at: datetime
    proof: str
    """By what the bytes were proven: `checksum sha512`, `checksum list sha256`, or `first use` where the spec promises
    nothing."""
    delivery: Delivery | None = None
    """Who served the bytes, and what it called that version; None: not known."""


@dataclass(frozen=True, slots=True)
class Ref:
    """One (image, storage) pair. `install_path` is empty until the copy is there."""

    storage_uuid: str
    storage_name: str
    install_path: str
    status: RefStatus
    create_date: datetime
    last_op_date: datetime
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the running transfer is, in source bytes. `total_bytes` None: the source did not say."""

    bytes: int
    total_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ImageStatus:
    """The `status` of an Image. The default is an image that nobody looked at yet."""

    uuid: str | None = None
    phase: Phase = Phase.PENDING
    observed_generation: int = 0
    observed_revision: str | None = None
    """The Git commit that the spec which this status answers was taken from."""
    current: Revision | None = None
    history: tuple[Revision, ...] = ()
    """Older revisions whose bytes are kept beside the current one, newest first."""
    refs: tuple[Ref, ...] = ()
    progress: Progress | None = None
    queue_position: int | None = None
    attempts: int = 0
    """Failed tries since the last progress, of this generation."""
    next_retry_at: datetime | None = None
    last_handled_reconcile_at: str | None = None
    create_date: datetime | None = None
    last_op_date: datetime | None = None
    verified_at: datetime | None = None
    """Since when every copy of `current` is proven, be it by its import."""
    watch: Watch = field(default_factory=Watch)
    paravirtualized: bool | None = None
    conditions: tuple[Condition, ...] = field(default=())
