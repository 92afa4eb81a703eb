"""Two replicas on one storage: one reconciles, and the other goes on where it was killed."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver import cluster, fault_proxy, line, operating
from tests.apiserver.image_server import ImageServer
from tests.apiserver.operating import OperatorProcess
from tests.fakes import images as make

pytestmark = pytest.mark.needs_kube
IMAGES = "/apis/goldmaster.dev/v1alpha1/namespaces/default/images"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{operating.NAMESPACE}/leases/goldmaster"
MIB = 1024 * 1024
ON_THE_WAY = 4 * MIB
"""Bytes that the source had sent and nobody had made durable when the leader was killed."""
ELECTION = ("--leader-election", "--lease-duration=8s")
"""Long enough for a leader on a busy machine not to lose it for want of a turn: who leads is counted here."""


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
    assert kept >= 2 * MIB
    assert images.sent["/big.raw"] <= 16 * MIB + ON_THE_WAY


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


def test_a_leader_that_is_cut_off_stops_its_transfer_before_the_other_goes_on_with_it(
    emptied: cluster.Cluster, pair: tuple[OperatorProcess, OperatorProcess], wire: line.Line, images: ImageServer
) -> None:
    """At no moment do two replicas fetch the same image."""
    first, second = pair
    images.held, images.hold_after = {"/cut.raw"}, 4 * MIB
    images.flow.clear()
    put(emptied, "cut", images.add("/cut.raw", make.raw(16 * MIB, seed=6)))
    first.until(lambda: operating.kept_bytes(first.root / "main") >= 2 * MIB)
    wire.take_down()
    second.until(lambda: bool(second.said("operator.leads")))
    stopped, leads = first.said("transfer.stopped"), second.said("operator.leads")
    assert stopped
    assert stopped[0]["timestamp"] < leads[0]["timestamp"]
    images.flow.set()
    becomes_ready(second, "cut")
    start, resumed = (start for path, start in images.requests if path == "/cut.raw")
    assert start == 0
    assert resumed >= 2 * MIB
    assert images.sent["/cut.raw"] <= 16 * MIB + ON_THE_WAY


def test_a_leader_that_was_frozen_finds_itself_deposed_and_lets_the_partial_go(
    emptied: cluster.Cluster, pair: tuple[OperatorProcess, OperatorProcess], images: ImageServer
) -> None:
    """As a node that hangs: it wakes up in the middle of a transfer and believes that no time has passed.

    Until then its lock keeps the partial from having two writers, and the new leader says so and waits.
    """
    first, second = pair
    content = make.raw(16 * MIB, seed=7)
    images.held, images.hold_after = {"/frozen.raw"}, 4 * MIB
    images.flow.clear()
    put(emptied, "frozen", images.add("/frozen.raw", content))
    first.until(lambda: operating.kept_bytes(first.root / "main") >= 2 * MIB)
    first.freeze()
    second.until(lambda: bool(second.said("transfer.broken")))
    assert "is being written by another process" in second.said("transfer.broken")[0]["message"]
    first.thaw()
    first.until(lambda: bool(first.said("operator.steps_down")))
    images.flow.set()
    becomes_ready(second, "frozen")
    objects = [path for path in (first.root / "main" / "objects").rglob("*") if path.is_file()]
    stored = [path.read_bytes() for path in objects if path.suffix != ".json"]
    assert [hashlib.sha256(data).hexdigest() for data in stored] == [hashlib.sha256(content).hexdigest()]
    assert images.sent["/frozen.raw"] <= 16 * MIB + 2 * ON_THE_WAY
    assert len(second.said("operator.leads")) == 1
    assert not second.said("operator.steps_down")


def test_a_write_of_a_stale_leader_that_arrives_late_is_refused_by_its_version(
    emptied: cluster.Cluster, images: ImageServer, folder: Path
) -> None:
    """Held up in the network until the next leader has written: the server says 409, and nothing of it lands."""
    emptied.admin.delete(LEASE)
    with fault_proxy.proxy_to(emptied) as proxy:
        first = OperatorProcess(emptied, folder, *ELECTION, name="first", port=proxy.port)
        second = OperatorProcess(emptied, folder, *ELECTION, name="second")
        try:
            first.start()
            first.until(lambda: bool(first.said("operator.leads")))
            emptied.kubectl("apply", "-f", "-", stdin=json.dumps(operating.storage("main", first.root / "main")))
            emptied.kubectl("wait", "--for=condition=Ready", "backupstorage/main", "--timeout=60s")
            second.start()
            second.until(lambda: bool(second.said("lease.waits")))
            with proxy.holding("PUT", "images/late/status") as hold, proxy.faulty(503, "", "/leases/"):
                put(emptied, "late", images.add("/late-leader.raw", make.raw(seed=8)))
                first.until(hold.arrived.is_set)
                second.until(lambda: bool(second.said("operator.leads")))
                becomes_ready(second, "late")
                before = emptied.admin.get(f"{IMAGES}/late").body
            first.until(lambda: 409 in [one.status for one in proxy.asked("PUT", "images/late/status")])
            assert emptied.admin.get(f"{IMAGES}/late").body == before
            # once more where what was held came before the first could claim what it had placed
            assert images.asked("/late-leader.raw") <= 2
        finally:
            first.kill()
            second.kill()
