"""(a) Many small images applied at once, in a cluster and in standalone mode."""

import time
from functools import partial

from tests.apiserver import operating
from tests.bench.cost import Cost, Failed
from tests.bench.table import Goal, Report
from tests.bench.workspace import IMAGE, MIB, STORAGE, Workspace
from tests.bench_kube.stage import HERE, Told, stage

PART = "a"
COUNT = 1000
WRITES_EACH = 4


def measure(space: Workspace, report: Report) -> None:
    """Each image has content of its own. Created over four connections, as kubectl alone would take longer than we."""
    count = space.count(COUNT)
    manifests = space.folder / "manifests" / "small"
    manifests.mkdir(parents=True)
    names = [f"small-{number}" for number in range(count)]
    for name in names:
        space.random_image(f"{name}.raw", MIB)
        (manifests / f"{name}.yaml").write_text(
            IMAGE.format(name=name, url=f"{space.url}/{name}.raw", more=", backupStorages: [main]")
        )
    in_cluster(space, report, names)
    fresh = space.fresh()
    (manifests / "main.yaml").write_text(STORAGE.format(name="main", path=fresh / "main"))
    alone = space.apply(manifests, fresh / "state")
    what = f"standalone: apply {count} images of 1 MiB"
    note = f"{count / alone.seconds:.0f} images/s, {alone.cpu_s / count * 1000:.1f} ms of CPU each"
    report.add(PART, {what: [alone]}, {what: note})


def in_cluster(space: Workspace, report: Report, names: list[str]) -> None:
    """Measure from the first request of `apply` to the last status that says Ready."""
    count = len(names)
    with stage(space.fresh()) as on:
        on.start()
        on.quiet()
        assert on.operator is not None
        before, written, ready = (
            on.spent(),
            on.writes(),
            Told(on.operator.log_file, "image.status", "image", phase="Ready"),
        )
        others = on.everybody()
        documents = [
            operating.image(name, f"{space.url}/{name}.raw", format="raw", backupStorages=["main"]) for name in names
        ]
        began = time.monotonic()
        on.each(documents, partial(on.api.create, HERE))
        created = time.monotonic() - began
        seconds = on.until(lambda: ready.count() >= count) - began
        after = on.spent()
        shares = on.everybody() - others
        on.quiet()
        writes, events = on.writes() - written, on.writes("events")
        found = on.list()
        if sum(operating.ready(image)[0] == "True" for image in found) != count:
            raise Failed("the log speaks of more Ready images than there are")
    what = f"operator: {count} images of 1 MiB at once"
    cpu_s = after.cpu_s - before.cpu_s
    note = (
        f"{count / seconds:.0f} images/s, {cpu_s / count * 1000:.1f} ms of CPU each, {writes / count:.2f} writes each "
        f"({events / count:.2f} of them Events); creating took {created:.1f} s"
    )
    machine = ", ".join(f"{name} {used / count * 1000:.1f}" for name, used in shares.most_common(5))
    report.add(PART, {what: [Cost(seconds, cpu_s, after.peak_bytes)]}, {what: note})
    what = "all programs on the machine meanwhile"
    report.add(PART, {what: [Cost(seconds, shares.total(), 0)]}, {what: f"ms of CPU an image: {machine}"})
    report.goals.append(Goal(PART, "small images a second in a cluster", count / seconds, 50, "/s", at_least=True))
    lives = (writes - events) / count
    report.goals.append(Goal(PART, "API writes per image, Events aside", lives, WRITES_EACH, ""))
