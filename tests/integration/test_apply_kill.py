"""kill -9 of the whole command at random moments: never a Ready ref with wrong bytes, never a leak, resume always."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from controller.adapters.clock import SystemClock
from controller.gitops.state import State
from controller.model import conditions
from controller.model.conditions import ConditionType
from tests.integration import ranged_server
from tests.integration.ranged_server import Served

KIB, MIB = 2**10, 2**20
BYTES_PER_S = 24 * MIB


def manifest(name: str, url: str) -> str:
    head = f"apiVersion: goldmaster.dev/v1alpha1\nkind: Image\nmetadata: {{name: {name}}}\n"
    return f"{head}spec: {{url: '{url}', format: raw, retry: {{initialBackoff: 1s}}}}\n"


def apply(folder: Path, kill_after_s: float | None) -> int:
    """Run the command, or kill it; return its exit status."""
    command = [sys.executable, "-m", "controller", "apply", str(folder / "manifests"), "--state", str(folder / "state")]
    with subprocess.Popen(
        [*command, "--allow-network", "127.0.0.0/8"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        if kill_after_s is not None:
            threading.Event().wait(kill_after_s)
            process.send_signal(signal.SIGKILL)
        return process.wait(100)


def assert_nothing_lies(folder: Path) -> int:
    """Check every claim of the state against the bytes on the storage; return how many images are Ready."""
    store = folder / "state" / "storage"
    for path in store.glob("objects/sha256/*/*"):
        if not path.suffix:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    if not (folder / "state" / "goldmaster.db").exists():
        return 0
    with State.open(folder / "state", SystemClock()) as state:
        found = [image for image in state.images() if conditions.is_true(image.status.conditions, ConditionType.READY)]
    for image in found:
        assert image.status.current is not None
        for ref in image.status.refs:
            data = (store / "images" / ref.install_path.removeprefix("zstore://")).read_bytes()
            assert hashlib.sha256(data).hexdigest() == image.status.current.content.sha256.hex
    return len(found)


def live(folder: Path, served: Served, *, kills: int, seed: int) -> None:
    """Bring images to Ready, a few at a time, killing the command again and again."""
    chance = random.Random(seed)
    (folder / "manifests").mkdir()
    struck = rounds = 0
    while struck < kills:
        for number in range(2):
            path = f"/{rounds}-{number}"
            served.files[path] = chance.randbytes(8 * MIB + chance.randrange(8 * KIB))
            (folder / "manifests" / f"i{rounds}-{number}.yaml").write_text(
                manifest(f"i{rounds}-{number}", served.url(path))
            )
        rounds += 1
        status = -signal.SIGKILL
        while status == -signal.SIGKILL:
            status = apply(folder, chance.uniform(0.1, 1.6) if struck < kills else None)
            struck += status == -signal.SIGKILL
            assert_nothing_lies(folder)
        assert status == 0
        assert assert_nothing_lies(folder) == 2 * rounds
        assert os.listdir(folder / "state" / "storage" / "staging") == []


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(30, id="short", marks=[pytest.mark.timeout(400)]),
        pytest.param(200, id="long", marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_kills_leave_no_lie_and_no_leak(tmp_path: Path, kills: int) -> None:
    with ranged_server.serving() as served:
        served.bytes_per_s = BYTES_PER_S
        live(tmp_path, served, kills=kills, seed=20261123)
