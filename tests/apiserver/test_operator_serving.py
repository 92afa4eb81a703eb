"""What an operator tells: probes, metrics, Kubernetes Events."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver import cluster, line, operating
from tests.apiserver.image_server import ImageServer
from tests.apiserver.operating import OperatorProcess
from tests.fakes import images as make

pytestmark = pytest.mark.needs_kube
IMAGES = "/apis/goldmaster.dev/v1alpha1/namespaces/default/images"
SERVE = "--serve=127.0.0.1:0"


@pytest.fixture
def process(emptied: cluster.Cluster, folder: Path) -> Iterator[OperatorProcess]:
    """An operator that serves, with the storage `main`."""
    started = OperatorProcess(emptied, folder, SERVE).start()
    try:
        started.until(lambda: bool(started.said("operator.leads")))
        emptied.kubectl("apply", "-f", "-", stdin=json.dumps(operating.storage("main", started.root / "main")))
        emptied.kubectl("wait", "--for=condition=Ready", "backupstorage/main", "--timeout=60s")
        yield started
    finally:
        started.stop()


def put(process: OperatorProcess, document: dict[str, Any]) -> None:
    answer = process.kube.admin.create(IMAGES, document)
    assert answer.ok, answer.message


def becomes(process: OperatorProcess, name: str, *ready: str) -> None:
    process.until(lambda: operating.ready(process.kube.admin.get(f"{IMAGES}/{name}").body) == ready)


def told(process: OperatorProcess, name: str, namespace: str = "default") -> list[tuple[str, str]]:
    """Return type and reason of the Events of an object, in the order of their making."""
    items = process.kube.admin.get(f"/api/v1/namespaces/{namespace}/events").body["items"]
    ours = [item for item in items if item["involvedObject"]["name"] == name]
    ours.sort(key=lambda item: int(item["metadata"]["resourceVersion"]))
    return [(item["type"], item["reason"]) for item in ours]


def test_it_is_ready_once_it_has_listed_everything(emptied: cluster.Cluster, folder: Path, images: ImageServer) -> None:
    with line.line_to(emptied.server) as wire:
        wire.take_down()
        process = OperatorProcess(emptied, folder, SERVE, port=wire.port).start()
        try:
            process.until(lambda: bool(process.said("kube.resync_failed")))
            assert process.probe("/readyz") == (503, "objects were not listed yet\n")
            assert process.probe("/healthz") == (200, "starting\n")
            wire.bring_up()
            process.until(lambda: process.probe("/readyz") == (200, "leading\n"))
            assert process.probe("/healthz")[0] == 200
            assert process.probe("/other")[0] == 404
        finally:
            assert process.stop() == 0


def test_an_image_costs_two_writes_and_an_event(process: OperatorProcess, images: ImageServer) -> None:
    """The finalizer and the status; a person reads the Event in `kubectl describe`."""
    put(process, operating.image("warm", images.add("/warm.raw", make.raw(seed=1))))
    becomes(process, "warm", "True", "Succeeded")
    process.until(lambda: told(process, "warm") == [("Normal", "Succeeded")])
    before = process.metric("goldmaster_api_writes_total")
    for number in range(5):
        put(process, operating.image(f"cheap-{number}", images.add(f"/cheap-{number}.raw", make.raw(seed=number))))
    for number in range(5):
        name = f"cheap-{number}"
        becomes(process, name, "True", "Succeeded")
        process.until(lambda name=name: told(process, name) == [("Normal", "Succeeded")])  # type: ignore[misc]
    assert process.metric("goldmaster_api_writes_total") - before <= 5 * 3
    page = process.probe("/metrics")[1]
    assert 'goldmaster_images{phase="Ready",reason="Succeeded"} 6.0' in page
    assert 'goldmaster_storage_connected{storage="main"} 1.0' in page
    assert process.metric("goldmaster_received_bytes_total") == 6 * len(make.raw(seed=1))
    assert 'goldmaster_transfers_ended_total{origin="source",reason="Succeeded"} 6.0' in page
    assert 'goldmaster_api_writes_total{resource="images/status",verb="update"}' in page
    described = process.kube.kubectl("describe", "image", "warm").stdout
    assert "stored and verified on main" in described.split("Events:")[1]


def test_a_failure_is_told_once_and_its_end_too(process: OperatorProcess, images: ImageServer) -> None:
    """However often it is tried again in between."""
    quick = {"retry": {"initialBackoff": "1s", "maxBackoff": "1s"}}
    put(process, operating.image("flaky", "http://127.0.0.1:1/flaky.raw", **quick))

    def tried_again() -> bool:
        return bool(process.kube.admin.get(f"{IMAGES}/flaky").body.get("status", {}).get("attempts", 0) >= 3)

    process.until(tried_again)
    assert told(process, "flaky") == [("Warning", "SourceUnreachable")]
    url = images.add("/flaky.raw", make.raw(seed=2))
    process.kube.kubectl("patch", "image", "flaky", "--type=merge", "-p", json.dumps({"spec": {"url": url}}))
    becomes(process, "flaky", "True", "Succeeded")
    process.until(lambda: told(process, "flaky") == [("Warning", "SourceUnreachable"), ("Normal", "Succeeded")])


def test_a_storage_tells_in_the_default_namespace(process: OperatorProcess) -> None:
    outside = operating.storage("outside", Path("/nonexistent/outside"))
    process.kube.kubectl("apply", "-f", "-", stdin=json.dumps(outside))
    process.until(lambda: told(process, "outside") == [("Warning", "PolicyDenied")])
    assert "does not lie below" in process.kube.kubectl("describe", "backupstorage", "outside").stdout
