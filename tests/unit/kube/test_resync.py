"""Lists come in pages, and begin anew when the server has forgotten the one before."""

from collections.abc import Iterator

import pytest

from controller import errors
from controller.kube.cache import Cache
from controller.kube.client import Client
from controller.kube.resync import resync
from controller.model.resource import Kind
from tests.fakes.clock import FakeClock
from tests.unit.kube import api as fake
from tests.unit.kube import documents
from tests.unit.kube.api import Api


@pytest.fixture
def api() -> Iterator[Api]:
    with fake.serving() as found:
        yield found


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    made = Client(api.access(), FakeClock())
    yield made
    made.close()


def page(*items: object, version: int = 10, token: str = "") -> dict[str, object]:
    return {"items": list(items), "metadata": {"resourceVersion": str(version), "continue": token}}


def test_pages_are_one_list(api: Api, client: Client) -> None:
    cache = Cache()
    api.answer(200, page(documents.storage()))
    api.answer(200, page(documents.image("a", 1), token="more"))
    api.answer(200, page(documents.image("b", 2)))
    found = resync(client, cache)
    assert {key.name for key in found[Kind.IMAGE].missed} == {"a", "b"}
    assert [asked[1] for asked in api.asked] == [
        "/apis/goldmaster.dev/v1alpha1/backupstorages?limit=500",
        "/apis/goldmaster.dev/v1alpha1/images?limit=500",
        "/apis/goldmaster.dev/v1alpha1/images?limit=500&continue=more",
    ]


def test_a_list_that_expires_between_pages_begins_anew(api: Api, client: Client) -> None:
    cache = Cache()
    api.answer(200, page())
    api.answer(200, page(documents.image("a", 1), token="more"))
    api.answer(410, {"message": "too old"})
    api.answer(200, page(documents.image("b", 2)))
    assert {key.name for key in resync(client, cache)[Kind.IMAGE].missed} == {"b"}


def test_half_a_list_changes_nothing(api: Api, client: Client) -> None:
    """What could not be asked is not gone."""
    cache = Cache()
    cache.accept(documents.entry("a", 1))
    api.answer(200, page())
    api.answer(200, page(documents.image("b", 2), token="more"))
    api.answer(503)
    with pytest.raises(errors.ClusterUnavailable):
        resync(client, cache)
    assert [key.name for key in cache.keys(Kind.IMAGE)] == ["a"]


def test_without_the_crds_the_list_is_not_empty_but_impossible(api: Api, client: Client) -> None:
    for _ in range(3):
        api.answer(404)
    with pytest.raises(errors.ClusterUnavailable, match="CRD is not installed"):
        resync(client, Cache())
