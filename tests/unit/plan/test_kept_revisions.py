"""Older revisions outlive the status: claims on the storages say what they are."""

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.model.image import DeletionPolicy, ImageStatus, Revision
from controller.model.resource import Resource
from controller.plan.effects import Plan
from controller.plan.image import plan_image
from tests.fakes.world import LIMITS, World, content, ready, spec

A, B, C, D = (f"http://images.example/{name}" for name in "abcd")
KEEP = {"revision_history_limit": 2, "deletion_policy": DeletionPolicy.DELAY, "expunge_after": timedelta(hours=72)}


@pytest.fixture
def world() -> World:
    """An image that served A, then B, then C, and keeps all three on both storages."""
    world = World.of(spec(A, **KEEP), "s1", "s2")
    world.sources = {A: content(1), B: content(2), C: content(3), D: content(4)}
    world.edit(spec(A, backup_storages=("s1", "s2"), **KEEP))
    for url in (A, B, C):
        world.edit(spec(url, backup_storages=("s1", "s2"), **KEEP))
        world.run()
        world.now += timedelta(minutes=1)
    assert contents(world.image.status.history) == [2, 1]
    world.started.clear()
    return world


def contents(revisions: tuple[Revision, ...]) -> list[int]:
    return [revision.content.size_bytes - 1000 for revision in revisions]


def lose_the_status(world: World, **wanted: object) -> None:
    """An object of this name and uuid that nobody looked at yet."""
    fields = {"backup_storages": ("s1", "s2"), **KEEP, **wanted}
    url = str(fields.pop("url", C))
    meta = replace(world.image.meta, deleting=False, generation=1)
    world.image = Resource(meta, spec(url, **fields), ImageStatus())
    world.gone = False
    world.states.clear()


def delete(world: World) -> None:
    world.image = replace(world.image, meta=replace(world.image.meta, deleting=True))
    world.settle()
    assert world.gone
    assert all(store.trash is not None for store in world.stores)


@pytest.mark.parametrize("deleted", [True, False], ids=["out of the trash", "after a lost state"])
def test_an_adopted_image_has_its_history_and_goes_back_without_a_byte(world: World, deleted: bool) -> None:
    before = world.image.status.history
    if deleted:
        delete(world)
    lose_the_status(world)
    world.run()
    assert ready(world)
    assert world.image.status.history == before
    assert all(store.trash is None for store in world.stores)
    older = world.image.status.history[1]
    lose = spec(older.url, checksum=older.content.sha256, backup_storages=("s1", "s2"), **KEEP)
    world.edit(lose)
    world.run()
    assert ready(world)
    assert world.image.status.current is not None
    assert world.image.status.current.content == content(1)
    assert contents(world.image.status.history) == [3, 2]
    assert world.started == []


def test_no_more_is_adopted_than_the_limit_allows_and_the_oldest_goes(world: World) -> None:
    lose_the_status(world, revision_history_limit=1)
    world.run()
    assert contents(world.image.status.history) == [2]
    assert all(set(store.objects) == {content(3).sha256, content(2).sha256} for store in world.stores)
    lose_the_status(world, revision_history_limit=0)
    world.run()
    assert world.image.status.history == ()
    assert all(set(store.claims) == {content(3).sha256} for store in world.stores)


def test_an_image_that_comes_back_with_another_source_keeps_what_it_served(world: World) -> None:
    delete(world)
    lose_the_status(world, url=D)
    world.run()
    assert ready(world)
    assert contents(world.image.status.history) == [3, 2]
    assert [request.url.text for request in world.started] == [D]


def test_an_image_that_comes_back_older_keeps_the_newer_revisions(world: World) -> None:
    lose_the_status(world, url=B)
    world.run()
    assert contents(world.image.status.history) == [3, 1]
    assert world.started == []


def test_a_revision_that_only_an_absent_storage_has_is_found_when_it_is_back(world: World) -> None:
    """Unknown is not absent: the claim is kept although the first status could not name it."""
    s1, s2 = world.stores
    s1.claims.pop(content(1).sha256)
    s2.up = False
    lose_the_status(world)
    world.settle()
    assert contents(world.image.status.history) == [2]
    s2.up = True
    world.run()
    assert contents(world.image.status.history) == [2, 1]
    assert content(1).sha256 in s2.claims


def test_a_damaged_revision_is_not_promised(world: World) -> None:
    for store in world.stores:
        store.objects.pop(content(1).sha256)
    lose_the_status(world)
    world.run()
    assert contents(world.image.status.history) == [2]


def test_what_lies_on_a_storage_no_longer_named_is_not_promised(world: World) -> None:
    lose_the_status(world, backup_storages=("s2",))
    for sha256 in (content(1).sha256, content(2).sha256):
        world.store("s2").claims.pop(sha256)
    world.run()
    assert world.image.status.history == ()


def test_the_uuid_of_the_deleted_predecessor_is_taken_over_once_and_only_without_claims_of_ones_own(
    world: World,
) -> None:
    def plan(predecessor: str) -> Plan:
        return plan_image(world.image, replace(world.observe(), predecessor=predecessor), world.now, LIMITS)

    other = "0" * 32
    assert plan(other).status.uuid != other, "it has claims"
    lose_the_status(world)
    for store in world.stores:
        store.claims.clear()
    found = plan(other)
    assert (found.status.uuid, found.again, found.effects) == (other, True, ())
    assert plan("").status.uuid is None
    world.image = replace(world.image, status=found.status)
    assert plan(other).status.uuid == other
    assert not plan(other).again
