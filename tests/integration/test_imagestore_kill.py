"""Item 45: a process is killed with SIGKILL at random moments; what it had promised holds, and nothing is torn.

Every kill is on the same store, so what one leaves over is what the next one starts with.
"""

import hashlib
import random
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from controller.adapters.backup.imagestore import ImageStore
from tests.fakes.stored_bytes import content_of
from tests.integration import imagestore_worker as worker

MOST_LINES = 6
LONGEST_S = 0.02
"""How long a process runs on after it said so many lines."""


@pytest.mark.parametrize("kills", [30, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_kill_at_any_moment(tmp_path: Path, kills: int) -> None:
    """Acknowledged claims are intact, dropped ones gone, resume records true, objects whole, leftovers swept."""
    path = tmp_path / "store"
    choose = random.Random(kills)
    promised: dict[tuple[str, int], bool | None] = {}
    finished = 0
    for round_number in range(kills):
        lines = killed_after(choose.randrange(MOST_LINES), choose.uniform(0, LONGEST_S), path, round_number)
        finished += len(lines)
        assert lines[0] == "ready"
        durable = note(promised, lines)
        store = worker.open_store(str(path))
        store.probe()
        nothing_is_torn(path)
        claims_are_as_promised(store, promised)
        resumable(store, path, durable)
        store.sweep(["long"], timedelta(0))
        assert {name.name for name in (path / "staging").iterdir()} <= {"long.partial", "long.json"}
        assert [finding.code for finding in store.findings()] == []
    assert finished > 3 * kills, "the processes hardly did anything"


def killed_after(lines: int, seconds: float, path: Path, seed: int) -> list[str]:
    """Run the worker, kill it `seconds` after it is ready and said `lines`, and return the whole lines that it said."""
    command = [sys.executable, "-m", "tests.integration.imagestore_worker", str(path), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = "".join(process.stdout.readline() for _ in range(1 + lines))
        threading.Event().wait(seconds)
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read()
    assert process.returncode == -signal.SIGKILL
    return said[: said.rfind("\n")].split("\n")


def note(promised: dict[tuple[str, int], bool | None], lines: list[str]) -> int:
    """Bring `promised` up to date: claimed, dropped, or None where the kill came in between. Return durable bytes."""
    durable = 0
    for line in lines[1:]:
        match line.split():
            case ["durable", count]:
                durable = int(count)
            case [verb, image, number]:
                promised[image, int(number)] = {"link": True, "unlink": False}.get(verb)
    return durable


def nothing_is_torn(path: Path) -> None:
    for pattern in ("objects/sha256/??/*", "images/*/*"):
        for name in path.glob(pattern):
            if name.suffix != ".json":
                assert hashlib.sha256(name.read_bytes()).hexdigest().startswith(name.name), name


def claims_are_as_promised(store: ImageStore, promised: dict[tuple[str, int], bool | None]) -> None:
    for image in {image for image, _ in promised}:
        intact = {ref.content.sha256: ref.intact for ref in store.refs(image)}
        assert all(intact.values())
        for number in range(12):
            content = content_of(worker.data_of(number))
            wanted = promised.get((image, number), False)
            if wanted is not None:
                assert intact.get(content.sha256) is (True if wanted else None), (image, number)
            if content.sha256 in intact:
                assert store.find(content.sha256) == content


def resumable(store: ImageStore, path: Path, durable: int) -> None:
    """The record promises no less than was said, and no more than there is."""
    record = store.resume_record("long")
    if record is None:
        assert durable == 0
        return
    assert record.durable_bytes >= durable
    kept = (path / "staging" / "long.partial").read_bytes()[: record.durable_bytes]
    assert len(kept) == record.durable_bytes
    assert kept == (worker.SOURCE * (len(kept) // len(worker.SOURCE) + 1))[: len(kept)]
