"""What `make bench` and `make bench-kube` have in common: options, parts one after the other, one table."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.bench import cost, machine, table, workspace
from tests.fakes.nginx import nginx

Part = Callable[[workspace.Workspace, table.Report], None]


def run(
    options: argparse.Namespace,
    parts: Mapping[str, Part],
    kept_in: Path,
    *,
    needed_bytes: int,
    rounds: int,
    failures: tuple[type[Exception], ...] = (cost.Failed,),
) -> int:
    """Measure the parts asked for, print the table, and keep a full one; return 1 where a part could not be measured.

    `needed_bytes`: of disk, at scale 1.
    """
    began, (load, *_) = time.monotonic(), os.getloadavg()
    report = table.Report()
    failed = []
    with tempfile.TemporaryDirectory(prefix="goldmaster-bench-", dir=options.dir) as folder:
        if shutil.disk_usage(folder).free < needed_bytes * min(options.scale, 1):
            print(f"{options.dir} needs {needed_bytes * options.scale / 1e9:.0f} GB of free space", file=sys.stderr)
            return 1
        space = workspace.Workspace(Path(folder), options.scale, rounds)
        space.served.mkdir()
        with nginx(space.served, Path(folder) / "nginx", "access_log off;") as space.url:
            for part in options.parts or parts:
                print(f"measuring ({part}) ...", file=sys.stderr, flush=True)
                try:
                    parts[part](space, report)
                except failures as failure:
                    failed.append(f"({part}) {failure}")
        described = machine.describe(Path(folder), options.scale, time.monotonic() - began, load)
    text = table.render(report, described)
    print(text)
    if failed:
        print("\n".join(f"FAILED {failure}" for failure in failed), file=sys.stderr)
    if options.scale == 1 and not options.parts and not failed:
        table.keep(kept_in, text)
    return 1 if failed else 0


def arguments(program: str, about: str | None, parts: Mapping[str, Part]) -> argparse.ArgumentParser:
    """Return what can be asked for."""
    parser = argparse.ArgumentParser(prog=f"{program} ARGS=...", description=about)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        choices=[*parts, []],
        help="only these parts (the table is kept only for all)",
    )
    parser.add_argument("--scale", type=float, default=float(os.environ.get("BENCH_SCALE", "1")))
    parser.add_argument("--dir", default=os.environ.get("BENCH_DIR", "/var/tmp"), help="on a real disk")
    return parser
