"""A list of everything: what it parses anew, and what it takes from the cache."""

from typing import Any

from controller.kube import objects
from controller.kube.cache import Cache
from controller.kube.client import Client
from controller.kube.resync import resync
from controller.model.resource import Key, Kind
from tests.unit.kube import documents
from tests.unit.kube.api import Api

DEBIAN = Key(Kind.IMAGE, "default", "debian")


def page(version: int, *items: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": str(version)}, "items": list(items)}


def listed(api: Api, version: int, *images: dict[str, Any]) -> None:
    api.lists = {
        objects.collection(Kind.BACKUP_STORAGE): page(version),
        objects.collection(Kind.IMAGE): page(version, *images),
    }


def test_what_did_not_change_is_not_parsed_again(api: Api, client: Client) -> None:
    cache = Cache()
    listed(api, 5, documents.image(version=3), documents.image("other", 4))
    resync(client, cache)
    before = {key: cache.get(key) for key in cache.keys(Kind.IMAGE)}
    listed(api, 9, documents.image(version=3), documents.image("other", 8))
    found = resync(client, cache)[Kind.IMAGE]
    assert [key.name for key in found.missed] == ["other"]
    assert cache.get(DEBIAN) is before[DEBIAN]


def test_an_object_of_the_same_name_and_version_that_is_another_is_parsed(api: Api, client: Client) -> None:
    cache = Cache()
    listed(api, 5, documents.image(version=3))
    resync(client, cache)
    assert cache.known(Kind.IMAGE, documents.image(version=3)) is cache.get(DEBIAN)
    assert cache.known(Kind.IMAGE, documents.image(version=3, uid="another")) is None
    assert cache.known(Kind.IMAGE, documents.image(version=4)) is None


def test_of_a_server_that_was_restored_nothing_known_is_believed(api: Api, client: Client) -> None:
    """The same version number may be another version of the object by now."""
    cache = Cache()
    listed(api, 50, documents.image(version=20))
    resync(client, cache)
    listed(api, 30, documents.image(version=20, spec={"url": "https://images.example/restored.qcow2"}))
    assert resync(client, cache)[Kind.IMAGE].went_back
    entry = cache.get(DEBIAN)
    assert entry is not None
    assert entry.resource.spec.url.text == "https://images.example/restored.qcow2"  # type: ignore[union-attr]
