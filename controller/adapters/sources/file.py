"""The file source: regular files below the allowed directories, reached without following a single symlink.

Validator. A file has no version number, so one is made of mtime, ctime, device, inode and size. The kernel moves ctime
at every write and nobody can set it back, so equal values mean equal bytes, except within one tick of the kernel's
clock: a file that changed less than `settle_s` ago gets no validator, and a broken transfer of it starts over.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from controller import errors
from controller.model.delivery import Peer
from controller.model.transfer import Validator
from controller.model.url import SourceUrl
from controller.ports import Clock, FetchRequest, StopToken

SETTLE_S = 2.0
"""Seconds after which a file's times can be trusted to tell one write from the next, also on file systems that keep
whole seconds."""
_PIECE_BYTES = 2**20
"""Read at a time; the stop token is looked at in between."""
_STORAGE_MARKER = "goldmaster.json"
"""As the ImageStore names it; a test holds the two together with a real store."""
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO that took the file's place since the look must not wait for a writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class FileSource:
    """Implements `ports.Source` for file URLs. Thread-safe.

    `allowed_paths`: directories, symlinks in the paths themselves are followed, as whoever starts the controller chose
    them. `forbidden_paths`: directories that are refused even below an allowed one, under whatever name: our own state.
    An ImageStore is refused wherever it lies, by its marker.
    """

    def __init__(self, allowed_paths: Iterable[Path], clock: Clock, forbidden_paths: Iterable[Path] = ()) -> None:
        # The innermost first: an allowed directory may be reached by a symlink in another allowed one.
        self._allowed = tuple(sorted((os.path.abspath(path) for path in allowed_paths), key=len, reverse=True))
        self._forbidden = tuple(os.path.realpath(path) for path in forbidden_paths)
        self._clock = clock

    def open(self, request: FetchRequest, stop: StopToken) -> "FileBody":
        """Open the file. See `ports.Source`; nothing outside the allowed directories is even looked at."""
        if stop.is_set():
            raise errors.Interrupted("stopped before a file was opened")
        path = os.path.normpath(request.url.file_path)
        with _mapped(request.url):
            fd = self._open(path, request.url)
            try:
                return self._body(fd, request, stop)
            except BaseException:
                os.close(fd)
                raise

    def _open(self, path: str, url: SourceUrl) -> int:
        root = next((root for root in self._allowed if path.startswith(root.rstrip("/") + "/")), None)
        if root is None:
            opened = ", ".join(self._allowed) or "nothing"
            raise errors.PolicyDenied(f"the source policy does not allow {url.redacted}: --allow-path opens {opened}")
        *folders, name = path[len(root.rstrip("/")) + 1 :].split("/")
        forbidden = self._forbidden_identities()
        here = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._refuse_forbidden(here, forbidden, url)
            real_root = os.path.realpath(root)
            for above in (real_root, *map(str, Path(real_root).parents)):
                _refuse_storage(above, None, url)
            if any(real_root == state or real_root.startswith(state + "/") for state in self._forbidden):
                raise errors.PolicyDenied(f"{url.redacted} lies in this controller's own state")
            for folder in folders:
                _refuse_symlink(folder, here, url)
                below = os.open(folder, _DIRECTORY, dir_fd=here)
                os.close(here)
                here = below
                self._refuse_forbidden(here, forbidden, url)
                _refuse_storage(".", here, url)
            _refuse_symlink(name, here, url)
            _refuse_special(os.stat(name, dir_fd=here, follow_symlinks=False), url)
            return os.open(name, _FILE, dir_fd=here)
        finally:
            os.close(here)

    def _forbidden_identities(self) -> set[tuple[int, int]]:
        """Ask anew each time: the state directory may be made, moved or mounted later."""
        identities = set()
        for path in self._forbidden:
            try:
                found = os.stat(path)
            except FileNotFoundError:
                continue
            identities.add((found.st_dev, found.st_ino))
        return identities

    @staticmethod
    def _refuse_forbidden(fd: int, forbidden: set[tuple[int, int]], url: SourceUrl) -> None:
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) in forbidden:
            raise errors.PolicyDenied(f"{url.redacted} lies in this controller's own state")

    def _body(self, fd: int, request: FetchRequest, stop: StopToken) -> "FileBody":
        found = os.fstat(fd)
        _refuse_special(found, request.url)
        if found.st_size == 0 and os.pread(fd, 1, 0):
            raise errors.PolicyDenied(
                f"{request.url.redacted} is made up by the kernel (procfs or the like), not a file"
            )
        if request.max_bytes is not None and found.st_size > request.max_bytes:
            raise errors.TooLarge(f"the source has {found.st_size} bytes, maxSize allows {request.max_bytes}")
        validator = self._validator(found)
        wanted = request.validator
        resumable = wanted is not None and wanted.strong and wanted.etag == validator.etag
        if request.whole_bytes is not None:
            resumable = request.whole_bytes == found.st_size
        offset = request.resume_from if resumable and request.resume_from <= found.st_size else 0
        os.posix_fadvise(fd, offset, 0, os.POSIX_FADV_SEQUENTIAL)
        return FileBody(fd, found, offset, validator, request.url, stop)

    def _validator(self, found: os.stat_result) -> Validator:
        version = _version(found)
        settled = self._clock.now().timestamp() - max(found.st_mtime, found.st_ctime) >= SETTLE_S
        return Validator(f'"{version}"' if settled else None, version)


class FileBody:
    """Implements `ports.Body` for an open file."""

    def __init__(
        self, fd: int, found: os.stat_result, offset: int, validator: Validator, url: SourceUrl, stop: StopToken
    ) -> None:
        self.offset = offset
        self.total_bytes: int | None = found.st_size
        self.validator = validator
        self.served_by = url.redacted
        self.peer: Peer | None = None
        self.complete = False
        self._fd = fd
        self._size = found.st_size
        self._version = _version(found)
        self._position = offset
        self._url = url
        self._stop = stop

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` from its start; 0 only at the end. See `ports.Body`."""
        filled = 0
        with _mapped(self._url):
            while filled < len(buffer) and not self.complete:
                if self._stop.is_set():
                    if filled:
                        break
                    raise errors.Interrupted("stopped while a file was read")
                want = min(len(buffer) - filled, _PIECE_BYTES, self._size - self._position)
                count = os.preadv(self._fd, [buffer[filled : filled + want]], self._position) if want else 0
                if count == 0:
                    if filled == 0:
                        self._end()
                    break
                self._position += count
                filled += count
        return filled

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _end(self) -> None:
        """Decide whether what was read is one version of the file."""
        if self._position != self._size or _version(os.fstat(self._fd)) != self._version:
            raise errors.SourceUnreachable(f"{self._url.redacted} changed while it was read")
        self.complete = True


