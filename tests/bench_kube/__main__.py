"""`make bench-kube`: measure operator mode on a real API server, print a table, keep it in README.md beside this file.

BENCH_SCALE (or --scale) multiplies counts and times, BENCH_DIR says where the data goes: a real disk, 5 GB at scale 1.
"""

import sys
from pathlib import Path

from tests.apiserver import client
from tests.bench import cost, driver
from tests.bench_kube import at_once, many_ready

PARTS = {"a": at_once.measure, "b": many_ready.measure}
"""b measures c and d too: they need its images."""
NEEDED_BYTES = 5 * 10**9


def main() -> int:
    """Measure the parts asked for; end with 1 where one could not be measured."""
    options = driver.arguments("make bench-kube", __doc__, PARTS).parse_args()
    kept_in = Path(__file__).with_name("README.md")
    failures = (cost.Failed, client.Unreachable)
    return driver.run(options, PARTS, kept_in, needed_bytes=NEEDED_BYTES, rounds=1, failures=failures)


if __name__ == "__main__":
    sys.exit(main())
