"""(g) Ten thousand manifests: how long reading, checking and deciding takes, and in how much memory."""

from tests.bench import cost
from tests.bench.table import Report
from tests.bench.workspace import IMAGE, Workspace

PART = "g"
COUNT = 10_000


def measure(space: Workspace, report: Report) -> None:
    """Nothing is fetched: `plan` only says what would be."""
    count = space.count(COUNT)
    manifests = space.folder / "manifests" / "many"
    manifests.mkdir(parents=True)
    for number in range(count):
        checksum = f', checksum: "sha256:{number:064x}"'
        text = IMAGE.format(name=f"many-{number}", url=f"{space.url}/{number}.raw", more=checksum)
        (manifests / f"{number}.yaml").write_text(text)
    policy = ("--allow-network", "127.0.0.0/8")
    costs = cost.interleave(
        {
            f"validate {count} manifests": lambda: space.goldmaster("validate", str(manifests)),
            f"plan {count} manifests": lambda: space.goldmaster(
                "plan", str(manifests), "--state", str(space.fresh() / "state"), *policy
            ),
        },
        min(space.rounds, 3),
    )
    notes = {name: f"{cost.median_s(several) / count * 1e6:.0f} µs each" for name, several in costs.items()}
    report.add(PART, costs, notes)
