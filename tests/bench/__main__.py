"""`make bench`: measure, print one table, keep it in README.md beside this file.

BENCH_SCALE (or --scale) multiplies sizes and counts, BENCH_DIR says where the data goes: a real disk, 12 GB at scale 1.
"""

import sys
from pathlib import Path

from tests.bench import compressed, driver, many_manifests, many_small, memory, one_image, shared, storages

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
    parser = driver.arguments("make bench", __doc__, PARTS)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each variant, interleaved")
    options = parser.parse_args()
    kept_in = Path(__file__).with_name("README.md")
    return driver.run(options, PARTS, kept_in, needed_bytes=NEEDED_BYTES, rounds=options.rounds)


if __name__ == "__main__":
    sys.exit(main())
