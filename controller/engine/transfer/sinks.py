"""What consumes the bytes of one pass: digests, staged files, the decompressor."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from controller import errors
from controller.engine.transfer.intake import Patience
from controller.engine.transfer.limits import PassLimits
from controller.engine.transfer.ring import Ring, Slot
from controller.engine.transfer.trail import MIXED
from controller.media.decompress import Decompressor
from controller.media.digester import Hasher
from controller.model.transfer import ResumeRecord, Validator
from controller.ports import BackupStorage, Clock, StagedFile


class Hashing:
    """Feeds one digest."""

    def __init__(self, hasher: Hasher) -> None:
        self.hasher = hasher

    def consume(self, data: memoryview) -> None:
        """Hash a piece."""
        self.hasher.update(data)

    def finish(self) -> None:
        """Nothing is left to do."""


class Writing:
    """Appends to a staged file, syncs now and then, and with a `record` notes what is durable.

    A storage that fails is remembered in `error` and gets nothing more: the pass goes on for the others.
    """

    def __init__(
        self,
        staged: StagedFile,
        clock: Clock,
        pace: PassLimits,
        on_error: Callable[[errors.GoldmasterError], None],
    ) -> None:
        self.staged = staged
        self.error: errors.GoldmasterError | None = None
        self.record: ResumeRecord | None = None
        self.mixed = False
        """Whether what comes is of several urls; set by who feeds, before the first byte of the second one."""
        self._storage: BackupStorage | None = None
        self._name = ""
        self._clock = clock
        self._pace = pace
        self._on_error = on_error
        self._skip = 0
        self._to_the_end = False
        self._unsynced = 0
        self._synced_at = clock.monotonic()

    def keep_record(
        self, storage: BackupStorage, name: str, record: ResumeRecord, *, skip_bytes: int, to_the_end: bool
    ) -> None:
        """Record progress from now on. The first `skip_bytes` of the stream are in the file already.

        `to_the_end`: also record that everything is there, which pays where much is still to be done after that.
        """
        self._storage, self._name, self.record = storage, name, record
        self._to_the_end = to_the_end
        self._skip = skip_bytes

    def consume(self, data: memoryview) -> None:
        """Append a piece."""
        if self._skip:
            known = min(self._skip, len(data))
            self._skip -= known
            data = data[known:]
        if self.error is not None or not data:
            return
        try:
            self.staged.write(data)
            self._unsynced += len(data)
            if self._due():
                self.checkpoint()
        except errors.GoldmasterError as error:
            self.error = error
            self._on_error(error)

    def finish(self) -> None:
        """Make everything durable."""
        if self.error is not None:
            return
        try:
            if self._to_the_end:
                self.checkpoint()
            else:
                self.staged.sync()
        except errors.GoldmasterError as error:
            self.error = error
            self._on_error(error)

    def checkpoint(self) -> None:
        """Make what is written durable, then promise it in the record. Raises what the storage raises."""
        self.staged.sync()
        self._unsynced = 0
        self._synced_at = self._clock.monotonic()
        if self.record is not None and self._storage is not None:
            record = replace(self.record, durable_bytes=self.staged.written_bytes)
            if self.mixed:
                record = replace(record, validator=Validator(), url_id=MIXED, witness=None)
            self._storage.save_resume_record(self._name, record)
            self.record = record

    def _due(self) -> bool:
        late = self._clock.monotonic() - self._synced_at >= self._pace.checkpoint_s
        return late or self._unsynced >= self._pace.checkpoint_bytes


class Expanding:
    """Decompresses into a second ring. `deliver` gets each full buffer of it."""

    def __init__(
        self,
        decompressor: Decompressor,
        ring: Ring,
        deliver: Callable[[Slot, int], None],
        patience: Patience,
        clock: Clock,
        pace: PassLimits,
    ) -> None:
        self._decompressor = decompressor
        self._ring = ring
        self._deliver = deliver
        self._patience = patience
        self._clock = clock
        self._pace = pace
        self._slot: Slot | None = None
        self._fill = 0
        self._busy_s = 0.0
        self._moved_bytes = 0
        self.abandoned = False
        """Set from another thread: the output is not wanted any more."""

    def consume(self, data: memoryview) -> None:
        """Decompress a piece; checks for a stop between pieces of output, as one input may hold gigabytes."""
        self._moved_bytes += len(data)
        pieces = iter(self._decompressor.feed(data))
        while (piece := self._next(pieces)) is not None:
            self._append(piece)

    def finish(self) -> None:
        """Check that the compressed stream ended properly and wait for the consumers of its output."""
        self._decompressor.finish()
        if self._slot is not None:
            self._deliver(self._slot, self._fill)
            self._slot = None
        self._ring.finish()

    def _next(self, pieces: Iterator[bytes]) -> bytes | None:
        if self.abandoned or self._patience.is_set():
            raise errors.Interrupted("stopped; what was fetched is kept")
        before = self._clock.monotonic()
        piece = next(pieces, None)
        self._busy_s += self._clock.monotonic() - before
        self._moved_bytes += len(piece or b"")
        floor = self._pace.expand_grace_s + self._moved_bytes / self._pace.expand_floor_bytes_per_s
        if self._busy_s > floor:
            raise errors.FormatRejected(
                f"decompression is too slow: {self._busy_s:.0f} s for {self._moved_bytes} bytes in and out"
            )
        return piece

    def _append(self, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            if self._slot is None:
                self._slot, self._fill = self._ring.acquire(), 0
            room = self._slot.view[self._fill :]
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            self._fill += count
            rest = rest[count:]
            if count == len(room):
                self._deliver(self._slot, self._fill)
                self._slot = None
