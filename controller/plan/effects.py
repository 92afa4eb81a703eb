"""What a plan may ask for: a closed union, executed by engine/execute.py and nowhere else."""

from dataclasses import dataclass
from datetime import timedelta

from controller.model.digest import Digest
from controller.model.image import ImageStatus
from controller.model.receipt import Receipt
from controller.model.transfer import StoredRef, TransferRequest, TrashRecord


@dataclass(frozen=True, slots=True)
class StartTransfer:
    """Begin a transfer, or join the one of the same key."""

    request: TransferRequest


@dataclass(frozen=True, slots=True)
class ReleaseTransfer:
    """This image is done with a transfer; without other owners it stops, resumable."""

    key: str


@dataclass(frozen=True, slots=True)
class Link:
    """Claim a content that is on a storage. `receipt` None: a claim that stands keeps the one it has."""

    storage_uuid: str
    ref: StoredRef
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True)
class Unlink:
    """Drop the claim on a content; bytes that nobody claims go with it."""

    storage_uuid: str
    sha256: Digest


@dataclass(frozen=True, slots=True)
class Discard:
    """Keep the claims of a deleted image, and note until when."""

    storage_uuid: str
    record: TrashRecord


@dataclass(frozen=True, slots=True)
class Restore:
    """The image is back: its claims are no longer those of a deleted one."""

    storage_uuid: str


@dataclass(frozen=True, slots=True)
class LetGo:
    """The object is being deleted and nothing of it is left: remove it."""


Effect = StartTransfer | ReleaseTransfer | Link | Unlink | Discard | Restore | LetGo


@dataclass(frozen=True, slots=True)
class Plan:
    """The next step of one image.

    `effects` come first, then `status` is written if it differs, then `after` is done: what must not happen before
    the status is durable (dropping old bytes, forgetting a transfer). `again`: observe and plan once more at once.
    `requeue` None: nothing to do until an event. `summary` says in one line what is done and why.
    """

    status: ImageStatus
    summary: str
    effects: tuple[Effect, ...] = ()
    after: tuple[Effect, ...] = ()
    again: bool = False
    requeue: timedelta | None = None
    looking: bool = False
    """Whether the source is being looked at."""
