"""One run of git: a clean environment, its own process group, an end in time, and no more output than was asked for."""

import os
import re
import resource
import selectors
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controller import errors, logs
from controller.ports import Clock, StopToken

TICK_S = 0.1
"""How often the stop token and the time are looked at while git says nothing."""
MAX_SAID_BYTES = 8192
"""Of what git says on standard error the end is kept: there it says why it gave up."""
_VERSION = re.compile(r"git version (\d+)\.(\d+)")
MAX_LINES = 3
"""Of what git said that a message repeats."""
_NO_NEWS = {"Please make sure you have the correct access rights", "and the repository exists."}
NEVER: StopToken = threading.Event()
"""For what ends by itself within a moment."""

_ENVIRONMENT = {
    "LC_ALL": "C",  # messages that are told apart below must not be translated
    "HOME": "/nonexistent",
    "XDG_CONFIG_HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "SSH_ASKPASS": "/bin/false",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_ALLOW_PROTOCOL": "none",  # whoever wants to reach a remote opens one, see `Run.protocol`
}


class Failed(Exception):
    """git ended with another status than 0. `said` is the end of its standard error, as it wrote it."""

    def __init__(self, status: int, said: str) -> None:
        lines = (line.strip() for line in said.splitlines())
        last = [line for line in lines if line and line not in _NO_NEWS][-MAX_LINES:]
        super().__init__(f"git ended with status {status}: {logs.clip('; '.join(last))}")
        self.status = status
        self.said = said


@dataclass(frozen=True, slots=True)
class Run:
    """What to run, and within which bounds. `repr` shows no setting: one may hold a secret."""

    arguments: Sequence[str]
    settings: Sequence[tuple[str, str]] = field(default=(), repr=False)
    """Of git's configuration, for this run: through the environment, where no other user reads them."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    protocol: str = "none"
    """The one transport that may be used."""
    timeout_s: float = 30.0
    max_output_bytes: int = 2**20
    max_file_bytes: int | None = None
    """Of each file that it writes."""
    max_memory_bytes: int = 2**30
    """Of each of its processes, files that it maps not counted. What a server sends may unfold to any size."""
    given: bytes = b""
    """Standard input."""


def found() -> str | None:
    """Return the path of git, None where this machine has none."""
    return shutil.which("git")


def need_version(least: tuple[int, int], clock: Clock, stop: StopToken = NEVER) -> None:
    """Raise Usage where git is older: it would pass over settings that it does not know."""
    text = run(Run(("version",)), clock, stop).decode(errors="replace")
    found = _VERSION.search(text)
    if found is None or (int(found[1]), int(found[2])) < least:
        raise errors.Usage(f"git {least[0]}.{least[1]} or newer is needed, this is {logs.clip(text.strip())}")


def run(what: Run, clock: Clock, stop: StopToken = NEVER) -> bytes:
    """Run git to its end; return its standard output.

    Raises:
        Failed: it ended with another status than 0. Usage: there is no git. SourceUnreachable: it took too long.
        TooLarge: it wrote more than allowed. Interrupted: the stop token is set. Whatever the reason, it is gone then,
        with every process that it started.

    """
    program = found()
    if program is None:
        raise errors.Usage("git is not installed, or not on the PATH")
    process = subprocess.Popen(  # noqa: S603  the shell reads numbers of ours only
        ["/bin/sh", "-c", f'{_bounds(what)} exec "$@"', "sh", program, *what.arguments],
        env=_environment(what),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, said = _converse(process, what, clock, stop)
    except BaseException:
        _kill(process)
        raise
    finally:
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    if status := process.wait():
        raise Failed(status, said.decode(errors="replace"))
    return out


def _bounds(what: Run) -> str:
    """Return the commands of a shell that lower limits before git is there: set on a process, they may come too late
    for the helpers that it starts. One that is lower already stays.
    """
    wanted = [("d", resource.RLIMIT_DATA, what.max_memory_bytes, 1024)]
    if what.max_file_bytes is not None:
        wanted.append(("f", resource.RLIMIT_FSIZE, what.max_file_bytes, 512))
    said = ""
    for flag, limit, most, unit in wanted:  # units as in ulimit(1p), and of -d as every shell has it
        _, allowed = resource.getrlimit(limit)
        if allowed == resource.RLIM_INFINITY or allowed > most:
            said += f"ulimit -{flag} {max(most // unit, 1)} && "
    return said


def _environment(what: Run) -> dict[str, str]:
    environment = {"PATH": os.environ.get("PATH", os.defpath), **_ENVIRONMENT, **what.environment}
    environment["GIT_ALLOW_PROTOCOL"] = what.protocol
    environment["GIT_CONFIG_COUNT"] = str(len(what.settings))
    for number, (name, value) in enumerate(what.settings):
        environment[f"GIT_CONFIG_KEY_{number}"], environment[f"GIT_CONFIG_VALUE_{number}"] = name, value
    return environment


def _converse(process: "subprocess.Popen[bytes]", what: Run, clock: Clock, stop: StopToken) -> tuple[bytes, bytes]:
    """Feed git and read what it says, until it closes both streams."""
    streams = process.stdin, process.stdout, process.stderr
    descriptors = [stream.fileno() for stream in streams if stream is not None]
    into, out, said = descriptors
    for descriptor in descriptors:
        os.set_blocking(descriptor, False)
    rest = memoryview(what.given)
    heard: dict[int, bytearray] = {out: bytearray(), said: bytearray()}
    deadline = clock.monotonic() + what.timeout_s
    with selectors.DefaultSelector() as selector:
        for descriptor in heard:
            selector.register(descriptor, selectors.EVENT_READ)
        selector.register(into, selectors.EVENT_WRITE)
        while any(descriptor in selector.get_map() for descriptor in heard):
            if stop.is_set():
                raise errors.Interrupted("stopped while git was running")
            if clock.monotonic() >= deadline:
                raise errors.SourceUnreachable(f"git did not end within {what.timeout_s:g} s")
            for key, _ in selector.select(TICK_S):
                if key.fd == into:
                    rest = _feed(into, rest)
                    if not rest:
                        selector.unregister(into)
                        if process.stdin is not None:
                            process.stdin.close()
                elif not _hear(key.fd, heard[key.fd]):
                    selector.unregister(key.fd)
            if len(heard[out]) > what.max_output_bytes:
                raise errors.TooLarge(f"git wrote more than {what.max_output_bytes} bytes")
            del heard[said][:-MAX_SAID_BYTES]
    return bytes(heard[out]), bytes(heard[said])


def _feed(descriptor: int, rest: memoryview) -> memoryview:
    try:
        return rest[os.write(descriptor, rest[:65536]) :] if rest else rest
    except BlockingIOError:
        return rest
    except BrokenPipeError:
        return rest[:0]  # it has read enough; its status says whether that is well


def _hear(descriptor: int, heard: bytearray) -> bool:
    try:
        piece = os.read(descriptor, 65536)
    except BlockingIOError:
        return True
    heard += piece
    return bool(piece)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End the whole group: git's helpers (ssh, git-remote-https) would else go on."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
