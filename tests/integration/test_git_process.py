"""How git is run: nothing of it survives its run, and neither time nor output is without bound."""

import os
import sys
import threading
from pathlib import Path

import pytest

from controller import errors
from controller.adapters.clock import SystemClock
from controller.adapters.git import process
from controller.adapters.git.process import Failed, Run

CLOCK = SystemClock()
HANGS = "sleep 600 & echo $! > {}/helper; wait"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script that stands for git, for what the real one does too seldom."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "git"


def script(program: Path, text: str) -> None:
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


def is_running(tmp_path: Path) -> bool:
    """Whether the helper that the script started still runs. A script that was ended early started none."""
    try:
        pid = (tmp_path / "helper").read_text().strip()
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(tmp_path: Path) -> bool:
    """Wait for the end of the helper, which was killed a moment ago."""
    pause = threading.Event()
    return any(not is_running(tmp_path) or pause.wait(0.05) for _ in range(1200))


def test_what_it_prints_and_what_it_is_given(program: Path) -> None:
    script(program, 'echo "$@"; cat')
    data = bytes(range(256)) * 1000
    assert process.run(Run(("a", "b c"), given=data), CLOCK) == b"a b c\n" + data


def test_another_status_comes_with_the_end_of_what_it_said(program: Path) -> None:
    script(program, "yes noise | head -n 20000 >&2; echo 'fatal: no' >&2; exit 128")
    with pytest.raises(Failed, match="status 128") as caught:
        process.run(Run(()), CLOCK)
    assert caught.value.status == 128
    assert caught.value.said.endswith("noise\nfatal: no\n")
    assert len(caught.value.said) <= process.MAX_SAID_BYTES
    assert str(caught.value) == "git ended with status 128: noise; noise; fatal: no"


def test_too_long_ends_it_with_its_helpers(program: Path, tmp_path: Path) -> None:
    script(program, HANGS.format(tmp_path))
    with pytest.raises(errors.SourceUnreachable, match=r"did not end within 2 s"):
        process.run(Run((), timeout_s=2), CLOCK)
    assert ends(tmp_path)


def test_a_stop_ends_it_with_its_helpers(program: Path, tmp_path: Path) -> None:
    script(program, HANGS.format(tmp_path))
    stop, pause = threading.Event(), threading.Event()

    def stop_once_it_runs() -> None:
        for _ in range(1200):
            if (tmp_path / "helper").exists() and (tmp_path / "helper").read_text().endswith("\n"):
                break
            pause.wait(0.05)
        stop.set()

    stopper = threading.Thread(target=stop_once_it_runs)
    stopper.start()
    with pytest.raises(errors.Interrupted):
        process.run(Run(()), CLOCK, stop)
    stopper.join()
    assert (tmp_path / "helper").exists()
    assert ends(tmp_path)


def test_too_much_output_ends_it(program: Path) -> None:
    script(program, "yes")
    with pytest.raises(errors.TooLarge, match="more than 1000 bytes"):
        process.run(Run((), max_output_bytes=1000), CLOCK)


@pytest.mark.parametrize("how", ["itself", "helper"])
def test_too_much_memory_ends_it(program: Path, how: str) -> None:
    """What a server sends can unfold to any size."""
    hog = f'{sys.executable} -c "bytearray(300 << 20)"'
    script(program, f"exec {hog}" if how == "itself" else f"{hog}; exit $?")
    assert process.run(Run(()), CLOCK) == b""
    with pytest.raises(Failed, match="MemoryError"):
        process.run(Run((), max_memory_bytes=200 << 20), CLOCK)


def test_nothing_of_the_environment_reaches_it(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_SSH_COMMAND", "evil")
    monkeypatch.setenv("https_proxy", "http://evil")
    script(program, "env")
    what = Run((), settings=(("http.extraHeader", "Secret: s3cret"),), protocol="https")
    seen = dict(line.split("=", 1) for line in process.run(what, CLOCK).decode().splitlines() if "=" in line)
    assert "GIT_SSH_COMMAND" not in seen
    assert "https_proxy" not in seen
    assert (seen["GIT_CONFIG_GLOBAL"], seen["GIT_CONFIG_NOSYSTEM"]) == ("/dev/null", "1")
    assert (seen["GIT_TERMINAL_PROMPT"], seen["GIT_ALLOW_PROTOCOL"]) == ("0", "https")
    assert (seen["GIT_CONFIG_COUNT"], seen["GIT_CONFIG_VALUE_0"]) == ("1", "Secret: s3cret")
    assert "s3cret" not in repr(what)


@pytest.mark.parametrize(
    ("text", "new"),
    [("git version 2.37.0", True), ("git version 3.0", True), ("git version 2.36.9.x", False), ("?", False)],
)
def test_a_git_that_is_too_old_is_refused(program: Path, text: str, new: bool) -> None:
    script(program, f"echo '{text}'")
    if new:
        process.need_version((2, 37), CLOCK)
    else:
        with pytest.raises(errors.Usage, match=r"git 2\.37 or newer is needed"):
            process.need_version((2, 37), CLOCK)


def test_no_git_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(errors.Usage, match="git is not installed"):
        process.run(Run(("--version",)), CLOCK)
