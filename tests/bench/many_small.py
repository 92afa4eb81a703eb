"""(e) A thousand images of 1 MiB at once, and (f) the same again when all are Ready."""

from collections.abc import Callable
from functools import partial

from tests.bench import cost
from tests.bench.cost import Cost
from tests.bench.table import Goal, Report
from tests.bench.workspace import IMAGE, MIB, Workspace

COUNT = 1000
READING = {
    "get images": ("get", "images"),
    "get images -o json": ("get", "images", "-o", "json"),
    "inventory": ("inventory",),
    "describe image": ("describe", "image", "small-0"),
}


def measure(space: Workspace, report: Report) -> None:
    """Each image has content of its own, so that nothing is shared."""
    count = space.count(COUNT)
    manifests = space.folder / "manifests" / "small"
    manifests.mkdir(parents=True)
    for number in range(count):
        space.random_image(f"small-{number}.raw", MIB)
        text = IMAGE.format(name=f"small-{number}", url=f"{space.url}/small-{number}.raw", more="")
        (manifests / f"small-{number}.yaml").write_text(text)
    state = space.fresh() / "state"
    first = space.apply(manifests, state)
    rate = count / first.seconds
    note = f"{rate:.0f} images/s, {first.cpu_s / count * 1000:.1f} ms of CPU each"
    report.add("e", {f"apply {count} images of 1 MiB": [first]}, {f"apply {count} images of 1 MiB": note})
    report.goals.append(Goal("e", "small images a second", rate, 50, "/s", at_least=True))
    again(space, report, count, lambda: space.apply(manifests, state))
    verbs = cost.interleave(
        {name: partial(space.goldmaster, *verb, "--state", str(state)) for name, verb in READING.items()},
        space.rounds,
    )
    report.add("f", verbs, dict.fromkeys(verbs, f"on a state of {count} images"))
    slowest = max(cost.median_s(several) for several in verbs.values())
    report.goals.append(Goal("f", f"slowest reading verb on {count} images", slowest, 0.5, "s"))


def again(space: Workspace, report: Report, count: int, apply: Callable[[], Cost]) -> None:
    """Apply what is Ready already: nothing is fetched, and next to nothing written."""
    name = f"apply {count} Ready images again"
    costs = cost.interleave({name: apply}, space.rounds)
    last = costs[name][-1]
    note = (
        f"reads {last.read_bytes / MIB:.1f} MiB, writes {last.written_bytes / 1024:.0f} KiB "
        f"in {last.write_calls} calls, {last.disk_written_bytes / 1024:.0f} KiB to disk"
    )
    report.add("f", costs, {name: note})
