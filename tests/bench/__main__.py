"""`make bench`: measure, print one table, keep it in README.md beside this file.

BENCH_SCALE (or --scale) multiplies sizes and counts, BENCH_DIR says where the data goes: a real disk, 12 GB at scale 1.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import (
    compressed,
    cost,
    machine,
    many_manifests,
    many_small,
    memory,
    one_image,
    shared,
    storages,
    table,
    workspace,
)
from tests.fakes.nginx import nginx

PARTS = {
    "a": one_image.measure,
    "b": memory.measure,
    "c": compressed.measure,
    "d": storages.measure,
    "e": many_small.measure,
    "g": many_manifests.measure,
    "h": shared.measure,
}
"""e measures f too: it needs e's images."""
NEEDED_BYTES = 12 * 10**9


def main() -> int:
    """Measure the parts asked for; end with 1 where a command under measurement failed."""
    options = arguments().parse_args()
    began, (load, *_) = time.monotonic(), os.getloadavg()
    report = table.Report()
    failures = []
    with tempfile.TemporaryDirectory(prefix="goldmaster-bench-", dir=options.dir) as folder:
        if shutil.disk_usage(folder).free < NEEDED_BYTES * min(options.scale, 1):
            print(f"{options.dir} needs {NEEDED_BYTES * options.scale / 1e9:.0f} GB of free space", file=sys.stderr)
            return 1
        space = workspace.Workspace(Path(folder), options.scale, options.rounds)
        space.served.mkdir()
        with nginx(space.served, Path(folder) / "nginx", "access_log off;") as space.url:
            for part in options.parts or PARTS:
                print(f"measuring ({part}) ...", file=sys.stderr, flush=True)
                try:
                    PARTS[part](space, report)
                except cost.Failed as failure:
                    failures.append(f"({part}) {failure}")
        described = machine.describe(Path(folder), options.scale, time.monotonic() - began, load)
    text = table.render(report, described)
    print(text)
    if failures:
        print("\n".join(f"FAILED {failure}" for failure in failures), file=sys.stderr)
    if options.scale == 1 and not options.parts and not failures:
        table.keep(Path(__file__).with_name("README.md"), text)
    return 1 if failures else 0


def arguments() -> argparse.ArgumentParser:
    """Return what can be asked for."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        choices=[*PARTS, []],
        help="only these parts (the table is kept only for all)",
    )
    parser.add_argument("--scale", type=float, default=float(os.environ.get("BENCH_SCALE", "1")))
    parser.add_argument("--rounds", type=int, default=5, help="runs of each variant, interleaved")
    parser.add_argument("--dir", default=os.environ.get("BENCH_DIR", "/var/tmp"), help="on a real disk")
    return parser


if __name__ == "__main__":
    sys.exit(main())
