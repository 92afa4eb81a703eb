"""Name the machine that a figure comes from."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path


def describe(folder: Path, scale: float, seconds: float, load: float) -> str:
    """Return one paragraph: processor, cores, memory, kernel, file system of `folder`, versions, date, load before."""
    info = Path("/proc/cpuinfo").read_text()
    model = next(
        (line.partition(": ")[2] for line in info.splitlines() if line.startswith("model name")), "unknown CPU"
    )
    kib = int(Path("/proc/meminfo").read_text().split()[1])
    parts = [
        f"{model}, {os.cpu_count()} cores, {kib / 2**20:.0f} GiB",
        f"Linux {platform.release()}",
        f"{file_system(folder)} at the place of measurement",
        f"CPython {platform.python_version()}",
        revision(),
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"scale {scale:g}",
        f"{seconds / 60:.0f} minutes in all",
        f"load before: {load:.1f}" + (" (the machine was busy with other things)" if load > 0.5 else ""),
    ]
    return "; ".join(parts) + "."


def file_system(folder: Path) -> str:
    """Return the type of the file system that holds `folder`, from the longest mount point above it."""
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if folder.resolve().is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def revision() -> str:
    """Return the commit measured, and whether the tree differed from it."""
    root = Path(__file__).parents[2]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"commit {done.stdout.strip() or 'unknown'}"
