"""The closed set of reasons a condition, a ref or an exit can carry. Nothing else may stand in a `reason` field."""

from enum import StrEnum


class Reason(StrEnum):
    """Why an object is in its state; CamelCase as the Kubernetes API conventions ask of `conditions[].reason`."""

    SUCCEEDED = "Succeeded"
    PROGRESSING = "Progressing"
    PROGRESSING_WITH_RETRY = "ProgressingWithRetry"
    QUEUED = "Queued"
    SUSPENDED = "Suspended"
    INVALID_SPEC = "InvalidSpec"
    SOURCE_NOT_FOUND = "SourceNotFound"
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    SOURCE_UNREACHABLE = "SourceUnreachable"
    SOURCE_CHANGED = "SourceChanged"
    PROTOCOL_ERROR = "ProtocolError"
    CHECKSUM_MISMATCH = "ChecksumMismatch"
    SIGNATURE_INVALID = "SignatureInvalid"
    FORMAT_REJECTED = "FormatRejected"
    POLICY_DENIED = "PolicyDenied"
    TOO_LARGE = "TooLarge"
    NO_SPACE = "NoSpace"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    STORAGE_DAMAGED = "StorageDamaged"
    DEPENDENCY_NOT_READY = "DependencyNotReady"
    INTERNAL_ERROR = "InternalError"
