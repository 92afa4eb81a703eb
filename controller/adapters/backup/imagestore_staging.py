"""The staging room of an ImageStore: private, named, growing files and what is needed to go on with them.

A partial has a name (not O_TMPFILE), because it has to be found again after a kill -9. Its size is what was written:
room for what will come is preallocated beyond the size. A partial that is also an object (a crash in `publish`, between
giving the final name and dropping the staged one) is never written to: it is copied first.

Whoever has a partial open for writing holds a lock on it until it is closed or discarded, over `publish` too, so that
no second writer (another process on this store, or another thread) writes into bytes that the first one names.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta

from controller import errors
from controller.adapters import durable_files
from controller.adapters.backup import imagestore_layout as layout
from controller.adapters.backup import imagestore_records as records
from controller.adapters.backup.imagestore_writer import Writer
from controller.adapters.durable_files import Directory, FileCalls
from controller.model.transfer import ResumeRecord
from controller.ports import Clock

DIRECT_FROM_BYTES = 8 * 2**20
"""Smaller files are written through the page cache and without preallocation.

Measured on ext4: direct I/O takes as long for 1 MiB and longer for 4 MiB; buffered writes into preallocated room cost
three times the CPU.
"""
_CHECK_SPACE_EVERY_BYTES = 64 * 2**20
_COPY_BYTES = 2**20
_NO_PREALLOCATION = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM})


class ImageStoreFile:
    """A StagedFile (see ports). Holds the staging directory open, so it stays the same file whatever is mounted."""

    def __init__(
        self, files: FileCalls, room: Directory, name: str, fd: int, writer: Writer, *, reserved_bytes: int
    ) -> None:
        self.name = name
        self.facts = files.fstat(fd)
        """Which inode it is; what its size was when it was opened."""
        self._files = files
        self._room = room
        self._fd = fd
        self._writer = writer
        self._reserved_bytes = reserved_bytes
        self._reader = -1
        self._synced: int | None = None
        self._unchecked = 0
        self._preallocated_to = 0
        self._usable = True

    @property
    def written_bytes(self) -> int:
        """How many bytes the file holds."""
        return self._writer.written

    def preallocate(self, length: int) -> None:
        """Take the room for `length` more bytes, where the file system can. Raises NoSpace."""
        start = self.written_bytes
        try:
            self._files.preallocate(self._fd, start, length)
        except OSError as exc:
            if exc.errno not in _NO_PREALLOCATION:
                raise durable_files.storage_error(f"{self._path}: reserve {length} bytes", exc) from exc
        else:
            self._preallocated_to = start + length

    def write(self, data: memoryview) -> None:
        """Append all of `data`; see ports."""
        self._require_usable()
        view = data if data.format == "B" and data.ndim == 1 and data.c_contiguous else data.cast("B")
        with self._failing("write"):
            if self.written_bytes + len(view) > self._preallocated_to:
                self._check_space(len(view))
            self._writer.append(view)
        self._synced = None

    def sync(self) -> None:
        """Make what is written durable. A failure removes the file: what the kernel kept of it is anybody's guess."""
        self._require_usable()
        if self._synced == self.written_bytes:
            return
        try:
            with self._failing("sync"):
                self._writer.sync()
        except errors.TransientError:
            with contextlib.suppress(errors.TransientError):
                self.discard()
            raise
        self._synced = self.written_bytes

    def read_at(self, offset: int, buffer: memoryview) -> int:
        """Read back; 0 at the end. Fills the buffer as far as the bytes go."""
        in_file = self._writer.in_file
        with self._failing("read back"):
            count = 0
            while count < len(buffer) and offset + count < in_file:
                wanted = min(len(buffer) - count, in_file - offset - count)
                got = self._files.preadv(self._opened_reader(), buffer[count : count + wanted], offset + count)
                if got == 0:
                    raise OSError(errno.EIO, "the partial became shorter")
                count += got
            return count + self._writer.read_pending(offset + count, buffer[count:])

    def close(self) -> None:
        """Let go of it; the partial stays for resume. Twice is fine."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        if self._usable:
            with contextlib.suppress(OSError):  # not promised to anybody: no sync asked for it
                self._writer.flush()
        self._usable = False
        self._writer.release()
        durable_files.close_quietly(self._files, fd)
        if self._reader >= 0:
            durable_files.close_quietly(self._files, self._reader)
        self._room.close()

    def discard(self) -> None:
        """Close and remove it and its record. Twice is fine; never raises for an absent file."""
        if self._fd < 0:
            return
        self._usable = False
        try:
            with durable_files.storage_errors(f"{self._path}: discard"):
                remove_partial(self._room, self.name)
        finally:
            self.close()

    def trim(self) -> None:
        """Give back what was preallocated and is not needed."""
        if self._preallocated_to > self.written_bytes:
            with self._failing("trim"):
                self._files.ftruncate(self._fd, self.written_bytes)

    def protect(self, mode: int) -> None:
        """Set the mode that the final file has."""
        with self._failing("set the mode"):
            self._files.fchmod(self._fd, mode)

    @property
    def _path(self) -> str:
        return f"{self._room.path}/{self.name}{layout.PARTIAL_SUFFIX}"

    @contextlib.contextmanager
    def _failing(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            self._usable = False
            raise durable_files.storage_error(f"{self._path}: {doing}", exc) from exc

    def _require_usable(self) -> None:
        if not self._usable:
            raise errors.StorageUnavailable(f"{self._path}: closed, or failed before")

    def _check_space(self, coming: int) -> None:
        """Refuse to eat the reserve; asks the file system every 64 MiB."""
        self._unchecked += coming
        if self._unchecked < _CHECK_SPACE_EVERY_BYTES:
            return
        self._unchecked = 0
        available = self._room.available_bytes()
        if available < self._reserved_bytes + coming:
            self._usable = False
            raise errors.NoSpace(
                f"{self._path}: {available} bytes are left, reservedCapacity is {self._reserved_bytes}"
            )

    def _opened_reader(self) -> int:
        if self._reader < 0:
            self._reader = self._room.open_file(f"{self.name}{layout.PARTIAL_SUFFIX}", os.O_RDONLY)
        return self._reader


class StagingRoom:
    """A Staging (see ports) in `<path>/staging`."""

    def __init__(self, place: layout.Layout, clock: Clock, *, reserved_bytes: int) -> None:
        self._layout = place
        self._files = place.files
        self._clock = clock
        self._reserved_bytes = reserved_bytes

    def stage(self, name: str, *, keep_bytes: int, size_hint: int | None) -> ImageStoreFile:
        """Open a partial; see ports. Where it was shorter than `keep_bytes`, `written_bytes` says so."""
        layout.require_stage_name(name)
        with self._layout.root(f"stage {name}") as root, contextlib.ExitStack() as undo:
            room = undo.enter_context(root.made(layout.STAGING))
            self._require_space(room, size_hint)
            fd, kept = self._opened(room, name, keep_bytes)
            undo.callback(durable_files.close_quietly, self._files, fd)
            if not kept:
                undo.callback(_remove_quietly, room, name)
            direct = size_hint is None or size_hint >= DIRECT_FROM_BYTES
            writer = Writer(self._files, fd, start=kept, direct=direct)
            staged = ImageStoreFile(self._files, room, name, fd, writer, reserved_bytes=self._reserved_bytes)
            if size_hint is not None and size_hint >= DIRECT_FROM_BYTES:
                staged.preallocate(size_hint)
            undo.pop_all()
            return staged

    def resume_record(self, name: str) -> ResumeRecord | None:
        """Return the record beside a partial; see ports."""
        layout.require_stage_name(name)
        doing = f"read the resume record of {name}"
        with self._layout.root(doing) as root, root.within(layout.STAGING) as room:
            return _read_record(room, name) if room is not None else None

    def save_resume_record(self, name: str, record: ResumeRecord) -> None:
        """Replace the record durably; see ports."""
        layout.require_stage_name(name)
        with (
            self._layout.root(f"save the resume record of {name}") as root,
            root.made(layout.STAGING) as room,
        ):
            room.write_durably(room, name + layout.RECORD_SUFFIX, records.resume_bytes(record))
            room.sync()

    def sweep(self, keep: Collection[str], older_than: timedelta) -> list[str]:
        """Remove what is left over; see ports. A partial and its record go or stay together."""
        with self._layout.root("sweep") as root, root.within(layout.STAGING) as room:
            if room is None:
                return []
            swept = [
                stage
                for stage, entries in sorted(staged_entries(room).items())
                if stage not in keep
                and (durable_files.orphaned(stage) or self.untouched_for(room, entries) >= older_than)
                and _removed(room, entries)
            ]
            if swept:
                room.sync()
            return swept

    def untouched_for(self, room: Directory, entries: list[str]) -> timedelta:
        """Return for how long the youngest of `entries` was not written to; never negative, as clocks differ."""
        changed = [info.st_mtime for info in map(room.stat, entries) if info is not None]
        youngest = datetime.fromtimestamp(max(changed, default=0), tz=UTC)
        return max(self._clock.now() - youngest, timedelta(0))

    def _require_space(self, room: Directory, size_hint: int | None) -> None:
        available = room.available_bytes()
        wanted = size_hint or 0
        if available < self._reserved_bytes + wanted:
            raise errors.NoSpace(
                f"{self._layout.path}: {wanted} bytes do not fit: {available} are left, "
                f"reservedCapacity is {self._reserved_bytes}"
            )

    def _opened(self, room: Directory, name: str, keep_bytes: int) -> tuple[int, int]:
        """Open and lock a partial, cut to what is kept; return it and how many bytes that is (0: it is new).

        What is there is locked before anything is done to it.
        """
        partial = name + layout.PARTIAL_SUFFIX
        with contextlib.ExitStack() as opened:
            info = room.stat(partial)
            is_object = info is not None and _is_object(info)
            if layout.regular_size(info) is not None:
                # an object has no writer, and its mode may forbid to open it as one
                fd = self._open_locked(room, partial, os.O_RDONLY if is_object else os.O_RDWR)
                opened.callback(durable_files.close_quietly, self._files, fd)
            kept = self._kept_bytes(room, name, keep_bytes)
            if kept and not is_object:
                self._files.ftruncate(fd, kept)
                opened.pop_all()
                return fd, kept
            if not kept:
                return self._open_locked(room, partial, os.O_RDWR | os.O_CREAT | os.O_EXCL), 0
            _unshare(self._files, room, partial, kept)
            return self._open_locked(room, partial, os.O_RDWR), kept

    def _open_locked(self, room: Directory, partial: str, flags: int) -> int:
        """Open a partial that nobody else has open for writing. Raises StorageUnavailable where somebody has."""
        with contextlib.ExitStack() as undo:
            fd = room.open_file(partial, flags)
            undo.callback(durable_files.close_quietly, self._files, fd)
            try:
                self._files.lock(fd, exclusive=bool(flags & os.O_RDWR))
            except OSError as exc:
                if exc.errno not in {errno.EAGAIN, errno.EACCES}:
                    raise
                raise _being_written(room, partial) from exc
            there = room.stat(partial)
            if there is None or not layout.same_file(there, self._files.fstat(fd)):
                raise _being_written(room, partial)  # whoever held the lock before published, removed or replaced it
            undo.pop_all()
            return fd

    def _kept_bytes(self, room: Directory, name: str, keep_bytes: int) -> int:
        """Return how many bytes of a partial can be kept (0: it is removed); a record that promises more goes."""
        kept = min(keep_bytes, layout.regular_size(room.stat(name + layout.PARTIAL_SUFFIX)) or 0)
        record = _read_record(room, name)
        if record is not None and record.durable_bytes > kept:
            room.remove(name + layout.RECORD_SUFFIX)  # before the bytes that it promises are cut off
        if kept == 0:
            remove_partial(room, name)
        return kept


def staged_entries(room: Directory) -> dict[str, list[str]]:
    """Group the entries of the staging directory: stage name (or temporary file) to file names.

    Files that are not ours are left out.
    """
    grouped: dict[str, list[str]] = {}
    for entry in room.names():
        if durable_files.TEMPORARY_NAME.match(entry):
            grouped.setdefault(entry, []).append(entry)
            continue
        for suffix in (layout.PARTIAL_SUFFIX, layout.RECORD_SUFFIX):
            if entry.endswith(suffix) and layout.STAGE_NAME.match(entry.removesuffix(suffix)):
                grouped.setdefault(entry.removesuffix(suffix), []).append(entry)
                break
    return grouped


def remove_partial(room: Directory, name: str) -> None:
    """Remove a partial and its record; the record first, as it promises the other."""
    room.remove(name + layout.RECORD_SUFFIX)
    room.remove(name + layout.PARTIAL_SUFFIX)


def _removed(room: Directory, entries: list[str]) -> bool:
    gone = [room.remove(entry) for entry in entries]
    return any(gone)


def _read_record(room: Directory, name: str) -> ResumeRecord | None:
    text = room.read_small(name + layout.RECORD_SUFFIX)
    return None if text is None else records.read_resume(text)


def _is_object(info: os.stat_result) -> bool:
    """Whether a partial is, or was, an object: it has two names, or the mode of one."""
    return info.st_nlink > 1 or not info.st_mode & stat.S_IWUSR


def _being_written(room: Directory, partial: str) -> errors.StorageUnavailable:
    return errors.StorageUnavailable(f"{room.path}/{partial} is being written by another process")


def _remove_quietly(room: Directory, name: str) -> None:
    with contextlib.suppress(OSError):
        remove_partial(room, name)


def _unshare(files: FileCalls, room: Directory, partial: str, kept: int) -> None:
    """Give the partial bytes of its own, durably: its inode is an object now, which nobody writes to."""
    temporary = durable_files.temporary_name()
    with contextlib.ExitStack() as opened:
        source = room.open_file(partial, os.O_RDONLY)
        opened.callback(durable_files.close_quietly, files, source)
        copy = room.open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        opened.callback(durable_files.close_quietly, files, copy)
        try:
            _copy(files, source, copy, kept)
            files.fdatasync(copy)
            room.move(temporary, room, partial)
        except OSError:
            with contextlib.suppress(OSError):
                room.remove(temporary)
            raise
    room.sync()


def _copy(files: FileCalls, source: int, target: int, length: int) -> None:
    buffer = memoryview(bytearray(min(length, _COPY_BYTES)))
    done = 0
    while done < length:
        count = files.preadv(source, buffer[: length - done], done)
        if count == 0:
            raise OSError(errno.EIO, "the partial became shorter")
        durable_files.write_all(files, target, buffer[:count], done)
        done += count
