"""What a run costs is measured, not guessed."""

import sys
from pathlib import Path

import pytest

from tests.bench import cost


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_a_command_is_measured(tmp_path: Path) -> None:
    """Memory within a few MiB, bytes written to the byte, processor time at least what was spun."""
    program = (
        "import time, os\n"
        "block = bytearray(os.urandom(1)) * (200 << 20)\n"
        "open('out', 'wb', buffering=0).write(block[:5 << 20])\n"
        "end = time.process_time() + 0.1\n"
        "while time.process_time() < end: pass\n"
    )
    spent = cost.run(python(program), tmp_path)
    assert 205 < spent.peak_bytes / 2**20 < 250
    assert spent.written_bytes == 5 << 20
    assert spent.write_calls == 1
    assert spent.cpu_s >= 0.1
    assert spent.seconds >= 0.1


def test_a_child_of_the_command_counts(tmp_path: Path) -> None:
    spent = cost.run(["sh", "-c", "dd if=/dev/zero of=out bs=1M count=3 status=none; :"], tmp_path)
    assert spent.written_bytes >= 3 << 20


def test_a_command_that_fails_gives_no_figure(tmp_path: Path) -> None:
    with pytest.raises(cost.Failed, match=r"(?s)ended with 3.*because"):
        cost.run(["sh", "-c", "echo because >&2; exit 3"], tmp_path)


def test_a_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "TIMEOUT_S", 0.1)
    with pytest.raises(cost.Failed, match="did not end"):
        cost.run(["sh", "-c", "sleep 60 & wait"], tmp_path)


def test_runs_are_interleaved() -> None:
    order: list[str] = []

    def variant(name: str) -> cost.Cost:
        order.append(name)
        return cost.Cost(seconds=len(order), cpu_s=0, peak_bytes=0)

    costs = cost.interleave({"x": lambda: variant("x"), "y": lambda: variant("y")}, rounds=3)
    assert order == ["x", "y"] * 3
    assert cost.median_s(costs["x"]) == 3
