"""Child processes that cannot outlive the tests, whichever way those end."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.fakes.loopback import free_port

READY_S = 60.0
"""How long a process may take to become ready; a fifth of two cores is enough."""
POLL_S = 0.05
ADDRESS_TRIES = 3
"""Between choosing a free port and listening on it somebody else may take it."""
LOG_TAIL = 4000  # characters of a log that an error repeats


class NotReady(Exception):
    """A process did not become ready; the message ends with what it logged."""


class Processes:
    """Processes by name, each in a group of its own and with a log NAME.log in `folder`.

    The kernel kills them with the thread that started them, be it ended by kill -9. A terminal's Ctrl-C misses them:
    pytest ends its fixtures, and so `stop_all`, in order.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = dict(environ)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._pause = threading.Event()

    def start(self, name: str, command: list[str], ready: Callable[[], bool]) -> None:
        """Start a command and return once `ready`, asked again and again, says so. Raises NotReady."""
        dies_with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with self.log(name).open("wb") as log:
            process = self._running[name] = subprocess.Popen(
                [*dies_with_us, *command],
                env=self._environ,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_S
        while process.poll() is None and time.monotonic() < deadline:
            if ready():
                return
            self._pause.wait(POLL_S)
        what = f"is not ready after {READY_S:g} s" if process.poll() is None else f"ended with {process.returncode}"
        raise NotReady(f"{name} {what}:\n{self.log(name).read_text(errors='replace')[-LOG_TAIL:]}")

    def start_listening(
        self,
        name: str,
        command: Callable[[int], list[str]],
        ready: Callable[[int], bool],
        *,
        tries: int = ADDRESS_TRIES,
    ) -> int:
        """Start a command on a free loopback port, and return the port once it is ready. Raises NotReady."""
        port = free_port()
        try:
            self.start(name, command(port), lambda: ready(port))
        except NotReady as error:
            if tries == 1 or "address already in use" not in str(error):
                raise
            return self.start_listening(name, command, ready, tries=tries - 1)
        return port

    def kill(self, name: str) -> list[str]:
        """Kill one process as a power cut would; return the command that starts it again, for `start`."""
        process = self._running.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        command = [str(word) for word in process.args]  # type: ignore[union-attr]  # `start` makes it a list
        return command[3:] if command[0] == "setpriv" else command

    def log(self, name: str) -> Path:
        """Return the file with everything that a process printed."""
        return self._folder / f"{name}.log"

    def stop_all(self) -> None:
        """Kill all processes: what they store is thrown away, and asked to end an API server takes seconds."""
        for process in self._running.values():
            if process.poll() is None:  # after that the number may be another's
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        for process in self._running.values():
            process.wait()
        self._running.clear()
