"""(a) One raw image of 2 GiB over loopback HTTP into a fresh file, against the tools a person would use instead."""

import sys
from dataclasses import replace

from tests.bench import cost
from tests.bench.table import Goal, Report
from tests.bench.workspace import ROOT, Workspace

PART = "a"
SIZE_MIB = 2048


def measure(space: Workspace, report: Report) -> None:
    """Compare whole commands. Two are physical limits: md5sum of the cached file, and what the disk takes durably."""
    size = space.bytes(SIZE_MIB)
    source = space.random_image("a.raw", size)
    url = f"{space.url}/a.raw"
    aria2c = "aria2c -q --file-allocation=none --no-conf"
    costs = cost.interleave(
        {
            "goldmaster apply": space.applying(space.manifest("a", "a.raw")),
            "the transfer alone": lambda: transfer_alone(space, url),
            "curl -o": space.shell(f"curl -sSf -o image {url}"),
            "aria2c -x1": space.shell(f"{aria2c} -x1 -s1 -o image {url}"),
            "aria2c -x4": space.shell(f"{aria2c} -x4 -s4 -k1M -o image {url}"),
            "curl, sha256sum, md5sum, cp": space.shell(
                f"curl -sSf -o image {url}; sha256sum image; md5sum image; cp image placed"
            ),
            "dd, O_DIRECT, durable": space.shell(
                f"dd if=/dev/zero of=image bs=4M count={size} iflag=count_bytes oflag=direct conv=fdatasync status=none"
            ),
            "md5sum of the cached file": space.shell(f"md5sum {source}"),
        },
        space.rounds,
    )
    source.unlink()
    ours, *others = ({name: cost.median_s(several) for name, several in costs.items()}).items()
    notes = {name: f"{seconds / ours[1]:.2f} x goldmaster apply" for name, seconds in others}
    notes[ours[0]] = f"{size / 2**20 / ours[1]:.0f} MiB/s, verified, inspected, durable"
    report.add(PART, costs, notes)
    median = dict(others)
    report.goals += [
        Goal(PART, "apply / curl -o", ours[1] / median["curl -o"], 1.0),
        Goal(PART, "apply / md5sum of the cached file", ours[1] / median["md5sum of the cached file"], 1.25),
        Goal(
            PART,
            "curl, sha256sum, md5sum, cp / apply",
            median["curl, sha256sum, md5sum, cp"] / ours[1],
            2.5,
            at_least=True,
        ),
    ]


def transfer_alone(space: Workspace, url: str) -> cost.Cost:
    """Measure the transfer within its process: its own seconds, the process's CPU and memory."""
    log = space.folder / "alone.log"
    spent = cost.run([sys.executable, "-m", "tests.bench.transfer_alone", url, str(space.fresh())], ROOT, log=log)
    return replace(spent, seconds=float(log.read_text().splitlines()[-1]))
