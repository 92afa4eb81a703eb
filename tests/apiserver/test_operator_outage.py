"""Ten minutes without an API server, with transfers that begin, go on and end in them, in front of a real one.

The minutes are the operator's (moved.py), the refused connections, the bytes and the writes are real.
"""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver import cluster, fault_proxy, moved, operating
from tests.apiserver.fault_proxy import FaultProxy
from tests.apiserver.image_server import ImageServer
from tests.apiserver.operating import OperatorProcess
from tests.fakes import images as make

pytestmark = pytest.mark.needs_kube
IMAGES = "/apis/goldmaster.dev/v1alpha1/namespaces/default/images"
MIB = 1024 * 1024
OUTAGE_S, STEP_S, PACE_S = 600, 10, 0.1


@pytest.fixture
def proxy(emptied: cluster.Cluster) -> Iterator[FaultProxy]:
    with fault_proxy.proxy_to(emptied) as found:
        yield found


@pytest.fixture
def clock(folder: Path) -> Path:
    file = folder / "ahead"
    file.write_text("0")
    return file


@pytest.fixture
def process(emptied: cluster.Cluster, proxy: FaultProxy, folder: Path, clock: Path) -> Iterator[OperatorProcess]:
    """One namespace has two transfers at once, so a third image there waits for its turn."""
    made = OperatorProcess(emptied, folder, "--parallel=3", port=proxy.port)
    made.module = ("tests.apiserver.moved", str(clock))
    emptied.kubectl("apply", "-f", "-", stdin=json.dumps(operating.storage("main", made.root / "main")))
    yield made.start()
    assert made.stop() == 0


class Held:
    """An image whose bytes trickle, for longer than a test may take, until they are let go."""

    def __init__(self, process: OperatorProcess, images: ImageServer, name: str, size: int) -> None:
        self.process, self.images, self.name, self.path = process, images, name, f"/outage-{name}.raw"
        self.content = make.raw(size, seed=size)
        url = images.add(self.path, self.content)
        images.held.add(self.path)
        assert process.kube.admin.create(IMAGES, operating.image(name, url)).ok

    @property
    def found(self) -> dict[str, Any]:
        return self.process.kube.admin.get(f"{IMAGES}/{self.name}").body

    @property
    def phase(self) -> str:
        return str(self.found.get("status", {}).get("phase", ""))

    def let_go(self) -> None:
        self.images.held.discard(self.path)

    def is_fetched(self) -> bool:
        return any(self.path in str(line.get("url")) for line in self.process.said("transfer.finished"))

    def is_ready(self) -> bool:
        return operating.ready(self.found) == ("True", "Succeeded")


def test_transfers_begin_go_on_and_end_in_an_outage_of_ten_minutes(
    process: OperatorProcess, proxy: FaultProxy, images: ImageServer, clock: Path
) -> None:
    """Each is fetched once, to the last byte. Who became Ready in it is written once, or once more by a pass that came
    between a last byte and its digest. The server is asked for lists ever more seldom: by the loop at 1, 2, 4, 8, 16
    and then each 30 s of the 12 minutes that a slow test may make of it, 30 times; by kopf 11 times in the 2 true ones.
    """
    images.hold_after = MIB
    images.flow.clear()
    ends = Held(process, images, "ends", 64 * MIB)
    goes_on = Held(process, images, "goes-on", 65 * MIB)
    process.until(lambda: (ends.phase, goes_on.phase) == ("Downloading", "Downloading"))
    begins = Held(process, images, "begins", 4 * MIB)
    process.until(lambda: begins.found.get("status", {}).get("queuePosition") == 1)
    with proxy.faulty(0):
        proxy.cut_all()
        known = len(proxy.asked())
        ends.let_go()
        begins.let_go()
        pace = threading.Event()
        for ahead in range(STEP_S, OUTAGE_S + 1, STEP_S):
            moved.set_to(clock, ahead)
            pace.wait(PACE_S)
        process.until(lambda: ends.is_fetched() and begins.is_fetched())
        assert (ends.phase, begins.phase) == ("Downloading", "Pending"), "nobody can be told"
        refused, again = proxy.asked()[known:], len(proxy.asked())
    moved.set_to(clock, OUTAGE_S + 60)
    process.until(lambda: ends.is_ready() and begins.is_ready())
    goes_on.let_go()
    process.until(goes_on.is_ready)
    for image in (ends, goes_on, begins):
        assert images.asked(image.path) == 1
        assert images.sent[image.path] == len(image.content)
    for image in (ends, begins):
        path = f"{IMAGES}/{image.name}/status"
        told = [one for one in proxy.asked()[again:] if one.path.startswith(path) and one.status == 200]
        assert 1 <= len(told) <= 2
    assert len([one for one in refused if one.path.startswith("/api/v1/namespaces?limit=")]) <= 41
    assert not process.said("reconcile.bug")