def _version(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns}/{found.st_ctime_ns}/{found.st_dev}/{found.st_ino}/{found.st_size}"


def _refuse_storage(folder: str, at: int | None, url: SourceUrl) -> None:
    """Refuse a directory with an ImageStore's marker: what is in a storage belongs to the images that named it."""
    try:
        marker = os.stat(os.path.join(folder, _STORAGE_MARKER), dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISREG(marker.st_mode):
        raise errors.PolicyDenied(f"{url.redacted} lies inside a backup storage")


def _refuse_symlink(name: str, folder: int, url: SourceUrl) -> None:
    if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise errors.PolicyDenied(f"{url.redacted} leads through the symlink {name!r}; symlinks are not followed")


def _refuse_special(found: os.stat_result, url: SourceUrl) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise errors.PolicyDenied(f"{url.redacted} is not a regular file")


@contextmanager
def _mapped(url: SourceUrl) -> Iterator[None]:
    """Turn what the system says into one of our errors."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise errors.SourceNotFound(f"{url.redacted}: no such file") from exc
    except PermissionError as exc:
        raise errors.AuthenticationFailed(f"{url.redacted} may not be read by this user") from exc
    except OSError as exc:
        if exc.errno in {errno.ELOOP, errno.ENXIO}:
            raise errors.PolicyDenied(f"{url.redacted} is not a regular file") from exc
        if exc.errno == errno.ENAMETOOLONG:
            raise errors.SourceNotFound(f"{url.redacted}: the name is too long") from exc
        raise errors.SourceUnreachable(f"reading {url.redacted} failed: {exc.strerror}") from exc
