"""`make bench-kube`: measure operator mode on a real API server, print a table, keep it in README.md beside this file.

BENCH_SCALE (or --scale) multiplies counts and times, BENCH_DIR says where the data goes: a real disk, 5 GB at scale 1.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.apiserver import client
from tests.bench import cost, machine, table, workspace
from tests.bench_kube import at_once, many_ready
from tests.fakes.nginx import nginx

PARTS = {"a": at_once.measure, "b": many_ready.measure}
"""b measures c and d too: they need its images."""


def main() -> int:
    """Measure the parts asked for; end with 1 where one could not be measured."""
    options = arguments().parse_args()
    began, (load, *_) = time.monotonic(), os.getloadavg()
    report = table.Report()
    failures = []
    with tempfile.TemporaryDirectory(prefix="goldmaster-bench-", dir=options.dir) as folder:
        space = workspace.Workspace(Path(folder), options.scale, rounds=1)
        space.served.mkdir()
        with nginx(space.served, Path(folder) / "nginx", "access_log off;") as space.url:
            for part in options.parts or PARTS:
                print(f"measuring ({part}) ...", file=sys.stderr, flush=True)
                try:
                    PARTS[part](space, report)
                except (cost.Failed, client.Unreachable) as failure:
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
    parser = argparse.ArgumentParser(prog="make bench-kube ARGS=...", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        choices=[*PARTS, []],
        help="only these parts (the table is kept only for all)",
    )
    parser.add_argument("--scale", type=float, default=float(os.environ.get("BENCH_SCALE", "1")))
    parser.add_argument("--dir", default=os.environ.get("BENCH_DIR", "/var/tmp"), help="on a real disk")
    return parser


if __name__ == "__main__":
    sys.exit(main())
