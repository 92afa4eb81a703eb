"""Every error this product raises on purpose.

Transient means: may succeed without a change of the spec. Terminal means: cannot. Each class names the condition
`reason` it turns into and the exit code of a command that ends with it (documented in README.md).

    GoldmasterError
    ├── Usage                  2   the command line is wrong
    ├── NotFound               8   the named object does not exist
    ├── StateLocked            7   another instance reconciles this state directory
    ├── StateBroken            7   the state file is damaged, or of a newer schema
    ├── Interrupted          130   asked to stop; resumable
    ├── TransientError
    │   ├── SourceUnreachable      resets, timeouts, 5xx, 408, 425, 429, truncated bodies, throughput floor
    │   ├── OriginBusy             our own bounds, or a Retry-After, keep us from asking; never counts as an attempt
    │   ├── StorageUnavailable 6   a storage could not be asked: unknown, not empty
    │   ├── NoSpace            6   a storage is full, or would fall below its reservedCapacity
    │   ├── ClusterUnavailable 9   the Kubernetes API server could not be asked, or refuses us
    │   │   └── ClusterDenied 10   it does not know us, or a right is missing
    │   ├── DependencyNotReady     waits for a storage or a Secret; never counts as an attempt
    │   └── Conflict               somebody else wrote the object first
    └── TerminalError
        ├── InvalidSpec        3   the manifest is wrong; names the field
        ├── SourceNotFound         404, 410, no such file
        ├── AuthenticationFailed   401, 403, 407
        ├── SourceChanged          other bytes than those pinned for this revision
        ├── ProtocolError          the server breaks HTTP in a way that trying again does not mend
        ├── ChecksumMismatch       the bytes are not the promised ones (tried twice, as mirrors flip)
        ├── SignatureInvalid       a checksum list is not signed by a good key of those that it must be
        ├── FormatRejected         not an image, not the declared one, or an unsafe one; of a checksum list: not one
        ├── PolicyDenied       5   the source policy refuses the address, the path or the redirect
        ├── TooLarge               more bytes, or more virtual bytes, than maxSize
        └── StorageDamaged     6   stored bytes are not what they were
"""

from datetime import timedelta
from typing import ClassVar

from controller.reasons import Reason


class GoldmasterError(Exception):
    """Root of the tree. `str(error)` is fit for a person, a status and a log: it never holds a secret."""

    reason: ClassVar[Reason] = Reason.INTERNAL_ERROR
    exit_code: ClassVar[int] = 1


class Usage(GoldmasterError):
    """The command line is wrong."""

    reason = Reason.INVALID_SPEC
    exit_code = 2


class NotFound(GoldmasterError):
    """The named object does not exist."""

    exit_code = 8


class StateLocked(GoldmasterError):
    """Another instance reconciles this state directory."""

    exit_code = 7


class StateBroken(GoldmasterError):
    """The state file is damaged, or written by a newer version."""

    exit_code = 7


class Interrupted(GoldmasterError):
    """Asked to stop (suspend, deletion, shutdown); what was fetched stays resumable."""

    exit_code = 130


class TransientError(GoldmasterError):
    """May succeed without a change of the spec. `retry_after` is what the other side asked for, if it did."""

    reason = Reason.PROGRESSING_WITH_RETRY
    exit_code = 4

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SourceUnreachable(TransientError):
    """The source did not answer, or stopped answering."""

    reason = Reason.SOURCE_UNREACHABLE


class OriginBusy(TransientError):
    """Nothing was sent: an origin gets no more of us now. Comes with `retry_after`; never counts as an attempt."""

    reason = Reason.QUEUED


class StorageUnavailable(TransientError):
    """A storage could not be asked. This never means that something is absent."""

    reason = Reason.STORAGE_UNAVAILABLE
    exit_code = 6


class NoSpace(TransientError):
    """A storage is full, or would fall below its reservedCapacity."""

    reason = Reason.NO_SPACE
    exit_code = 6


class ClusterUnavailable(TransientError):
    """The Kubernetes API server could not be asked, or refuses us (429, 5xx). Never: something is absent."""

    exit_code = 9


class ClusterDenied(ClusterUnavailable):
    """It does not know us (401), or a right is missing (403): transient, as rights are granted without a new spec."""

    exit_code = 10


class DependencyNotReady(TransientError):
    """Waits for another object; never counts as an attempt."""

    reason = Reason.DEPENDENCY_NOT_READY


class Conflict(TransientError):
    """Somebody else wrote the object first; look again."""

    reason = Reason.PROGRESSING


class TerminalError(GoldmasterError):
    """Cannot succeed without a change of the spec or a request to look again."""

    exit_code = 4


class InvalidSpec(TerminalError):
    """The manifest is wrong; the message names the field, and so does `field`, in pieces, where it is known."""

    reason = Reason.INVALID_SPEC
    exit_code = 3

    def __init__(self, message: str, *, field: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.field = field


class SourceNotFound(TerminalError):
    """The source says that there is nothing there."""

    reason = Reason.SOURCE_NOT_FOUND


class AuthenticationFailed(TerminalError):
    """The source refuses us."""

    reason = Reason.AUTHENTICATION_FAILED


class SourceChanged(TerminalError):
    """The source has other bytes than those pinned for this revision."""

    reason = Reason.SOURCE_CHANGED


class ProtocolError(TerminalError):
    """The server breaks its protocol in a way that trying again does not mend."""

    reason = Reason.PROTOCOL_ERROR


class ChecksumMismatch(TerminalError):
    """The bytes are not the promised ones; the message shows expected and got."""

    reason = Reason.CHECKSUM_MISMATCH


class SignatureInvalid(TerminalError):
    """No good signature: another key's, a revoked or expired one's, or of another file; the message says which."""

    reason = Reason.SIGNATURE_INVALID


class FormatRejected(TerminalError):
    """Not an image, not the declared format, or one that is unsafe to open."""

    reason = Reason.FORMAT_REJECTED


class PolicyDenied(TerminalError):
    """The source policy refuses the address, the path or the redirect; nothing was sent."""

    reason = Reason.POLICY_DENIED
    exit_code = 5


class TooLarge(TerminalError):
    """More bytes, or more virtual bytes, than maxSize allows."""

    reason = Reason.TOO_LARGE


class StorageDamaged(TerminalError):
    """Stored bytes are not what they were."""

    reason = Reason.STORAGE_DAMAGED
    exit_code = 6
