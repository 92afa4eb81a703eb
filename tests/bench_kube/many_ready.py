"""(b) Ten thousand Ready images, (c) a change to one of them, (d) the deletion of a thousand.

Made without the operator, which would need minutes: the benchmark writes objects and statuses after the example of
images that the operator really imported, one for each hundred, and our own ImageStore adapter makes each one's claim on
the storage, without its syncs. The first operator to see them all must therefore find nothing to do.
"""

import copy
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from controller.adapters.backup.imagestore import ImageStore
from controller.adapters.clock import SystemClock
from controller.adapters.durable_files import FileCalls
from controller.model.resource import REQUESTED_AT
from tests.apiserver import image_server, operating
from tests.bench.cost import Cost, Failed
from tests.bench.table import Goal, Report
from tests.bench.workspace import MIB, Workspace
from tests.bench_kube.stage import HERE, Stage, Told, stage

PART = "b"
COUNT = 10_000
SHARED_BY = 100
"""So many images share one content."""
CONTENT_BYTES = 65536
STEADY_S = 120.0
EXTRA_S, SETTLE_S = 40.0, 25.0
RESYNC_S, LIST_S = 600.0, 300.0
"""The defaults of --resync-interval, whose jitter makes it 10 % more on average, and of --list-interval."""
LISTS = "goldmaster_resyncs_total"
STEADY_SHARE, MEMORY_MIB = 0.02, 400
HELD_BYTES = 8 * MIB
NAME = "example-0"
"""The image that changes."""


