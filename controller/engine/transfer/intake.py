"""Where the bytes of one pass come from: a partial read back, then the network; or another storage's copy."""

from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from controller import errors
from controller.engine.transfer import credentials
from controller.engine.transfer.berths import Foothold
from controller.engine.transfer.limits import PassLimits
from controller.engine.transfer.trail import Trail
from controller.model.delivery import Peer
from controller.model.image import Content
from controller.model.secret import Credentials
from controller.model.transfer import TransferRequest, Validator
from controller.ports import Body, Clock, FetchRequest, Reader, Source, StopToken


class Patience:
    """The stop token of one pass: somebody asked to stop, `timeouts.total` is over, or a consumer gave up."""

    def __init__(self, stop: StopToken, clock: Clock, total: timedelta | None) -> None:
        self._stop = stop
        self._clock = clock
        self._total = total
        self._deadline = None if total is None else clock.monotonic() + total.total_seconds()
        self.deserted = False

    def desert(self) -> None:
        """Nobody can use the bytes any more: a blocked read shall end. From any thread."""
        self.deserted = True

    def is_set(self) -> bool:
        """Whether to stop."""
        return self.deserted or self._stop.is_set() or self._late()

    def renewed(self) -> "Patience":
        """Return the token of the next pass of the same transfer: its time is not begun anew."""
        fresh = Patience(self._stop, self._clock, self._total)
        fresh._deadline = self._deadline
        return fresh

    @property
    def over(self) -> bool:
        """Whether no other pass may begin."""
        return self._stop.is_set() or self._late()

    def check(self) -> None:
        """Raise Interrupted, or SourceUnreachable where the time is over."""
        if self._stop.is_set():
            raise errors.Interrupted("stopped; what was fetched is kept")
        if self._late():
            raise errors.SourceUnreachable(f"not finished within timeouts.total, {self._total}")
        if self.deserted:
            raise errors.Interrupted("nobody can use the bytes any more")

    def _late(self) -> bool:
        return self._deadline is not None and self._clock.monotonic() >= self._deadline


class Intake(Protocol):
    """A stream of source bytes. After the end, and after an error, `filled` and `position` are still right."""

    filled: int
    """How many bytes of the last buffer are good, also where `fill` raised."""
    position: int
    """Source bytes delivered so far, replayed ones included."""
    fetched_bytes: int
    resumed_bytes: int
    validator: Validator
    served_by: str
    total_bytes: int | None

    @property
    def peer(self) -> Peer | None:
        """Who is connected to; None where nobody is."""
        ...

    @property
    def complete(self) -> bool:
        """After the end: whether it is proven that nothing is missing."""
        ...

    def fill(self, buffer: memoryview) -> int:
        """Fill the whole buffer if there is enough; return the count, 0 at the end."""
        ...

    def close(self) -> None:
        """Let go of the source."""
        ...


