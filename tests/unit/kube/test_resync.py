"""A list of everything: what it parses anew, and what it takes from the cache."""

from typing import Any

from controller.kube import objects
from controller.kube.cache import Cache
from controller.kube.client import Client
from controller.kube.resync import READ_ALONE, resync
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
        **{objects.path(objects.key_of(Kind.IMAGE, image)): image for image in images},
    }


def asked_for(api: Api, path: str) -> list[str]:
    """Return what was accepted of each answer from a path."""
    requests = zip(api.asked, api.accepted, strict=True)
    return [accepted for (_, asked, _, _), accepted in requests if asked.partition("?")[0] == path]


def test_what_did_not_change_is_not_parsed_again(api: Api, client: Client) -> None:
    cache = Cache()
    listed(api, 5, documents.image(version=3), documents.image("other", 4))
    resync(client, cache)
    before = {key: cache.get(key) for key in cache.keys(Kind.IMAGE)}
    listed(api, 9, documents.image(version=3), documents.image("other", 8))
    found = resync(client, cache)[Kind.IMAGE]
    assert [key.name for key in found.missed] == ["other"]
    assert cache.get(DEBIAN) is before[DEBIAN]


def test_what_is_known_is_listed_by_metadata_and_what_is_new_is_read(api: Api, client: Client) -> None:
    cache = Cache()
    listed(api, 5, documents.image(version=3), documents.image("other", 4))
    resync(client, cache)
    listed(api, 9, documents.image(version=3), documents.image("other", 8))
    resync(client, cache)
    whole, metadata = asked_for(api, objects.collection(Kind.IMAGE))
    assert "PartialObjectMetadataList" not in whole
    assert "PartialObjectMetadataList" in metadata
    assert asked_for(api, objects.path(Key(Kind.IMAGE, "default", "other"))) == ["application/json"]
    assert asked_for(api, objects.path(DEBIAN)) == []


def test_what_went_between_the_list_and_its_reading_is_not_there(api: Api, client: Client) -> None:
    cache = Cache()
    listed(api, 5, documents.image(version=3), documents.image("other", 4))
    resync(client, cache)
    listed(api, 9, documents.image(version=3), documents.image("other", 8))
    other = Key(Kind.IMAGE, "default", "other")
    api.lists[objects.collection(Kind.BACKUP_STORAGE)] = page(9)
    api.missing.add(objects.path(other))
    found = resync(client, cache)[Kind.IMAGE]
    assert (found.missed, found.ghosts) == ((), (other,))
    assert cache.keys(Kind.IMAGE) == [DEBIAN]


def test_an_empty_list_of_metadata_has_null_for_its_items(api: Api, client: Client) -> None:
    cache = Cache()
    listed(api, 5, documents.image(version=3))
    resync(client, cache)
    listed(api, 9)
    api.lists[objects.collection(Kind.IMAGE)] = {"metadata": {"resourceVersion": "9"}, "items": None}
    assert resync(client, cache)[Kind.IMAGE].ghosts == (DEBIAN,)


def test_where_the_watch_missed_much_everything_is_listed_in_full(api: Api, client: Client) -> None:
    cache = Cache()
    many = [f"image-{number}" for number in range(READ_ALONE + 1)]
    listed(api, 500, *(documents.image(name, 3) for name in many))
    resync(client, cache)
    listed(api, 900, *(documents.image(name, 600) for name in many))
    assert len(resync(client, cache)[Kind.IMAGE].missed) == len(many)
    _, metadata, whole = asked_for(api, objects.collection(Kind.IMAGE))
    assert "PartialObjectMetadataList" in metadata
    assert "PartialObjectMetadataList" not in whole
    assert asked_for(api, objects.path(Key(Kind.IMAGE, "default", many[0]))) == []


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
