"""What every `ports.Resources` promises: the fake of the engine's tests and the SQLite state run the same suite."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from controller import errors
from controller.gitops import crds
from controller.gitops.desired import Guards
from controller.gitops.state import State
from controller.gitops.tree import Tree, Wanted
from controller.model.image import ImageStatus, Phase
from controller.model.resource import API_VERSION, REQUESTED_AT, Key, Kind
from controller.model.stored import Verb
from controller.ports import Resources
from tests.fakes.clock import FakeClock
from tests.fakes.resources import FakeResources, race

IMAGE = Key(Kind.IMAGE, "default", "debian")
STORAGE = Key(Kind.BACKUP_STORAGE, "", "main")
SPEC = {"url": "http://images.example/debian.qcow2"}
OTHER = {"url": "http://images.example/other.qcow2"}
ADMISSION = crds.admission()
STORAGE_SPEC = {"type": "ImageStore", "imageStore": {"path": "/srv/images"}}


class Keeper(Protocol):
    """What a person does to objects, and the port under test."""

    @property
    def resources(self) -> Resources: ...
    def put(self, key: Key, spec: Mapping[str, Any], annotations: Mapping[str, str] | None = None) -> None: ...
    def remove(self, key: Key) -> None: ...
    def ask_again(self, key: Key) -> None: ...
    def suspend(self, key: Key) -> None: ...


class FakeKeeper:
    def __init__(self) -> None:
        self.resources = FakeResources(FakeClock())
        self.put, self.remove = self.resources.put, self.resources.remove
        self.ask_again, self.suspend = self.resources.ask_again, self.resources.suspend


class StateKeeper:
    def __init__(self, state: State) -> None:
        self.resources = state
        self._wanted: dict[Key, Wanted] = {}

    def put(self, key: Key, spec: Mapping[str, Any], annotations: Mapping[str, str] | None = None) -> None:
        document = {"apiVersion": API_VERSION, "kind": key.kind.value, "metadata": {"name": key.name}, "spec": spec}
        complete = ADMISSION.review(document).document["spec"]
        self._wanted[key] = Wanted.of(key, complete, {}, annotations or {}, f"/tree/{key.name}.yaml", 1)
        self._apply()

    def remove(self, key: Key) -> None:
        del self._wanted[key]
        self._apply()

    def ask_again(self, key: Key) -> None:
        self.resources.ask(key, Verb.RECONCILE)

    def suspend(self, key: Key) -> None:
        self.resources.ask(key, Verb.SUSPEND)

    def _apply(self) -> None:
        self.resources.apply([Tree("/tree", tuple(self._wanted.values()))], Guards(confirmed=True))


@pytest.fixture(params=["fake", "state"])
def keeper(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keeper]:
    if request.param == "fake":
        yield FakeKeeper()
        return
    with State.open(tmp_path, FakeClock()) as state:
        yield StateKeeper(state)


def test_what_is_not_there_is_none_and_no_key(keeper: Keeper) -> None:
    assert keeper.resources.image(IMAGE) is None
    assert keeper.resources.storage(STORAGE) is None
    assert keeper.resources.keys(Kind.IMAGE) == []


def test_objects_are_listed_by_kind(keeper: Keeper) -> None:
    keeper.put(IMAGE, SPEC)
    keeper.put(STORAGE, STORAGE_SPEC)
    assert keeper.resources.keys(Kind.IMAGE) == [IMAGE]
    assert keeper.resources.keys(Kind.BACKUP_STORAGE) == [STORAGE]


def test_a_new_object_is_of_generation_one_and_nobody_looked_at_it(keeper: Keeper) -> None:
    keeper.put(IMAGE, SPEC)
    image = keeper.resources.image(IMAGE)
    assert image is not None
    assert (image.meta.key, image.meta.generation, image.meta.deleting) == (IMAGE, 1, False)
    assert image.meta.finalized
    assert (image.status.phase, image.status.observed_generation) == (Phase.PENDING, 0)
    assert image.spec.url.text == SPEC["url"]


def test_the_same_manifest_again_changes_nothing(keeper: Keeper) -> None:
    keeper.put(IMAGE, SPEC)
    before = keeper.resources.image(IMAGE)
    keeper.put(IMAGE, SPEC)
    assert keeper.resources.image(IMAGE) == before


def test_generation_counts_changes_of_the_spec_and_the_uid_stays(keeper: Keeper) -> None:
    keeper.put(IMAGE, SPEC)
    before = keeper.resources.image(IMAGE)
    keeper.put(IMAGE, OTHER)
    after = keeper.resources.image(IMAGE)
    assert before is not None
    assert after is not None
    assert after.meta.generation == before.meta.generation + 1
    assert after.meta.uid == before.meta.uid
    assert after.meta.version != before.meta.version


def test_an_annotation_moves_the_version_not_the_generation(keeper: Keeper) -> None:
    keeper.put(IMAGE, SPEC)
    before = keeper.resources.image(IMAGE)
    keeper.put(IMAGE, SPEC, {REQUESTED_AT: "now"})
    after = keeper.resources.image(IMAGE)
    assert before is not None
    assert after is not None
    assert after.meta.generation == before.meta.generation
    assert after.meta.version != before.meta.version
    assert after.meta.requested_at == "now"


def test_a_status_comes_back_as_it_was_written(keeper: Keeper) -> None:
    keeper.put(IMAGE, SPEC)
    image = keeper.resources.image(IMAGE)
    assert image is not None
    status = ImageStatus(uuid="0" * 32, phase=Phase.FAILED, observed_generation=1, attempts=3)
    written = keeper.resources.write_image_status(image, status)
    assert written.status == status
    assert written.meta.version != image.meta.version
    assert written.meta.generation == image.meta.generation
    assert keeper.resources.image(IMAGE) == written


def test_a_storage_status_comes_back_as_it_was_written(keeper: Keeper) -> None:
    keeper.put(STORAGE, STORAGE_SPEC)
    storage = keeper.resources.storage(STORAGE)
    assert storage is not None
    written = keeper.resources.write_storage_status(storage, replace(storage.status, images=3))
    assert keeper.resources.storage(STORAGE) == written
    assert written.status.images == 3


@pytest.mark.parametrize("by", ["status", "spec", "deletion", "request"])
def test_a_write_over_somebody_elses_is_a_conflict(keeper: Keeper, by: str) -> None:
    keeper.put(IMAGE, SPEC)
    image = keeper.resources.image(IMAGE)
    assert image is not None
    change: dict[str, Callable[[], object]] = {
        "status": lambda: keeper.resources.write_image_status(image, ImageStatus(attempts=1)),
        "spec": lambda: keeper.put(IMAGE, OTHER),
        "deletion": lambda: keeper.remove(IMAGE),
        "request": lambda: keeper.ask_again(IMAGE),
    }
    change[by]()
    with pytest.raises(errors.Conflict):
        keeper.resources.write_image_status(image, ImageStatus(attempts=2))
    now = keeper.resources.image(IMAGE)
    assert now is not None
    assert now.status.attempts != 2


def test_a_write_to_what_is_gone_is_a_conflict(keeper: Keeper) -> None:
    keeper.put(IMAGE, SPEC)
    image = keeper.resources.image(IMAGE)
    assert image is not None
    keeper.remove(IMAGE)
    keeper.resources.release(IMAGE, image.meta.uid)
    with pytest.raises(errors.Conflict):
        keeper.resources.write_image_status(image, ImageStatus())


def test_of_writers_that_saw_the_same_version_one_wins(keeper: Keeper) -> None:
    keeper.put(IMAGE, SPEC)
    image = keeper.resources.image(IMAGE)
    assert image is not None
    won = race(keeper.resources, image)
    after = keeper.resources.image(IMAGE)
    assert after is not None
    assert won == [after.status.attempts]


def test_a_deleted_object_stays_until_it_is_released(keeper: Keeper) -> None:
    keeper.put(IMAGE, SPEC)
    keeper.remove(IMAGE)
    image = keeper.resources.image(IMAGE)
    assert image is not None
    assert image.meta.deleting
    assert keeper.resources.keys(Kind.IMAGE) == [IMAGE]
    keeper.resources.release(IMAGE, image.meta.uid)
    assert keeper.resources.image(IMAGE) is None
    keeper.resources.release(IMAGE, image.meta.uid)


def test_release_spares_what_is_not_being_deleted_and_what_has_another_uid(keeper: Keeper) -> None:
    keeper.put(IMAGE, SPEC)
    image = keeper.resources.image(IMAGE)
    assert image is not None
    keeper.resources.release(IMAGE, image.meta.uid)
    keeper.remove(IMAGE)
    keeper.resources.release(IMAGE, "somebody-else")
    assert keeper.resources.image(IMAGE) is not None


def test_what_is_wanted_again_while_being_deleted_is_kept(keeper: Keeper) -> None:
    keeper.put(IMAGE, SPEC)
    before = keeper.resources.image(IMAGE)
    assert before is not None
    keeper.remove(IMAGE)
    keeper.put(IMAGE, SPEC)
    keeper.resources.release(IMAGE, before.meta.uid)
    after = keeper.resources.image(IMAGE)
    assert after is not None
    assert (after.meta.uid, after.meta.deleting) == (before.meta.uid, False)


def test_a_successor_has_another_uid(keeper: Keeper) -> None:
    keeper.put(IMAGE, SPEC)
    before = keeper.resources.image(IMAGE)
    assert before is not None
    keeper.remove(IMAGE)
    keeper.resources.release(IMAGE, before.meta.uid)
    keeper.put(IMAGE, SPEC)
    after = keeper.resources.image(IMAGE)
    assert after is not None
    assert after.meta.uid != before.meta.uid


def test_each_request_to_look_again_is_a_new_token(keeper: Keeper) -> None:
    keeper.put(IMAGE, SPEC)
    tokens = []
    for _ in range(2):
        keeper.ask_again(IMAGE)
        image = keeper.resources.image(IMAGE)
        assert image is not None
        tokens.append(image.meta.requested_at)
    assert None not in tokens
    assert tokens[0] != tokens[1]


def test_a_suspend_request_overrides_the_manifest(keeper: Keeper) -> None:
    keeper.put(IMAGE, SPEC)
    keeper.suspend(IMAGE)
    image = keeper.resources.image(IMAGE)
    assert image is not None
    assert (image.spec.suspend, image.meta.suspend_override) == (False, True)
