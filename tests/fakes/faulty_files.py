"""The file operations of `durable_files` with faults: the n-th call fails with a given errno, or writes fall short."""

import errno
import functools
import os
from collections.abc import Callable
from typing import Any

from controller.adapters import durable_files

CALLS = frozenset(name for name in vars(durable_files.FileCalls) if not name.startswith("_"))
SYNCS = frozenset({"fsync", "fdatasync"})


class FaultyFiles(durable_files.FileCalls):
    """Counts calls, and lets one of them fail. Syncs are not made: no test here pulls the plug of the machine."""

    def __init__(self, *, available_bytes: int | None = None, longest_write: int | None = None) -> None:
        self.made: list[str] = []
        """Names of the calls since the last `arm`, in order."""
        self.failed: str | None = None
        """The call that was made to fail."""
        self.available_bytes = available_bytes
        """What the file system says is left; None: the truth."""
        self.longest_write = longest_write
        """How many bytes one write takes at most."""
        self._countdown = 0
        self._code = 0
        self._after = False
        self._only = CALLS

    def arm(self, number: int, code: int, *, after: bool = False, only: frozenset[str] = CALLS) -> None:
        """Let the `number`-th call from now (1: the next) of those in `only` fail with errno `code`.

        `after`: it takes effect first, as when an NFS server's answer is lost. A close always takes effect.
        """
        self.made, self.failed = [], None
        self._countdown, self._code, self._after, self._only = number, code, after, only

    def disarm(self) -> None:
        """Let everything work again."""
        self._countdown = 0

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401  the type of whichever call it is
        value = super().__getattribute__(name)
        return functools.partial(self._call, name, value) if name in CALLS else value

    def _call(self, name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        self.made.append(name)
        if name in self._only and self._countdown > 0:
            self._countdown -= 1
            if self._countdown == 0:
                self.failed = name
                if self._after or name == "close":
                    self._undone(name, call(*args, **kwargs))
                raise OSError(self._code, os.strerror(self._code))
        if name in SYNCS:
            return None
        if name == "pwrite" and self.longest_write is not None:
            return call(args[0], args[1][: self.longest_write], *args[2:])
        if name == "fstatvfs" and self.available_bytes is not None:
            facts = list(call(*args, **kwargs))
            facts[1], facts[4] = 1, self.available_bytes  # f_frsize, f_bavail
            return os.statvfs_result(facts)
        return call(*args, **kwargs)

    def _undone(self, name: str, result: Any) -> None:  # noqa: ANN401
        """Let go of a descriptor that the caller will never hear of."""
        if name == "open":
            os.close(result)


class NoDirectIo(FaultyFiles):
    """A file system without O_DIRECT: says so at once, or only at the first write."""

    def __init__(self, *, at_first_write: bool) -> None:
        super().__init__()
        self._at_first_write = at_first_write
        self._direct: set[int] = set()

    def close(self, fd: int) -> None:
        self._direct.discard(fd)  # the number will be another file's
        super().close(fd)

    def set_direct(self, fd: int, direct: bool) -> None:
        if direct and not self._at_first_write:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        (self._direct.add if direct else self._direct.discard)(fd)

    def pwrite(self, fd: int, data: memoryview | bytes, offset: int) -> int:
        if fd in self._direct:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return super().pwrite(fd, data, offset)
