"""(c) Compressed images, against the tool that only unpacks."""

import os
import random
import subprocess
from pathlib import Path

from tests.bench import cost
from tests.bench.table import Report
from tests.bench.workspace import MIB, Workspace, boot_sector

PART = "c"
SIZE_MIB = 512
TOOLS = {"xz": ["xz", "-1", "-T0", "-c"], "zst": ["zstd", "-3", "-T0", "-q", "-c"]}


def measure(space: Workspace, report: Report) -> None:
    """Unpack, verify and place against `xz -dc` and `zstd -dc` of a cached file into a fresh one."""
    size = space.bytes(SIZE_MIB)
    disk = space.folder / "c.raw"
    write_disk(disk, size)
    for suffix, tool in TOOLS.items():
        packed = space.served / f"c.raw.{suffix}"
        with packed.open("wb") as output:
            subprocess.run([*tool, str(disk)], stdout=output, check=True)
        bare = f"{tool[0]} -dc {packed} >image"
        name = f"apply, {size / MIB:.0f} MiB in .{suffix}"
        costs = cost.interleave(
            {
                name: space.applying(space.manifest(f"c-{suffix}", packed.name)),
                f"{tool[0]} -dc": space.shell(bare),
                f"curl, {tool[0]} -dc, sha256sum, md5sum": space.shell(
                    f"curl -sSf -o packed {space.url}/{packed.name}; {tool[0]} -dc packed >image; "
                    "sha256sum packed image; md5sum image"
                ),
            },
            space.rounds,
        )
        ours = cost.median_s(costs[name])
        notes = {
            other: f"{cost.median_s(several) / ours:.2f} x apply" for other, several in costs.items() if other != name
        }
        notes[name] = f"{packed.stat().st_size / MIB:.0f} MiB packed"
        report.add(PART, costs, notes)
        packed.unlink()
    disk.unlink()


def write_disk(path: Path, size_bytes: int) -> None:
    """Write what a disk is like: a third empty, a third text-like, a third that does not compress."""
    words = [random.Random(seed).randbytes(7).hex().encode() for seed in range(4096)]
    chooser = random.Random(1)
    with path.open("wb") as file:
        file.write(boot_sector())
        turn = 0
        while (left := size_bytes - file.tell()) > 0:
            kind = turn % 3
            turn += 1
            if kind == 0:
                block = bytes(MIB)
            elif kind == 1:
                block = b" ".join(chooser.choices(words, k=MIB // 15))
            else:
                block = os.urandom(MIB)
            file.write(block[:left])
