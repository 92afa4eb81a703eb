"""Two replicas on one storage: one reconciles, and the other goes on where it was killed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver import cluster, line, operating
from tests.apiserver.image_server import ImageServer
from tests.apiserver.operating import OperatorProcess
from tests.fakes import images as make

pytestmark = pytest.mark.needs_kube
IMAGES = "/apis/goldmaster.dev/v1alpha1/namespaces/default/images"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{operating.NAMESPACE}/leases/goldmaster"
MIB = 1024 * 1024
ELECTION = ("--leader-election", "--lease-duration=3s")


@pytest.fixture
def wire(emptied: cluster.Cluster) -> Iterator[line.Line]:
    """The first replica's line to the API server."""
    with line.line_to(emptied.server) as found:
        yield found


@pytest.fixture
def pair(emptied: cluster.Cluster, wire: line.Line, folder: Path) -> Iterator[tuple[OperatorProcess, OperatorProcess]]:
    """The leader and its standby, over one storage."""
    emptied.admin.delete(LEASE)
    first = OperatorProcess(emptied, folder, *ELECTION, name="first", port=wire.port)
    second = OperatorProcess(emptied, folder, *ELECTION, name="second")
    try:
        first.start()
        first.until(lambda: bool(first.said("operator.leads")))
        second.start()
        second.until(lambda: bool(second.said("lease.waits")))
        emptied.kubectl("apply", "-f", "-", stdin=json.dumps(operating.storage("main", first.root / "main")))
        yield first, second
    finally:
        first.kill()
        second.kill()


def put(kube: cluster.Cluster, name: str, url: str) -> None:
    answer = kube.admin.create(IMAGES, operating.image(name, url))
    assert answer.ok, answer.message


def becomes_ready(process: OperatorProcess, name: str) -> None:
    found = f"{IMAGES}/{name}"
    process.until(lambda: operating.ready(process.kube.admin.get(found).body) == ("True", "Succeeded"))


def test_one_leads_and_hands_over_at_once_when_it_is_stopped(
    emptied: cluster.Cluster, pair: tuple[OperatorProcess, OperatorProcess], images: ImageServer
) -> None:
    first, second = pair
    put(emptied, "mine", images.add("/mine.raw", make.raw(seed=1)))
    becomes_ready(first, "mine")
    assert not second.said("operator.leads")
    assert first.stop() == 0
    second.until(lambda: bool(second.said("operator.leads")))
    put(emptied, "yours", images.add("/yours.raw", make.raw(seed=2)))
    becomes_ready(second, "yours")
    assert images.asked("/mine.raw") == 1
    assert emptied.admin.get(LEASE).body["spec"]["leaseTransitions"] == 2


def test_the_standby_goes_on_from_the_partial_of_a_killed_leader(
    emptied: cluster.Cluster, pair: tuple[OperatorProcess, OperatorProcess], images: ImageServer
) -> None:
    first, second = pair
    images.held, images.hold_after = {"/big.raw"}, 2 * MIB
    images.flow.clear()
    put(emptied, "big", images.add("/big.raw", make.raw(16 * MIB, seed=3)))
    first.until(lambda: operating.kept_bytes(first.root / "main") >= 2 * MIB)
    first.kill()
    kept = operating.kept_bytes(first.root / "main")
    images.flow.set()
    becomes_ready(second, "big")
    assert [start for path, start in images.requests if path == "/big.raw"] == [0, kept]


def test_a_leader_that_cannot_renew_steps_down_before_the_other_begins(
    emptied: cluster.Cluster, pair: tuple[OperatorProcess, OperatorProcess], wire: line.Line, images: ImageServer
) -> None:
    """It stays, as the standby, and takes over again when it is needed."""
    first, second = pair
    wire.take_down()
    second.until(lambda: bool(second.said("operator.leads")))
    assert first.alive
    down, up = first.said("operator.steps_down"), second.said("operator.leads")
    assert down
    assert down[0]["timestamp"] < up[0]["timestamp"]
    wire.bring_up()
    put(emptied, "mid", images.add("/mid.raw", make.raw(seed=4)))
    becomes_ready(second, "mid")
    second.kill()
    first.until(lambda: len(first.said("operator.leads")) == 2)
    put(emptied, "end", images.add("/end.raw", make.raw(seed=5)))
    becomes_ready(first, "end")
    assert images.asked("/mid.raw") == 1
