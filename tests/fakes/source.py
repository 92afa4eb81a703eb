"""A source in memory that passes the contract suite, with switches for what real ones do wrong."""

from dataclasses import dataclass, field

from controller import errors
from controller.model.delivery import Peer
from controller.model.transfer import Validator
from controller.model.url import SourceUrl
from controller.ports import FetchRequest, StopToken


@dataclass
class Held:
    """What lies at one URL. `etag` None: the version has no strong name, so nothing can be resumed."""

    data: bytes
    etag: str | None


@dataclass
class FakeSource:
    """Implements `ports.Source`. Everything that was asked is in `asked`, bytes given out are counted."""

    held: dict[str, Held] = field(default_factory=dict)
    refuse: list[errors.GoldmasterError] = field(default_factory=list)
    """Raised by the next opens, one each."""
    refuse_at: dict[str, errors.GoldmasterError] = field(default_factory=dict)
    """Raised by each open of that URL."""
    break_at: list[int] = field(default_factory=list)
    """Source positions where a connection breaks, each used up by the first body that reaches it."""
    sized: bool = True
    """False: as a server that sends neither length nor chunks; the end proves nothing."""
    ranges: bool = True
    """False: as a server that ignores Range."""
    redirected_to: SourceUrl | None = None
    """Who says that it serves; None: who was asked."""
    asked: list[FetchRequest] = field(default_factory=list)
    given_bytes: int = 0
    open_bodies: int = 0
    _versions: int = 0

    def put(self, url: SourceUrl, data: bytes) -> None:
        """Let a new version lie at `url`."""
        self._versions += 1
        self.held[url.text] = Held(data, f'"{self._versions}"')

    def open(self, request: FetchRequest, stop: StopToken) -> "FakeBody":
        if stop.is_set():
            raise errors.Interrupted("stopped before the source was asked")
        self.asked.append(request)
        if self.refuse:
            raise self.refuse.pop(0)
        if request.url.text in self.refuse_at:
            raise self.refuse_at[request.url.text]
        held = self.held.get(request.url.text)
        if held is None:
            raise errors.SourceNotFound(f"{request.url.redacted}: nothing there")
        if self.sized and request.max_bytes is not None and len(held.data) > request.max_bytes:
            raise errors.TooLarge(f"the source has {len(held.data)} bytes, maxSize allows {request.max_bytes}")
        validator = Validator(held.etag)
        same = request.validator is not None and validator.strong and request.validator.etag == held.etag
        if request.whole_bytes is not None:
            same = self.sized and request.whole_bytes == len(held.data)
        offset = request.resume_from if same and self.ranges and request.resume_from <= len(held.data) else 0
        self.open_bodies += 1
        return FakeBody(self, request, held.data, offset, validator, stop)


@dataclass
class FakeBody:
    """Implements `ports.Body`."""

    source: FakeSource
    request: FetchRequest
    data: bytes
    offset: int
    validator: Validator
    stop: StopToken
    complete: bool = False
    closed: bool = False

    def __post_init__(self) -> None:
        self.position = self.offset

    @property
    def total_bytes(self) -> int | None:
        return len(self.data) if self.source.sized else None

    @property
    def served_by(self) -> str:
        return (self.source.redirected_to or self.request.url).redacted

    @property
    def peer(self) -> Peer | None:
        return Peer("192.0.2.1")

    def readinto(self, buffer: memoryview) -> int:
        if self.closed:
            raise errors.SourceUnreachable("read after close")
        if self.stop.is_set():
            raise errors.Interrupted("stopped while reading")
        end = min(self.position + len(buffer), len(self.data))
        breaks = [at for at in self.source.break_at if self.position <= at < end]
        end = min([end, *breaks])
        if breaks and end == self.position:
            self.source.break_at.remove(end)
            raise errors.SourceUnreachable(f"connection reset at byte {end}")
        limit = self.request.max_bytes
        if limit is not None and end > limit:
            raise errors.TooLarge(f"the source has more than the {limit} bytes that maxSize allows")
        piece = self.data[self.position : end]
        buffer[: len(piece)] = piece
        self.position = end
        self.source.given_bytes += len(piece)
        self.complete = not piece and self.source.sized
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.source.open_bodies -= 1
