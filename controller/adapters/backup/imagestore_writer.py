"""Appends bytes to a file past the page cache, which is what makes one large image as fast as its MD5.

Direct I/O wants memory, offset and length in whole blocks. Pieces that are not go through a small aligned buffer; the
last part of a block is written with O_DIRECT cleared. Where the file system has no direct I/O, and for small files,
writes are buffered and synced every 64 MiB, so that dirty memory stays bounded and the last sync is short.
"""

import contextlib
import ctypes
import errno
import mmap

from controller.adapters import durable_files
from controller.adapters.durable_files import FileCalls

BLOCK = 4096
"""Bytes; a multiple of every logical block size in use."""
_BUFFER_BYTES = 2**20
_SYNC_EVERY_BYTES = 64 * 2**20


class Writer:
    """Appends to `fd` from `start` on. One thread uses it. Does not own `fd`.

    Raises:
        OSError: from every method. After that nothing is known about the bytes that were not synced.

    """

    def __init__(self, files: FileCalls, fd: int, *, start: int, direct: bool) -> None:
        self._files = files
        self._fd = fd
        self._offset = start
        self._unsynced = 0
        self._buffer: memoryview | None = None
        self._filled = 0
        self._direct = direct and self._begin_direct()

    @property
    def written(self) -> int:
        """How many bytes the file has, those still in the buffer included."""
        return self._offset + self._filled

    @property
    def direct(self) -> bool:
        """Whether whole blocks go past the page cache."""
        return self._direct

    def append(self, data: memoryview) -> None:
        """Take all of `data`, a contiguous view of bytes."""
        while data:
            if not self._direct:
                self._write_buffered(data)
                return
            whole = len(data) // BLOCK * BLOCK
            if self._filled == 0 and whole and _aligned(data):
                self._write_direct(data[:whole])
                data = data[whole:]
            else:
                data = data[self._collect(data) :]

    def flush(self) -> None:
        """Hand everything to the kernel; the size of the file is then `written`."""
        if self._filled and self._buffer is not None:
            self._write_whole_blocks(self._buffer)
        if self._filled and self._buffer is not None:
            self._files.set_direct(self._fd, False)
            durable_files.write_all(self._files, self._fd, self._buffer[: self._filled], self._offset)
            self._files.set_direct(self._fd, True)

    def sync(self) -> None:
        """Make everything durable."""
        self.flush()
        self._files.fdatasync(self._fd)
        self._unsynced = 0

    def _begin_direct(self) -> bool:
        """Load the begun block into the buffer and switch to direct I/O, False where there is none."""
        begun = self._offset % BLOCK
        if begun:
            buffer = self._made_buffer()
            if self._files.preadv(self._fd, buffer[:begun], self._offset - begun) != begun:
                raise OSError(errno.EIO, "the partial is shorter than its own size")
        try:
            self._files.set_direct(self._fd, True)
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise
            return False
        self._offset -= begun
        self._filled = begun
        return True

    def _made_buffer(self) -> memoryview:
        if self._buffer is None:
            self._buffer = memoryview(mmap.mmap(-1, _BUFFER_BYTES))  # page-aligned, freed with the last view
        return self._buffer

    def _collect(self, data: memoryview) -> int:
        buffer = self._made_buffer()
        count = min(len(data), len(buffer) - self._filled)
        buffer[self._filled : self._filled + count] = data[:count]
        self._filled += count
        if self._filled == len(buffer):
            self._write_whole_blocks(buffer)
        return count

    def _write_whole_blocks(self, buffer: memoryview) -> None:
        """Write the whole blocks of the buffer; the rest moves to its front."""
        filled, whole = self._filled, self._filled // BLOCK * BLOCK
        self._filled = 0
        if whole:
            self._write_direct(buffer[:whole])
        if not self._direct:
            self._write_buffered(buffer[whole:filled])
        elif whole != filled:
            buffer[: filled - whole] = bytes(buffer[whole:filled])
            self._filled = filled - whole

    def _write_direct(self, data: memoryview) -> None:
        """Write whole blocks; buffered from then on where the file system refuses, or takes part of a block."""
        while data:
            try:
                count = self._files.pwrite(self._fd, data, self._offset)
            except OSError as exc:
                if exc.errno != errno.EINVAL:
                    raise
                count = 0
            self._offset += count
            self._unsynced += count
            data = data[count:]
            if count == 0 or count % BLOCK:
                self._files.set_direct(self._fd, False)
                self._direct = False
                self._write_buffered(data)
                return

    def _write_buffered(self, data: memoryview) -> None:
        durable_files.write_all(self._files, self._fd, data, self._offset)
        self._offset += len(data)
        self._unsynced += len(data)
        if self._unsynced >= _SYNC_EVERY_BYTES:
            self._files.fdatasync(self._fd)
            self._unsynced = 0

    def read_pending(self, offset: int, buffer: memoryview) -> int:
        """Read back what is not in the file yet; 0 where `offset` is not in that part."""
        start = offset - self._offset
        if self._buffer is None or not 0 <= start < self._filled:
            return 0
        count = min(len(buffer), self._filled - start)
        buffer[:count] = self._buffer[start : start + count]
        return count

    @property
    def in_file(self) -> int:
        """How many leading bytes can be read from the file itself."""
        return self._offset

    def release(self) -> None:
        """Give the buffer back."""
        self._filled, buffer = 0, self._buffer
        self._buffer = None
        if buffer is not None:
            with contextlib.suppress(BufferError):
                buffer.release()


def _aligned(data: memoryview) -> bool:
    """Whether the memory starts at a block. Read-only memory cannot say where it is, and counts as not."""
    if data.readonly:
        return False
    return ctypes.addressof(ctypes.c_char.from_buffer(data)) % BLOCK == 0
