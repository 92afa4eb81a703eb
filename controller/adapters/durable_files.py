"""Files that survive a crash: system calls, directories by descriptor, small files that are whole or not there.

The protocol everywhere: bytes go into a private name, are synced, get their final name by one atomic call, and the
directory is synced. A failed sync is never tried again on the same file: the kernel marks the pages clean and the next
sync would lie. Paths below a `Directory` are single names, relative to its descriptor, and never followed as symbolic
links.
"""

import contextlib
import ctypes
import errno
import fcntl
import functools
import itertools
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from controller import errors

_KEEP_SIZE = 0x01  # FALLOC_FL_KEEP_SIZE, linux/falloc.h
_OFD_SETLK = 37  # F_OFD_SETLK, asm-generic/fcntl.h; since Linux 3.15, in Python's fcntl only if its libc knew it
_SUBDIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_temporary_numbers = itertools.count()
TEMPORARY_NAME = re.compile(r"([0-9a-f]{8})-([0-9]+)-[0-9]+-[0-9a-f]{8}\.tmp\Z", re.ASCII)
"""How the temporary files of this module are named; a sweep may remove them."""


UNREADABLE = frozenset({
    errno.EIO, errno.EBADMSG, errno.EUCLEAN, errno.ENODATA, errno.EILSEQ, errno.EREMOTEIO,
})  # fmt: skip
"""What a read says of a medium that has lost what it held: plain, by the checksums of XFS, ext4 and btrfs (EBADMSG,
EUCLEAN), or as the block layer names it to direct I/O (ENODATA, EILSEQ, EREMOTEIO; blk_errors in its source)."""


def storage_error(doing: str, exc: OSError) -> errors.StorageUnavailable | errors.NoSpace:
    """Say what an operating system error means for a storage: full, or could not be asked. Never: absent."""
    message = f"{doing}: {exc.strerror or exc}"
    if exc.errno in FULL:
        return errors.NoSpace(message)
    return errors.StorageUnavailable(message)


