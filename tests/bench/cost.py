"""Run a command to its end and say what it cost."""

import os
import select
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 600
DEVNULL = subprocess.DEVNULL


class Failed(Exception):
    """A measured command did not do its work; a figure for it would mean nothing."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of a command cost, its own children included. I/O counts system calls' bytes and disk bytes."""

    seconds: float
    cpu_s: float
    peak_bytes: int
    read_bytes: int = 0
    written_bytes: int = 0
    write_calls: int = 0
    disk_written_bytes: int = 0


def run(command: Sequence[str], cwd: Path, *, log: Path | None = None) -> Cost:
    """Run, wait and measure. The output goes to `log`, whose end explains a failure.

    Raises:
        Failed: it ended with another code than 0, or not within TIMEOUT_S.

    """
    output = (log or cwd / "command.log").open("wb")
    with output:
        io_before = _io_of_this_and_ended_children()
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=cwd, stdin=DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        in_time = _ends_within(process.pid, TIMEOUT_S)
        seconds = time.perf_counter() - began
        if not in_time:
            os.killpg(process.pid, signal.SIGKILL)
        _, status, usage = os.wait4(process.pid, 0)
        io = {name: value - io_before[name] for name, value in _io_of_this_and_ended_children().items()}
    process.returncode = os.waitstatus_to_exitcode(status)
    if not in_time:
        raise Failed(f"{' '.join(command)} did not end within {TIMEOUT_S} s")
    if process.returncode != 0:
        said = Path(output.name).read_text(errors="replace")[-1500:]
        raise Failed(f"{' '.join(command)} ended with {process.returncode}:\n{said}")
    return Cost(
        seconds=seconds,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024,
        read_bytes=io["rchar"],
        written_bytes=io["wchar"],
        write_calls=io["syscw"],
        disk_written_bytes=io["write_bytes"],
    )


def _ends_within(pid: int, seconds: float) -> bool:
    ending = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(ending, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(ending)


def _io_of_this_and_ended_children() -> Mapping[str, int]:
    """Return proc(5)'s counters. A child's are added when it is waited for; this program adds next to nothing."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return {name: int(value) for name, value in (line.split(": ") for line in lines)}


def interleave(variants: Mapping[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """Run every variant once a round, so that a slow minute of the machine hits all alike."""
    costs: dict[str, list[Cost]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, variant in variants.items():
            costs[name].append(variant())
    return costs


def median_s(costs: Sequence[Cost]) -> float:
    """Return the median of the seconds."""
    return statistics.median(cost.seconds for cost in costs)
