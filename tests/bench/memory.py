"""(b) Peak memory, whatever the size of the image."""

from tests.bench.table import Goal, Report
from tests.bench.workspace import Workspace, boot_sector

PART = "b"
SIZES_MIB = (64, 4096)


def measure(space: Workspace, report: Report) -> None:
    """Apply a small and a large image once each. Their zeros are stored like any other bytes."""
    peaks = []
    for size_mib in SIZES_MIB:
        name = f"b{size_mib}.raw"
        with (space.served / name).open("wb") as file:
            file.write(boot_sector())
            file.truncate(space.bytes(size_mib))
        spent = space.applying(space.manifest(f"b{size_mib}", name))()
        (space.served / name).unlink()
        peaks.append(spent.peak_bytes / 2**20)
        report.add(PART, {f"apply, one image of {space.bytes(size_mib) / 2**20:.0f} MiB": [spent]})
    report.goals += [
        Goal(PART, "peak memory, larger image", peaks[1], 150, "MiB"),
        Goal(PART, "peak memory, larger / smaller image", peaks[1] / peaks[0], 1.5),
    ]
