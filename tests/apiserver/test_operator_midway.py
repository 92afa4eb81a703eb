"""What people change while a transfer runs: the bytes at the source, the status and the writes to the API server."""

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.settings import EngineSettings
from tests.apiserver import cluster, fault_proxy, operating
from tests.apiserver.fault_proxy import Asked, FaultProxy
from tests.apiserver.image_server import ImageServer
from tests.apiserver.operating import OperatorProcess
from tests.fakes import images as make

pytestmark = pytest.mark.needs_kube
MIB = 1024 * 1024
SIZE = 12 * MIB
HELD = 4 * MIB
ON_THE_WAY = 4 * MIB
"""Bytes that the source has sent, and that are in sockets and buffers when a transfer is stopped."""


@pytest.fixture(scope="module")
def kube(operated: cluster.Cluster) -> cluster.Cluster:
    """In this module, the API server is the one that has an operator."""
    return operated


@pytest.fixture(scope="module")
def proxy(operated: cluster.Cluster) -> Iterator[FaultProxy]:
    with fault_proxy.proxy_to(operated) as found:
        yield found


@pytest.fixture(scope="module")
def process(
    operated: cluster.Cluster, proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    started = OperatorProcess(operated, tmp_path_factory.mktemp("midway"), "--parallel=4", port=proxy.port).start()
    operated.kubectl("apply", "-f", "-", stdin=json.dumps(operating.storage("main", started.root / "main")))
    operated.kubectl("wait", "--for=condition=Ready", "backupstorage/main", "--timeout=60s")
    yield started
    assert started.stop() == 0


class Midway:
    """One image in the middle of its transfer, in a namespace of its own."""

    began = 0.0

    def __init__(self, process: OperatorProcess, proxy: FaultProxy, images: ImageServer, namespace: str) -> None:
        self.process, self.proxy, self.images, self.namespace = process, proxy, images, namespace
        self.kube = process.kube
        self.path = f"/{namespace}/image.raw"
        self.content = make.raw(SIZE, seed=int(namespace.rsplit("-", 1)[1]))
        self.url = images.add(self.path, self.content)

    def begin(self, **spec: object) -> "Midway":
        self.began = time.monotonic()
        self.images.held.add(self.path)
        self.images.hold_after = HELD
        self.images.flow.clear()
        self.apply(url=self.url, **spec)
        self.process.until(lambda: self.images.sent.get(self.path, 0) >= HELD)
        self.process.until(lambda: self.get().get("status", {}).get("phase") == "Downloading")
        return self

    def apply(self, **spec: object) -> None:
        document = operating.image("image", str(spec.pop("url", self.url)), deletionPolicy="Direct", **spec)
        self.kube.kubectl("apply", "-n", self.namespace, "-f", "-", stdin=json.dumps(document))

    def patch(self, **spec: object) -> None:
        self.kube.kubectl(
            "patch", "image", "image", "-n", self.namespace, "--type=merge", "-p", json.dumps({"spec": spec})
        )

    def get(self) -> dict[str, Any]:
        return self.kube.get("image", "image", "-n", self.namespace)

    def becomes(self, *ready: str) -> dict[str, Any]:
        self.process.until(lambda: operating.ready(self.get()) == ready)
        return self.get()

    def stops(self) -> int:
        """Wait until nothing more is fetched; return how much was."""
        self.process.until(lambda: any(self.url == line.get("url") for line in self.process.said("transfer.stopped")))
        self.images.flow.set()
        return self.images.sent[self.path]

    def starts(self) -> list[int]:
        """Return from which byte on each request asked."""
        return [start for path, start in self.images.requests if path == self.path]

    def fetched(self) -> int:
        return self.images.sent[self.path]

    def writes(self) -> list[Asked]:
        """Return the writes to the image, progress among them."""
        return self.proxy.writes(f"namespaces/{self.namespace}/images/image")

    def progress(self) -> int:
        """Return how many of the writes may tell of progress: one in so many seconds since it began."""
        return int((time.monotonic() - self.began) / EngineSettings().progress_interval.total_seconds())

    def has_bytes(self, content: bytes, storage: str = "main") -> bool:
        wanted = hashlib.sha256(content).hexdigest()
        files = (path for path in (self.process.root / storage / "objects").rglob("*") if path.is_file())
        return any(hashlib.sha256(path.read_bytes()).hexdigest() == wanted for path in files)


@pytest.fixture
def midway(process: OperatorProcess, proxy: FaultProxy, images: ImageServer, kube_namespace: str) -> Iterator[Midway]:
    yield Midway(process, proxy, images, kube_namespace)
    images.flow.set()


def test_an_edit_of_the_url_stops_one_transfer_and_begins_the_other(midway: Midway) -> None:
    midway.begin()
    content = make.raw(MIB, seed=9001)
    midway.patch(url=midway.images.add(f"/{midway.namespace}/other.raw", content))
    assert midway.stops() < SIZE
    found = midway.becomes("True", "Succeeded")
    assert found["status"]["digests"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert midway.fetched() < SIZE, "nor after it was let go"
    assert not midway.has_bytes(midway.content)
    assert len(midway.writes()) <= 6 + midway.progress(), midway.writes()


def test_an_edit_that_is_not_about_the_bytes_disturbs_nothing(midway: Midway) -> None:
    midway.begin()
    before = len(midway.writes())
    midway.patch(description="another text", platform="Other")
    midway.process.until(lambda: midway.get()["status"]["observedGeneration"] == 2)
    midway.images.flow.set()
    found = midway.becomes("True", "Succeeded")
    assert found["status"]["paravirtualized"] is False
    assert midway.starts() == [0]
    assert midway.fetched() == SIZE
    assert len(midway.writes()) <= before + 4 + midway.progress()


def test_a_deletion_ends_within_seconds_and_leaves_nothing(midway: Midway) -> None:
    midway.begin()
    midway.kube.kubectl("delete", "image", "image", "-n", midway.namespace, "--timeout=60s")
    assert midway.stops() < SIZE
    assert not midway.has_bytes(midway.content)
    assert midway.starts() == [0]
    last = midway.writes()[-1]
    assert (last.method, last.status) == ("PATCH", 200)
    assert len(midway.writes()) <= 5 + midway.progress(), midway.writes()


def test_suspend_stops_and_resume_goes_on_from_there(midway: Midway) -> None:
    midway.begin()
    midway.patch(suspend=True)
    midway.becomes("False", "Suspended")
    stopped = midway.stops()
    assert stopped < SIZE
    writes = len(midway.writes())
    midway.patch(suspend=False)
    midway.becomes("True", "Succeeded")
    first, second = midway.starts()
    assert first == 0
    assert second >= MIB, "it goes on from what was made durable"
    assert midway.fetched() <= SIZE + ON_THE_WAY
    assert len(midway.writes()) <= writes + 3 + midway.progress(), midway.writes()[writes:]


def test_requested_at_is_acknowledged_and_neither_stops_nor_repeats_it(midway: Midway) -> None:
    midway.begin()
    before = len(midway.writes())
    midway.kube.kubectl("annotate", "image", "image", "-n", midway.namespace, "goldmaster.dev/requestedAt=now")
    midway.process.until(lambda: midway.get()["status"].get("lastHandledReconcileAt") == "now")
    assert len(midway.writes()) <= before + 2 + midway.progress()
    midway.images.flow.set()
    midway.becomes("True", "Succeeded")
    assert midway.starts() == [0]
    assert midway.fetched() == SIZE


def test_a_secret_that_is_rotated_is_used_by_the_next_request_and_nothing_is_fetched_twice(midway: Midway) -> None:
    kube, role = midway.kube, "goldmaster-secret-reader"
    account = f"--serviceaccount={operating.NAMESPACE}:{operating.ACCOUNT}"
    kube.kubectl("create", "rolebinding", role, "-n", midway.namespace, f"--clusterrole={role}", account)

    def rotate(token: str) -> None:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "mirror"},
            "type": "goldmaster.dev/source",
            "stringData": {"origins": f"http://127.0.0.1:{midway.images.port}", "token": token},
        }
        kube.kubectl("apply", "--server-side", "-n", midway.namespace, "-f", "-", stdin=json.dumps(secret))

    rotate("first-token")
    midway.images.guards[midway.path] = "Bearer first-token"
    midway.begin(secretRef={"name": "mirror"})
    midway.images.guards[midway.path] = "Bearer second-token"
    midway.images.cut(midway.path)
    midway.becomes("False", "AuthenticationFailed")
    rotate("second-token")
    midway.images.flow.set()
    found = midway.becomes("True", "Succeeded")
    assert midway.starts()[0] == 0
    assert midway.starts()[-1] >= MIB
    assert midway.fetched() <= SIZE + ON_THE_WAY
    assert len(midway.writes()) <= 10 + midway.progress(), midway.writes()
    for token in ("first-token", "second-token"):
        assert token not in json.dumps(found) + midway.process.log_file.read_text()


