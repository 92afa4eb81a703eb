"""`ports.Resources` on a real API server: the promises of tests/contract/test_resources.py, and what that adds."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from controller import errors
from controller.kube import access, objects
from controller.kube.cache import Cache
from controller.kube.client import Client
from controller.kube.resync import resync
from controller.kube.status_store import KubeResources
from controller.model.image import ImageStatus, Phase
from controller.model.resource import BackupStorage, Image, Key, Kind
from tests.apiserver import cluster, operating
from tests.fakes.clock import FakeClock
from tests.fakes.resources import race

pytestmark = pytest.mark.needs_kube
DEBIAN = Key(Kind.IMAGE, "default", "debian")
MAIN = Key(Kind.BACKUP_STORAGE, "", "main")
OTHERS = "example.org/keep"


@dataclass
class Store:
    """The port under test, with nothing but lists to tell it of others' changes."""

    kube: cluster.Cluster
    client: Client
    cache: Cache
    resources: KubeResources
    news: list[Key]

    def put(self, **metadata: object) -> Image:
        document = operating.image("debian", "https://images.example/a")
        document["metadata"] |= metadata
        answer = self.kube.admin.create(f"{objects.API}/namespaces/default/images", document)
        assert answer.ok, answer.message
        return self.look()

    def look(self) -> Image:
        resync(self.client, self.cache)
        found = self.resources.image(DEBIAN)
        assert found is not None
        return found

    def patch(self, **document: object) -> None:
        answer = self.kube.admin.merge(objects.path(DEBIAN), document)
        assert answer.ok, answer.message

    def delete(self) -> None:
        assert self.kube.admin.delete(objects.path(DEBIAN)).ok

    def stored(self) -> dict[str, Any]:
        return self.kube.admin.get(objects.path(DEBIAN)).body


@pytest.fixture
def store(emptied: cluster.Cluster) -> Iterator[Store]:
    client = Client(access.from_kubeconfig(emptied.kubeconfig), FakeClock())
    cache, news = Cache(), list[Key]()
    yield Store(emptied, client, cache, KubeResources(client, cache, on_news=news.append), news)
    client.close()


def test_a_status_is_written_whole_and_read_back_at_once(store: Store) -> None:
    """What the new status does not have is gone; nothing but the status is touched."""
    image = store.put()
    first = store.resources.write_image_status(image, ImageStatus(uuid="0" * 32, attempts=3, phase=Phase.FAILED))
    second = store.resources.write_image_status(first, ImageStatus(uuid="0" * 32))
    assert second.status == ImageStatus(uuid="0" * 32)
    assert store.resources.image(DEBIAN) == second
    assert "attempts" not in store.stored()["status"]
    assert (second.meta.generation, second.spec) == (image.meta.generation, image.spec)


@pytest.mark.parametrize("by", ["status", "spec", "annotation", "deletion"])
def test_a_write_over_somebody_elses_is_a_conflict_and_the_next_one_knows(store: Store, by: str) -> None:
    image = store.resources.hold(store.put())
    others: dict[str, Callable[[], object]] = {
        "status": lambda: store.kube.kubectl(
            "patch", "image", "debian", "--subresource=status", "--type=merge", "-p", '{"status":{"attempts":1}}'
        ),
        "spec": lambda: store.patch(spec={"description": "other"}),
        "annotation": lambda: store.patch(metadata={"annotations": {"a": "b"}}),
        "deletion": store.delete,
    }
    others[by]()
    with pytest.raises(errors.Conflict):
        store.resources.write_image_status(image, ImageStatus(attempts=2))
    assert store.news == [DEBIAN]
    fresh = store.resources.image(DEBIAN)
    assert fresh is not None
    assert fresh.meta.version != image.meta.version
    assert store.resources.write_image_status(fresh, ImageStatus(attempts=2)).status.attempts == 2


def test_a_write_to_what_is_gone_is_a_conflict_and_it_is_known_to_be_gone(store: Store) -> None:
    image = store.put()
    store.delete()
    with pytest.raises(errors.Conflict):
        store.resources.write_image_status(image, ImageStatus())
    assert store.resources.image(DEBIAN) is None


def test_a_write_never_lands_on_a_successor(store: Store) -> None:
    image = store.put()
    store.delete()
    created = store.kube.admin.create(
        f"{objects.API}/namespaces/default/images", operating.image("debian", "https://images.example/b")
    )
    assert created.ok
    with pytest.raises(errors.Conflict):
        store.resources.write_image_status(image, ImageStatus(attempts=9))
    now = store.resources.image(DEBIAN)
    assert now is not None
    assert now.meta.uid == created.body["metadata"]["uid"]
    assert "attempts" not in store.stored().get("status", {})


def test_of_writers_that_saw_the_same_version_one_wins(store: Store) -> None:
    image = store.put()
    won = race(store.resources, image)
    assert won == [store.stored()["status"]["attempts"]]


def test_hold_adds_ours_to_others_finalizers_once(store: Store) -> None:
    image = store.resources.hold(store.put(finalizers=[OTHERS]))
    assert image.meta.finalized
    assert store.resources.hold(image) is image
    assert store.stored()["metadata"]["finalizers"] == [OTHERS, "goldmaster.dev/image"]


def test_what_is_being_deleted_is_not_held(store: Store) -> None:
    store.put(finalizers=[OTHERS])
    store.delete()
    with pytest.raises(errors.Conflict):
        store.resources.hold(store.look())


def test_release_takes_ours_off_and_leaves_others(store: Store) -> None:
    image = store.resources.hold(store.put(finalizers=[OTHERS]))
    store.delete()
    store.look()
    store.resources.release(DEBIAN, image.meta.uid)
    assert store.stored()["metadata"]["finalizers"] == [OTHERS]
    assert store.resources.image(DEBIAN) is not None
    store.resources.release(DEBIAN, image.meta.uid)


def test_the_last_finalizer_takes_the_object_along(store: Store) -> None:
    image = store.resources.hold(store.put())
    store.delete()
    store.look()
    store.resources.release(DEBIAN, image.meta.uid)
    assert store.resources.image(DEBIAN) is None
    assert store.kube.admin.get(objects.path(DEBIAN)).status == 404
    store.resources.release(DEBIAN, image.meta.uid)


def test_release_spares_what_is_not_being_deleted_and_what_has_another_uid(store: Store) -> None:
    image = store.resources.hold(store.put())
    store.resources.release(DEBIAN, image.meta.uid)
    store.delete()
    store.look()
    store.resources.release(DEBIAN, "another")
    assert store.stored()["metadata"]["finalizers"] == ["goldmaster.dev/image"]


def test_release_wins_against_a_change_that_it_had_not_seen(store: Store) -> None:
    image = store.resources.hold(store.put())
    store.delete()
    store.look()
    store.patch(metadata={"annotations": {"a": "b"}})
    store.resources.release(DEBIAN, image.meta.uid)
    assert store.kube.admin.get(objects.path(DEBIAN)).status == 404


def test_the_first_status_of_a_storage_holds_it(store: Store) -> None:
    document = operating.storage("main", store.kube.folder / "unused")
    store.kube.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    resync(store.client, store.cache)
    found = store.resources.storage(MAIN)
    assert found is not None
    written: BackupStorage = store.resources.write_storage_status(found, replace(found.status, images=3))
    assert written.meta.finalized
    assert store.resources.storage(MAIN) == written
    assert store.resources.keys(Kind.BACKUP_STORAGE) == [MAIN]
    assert store.resources.image(MAIN.__class__(Kind.IMAGE, "", "main")) is None
