"""One reconciling instance per state directory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from controller import errors
from controller.gitops import instance_lock
from controller.gitops.instance_lock import InstanceLock

HOLD = """
import sys, pathlib
from controller.gitops.instance_lock import InstanceLock
InstanceLock(pathlib.Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_instance_is_told_who_has_it_and_what_to_do(tmp_path: Path) -> None:
    with InstanceLock(tmp_path), pytest.raises(errors.StateLocked, match=rf"process {os.getpid()}\).*--state"):
        InstanceLock(tmp_path).acquire()


def test_it_is_free_again_after_release_and_the_directory_is_made(tmp_path: Path) -> None:
    state_dir = tmp_path / "new" / "state"
    for _ in range(2):
        lock = InstanceLock(state_dir).acquire()
        assert instance_lock.holder(state_dir) == os.getpid()
        lock.release()
        lock.release()
        assert instance_lock.holder(state_dir) is None


def test_a_killed_instance_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert instance_lock.holder(tmp_path) == process.pid
        with pytest.raises(errors.StateLocked, match=str(process.pid)):
            InstanceLock(tmp_path).acquire()
        process.kill()
        process.wait()
    with InstanceLock(tmp_path):
        pass


def test_nobody_holds_a_state_that_does_not_exist(tmp_path: Path) -> None:
    assert instance_lock.holder(tmp_path / "none") is None


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.StateBroken, match="cannot write"):
        InstanceLock(tmp_path / "file" / "state").acquire()
