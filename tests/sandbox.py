"""What surrounds the tests: a known environment, no network but loopback, a look at child processes."""

import ipaddress
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

KEPT_VARIABLES = {"PATH", "LANG", "TERM", "TMPDIR", "VIRTUAL_ENV", "CI", "USER", "LOGNAME", "SHELL", "PWD"}
KEPT_PREFIXES = ("PYTEST_", "COV_", "COVERAGE_", "HYPOTHESIS_", "BENCH_", "GOLDMASTER_TEST_")
SYSTEM_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin")

refused: list[str] = []
"""Connects and name look-ups out of loopback since the last clear(), also where the error was swallowed."""


def scrub_environment() -> None:
    """Drop what could change a result: proxies, credentials, GOLDMASTER_*, locale, Git and home settings."""
    for name in set(os.environ) - KEPT_VARIABLES:
        if not name.startswith(KEPT_PREFIXES):
            del os.environ[name]
    path = os.environ.get("PATH", "").split(os.pathsep)
    # An ordinary user's PATH lacks the directories where nginx lives.
    os.environ["PATH"] = os.pathsep.join([*path, *(folder for folder in SYSTEM_PATH if folder not in path)])
    os.environ |= {
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    time.tzset()


def is_loopback_name(host: object) -> bool:
    """Whether looking up `host` stays on this machine: none, numeric in any notation, or localhost."""
    if host is None or host in {"", b""}:
        return True
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    if name.lower() == "localhost" or ":" in name:
        return True
    try:
        socket.inet_aton(name)  # knows 127.1, 0x7f000001 and 2130706433, which need no look-up
    except OSError:
        return False
    return True


def is_loopback_address(address: object) -> bool:
    """Whether connecting to `address` stays on this machine. Unix sockets do; a name was judged by its look-up."""
    if not isinstance(address, tuple):
        return True
    try:
        ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
    except ValueError:
        return is_loopback_name(address[0])
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def forbid_network() -> None:
    """From now on, connecting or sending out of loopback, or asking a name server, raises in this process."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
            allowed = args[1] is None or is_loopback_address(args[1])
        elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
            allowed = is_loopback_name(args[0])
        else:
            return
        if not allowed:
            refused.append(f"{event}{args}")
            raise AssertionError(f"tests stay on loopback: {event} {args}")

    sys.addaudithook(hook)


def process_state() -> dict[str, object]:
    """Return what a process has one of, and what the next test of the same worker would find changed."""
    return {
        "environment": {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        "working directory": os.getcwd(),
        "signal handlers": {
            number.name: signal.getsignal(number)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE)
        },
        "module path": [*sys.path],
    }


def child_processes() -> set[int]:
    """Return the process ids of this process's children, dead ones that nobody waited for included."""
    children: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            children |= {int(pid) for pid in (task / "children").read_text().split()}
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended meanwhile
    return children


def wait_for_children(known: set[int], deadline: float) -> list[str]:
    """Return the command lines of children not in `known` that still run at `deadline` (time.monotonic)."""
    pause = threading.Event()
    while (started := child_processes() - known) and time.monotonic() < deadline:
        pause.wait(0.02)
    return [_command(pid) for pid in sorted(started)]


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        words = ""
    return f"{pid} {words or '(ended, not waited for)'}"
