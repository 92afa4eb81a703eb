"""What an API server answers on its bad days, each while a transfer runs: nothing is fetched twice, all ends Ready.

The faults are made by a proxy before the real server (fault_proxy.py). README.md says of each pitfall of kopf's which
test stands for it, or why it cannot happen here.
"""

import itertools
import json
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.apiserver import cluster, fault_proxy, operating
from tests.apiserver.fault_proxy import FaultProxy, error_event
from tests.apiserver.image_server import ImageServer
from tests.apiserver.operating import OperatorProcess
from tests.fakes import images as make

pytestmark = pytest.mark.needs_kube
IMAGES = "/apis/goldmaster.dev/v1alpha1/namespaces/default/images"
MIB = 1024 * 1024
OURS = "/apis/goldmaster.dev/v1alpha1/(images|backupstorages)"
numbers = itertools.count(1)


@pytest.fixture
def proxy(emptied: cluster.Cluster) -> Iterator[FaultProxy]:
    with fault_proxy.proxy_to(emptied) as found:
        yield found


@pytest.fixture
def process(emptied: cluster.Cluster, proxy: FaultProxy, folder: Path) -> Iterator[OperatorProcess]:
    """An operator behind the proxy, with a storage, and with its watches standing."""
    started = OperatorProcess(emptied, folder, "--list-interval=2s", "--parallel=8", port=proxy.port).start()
    try:
        emptied.kubectl("apply", "-f", "-", stdin=json.dumps(operating.storage("main", started.root / "main")))
        started.wait_for("backupstorage/main", "default")
        started.until(lambda: len(proxy.asked("GET", "watch=true")) >= 3)
        yield started
        assert started.alive
    finally:
        code = started.stop()
    assert code == 0


class Transfer:
    """An image that is held in the middle of its transfer until it is let go."""

    def __init__(self, process: OperatorProcess, images: ImageServer, name: str = "") -> None:
        self.process, self.images = process, images
        self.name = name or f"fault-{next(numbers)}"
        self.path = f"/{self.name}.raw"
        self.url = images.add(self.path, make.raw(4 * MIB, seed=next(numbers)))
        images.held.add(self.path)
        images.hold_after = MIB

    def begin(self) -> "Transfer":
        self.images.flow.clear()
        answer = self.process.kube.admin.create(IMAGES, operating.image(self.name, self.url))
        assert answer.ok, answer.message
        self.process.until(lambda: self.images.sent.get(self.path, 0) >= MIB)
        return self

    def is_fetched(self) -> bool:
        return any(self.url in str(line.get("url")) for line in self.process.said("transfer.finished"))

    def is_ready(self) -> bool:
        return operating.ready(self.process.kube.admin.get(f"{IMAGES}/{self.name}").body) == ("True", "Succeeded")

    def ends_well(self) -> None:
        self.process.until(self.is_ready)
        assert self.images.asked(self.path) == 1
        assert self.images.sent[self.path] == len(self.images.files[self.path])
        assert not self.process.said("reconcile.bug")


@contextmanager
def in_mid_transfer(process: OperatorProcess, images: ImageServer) -> Iterator[Transfer]:
    """A transfer that is under way when the block begins, goes on at its end, and must end well."""
    transfer = Transfer(process, images).begin()
    try:
        yield transfer
    finally:
        images.flow.set()
    transfer.ends_well()


def watches(proxy: FaultProxy) -> int:
    """Return how often a watch on images was begun."""
    return sum(one.status == 200 for one in proxy.asked("GET", "/images.*watch=true"))


def test_a_write_that_is_refused_once_is_made_again(
    process: OperatorProcess, proxy: FaultProxy, images: ImageServer
) -> None:
    """Each of these answers, to the finalizer or status of an image of its own. 401: a login that is not good yet."""
    codes = (401, 403, 409, 429, 500, 502, 503, 504)
    transfers = {code: Transfer(process, images, f"write-{code}") for code in codes}
    hits = {}
    with proxy_faults(proxy, {code: f"images/write-{code}/status" for code in codes}) as faults:
        for transfer in transfers.values():
            transfer.begin()
        images.flow.set()
        for transfer in transfers.values():
            transfer.ends_well()
        hits = {code: fault.hits for code, fault in faults.items()}
    assert set(hits.values()) == {1}, hits
    for code in codes:
        statuses = [one.status for one in proxy.asked("PUT", f"images/write-{code}/status")]
        assert code in statuses
        assert statuses[-1] == 200


@contextmanager
def proxy_faults(proxy: FaultProxy, paths: dict[int, str]) -> Iterator[dict[int, fault_proxy.Fault]]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        # a client that is told 401 logs in and asks once more, within the same call
        yield {
            code: stack.enter_context(proxy.faulty(code, "PUT", path, times=1, Retry_After="1"))
            for code, path in paths.items()
        }


