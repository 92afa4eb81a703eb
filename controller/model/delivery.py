"""Where the bytes of a revision came from, and what their source called that version."""

from dataclasses import dataclass
from datetime import datetime

from controller.model.digest import Digest
from controller.reasons import Reason


@dataclass(frozen=True, slots=True)
class Validator:
    """What tells one version of a source from another (RFC 9110, 8.8). Either may be None."""

    etag: str | None = None
    """As sent, quotes and `W/` included."""
    last_modified: str | None = None
    """As sent (HTTP), or `mtime_ns/ctime_ns/device/inode/size` of a file."""

    @property
    def strong(self) -> bool:
        """Whether equal validators mean equal bytes: an ETag that is not weak, and not empty, which names nothing."""
        return self.etag is not None and not self.etag.startswith("W/") and self.etag != '""'


@dataclass(frozen=True, slots=True)
class Skipped:
    """A url that was asked in vain before the one that served."""

    url: str
    """Redacted."""
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Peer:
    """Who was connected to. `proxy`: host and port of the proxy that it was, None where it was the source itself."""

    address: str
    """Numeric."""
    proxy: str | None = None
    certificate: Digest | None = None
    """Sha256 of the source's TLS certificate (DER); None without TLS."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a source said of the version that a revision was imported from."""

    served_by: str
    """Who served the bytes in the end, after redirects; redacted. Empty: not known."""
    validator: Validator = Validator()
    length: int | None = None
    """Bytes as downloaded; None: not known."""
    mirror: str | None = None
    """The mirror that was asked, redacted; None: the url itself was."""
    skipped: tuple[Skipped, ...] = ()
    fetched_bytes: int | None = None
    """How many bytes were fetched, for this image and those that share its transfer: less than `length` where it went
    on with one, 0 where the bytes were here, more where some were fetched in vain. None: not known."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a source says of itself now, without a download: how it calls its version, or what its list names."""

    validator: Validator = Validator()
    length: int | None = None
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """The last look at the source of what is served."""

    checked_at: datetime | None = None
    error: str = ""
    """Why it told nothing; empty: it did."""
    seen: Sighting | None = None
    """What the source has now; None: what was imported, as far as can be told."""
