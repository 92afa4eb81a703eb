"""Processes end with the tests, and a failing start says why."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.apiserver import fixtures, processes

ENVIRON = {"PATH": os.environ["PATH"]}


def test_stop_ends_a_process_and_its_children(tmp_path: Path) -> None:
    started = processes.Processes(tmp_path, ENVIRON)
    pids = tmp_path / "pids"
    started.start("family", ["sh", "-c", f"sleep 600 & echo $$ $! >{pids}; wait"], lambda: written(pids))
    started.stop_all()
    for pid in pids.read_text().split():
        ends(int(pid))


def test_kill_9_of_the_parent_ends_a_process(tmp_path: Path) -> None:
    """No fixture runs then: the kernel does it."""
    script = (
        "import os, pathlib, sys; from tests.apiserver import processes;"
        "folder = pathlib.Path(sys.argv[1]);"
        "started = processes.Processes(folder, {'PATH': os.environ['PATH']});"
        "pid = folder / 'pid';"
        "started.start('orphan', ['sh', '-c', f'echo $$ >{pid}; exec sleep 600'],"
        " lambda: pid.exists() and pid.read_text().endswith(chr(10)));"
        "print('started', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        pid = int((tmp_path / "pid").read_text())
        assert runs(pid)
        parent.send_signal(signal.SIGKILL)
    ends(pid)


def test_a_process_that_ends_early_is_an_error_with_its_log(tmp_path: Path) -> None:
    started = processes.Processes(tmp_path, ENVIRON)
    with pytest.raises(processes.NotReady, match=r"broken ended with 3:\nno such flag"):
        started.start("broken", ["sh", "-c", "echo no such flag >&2; exit 3"], lambda: False)
    started.stop_all()


def test_a_process_that_is_never_ready_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "READY_S", 0.2)
    started = processes.Processes(tmp_path, ENVIRON)
    with pytest.raises(processes.NotReady, match=r"slow is not ready after 0\.2 s"):
        started.start("slow", ["sleep", "600"], lambda: False)
    started.stop_all()


def test_another_port_is_tried_where_somebody_took_the_first(tmp_path: Path) -> None:
    ports: list[int] = []

    def command(port: int) -> list[str]:
        ports.append(port)
        first = "echo 'bind: address already in use'; exit 1"
        return ["sh", "-c", first if len(ports) == 1 else "sleep 600"]

    started = processes.Processes(tmp_path, ENVIRON)
    assert started.start_listening("server", command, lambda port: len(ports) == 2) == ports[1]
    started.stop_all()


def test_ports_are_free_and_on_loopback(tmp_path: Path) -> None:
    def ready(port: int) -> bool:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
        return True

    started = processes.Processes(tmp_path, ENVIRON)
    started.start_listening("server", lambda _: ["sleep", "600"], ready)
    started.stop_all()


def written(path: Path) -> bool:
    return path.exists() and path.read_text().endswith("\n")


def runs(pid: int) -> bool:
    """Whether a process runs; one that ended and waits for init to notice does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ends(pid: int) -> None:
    """Wait for the kernel, which kills in its own time."""
    fixtures.eventually(lambda: not runs(pid))