@contextlib.contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn every OSError of the block into NoSpace or StorageUnavailable; `doing` starts the message."""
    try:
        yield
    except OSError as exc:
        raise storage_error(doing, exc) from exc


class FileCalls:
    """The system calls in use, one method each, so that a test can let any one fail. Raises OSError, nothing else."""

    def open(self, path: str, flags: int, mode: int = 0o600, dir_fd: int | None = None) -> int:
        """open(2), always close-on-exec."""
        return os.open(path, flags | os.O_CLOEXEC, mode, dir_fd=dir_fd)

    def close(self, fd: int) -> None:
        """close(2). After an error the descriptor is closed all the same."""
        os.close(fd)

    def pwrite(self, fd: int, data: memoryview | bytes, offset: int) -> int:
        """pwrite(2); may write less."""
        return os.pwrite(fd, data, offset)

    def preadv(self, fd: int, buffer: memoryview, offset: int) -> int:
        """preadv(2) into one buffer; 0 at the end."""
        return os.preadv(fd, [buffer], offset)

    def forget(self, fd: int, offset: int, length: int) -> None:
        """Drop clean pages of a file from the page cache; `length` 0: to its end."""
        os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)

    def fsync(self, fd: int) -> None:
        """fsync(2)."""
        os.fsync(fd)

    def fdatasync(self, fd: int) -> None:
        """fdatasync(2)."""
        os.fdatasync(fd)

    def ftruncate(self, fd: int, length: int) -> None:
        """ftruncate(2)."""
        os.ftruncate(fd, length)

    def fchmod(self, fd: int, mode: int) -> None:
        """fchmod(2)."""
        os.fchmod(fd, mode)

    def fstat(self, fd: int) -> os.stat_result:
        """fstat(2)."""
        return os.fstat(fd)

    def lstat(self, name: str, dir_fd: int) -> os.stat_result:
        """fstatat(2) of the entry itself."""
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)

    def fstatvfs(self, fd: int) -> os.statvfs_result:
        """fstatvfs(3)."""
        return os.fstatvfs(fd)

    def link(self, name: str, dir_fd: int, new_name: str, new_dir_fd: int) -> None:
        """linkat(2); fails with EEXIST rather than replace."""
        os.link(name, new_name, src_dir_fd=dir_fd, dst_dir_fd=new_dir_fd, follow_symlinks=False)

    def rename(self, name: str, dir_fd: int, new_name: str, new_dir_fd: int) -> None:
        """renameat(2); replaces."""
        os.rename(name, new_name, src_dir_fd=dir_fd, dst_dir_fd=new_dir_fd)

    def unlink(self, name: str, dir_fd: int) -> None:
        """unlinkat(2) of a file."""
        os.unlink(name, dir_fd=dir_fd)

    def mkdir(self, name: str, dir_fd: int | None = None) -> None:
        """mkdirat(2), mode 0700."""
        os.mkdir(name, 0o700, dir_fd=dir_fd)

    def rmdir(self, name: str, dir_fd: int) -> None:
        """unlinkat(2) of an empty directory."""
        os.rmdir(name, dir_fd=dir_fd)

    def listdir(self, fd: int) -> list[str]:
        """Names in a directory, in no order."""
        return os.listdir(fd)

    def set_direct(self, fd: int, direct: bool) -> None:
        """Switch O_DIRECT with fcntl(2). EINVAL where the file system has no direct I/O."""
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_DIRECT if direct else flags & ~os.O_DIRECT)

    def lock(self, fd: int, *, exclusive: bool) -> None:
        """Lock a whole file without waiting (fcntl(2), F_OFD_SETLK), until what `fd` opened is closed.

        The lock belongs to the open file, so two opens conflict within one process too. Needs `fd` open for writing
        if `exclusive`, else for reading. EAGAIN or EACCES where another open holds it.
        """
        kind = fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK
        fcntl.fcntl(fd, _OFD_SETLK, struct.pack("hhqqi0q", kind, os.SEEK_SET, 0, 0, 0))

    def preallocate(self, fd: int, offset: int, length: int) -> None:
        """fallocate(2) that keeps the size, so that the size still says what was written.

        `os.posix_fallocate` would change the size, and write zeros where the file system cannot preallocate.
        """
        if _fallocate()(fd, _KEEP_SIZE, offset, length) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


@functools.cache
def _fallocate() -> "ctypes._NamedFuncPointer":
    function = ctypes.CDLL(None, use_errno=True).fallocate
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return function


class Directory:
    """An open directory. All names are relative to it; `path` is for messages only. One thread uses it.

    Raises:
        OSError: from every method, unless it says that absence is an answer.

    """

    __slots__ = ("_files", "fd", "path")

    def __init__(self, files: FileCalls, fd: int, path: str) -> None:
        self._files = files
        self.fd = fd
        self.path = path

    @classmethod
    def open(cls, files: FileCalls, path: str) -> Self:
        """Open an absolute path that the operator named; symbolic links in it are theirs and are followed."""
        return cls(files, files.open(path, os.O_RDONLY | os.O_DIRECTORY), path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it; twice is fine. Nothing depends on what close says about a directory."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                self._files.close(fd)

    def child(self, *names: str) -> Self | None:
        """Open a directory below it, one name per level; None where there is none."""
        fd = self.fd
        for name in names:
            above = fd
            try:
                fd = self._files.open(name, _SUBDIRECTORY, dir_fd=above)
            except FileNotFoundError:
                return None
            finally:
                if above != self.fd:
                    close_quietly(self._files, above)
        return type(self)(self._files, fd, "/".join((self.path, *names)))

    @contextlib.contextmanager
    def within(self, *names: str) -> Iterator[Self | None]:
        """Open `child(*names)` for a block, None where there is none."""
        child = self.child(*names)
        if child is None:
            yield None
        else:
            with child:
                yield child

    def made(self, *names: str) -> Self:
        """Open a directory below it; what is missing is created (0700) durably."""
        there = self.child(*names)
        if there is not None:
            return there
        where = self
        for name in names:
            above = where
            try:
                below = above.child(name)
                if below is None:
                    with contextlib.suppress(FileExistsError):
                        self._files.mkdir(name, dir_fd=above.fd)
                    above.sync()
                    fd = self._files.open(name, _SUBDIRECTORY, dir_fd=above.fd)
                    below = type(self)(self._files, fd, f"{above.path}/{name}")
                where = below
            finally:
                if above is not self:
                    above.close()
        return where

    def stat(self, name: str) -> os.stat_result | None:
        """Return the facts of the entry itself, None where there is none."""
        try:
            return self._files.lstat(name, self.fd)
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        """Return what is in it, sorted."""
        return sorted(self._files.listdir(self.fd))

    def open_file(self, name: str, flags: int, mode: int = 0o600) -> int:
        """Open a file in it; a symbolic link fails with ELOOP and a FIFO does not block."""
        return self._files.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, mode, dir_fd=self.fd)

    def read_small(self, name: str, limit_bytes: int = 65536) -> bytes | None:
        """Return the first `limit_bytes` of a regular file, None where there is none or it is something else."""
        info = self.stat(name)
        if info is None or not stat.S_ISREG(info.st_mode):
            return None
        try:
            fd = self.open_file(name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            buffer = bytearray(min(limit_bytes, info.st_size))
            filled = 0
            while filled < len(buffer):
                count = self._files.preadv(fd, memoryview(buffer)[filled:], filled)
                if count == 0:
                    break
                filled += count
            return bytes(buffer[:filled])
        finally:
            close_quietly(self._files, fd)

    def write_durably(self, target: "Directory", name: str, data: bytes) -> None:
        """Write a synced temporary file in this directory and move it to `name` in `target`, replacing.

        The caller syncs `target` when all its changes are made. On failure `name` is what it was.
        """
        temporary = temporary_name()
        fd = self.open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            try:
                write_all(self._files, fd, memoryview(data), 0)
                self._files.fsync(fd)
            finally:
                close_quietly(self._files, fd)
            self._files.rename(temporary, self.fd, name, target.fd)
        except OSError:
            with contextlib.suppress(OSError):
                self._files.unlink(temporary, self.fd)
            raise

    def link(self, name: str, target: "Directory", new_name: str) -> bool:
        """Give a file a second name; False where that name is taken."""
        try:
            self._files.link(name, self.fd, new_name, target.fd)
        except FileExistsError:
            return False
        return True

    def move(self, name: str, target: "Directory", new_name: str) -> None:
        """Rename, replacing a file."""
        self._files.rename(name, self.fd, new_name, target.fd)

    def remove(self, name: str) -> bool:
        """Remove a file; False where there was none."""
        try:
            self._files.unlink(name, self.fd)
        except FileNotFoundError:
            return False
        return True

    def remove_empty_directory(self, name: str) -> bool:
        """Remove a directory in it; False where there is none or something is in it."""
        try:
            self._files.rmdir(name, self.fd)
        except FileNotFoundError:
            return False
        except OSError as exc:
            if exc.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                return False
            raise
        return True

    def set_mode(self, name: str, mode: int) -> None:
        """Set the mode of a file."""
        fd = self.open_file(name, os.O_RDONLY)
        try:
            self._files.fchmod(fd, mode)
        finally:
            close_quietly(self._files, fd)

    def sync(self) -> None:
        """Make names that came and went durable. File systems that cannot sync a directory say EINVAL."""
        try:
            self._files.fsync(self.fd)
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise

    def available_bytes(self) -> int:
        """How much an unprivileged writer can still use."""
        facts = self._files.fstatvfs(self.fd)
        return facts.f_bavail * facts.f_frsize

    def total_bytes(self) -> int:
        """How much the file system holds in all."""
        facts = self._files.fstatvfs(self.fd)
        return facts.f_blocks * facts.f_frsize


def temporary_name() -> str:
    """Return a name that no other process or thread uses, and that tells whose it is."""
    return f"{_process_space()}-{os.getpid()}-{next(_temporary_numbers)}-{os.urandom(4).hex()}.tmp"


def orphaned(name: str) -> bool:
    """Whether a temporary file belongs to a process of this very system that is gone; False where nobody can tell."""
    match = TEMPORARY_NAME.match(name)
    if match is None or match[1] != _process_space():
        return False
    try:
        os.kill(int(match[2]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False


@functools.cache
def _process_space() -> str:
    """Name the boot and the PID namespace: a process number means something only within both."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as boot:
        place = boot.read() + os.readlink("/proc/self/ns/pid")
    return f"{zlib.crc32(place.encode()):08x}"


def write_all(files: FileCalls, fd: int, data: memoryview, offset: int) -> None:
    """Write all of `data` at `offset`, however little each call takes."""
    while data:
        count = files.pwrite(fd, data, offset)
        if count == 0:
            raise OSError(errno.EIO, "the file system takes no bytes and gives no reason")
        offset += count
        data = data[count:]


def close_quietly(files: FileCalls, fd: int) -> None:
    """Close a file that was synced, or that nobody counts on."""
    with contextlib.suppress(OSError):
        files.close(fd)
