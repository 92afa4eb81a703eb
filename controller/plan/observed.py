"""What was seen of the world around one image, as plain data. `None` always means *could not ask*, never *nothing*."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from controller.model.backup_storage import BackupStorageSpec
from controller.model.digest import Digest
from controller.model.image import Content, State
from controller.model.transfer import StoredRef, TransferState, TransferTarget, TrashRecord
from controller.plan.room import Held


@dataclass(frozen=True, slots=True)
class StorageView:
    """One BackupStorage as this image meets it."""

    uuid: str
    name: str
    spec: BackupStorageSpec
    connected: bool | None
    """None: not probed yet in this process."""
    trouble: str = ""
    """Why it is not connected; for the message."""
    room_bytes: int = 0
    """Available bytes less reservedCapacity."""
    default: bool = False
    deleting: bool = False
    permitted: bool | None = True
    """Whether its namespaceSelector selects the image's namespace; None: the namespace's labels are not known."""
    refs: tuple[StoredRef, ...] | None = None
    """This image's claims on it; None: could not ask."""
    trash: TrashRecord | None = None
    """The record of this image's deletion, where one was kept."""
    holds: frozenset[Digest] = frozenset()
    """Contents of interest whose bytes are there, claimed by this image or not."""

    @property
    def reachable(self) -> bool:
        """Whether it answered just now."""
        return self.connected is True and self.refs is not None

    @property
    def enabled(self) -> bool:
        """Whether bits may be put in and deleted."""
        return self.spec.state is State.ENABLED

    @property
    def takes(self) -> bool:
        """Whether bits of this image may be put in."""
        return self.enabled and self.permitted is True

    @property
    def target(self) -> TransferTarget:
        """It as plain data for a transfer."""
        return TransferTarget(self.uuid, self.name, self.spec)

    def claim(self, sha256: Digest) -> StoredRef | None:
        """Return this image's claim on a content, None where there is none or the storage could not be asked."""
        return next((ref for ref in self.refs or () if ref.content.sha256 == sha256), None)

    def serves(self, sha256: Digest) -> bool:
        """Whether an intact, claimed copy was seen."""
        claim = self.claim(sha256)
        return self.reachable and claim is not None and claim.intact


@dataclass(frozen=True, slots=True)
class Shared:
    """Bytes that the digest of a spec names and that an image of the namespace was just seen to have on a storage."""

    content: Content
    by: str
    """Whose they are, for the status."""

    @property
    def length(self) -> int | None:
        """Bytes as downloaded, None where they were compressed: nobody noted how many they were."""
        return self.content.size_bytes if self.content.sha256 in self.content.source_digests else None


@dataclass(frozen=True, slots=True)
class Observed:
    """All storages, and the transfers that matter: those this image owns and the one its spec would start."""

    storages: tuple[StorageView, ...]
    transfers: Mapping[str, TransferState] = field(default_factory=lambda: MappingProxyType({}))
    owned: frozenset[str] = frozenset()
    foreign: str = ""
    """Why the image's uuid is another image's; then nothing of that uuid is shown, and nothing may be done to it."""
    predecessor: str = ""
    """The uuid of the deleted image whose name this one has, while its bytes are kept; "" for none."""
    shared: Shared | None = None
    """What this image need not fetch. Of another namespace there is never anything: a digest is no right to bytes."""
    held: tuple[Held, ...] = ()
    """What could be freed on the storages; measured only where one was full."""
    secrets_changed: bool = False
    """Whether a Secret that the image names is not the one that its last try ended with."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings a plan depends on."""

    default_max_size_bytes: int
    progress_interval_s: float
    resync_interval_s: float