def measure(space: Workspace, report: Report) -> None:
    """Measure all of it on one cluster."""
    count = space.count(COUNT)
    with stage(space.fresh()) as on:
        examples = _imported(space, on, max(count // SHARED_BY, 1))
        seconds = _multiply(on, examples, count - len(examples))
        print(f"made {count} Ready images in {seconds:.0f} s", file=sys.stderr, flush=True)
        idle = restart(space, report, on, count)
        regular(report, on, count, idle)
        one_change(report, on, count)
        deletion(space, report, on, count)


def _imported(space: Workspace, on: Stage, count: int) -> list[dict[str, Any]]:
    """Let the operator import some images, and return them."""
    on.start()
    names = [f"example-{number}" for number in range(count)]
    for name in names:
        space.random_image(f"{name}.raw", CONTENT_BYTES)
    wanted = {"format": "raw", "backupStorages": ["main"], "deletionPolicy": "Direct"}
    documents = [operating.image(name, f"{space.url}/{name}.raw", **wanted) for name in names]
    on.each(documents, partial(on.api.create, HERE))
    on.until(lambda: all(operating.ready(image) == ("True", "Succeeded") for image in on.list()), pause_s=0.5)
    on.quiet()
    on.stop()
    return on.list()


def _multiply(on: Stage, examples: Sequence[dict[str, Any]], count: int) -> float:
    """Make so many more like them; a tenth has the label bench=deleted. Return how long it took."""
    began = time.monotonic()
    storage_uuid = examples[0]["status"]["backupStorageRefs"][0]["backupStorageUuid"]
    store = ImageStore(
        str(on.storage), storage_uuid=storage_uuid, reserved_bytes=0, clock=SystemClock(), files=_Unsynced()
    )
    claims = [store.refs(example["status"]["uuid"])[0] for example in examples]
    documents = [
        {
            "apiVersion": example["apiVersion"],
            "kind": "Image",
            "metadata": {
                "name": f"ready-{number}",
                "finalizers": example["metadata"]["finalizers"],
                "labels": {"bench": "deleted" if number % 10 == 0 else "kept"},
            },
            "spec": example["spec"],
        }
        for number, example in zip(range(count), itertools.cycle(examples), strict=False)
    ]
    made = [answer.body for answer in on.each(documents, partial(on.api.create, HERE))]
    for image, example, claim in zip(made, itertools.cycle(examples), itertools.cycle(claims), strict=False):
        image["status"] = _like(example["status"], image)
        owner = f"default/{image['metadata']['name']}"
        store.link(image["status"]["uuid"], replace(claim, owner=owner, install_path=""))
    on.each(made, lambda image: on.api.replace(f"{HERE}/{image['metadata']['name']}/status", image))
    return time.monotonic() - began


class _Unsynced(FileCalls):
    """What a benchmark prepares need not outlive a power cut."""

    def fsync(self, fd: int) -> None:
        pass

    def fdatasync(self, fd: int) -> None:
        pass


def _like(status: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    own = copy.deepcopy(status)
    own["uuid"] = image["metadata"]["uid"].replace("-", "")
    for ref in own["backupStorageRefs"]:
        ref["imageUuid"] = own["uuid"]
        ref["installPath"] = ref["installPath"].replace(status["uuid"], own["uuid"])
    return own


def restart(space: Workspace, report: Report, on: Stage, count: int) -> float:
    """Measure from the start of the process until it is quiet, then what it costs when nothing happens."""
    versions = {image["metadata"]["name"]: image["metadata"]["resourceVersion"] for image in on.list()}
    if len(versions) != count:
        raise Failed(f"{len(versions)} objects instead of {count}")
    steady_s = max(STEADY_S * space.scale, 10.0)
    began = time.monotonic()
    on.start()
    quiet = on.quiet()
    start, writes = on.spent(), on.writes("images/status") + on.writes("images")
    received = on.metric("goldmaster_received_bytes_total")
    what = f"operator restart on {count} Ready images"
    note = f"until quiet; {writes} writes to images, {received:.0f} bytes fetched; LIST {_list_note(on)}"
    report.add(PART, {what: [Cost(quiet - began, start.cpu_s, start.peak_bytes)]}, {what: note})
    on.until(lambda: time.monotonic() >= start.at + steady_s, pause_s=1)
    end = on.spent()
    idle = (end.cpu_s - start.cpu_s) / (end.at - start.at)
    what = f"steady for {end.at - start.at:.0f} s, no list and no look due"
    cost = Cost(end.at - start.at, end.cpu_s - start.cpu_s, end.peak_bytes)
    report.add(PART, {what: [cost]}, {what: f"{idle * 100:.2f} % of a core; memory now {end.rss_bytes / MIB:.0f} MiB"})
    changed = [
        image for image in on.list() if versions[image["metadata"]["name"]] != image["metadata"]["resourceVersion"]
    ]
    report.goals += [
        Goal(PART, "writes to images by a restart and after it", len(changed), 0, ""),
        Goal(PART, "bytes fetched by a restart", received, 0, ""),
        Goal(PART, f"memory, peak, {count} images", end.peak_bytes / MIB, MEMORY_MIB, "MiB"),
    ]
    on.stop()
    return idle


def _list_note(on: Stage) -> str:
    sizes = [page.size for page in on.pages()]
    return f"{sum(sizes) / MIB:.1f} MiB in {len(sizes)} pages"


def regular(report: Report, on: Stage, count: int, idle: float) -> None:
    """Measure what a look at an image and a list of all cost, by having them far more often, and add up a steady state.

    Two minutes after a start neither is due yet.
    """
    looks = _extra(report, on, "looks at images that are as they should be", "--resync-interval=20s", _looked, idle)
    lists = _extra(report, on, "lists of all", "--list-interval=5s", lambda on: on.metric(LISTS), idle)
    share = idle + looks * count / (RESYNC_S * 1.1) + lists / LIST_S
    what = "steady CPU, looks and lists included, share of a core"
    report.goals.append(Goal(PART, what, share, STEADY_SHARE, ""))


def _extra(report: Report, on: Stage, what: str, flag: str, counted: Callable[[Stage], float], idle: float) -> float:
    """Return the CPU seconds of each of what a flag makes frequent, and add a row."""
    began = time.monotonic()
    on.start(flag)
    ready_s = time.monotonic() - began
    on.until(lambda: time.monotonic() >= began + 2 * ready_s + SETTLE_S, pause_s=1)  # the watch lists all once more
    before, seen = on.spent(), counted(on)
    on.until(lambda: time.monotonic() >= before.at + EXTRA_S, pause_s=1)
    after, times = on.spent(), counted(on) - seen
    cost = Cost(after.at - before.at, after.cpu_s - before.cpu_s, after.peak_bytes)
    each_s = max(cost.cpu_s - idle * cost.seconds, 0) / times
    report.add(PART, {f"{times:.0f} {what}": [cost]}, {f"{times:.0f} {what}": f"{each_s * 1000:.2f} ms of CPU each"})
    on.stop()
    return each_s


def _looked(on: Stage) -> float:
    return on.metric("goldmaster_reconcile_seconds_count", kind="Image")


def one_change(report: Report, on: Stage, count: int) -> None:
    """Measure from the change of one spec until its new source is asked, and until the status says Downloading."""
    on.start()
    on.quiet()
    _request(on, "ready-1")
    on.quiet()
    with image_server.serving() as images:
        content = bytes(440) + bytes(70) + b"\x55\xaa" + bytes(HELD_BYTES)
        url = images.add("/changed.raw", content)
        images.held.add("/changed.raw")
        before, began = on.spent(), time.monotonic()
        on.each([{"spec": {"url": url}}], partial(on.api.merge, f"{HERE}/{NAME}"))
        asked = on.until(lambda: bool(images.requests), pause_s=0.002) - began
        told = on.until(lambda: on.get(NAME)["status"]["phase"] != "Ready" or _progressing(on), pause_s=0.01) - began
        after = on.spent()
        images.flow.set()
        on.until(lambda: operating.ready(on.get(NAME))[0] == "True")
    what = f"one spec of {count} changed, until the status says so"
    note = f"the source is asked after {asked * 1000:.0f} ms"
    report.add("c", {what: [Cost(told, after.cpu_s - before.cpu_s, after.peak_bytes)]}, {what: note})
    report.goals.append(Goal("c", "from a change of spec to the request", asked, 1, "s"))


def _request(on: Stage, name: str) -> None:
    """Ask for a look, and wait until that was done: then the watch is there, however long its first list took."""
    asked = {"metadata": {"annotations": {REQUESTED_AT: name}}}
    on.each([asked], partial(on.api.merge, f"{HERE}/{name}"))
    on.until(lambda: on.get(name)["status"].get("lastHandledReconcileAt") == name, pause_s=0.2)


def _progressing(on: Stage) -> bool:
    return "progress" in on.get(NAME)["status"]


def deletion(space: Workspace, report: Report, on: Stage, count: int) -> None:
    """Measure from the first request that deletes one, as `kubectl delete -l` asks, until none of them is there."""
    names = [image["metadata"]["name"] for image in on.list("bench=deleted")]
    doomed = len(names)
    before, written = on.spent(), on.writes()
    assert on.operator is not None
    released, began = Told(on.operator.log_file, "kube.released", "key"), time.monotonic()
    on.each(names, lambda name: on.api.delete(f"{HERE}/{name}"))
    asked = time.monotonic() - began
    seconds = on.until(lambda: released.count() >= doomed) - began
    after = on.spent()
    on.quiet()
    if on.list("bench=deleted"):
        raise Failed("the log speaks of more objects let go than there are")
    writes = (on.writes() - written) / doomed
    what = f"deletion of {doomed} of {count}"
    note = f"{doomed / seconds:.0f} images/s, {writes:.2f} writes each; asking took {asked:.1f} s"
    report.add("d", {what: [Cost(seconds, after.cpu_s - before.cpu_s, after.peak_bytes)]}, {what: note})
    claims = len(list((on.storage / "images").iterdir()))
    if claims != count - doomed:
        raise Failed(f"{claims} claims are left of {count - doomed}")
    on.stop()
