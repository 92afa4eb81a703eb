"""One reconciling instance per state directory."""

import fcntl
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from controller import errors

FILE_NAME = "lock"
_TRIES = 4
_PAUSE_S = 0.05


class InstanceLock:
    """Held from `acquire` to `release`, or to the end of the process, however it ends: the kernel drops it.

    The file stays behind: removing it would let two instances hold locks on two files of one name.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE_NAME
        self._descriptor: int | None = None

    def acquire(self) -> Self:
        """Take it.

        Raises:
            StateLocked: another instance has it; names its process. StateBroken: the file cannot be written.

        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise errors.StateBroken(f"cannot write {self._path}: {exc.strerror}") from exc
        try:
            _lock(descriptor)
        except BlockingIOError as exc:
            process = _recorded(descriptor) or "unknown"
            os.close(descriptor)
            raise errors.StateLocked(
                f"another instance (process {process}) reconciles {self._path.parent}; "
                "stop it first, or use another --state directory"
            ) from exc
        except OSError as exc:
            os.close(descriptor)
            raise errors.StateBroken(f"cannot lock {self._path}: {exc.strerror}") from exc
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return self

    def release(self) -> None:
        """Let go. Twice is fine."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def holder(state_dir: Path) -> int | None:
    """Return the process id of the instance that reconciles this state directory now, None where there is none."""
    try:
        descriptor = os.open(state_dir / FILE_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # a shared lock asks without disturbing another reader that asks at the same moment
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _recorded(descriptor)
    except OSError:
        return None
    else:
        return None
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Lock, or raise BlockingIOError; a few quick tries, as `holder` takes the lock for a moment to ask."""
    for _ in range(_TRIES - 1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            threading.Event().wait(_PAUSE_S)
        else:
            return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _recorded(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return int(text) if text.isdigit() else None