def test_a_namespace_that_is_deleted_goes_with_the_transfer(midway: Midway) -> None:
    midway.begin()
    midway.kube.kubectl("delete", "namespace", midway.namespace, "--timeout=60s")
    assert midway.stops() < SIZE
    assert not midway.has_bytes(midway.content)
    assert len(midway.writes()) <= 6 + midway.progress(), midway.writes()


def test_a_storage_that_is_disabled_takes_no_more_and_the_transfer_goes_on_when_it_is_enabled(midway: Midway) -> None:
    path: Path = midway.process.root / midway.namespace

    def put(state: str) -> None:
        document = operating.storage(midway.namespace, path, state=state)
        midway.kube.kubectl("apply", "-f", "-", stdin=json.dumps(document))

    put("Enabled")
    midway.kube.kubectl("wait", "--for=condition=Ready", f"backupstorage/{midway.namespace}", "--timeout=60s")
    midway.begin(backupStorages=[midway.namespace])
    put("Disabled")
    midway.becomes("False", "DependencyNotReady")
    assert midway.stops() < SIZE
    kept = sum(file.stat().st_blocks for file in (path / "staging").rglob("*") if file.is_file())
    assert midway.fetched() < SIZE
    put("Enabled")
    midway.becomes("True", "Succeeded")
    assert kept > 0
    assert midway.starts()[-1] >= MIB
    assert midway.fetched() <= SIZE + ON_THE_WAY
    assert len(midway.writes()) <= 8 + midway.progress(), midway.writes()
    midway.kube.kubectl("delete", "image", "image", "-n", midway.namespace, "--timeout=60s")
    midway.kube.kubectl("delete", "backupstorage", midway.namespace, "--timeout=60s")
