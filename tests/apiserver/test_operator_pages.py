"""Lists of several pages, and one that expires between two of them: answered 410 before the real server is asked.

A real server does it by itself once a list takes longer than its store keeps old versions, some five minutes.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller import errors
from controller.kube import access, resync
from controller.kube.cache import Cache
from controller.kube.client import Client
from controller.model.resource import Key, Kind
from tests.apiserver import cluster, fault_proxy, operating
from tests.apiserver.fault_proxy import FaultProxy
from tests.apiserver.image_server import ImageServer
from tests.apiserver.operating import OperatorProcess
from tests.apiserver.person import Person
from tests.fakes import images as make
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.needs_kube
IMAGES = "/apis/goldmaster.dev/v1alpha1/namespaces/default/images"
SECOND_PAGE = r"/images\?.*continue="
EVERYBODY = [f"page-{number}" for number in range(5)]


@pytest.fixture
def proxy(emptied: cluster.Cluster) -> Iterator[FaultProxy]:
    """Before a server with five images, of which a page holds two."""
    for name in EVERYBODY:
        document = operating.image(name, "https://images.example/a.raw", suspend=True)
        assert emptied.admin.create(IMAGES, document).ok
    with fault_proxy.proxy_to(emptied) as found:
        found.page_size = 2
        yield found


@pytest.fixture
def process(emptied: cluster.Cluster, proxy: FaultProxy, folder: Path) -> OperatorProcess:
    """An operator behind the proxy, not started."""
    return OperatorProcess(emptied, folder, port=proxy.port)


@pytest.fixture
def client(process: OperatorProcess) -> Iterator[Client]:
    """The operator's own client, with its rights, in the hands of a test."""
    made = Client(access.from_kubeconfig(process.kubeconfig), FakeClock())
    yield made
    made.close()


def names(cache: Cache) -> list[str]:
    return [key.name for key in cache.keys(Kind.IMAGE)]


def pages(proxy: FaultProxy) -> list[tuple[bool, int]]:
    """Return of each request for images whether it was for a further page, and what was answered."""
    return [("continue=" in one.path, one.status) for one in proxy.asked("GET", r"/images\?limit=")]


def test_a_list_that_expires_between_two_pages_is_begun_anew_and_loses_nobody(
    client: Client, proxy: FaultProxy, emptied: cluster.Cluster
) -> None:
    """Nobody of the page that did not come is taken for gone; who is gone is found by the list that was complete."""
    cache = Cache()
    with proxy.faulty(410, "GET", SECOND_PAGE, times=1):
        resync.resync(client, cache)
    assert names(cache) == EVERYBODY
    assert pages(proxy) == [(False, 200), (True, 410), (False, 200), (True, 200), (True, 200)]
    assert emptied.admin.delete(f"{IMAGES}/page-1").ok
    with proxy.faulty(410, "GET", SECOND_PAGE, times=2):
        found = resync.resync(client, cache)[Kind.IMAGE]
    assert (found.missed, found.ghosts) == ((), (Key(Kind.IMAGE, "default", "page-1"),))
    left = [name for name in EVERYBODY if name != "page-1"]
    assert names(cache) == left
    assert emptied.admin.delete(f"{IMAGES}/page-2").ok
    with proxy.faulty(410, "GET", SECOND_PAGE), pytest.raises(errors.ClusterUnavailable, match="expires before it is"):
        resync.resync(client, cache)
    assert names(cache) == left, "nothing was learned"


def test_a_person_is_shown_all_or_told_that_it_cannot_be_had(process: OperatorProcess, proxy: FaultProxy) -> None:
    person = Person(process.kubeconfig, "default")
    with proxy.faulty(410, "GET", SECOND_PAGE, times=1):
        said = person.well("get", "images", "-n", "default", "-o", "json")
    assert [item["metadata"]["name"] for item in json.loads(said)["items"]] == EVERYBODY
    with proxy.faulty(410, "GET", SECOND_PAGE):
        refused = person.runs("get", "images", "-n", "default")
    assert (refused.code, refused.out) == (9, "")
    assert "a list of images expires before it is read" in refused.err


def test_the_list_before_a_watch_that_expires_leads_to_a_watch(
    process: OperatorProcess, proxy: FaultProxy, images: ImageServer
) -> None:
    """The list is kopf's, as ours is minutes away; where it expires, kopf neither ends nor watches images any more."""
    kube = process.kube
    kube.kubectl("apply", "-f", "-", stdin=json.dumps(operating.storage("main", process.root / "main")))
    process.start()
    try:
        process.until(lambda: len(pages(proxy)) >= 9)  # ours, kopf's, and ours after kopf's: three pages each
        process.until(lambda: len(proxy.asked("GET", "/images.*watch=true")) >= 1)
        with proxy.faulty(410, "GET", SECOND_PAGE, times=1) as fault:
            expired = fault_proxy.error_event(410, "Expired")
            process.until(lambda: proxy.end_watches(expired, "/images") == 1)
            process.until(lambda: fault.hits == 1)
            process.until(lambda: len(proxy.asked("GET", "/images.*watch=true")) >= 2)
        assert kube.admin.create(IMAGES, operating.image("later", images.add("/later.raw", make.raw(seed=95)))).ok
        process.wait_for("image/later", "default")
        left = kube.admin.get(IMAGES).body["items"]
        assert [item["metadata"]["name"] for item in left] == ["later", *EVERYBODY]
    finally:
        assert process.stop() == 0