@pytest.mark.parametrize("code", [401, 403, 404, 410, 429, 500, 503, 504])
def test_lists_and_watches_that_are_refused_for_a_while_cost_nothing(
    process: OperatorProcess, proxy: FaultProxy, images: ImageServer, code: int
) -> None:
    """404 and 410: the CRD is being replaced. Meanwhile an image ends and another is created, which nobody can tell."""
    with in_mid_transfer(process, images) as running, proxy.faulty(code, "GET", OURS, Retry_After="1") as fault:
        assert proxy.end_watches() >= 2
        images.flow.set()
        process.until(running.is_fetched)
        unseen = Transfer(process, images)
        assert process.kube.admin.create(IMAGES, operating.image(unseen.name, unseen.url)).ok
        process.until(lambda: fault.hits >= 4)
        before = watches(proxy)
    unseen.ends_well()
    process.until(lambda: watches(proxy) > before)


@pytest.mark.parametrize(
    "last",
    [
        error_event(410, "Expired"),
        error_event(500, "InternalError"),
        error_event(504, "Timeout"),
        b'{"type":"MODIFIED","object":{"apiVersion":"goldma',
        b"",
    ],
    ids=["410", "500", "504", "half a line", "nothing"],
)
def test_watches_that_end_with_an_error_are_begun_anew(
    process: OperatorProcess, proxy: FaultProxy, images: ImageServer, last: bytes
) -> None:
    """All but 410 and a clean end break kopf, which is started again; the transfer knows nothing of it."""
    with in_mid_transfer(process, images):
        watched = watches(proxy)
        assert proxy.end_watches(last) >= 2
        process.until(lambda: watches(proxy) > watched)
        other = Transfer(process, images)
        assert process.kube.admin.create(IMAGES, operating.image(other.name, other.url)).ok
        process.until(lambda: images.sent.get(other.path, 0) >= MIB)
    other.ends_well()


def test_a_watch_that_falls_silent_is_noticed_by_the_list_and_begun_anew(
    process: OperatorProcess, proxy: FaultProxy, images: ImageServer
) -> None:
    """As behind a load balancer that forgot the connection: it stands, and nothing comes."""
    with in_mid_transfer(process, images):
        watched = watches(proxy)
        assert proxy.silence_watches() >= 2
        other = Transfer(process, images)
        assert process.kube.admin.create(IMAGES, operating.image(other.name, other.url)).ok
        process.until(lambda: images.sent.get(other.path, 0) >= MIB)
        process.until(lambda: bool(process.said("kube.watch_is_dead")))
        process.until(lambda: watches(proxy) > watched)
    other.ends_well()


def test_a_token_that_expires_is_replaced_on_every_connection(
    process: OperatorProcess, proxy: FaultProxy, images: ImageServer
) -> None:
    """As the kubelet does it: a new token is in the file before the old one ends."""
    with in_mid_transfer(process, images):
        old = process.token_file.read_text()
        new = process.kube.token_for(operating.ACCOUNT, operating.NAMESPACE)
        assert new != old
        process.token_file.write_text(new)
        proxy.refused_tokens = {old}
        proxy.end_watches()
        other = Transfer(process, images)
        assert process.kube.admin.create(IMAGES, operating.image(other.name, other.url)).ok
        process.until(lambda: images.sent.get(other.path, 0) >= MIB)
    other.ends_well()


def test_a_conflict_is_resolved_by_what_is_there_now(
    process: OperatorProcess, proxy: FaultProxy, images: ImageServer
) -> None:
    """The server's own 409: somebody writes between each two writes of ours. Nobody's change is lost."""
    with in_mid_transfer(process, images) as running:
        path = f"{IMAGES}/{running.name}"
        images.flow.set()
        for number in range(40):
            written = process.kube.admin.merge(path, {"metadata": {"labels": {"n": str(number)}}})
            assert written.ok
    labels = process.kube.admin.get(path).body["metadata"]["labels"]
    assert labels == {"n": "39"}


def test_a_secret_is_asked_for_once_per_transfer_and_kept_by_nobody(
    process: OperatorProcess, proxy: FaultProxy, images: ImageServer
) -> None:
    """One GET of the version, one of the Secret; and the versions alone while the image is refused."""
    kube = process.kube
    role = "goldmaster-secret-reader"
    account = f"--serviceaccount={operating.NAMESPACE}:{operating.ACCOUNT}"
    kube.kubectl("create", "rolebinding", role, "-n", "default", f"--clusterrole={role}", account)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "counted"},
        "type": "goldmaster.dev/source",
        "stringData": {"origins": f"http://127.0.0.1:{images.port}", "token": "hunter2-hunter2"},
    }
    kube.kubectl("apply", "-n", "default", "-f", "-", stdin=json.dumps(secret))
    transfer = Transfer(process, images)
    images.flow.set()
    document = operating.image(transfer.name, transfer.url, secretRef={"name": "counted"})
    assert kube.admin.create(IMAGES, document).ok
    transfer.ends_well()
    asked = proxy.asked(path=urllib.parse.quote("/api/v1/namespaces/default/secrets"))
    assert [(one.method, one.path, one.status) for one in asked] == [
        ("GET", "/api/v1/namespaces/default/secrets/counted", 200)
    ] * 2
