"""What a run costs is measured, not guessed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import cost

ROOT = Path(__file__).parents[3]


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_a_command_is_measured(tmp_path: Path) -> None:
    """Bytes written to the byte, processor time at least what was spun."""
    program = (
        "import time\n"
        "open('out', 'wb', buffering=0).write(bytes(5 << 20))\n"
        "end = time.process_time() + 0.1\n"
        "while time.process_time() < end: pass\n"
    )
    spent = cost.run(python(program), tmp_path)
    assert spent.written_bytes == 5 << 20
    assert spent.write_calls == 1
    assert spent.cpu_s >= 0.1
    assert spent.seconds >= 0.1


def test_the_peak_of_memory_is_the_command_s(tmp_path: Path) -> None:
    """Measured from a lean process, as `make bench` is: the kernel starts a child's peak at its parent's."""
    measured = "block = bytearray(b'x') * (200 << 20)"
    program = (
        "import sys, pathlib; from tests.bench import cost\n"
        f"print(cost.run([sys.executable, '-c', {measured!r}], pathlib.Path(sys.argv[1])).peak_bytes)"
    )
    done = subprocess.run([*python(program), tmp_path], cwd=ROOT, check=True, capture_output=True, text=True)
    assert 205 < int(done.stdout) / 2**20 < 230


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
