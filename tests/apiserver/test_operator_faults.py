"""What an operator survives: restarts, cut and deaf watches, an API server that goes away, events that never come."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver import cluster, line, operating
from tests.apiserver.image_server import ImageServer
from tests.apiserver.operating import OperatorProcess
from tests.fakes import images as make

pytestmark = pytest.mark.needs_kube
IMAGES = "/apis/goldmaster.dev/v1alpha1/namespaces/default/images"
MIB = 1024 * 1024


@contextmanager
def running(process: OperatorProcess) -> Iterator[OperatorProcess]:
    """Run an operator with the default storage `main`; let its images go before it ends."""
    process.start()
    try:
        main = operating.storage("main", process.root / "main")
        process.kube.kubectl("apply", "-f", "-", stdin=json.dumps(main))
        yield process
    finally:
        process.stop()


def put(kube: cluster.Cluster, document: dict[str, Any]) -> None:
    answer = kube.admin.create(IMAGES, document)
    assert answer.ok, answer.message


def look(kube: cluster.Cluster, name: str) -> dict[str, Any]:
    return kube.admin.get(f"{IMAGES}/{name}").body


def becomes_ready(process: OperatorProcess, *names: str) -> None:
    process.until(lambda: all(operating.ready(look(process.kube, name)) == ("True", "Succeeded") for name in names))


def versions(kube: cluster.Cluster) -> dict[str, str]:
    listed = kube.admin.get(IMAGES).body["items"]
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in listed}


def test_a_restart_costs_no_download_and_no_write(emptied: cluster.Cluster, images: ImageServer, folder: Path) -> None:
    names = [f"kept-{number}" for number in range(8)]
    process = OperatorProcess(emptied, folder)
    with running(process):
        for seed, name in enumerate(names):
            put(emptied, operating.image(name, images.add(f"/{name}.raw", make.raw(seed=seed))))
        becomes_ready(process, *names)
    before, asked = versions(emptied), len(images.requests)
    with running(process):
        # the queue is in order: when this one is Ready, all others were looked at
        put(emptied, operating.image("last", images.add("/last.raw", make.raw(seed=99))))
        becomes_ready(process, "last")
    after = versions(emptied)
    del after["last"]
    assert after == before
    assert len(images.requests) == asked + 1


def test_an_image_becomes_ready_while_its_watch_is_cut_again_and_again(
    emptied: cluster.Cluster, images: ImageServer, folder: Path
) -> None:
    with line.line_to(emptied.server) as wire:
        process = OperatorProcess(emptied, folder, port=wire.port)
        with running(process):
            for seed in range(4):
                name = f"cut-{seed}"
                assert seed == 0 or wire.cut() > 0
                put(emptied, operating.image(name, images.add(f"/{name}.raw", make.raw(seed=seed))))
                becomes_ready(process, name)
    assert not process.said("reconcile.bug")


def test_what_is_deleted_while_nobody_watches_is_found_by_the_list(
    fragile: cluster.Cluster, images: ImageServer, folder: Path
) -> None:
    """Forced away during an outage after which the server has no memory of it: no event will ever tell.

    A storage that is deleted waits for the images on it; that it goes shows that the ghost is gone.
    """
    with line.line_to(fragile.server) as wire:
        process = OperatorProcess(fragile, folder, "--list-interval=1s", port=wire.port)
        with running(process):
            put(fragile, operating.image("ghost", images.add("/ghost.raw", make.raw(seed=1))))
            becomes_ready(process, "ghost")
            wire.take_down()
            fragile.kubectl("patch", "image", "ghost", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
            fragile.kubectl("delete", "image", "ghost")
            with fragile.apiserver_down():
                pass
            wire.bring_up()
            fragile.kubectl("delete", "backupstorage", "main", "--timeout=60s")
    assert process.said("kube.resync_found")


def test_a_transfer_outlives_the_api_server(fragile: cluster.Cluster, images: ImageServer, folder: Path) -> None:
    """It begins before the outage, ends within it, is fetched once, and told when the server is back."""
    url = images.add("/outage.raw", make.raw(16 * MIB, seed=1))
    images.held, images.hold_after = {"/outage.raw"}, MIB
    images.flow.clear()
    process = OperatorProcess(fragile, folder)
    with running(process):
        put(fragile, operating.image("outage", url))
        process.until(lambda: images.sent.get("/outage.raw", 0) >= MIB)
        with fragile.apiserver_down():
            images.flow.set()
            process.until(lambda: bool(process.said("transfer.finished")))
        becomes_ready(process, "outage")
        # the watch is back too, not only the list
        put(fragile, operating.image("later", images.add("/later.raw", make.raw(seed=2))))
        becomes_ready(process, "later")
    assert images.asked("/outage.raw") == 1
    assert process.alive is False


def test_an_operator_that_starts_before_its_api_server_waits_for_it(
    emptied: cluster.Cluster, images: ImageServer, folder: Path
) -> None:
    with line.line_to(emptied.server) as wire:
        wire.take_down()
        process = OperatorProcess(emptied, folder, port=wire.port)
        with running(process):
            put(emptied, operating.image("early", images.add("/early.raw", make.raw(seed=1))))
            process.until(lambda: bool(process.said("kube.resync_failed")))
            wire.bring_up()
            becomes_ready(process, "early")


def test_killed_in_mid_transfer_it_goes_on_from_the_partial(
    emptied: cluster.Cluster, images: ImageServer, folder: Path
) -> None:
    url = images.add("/killed.raw", make.raw(16 * MIB, seed=3))
    images.held, images.hold_after = {"/killed.raw"}, 2 * MIB
    images.flow.clear()
    process = OperatorProcess(emptied, folder)
    with running(process):
        put(emptied, operating.image("killed", url))
        process.until(lambda: operating.kept_bytes(process.root / "main") >= 2 * MIB)
        process.kill()
        kept = operating.kept_bytes(process.root / "main")
        images.flow.set()
        process.start()
        becomes_ready(process, "killed")
    assert [start for path, start in images.requests if path == "/killed.raw"] == [0, kept]


def test_a_token_that_is_refused_is_read_anew(emptied: cluster.Cluster, images: ImageServer, folder: Path) -> None:
    """As the kubelet replaces it: the file changes, and both the watch and the writes log in again."""
    process = OperatorProcess(emptied, folder)
    good = process.token_file.read_text()
    process.token_file.write_text("stale")
    with running(process):
        process.until(lambda: bool(process.said("kube.resync_failed")))
        put(emptied, operating.image("token", images.add("/token.raw", make.raw(seed=1))))
        process.token_file.write_text(good)
        becomes_ready(process, "token")


def test_asked_to_stop_in_mid_transfer_it_ends_soon_and_goes_on_later(
    emptied: cluster.Cluster, images: ImageServer, folder: Path
) -> None:
    """As in every rollout: what came is kept, and not fetched again."""
    url = images.add("/stopped.raw", make.raw(16 * MIB, seed=4))
    images.held, images.hold_after = {"/stopped.raw"}, 4 * MIB
    images.flow.clear()
    process = OperatorProcess(emptied, folder)
    with running(process):
        put(emptied, operating.image("stopped", url))
        process.until(lambda: operating.arrived_bytes(look(emptied, "stopped")) >= 2 * MIB)
        assert process.stop() == 0
        kept = operating.kept_bytes(process.root / "main")
        images.flow.set()
        process.start()
        becomes_ready(process, "stopped")
    assert kept >= 2 * MIB  # the rest of the 4 may have been on the wire
    assert [start for path, start in images.requests if path == "/stopped.raw"] == [0, kept]