class Download:
    """The intake of a URL. `foothold` not None: its bytes come first, if the server still has that version.

    Where the connection breaks in the middle of bytes that a digest pins, a mirror goes on with them.
    """

    def __init__(
        self,
        request: TransferRequest,
        source: Source,
        patience: Patience,
        foothold: Foothold | None,
        pace: PassLimits,
        told: Credentials | None,
        trail: Trail,
    ) -> None:
        self._request = request
        self._told = told
        self._trail = trail
        self._source = source
        self._patience = patience
        self._pace = pace
        self._ended = False
        self.foothold = foothold
        """None after `open` where the source starts over."""
        self.filled = self.position = self.fetched_bytes = self.resumed_bytes = 0
        self._body: Body | None = None

    def open(self) -> None:
        """Ask the source. Raises what `Source.open` raises."""
        foothold = self.foothold
        body = self._body = self._ask()
        self.validator, self.served_by, self.total_bytes = body.validator, body.served_by, body.total_bytes
        if foothold is None:
            self._must_start_at(body, 0)
            return
        if not _continues(body, foothold):
            if body.offset != 0:
                body.close()
                body = self._body = self._source.open(self._fetch_request(None), self._patience)
                self.validator, self.served_by, self.total_bytes = body.validator, body.served_by, body.total_bytes
            self._must_start_at(body, 0)
            foothold.give_up()
            self.foothold = None
            return
        self.resumed_bytes = foothold.resume_from
        if foothold.resume_from > self._pace.replay_while_open_bytes:
            body.close()
            self._body = None

    def fill(self, buffer: memoryview) -> int:
        """Fill the buffer from the partial, then from the network; never from both."""
        self.filled = 0
        self._patience.check()
        if self.foothold is not None and self.position < self.foothold.resume_from:
            return self._replay(self.foothold, buffer)
        body = self._body or self._ask_again()
        while self.filled < len(buffer) and not self._ended:
            try:
                got = body.readinto(buffer[self.filled : self.filled + self._pace.slice_bytes])
            except errors.SourceUnreachable as error:
                body = self._elsewhere(error)
                continue
            self._ended = got == 0
            self.filled += got
            self.position += got
            self.fetched_bytes += got
        return self.filled

    @property
    def peer(self) -> Peer | None:
        """Who is connected to, of several connections the last."""
        return self._body.peer if self._body is not None else None

    @property
    def complete(self) -> bool:
        """Whether the protocol proved the end."""
        return self._ended and self._body is not None and self._body.complete

    def close(self) -> None:
        """Drop the connection."""
        if self._body is not None:
            self._body.close()

    def _replay(self, foothold: Foothold, buffer: memoryview) -> int:
        left = foothold.resume_from - self.position
        want = min(left, len(buffer))
        while self.filled < want:
            got = foothold.staged.read_at(self.position, buffer[self.filled : want])
            if got == 0:
                raise errors.StorageUnavailable(f"the partial {foothold.name} shrank while it was read back")
            self.filled += got
            self.position += got
        return self.filled

    def _ask(self) -> Body:
        return self._source.open(self._fetch_request(self.foothold), self._patience)

    def _ask_again(self) -> Body:
        """Go on where a long replay ended; by now the bytes before it are in every target."""
        body = self._body = self._ask()
        if body.offset != self.position or body.validator.etag != self.validator.etag:
            raise errors.SourceUnreachable("the source changed while a partial download was read back")
        return body

    def _elsewhere(self, error: errors.GoldmasterError) -> Body:
        """Ask the next source for the rest, in the middle of the bytes; raise the error where there is none.

        Every digest and every target has what came before: nothing is read back.
        """
        trail, whole = self._trail, self.total_bytes
        while whole is not None and self.position > 0 and not self._patience.over and trail.moves_on(error):
            self.close()
            try:
                body = self._source.open(self._request_for(self.position, whole), self._patience)
            except errors.GoldmasterError as refusal:
                error = refusal
                continue
            if body.offset == self.position and body.total_bytes == whole:
                self._body, trail.mixed = body, True
                self.validator, self.served_by = body.validator, body.served_by
                return body
            body.close()
            trail.again = True
            break
        raise error

    def _request_for(self, resume_from: int, whole_bytes: int) -> FetchRequest:
        return replace(self._fetch_request(None), resume_from=resume_from, whole_bytes=whole_bytes)

    def _fetch_request(self, foothold: Foothold | None) -> FetchRequest:
        request = self._request
        return FetchRequest(
            url=self._trail.url,
            timeouts=request.timeouts,
            resume_from=0 if foothold is None else foothold.resume_from,
            validator=None if foothold is None or foothold.mixed else foothold.record.validator,
            whole_bytes=foothold.record.total_bytes if foothold is not None and foothold.mixed else None,
            max_bytes=request.max_size_bytes,
            credentials=credentials.for_url(self._told, request, self._trail.url),
            namespace=request.namespace,
        )

    @staticmethod
    def _must_start_at(body: Body, offset: int) -> None:
        if body.offset != offset:
            raise errors.ProtocolError(f"the answer starts at byte {body.offset} instead of {offset}")


def _continues(body: Body, foothold: Foothold) -> bool:
    """Whether an answer goes on where the partial ends."""
    if body.offset != foothold.resume_from:
        return False
    if foothold.mixed:
        return body.total_bytes == foothold.record.total_bytes
    return body.validator.etag == foothold.record.validator.etag


class StoredCopy:
    """The intake of a content that lies on another storage."""

    complete = True
    peer: Peer | None = None

    def __init__(self, reader: Reader, content: Content, name: str, patience: Patience, pace: PassLimits) -> None:
        self._reader = reader
        self._patience = patience
        self._pace = pace
        self.validator = Validator()
        self.served_by = f"BackupStorage {name}"
        self.total_bytes: int | None = content.size_bytes
        self.filled = self.position = self.fetched_bytes = self.resumed_bytes = 0

    def fill(self, buffer: memoryview) -> int:
        """Fill the buffer from the stored file."""
        self.filled = 0
        while self.filled < len(buffer):
            self._patience.check()
            got = self._reader.readinto(buffer[self.filled : self.filled + self._pace.slice_bytes])
            if got == 0:
                break
            self.filled += got
            self.position += got
        return self.filled

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()
