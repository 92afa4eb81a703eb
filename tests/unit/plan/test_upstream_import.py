"""What a plan makes of a source that changes by itself, where that is to be imported."""

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.model.delivery import Delivery, Validator
from controller.model.image import ChecksumFrom, UpdatePolicy
from controller.model.transfer import Broken, Failure
from controller.model.url import SourceUrl
from controller.plan.effects import Link
from controller.reasons import Reason
from tests.fakes.world import World, available, content, ready, reason, stalled
from tests.unit.plan.looking import LATER, A, look, served, told, watching

LIST = "http://images.example/SUMS"


@pytest.fixture
def following(world: World) -> World:
    """An image that is Ready and imports what it finds."""
    return served(world, watching(policy=UpdatePolicy.IMPORT, revision_history_limit=1))


def finish_all(world: World) -> None:
    for _ in range(6):
        world.finish()
        world.settle()


def test_a_changed_source_is_imported_beside_and_then_served(following: World) -> None:
    world = following
    world.sources[A] = content(3)
    world.etags[A] = '"w"'
    look(world)
    assert available(world)
    assert not ready(world), "it knows of bytes that it should have"
    assert set(world.stores[0].claims) == {content(1).sha256}
    finish_all(world)
    current = world.image.status.current
    assert ready(world)
    assert current is not None
    assert current.content == content(3)
    assert current.delivery == Delivery("http://images.example", Validator('"w"'), 1003, fetched_bytes=1)
    assert [revision.content for revision in world.image.status.history] == [content(1)]
    assert set(world.stores[0].objects) == {content(1).sha256, content(3).sha256}
    assert told(world) is None
    assert not world.states
    look(world)
    assert told(world) is None
    assert sum(not request.look for request in world.started) == 2


def test_the_same_bytes_under_another_name_are_no_new_revision(following: World) -> None:
    world = following
    before = world.image.status.current
    world.etags[A] = '"w"'
    look(world)
    finish_all(world)
    current = world.image.status.current
    assert ready(world)
    assert before is not None
    assert current == replace(
        before, delivery=Delivery("http://images.example", Validator('"w"'), 1001, fetched_bytes=1)
    )
    assert world.image.status.history == ()
    assert world.settle().effects == ()
    look(world)
    assert sum(not request.look for request in world.started) == 2


def test_a_crash_between_claim_and_status_costs_no_second_download(following: World) -> None:
    world = following
    world.sources[A] = content(3)
    look(world)
    world.finish()
    world.now += timedelta(seconds=1)
    plan = world.plan()
    assert [type(effect) for effect in plan.effects] == [Link]
    for effect in plan.effects:
        world._apply(effect)
    world.states.clear()
    world.settle()
    current = world.image.status.current
    assert ready(world)
    assert current is not None
    assert current.content == content(3)
    assert [revision.content for revision in world.image.status.history] == [content(1)]
    assert sum(not request.look for request in world.started) == 2


def test_an_import_that_fails_leaves_the_old_one_serving_and_is_tried_again_at_the_next_look(following: World) -> None:
    world = following
    world.sources[A] = content(3)
    look(world)
    world.finish(Failure(Reason.FORMAT_REJECTED, "a page", terminal=True))
    world.settle()
    assert available(world)
    assert (ready(world), stalled(world), reason(world)) == (False, True, Reason.FORMAT_REJECTED)
    assert told(world)
    world.now += timedelta(minutes=5)
    assert world.settle().effects == ()
    look(world)
    finish_all(world)
    assert ready(world)
    assert set(world.stores[0].objects) == {content(1).sha256, content(3).sha256}


def test_a_source_that_is_back_ends_an_import_that_failed(following: World) -> None:
    world = following
    world.sources[A] = content(3)
    look(world)
    world.finish(Failure(Reason.FORMAT_REJECTED, "a page", terminal=True))
    world.settle()
    world.sources[A] = content(1)
    look(world)
    assert ready(world)
    assert told(world) is None
    assert not world.states


def test_an_import_under_way_is_let_go_when_it_is_not_wanted_any_more(following: World) -> None:
    world = following
    world.sources[A] = content(3)
    look(world)
    assert world.states
    world.edit(watching(revision_history_limit=1))
    world.settle()
    assert ready(world)
    assert not world.states
    assert told(world), "Notify tells of what Import would have fetched"


def test_all_storages_get_it_before_the_old_one_goes() -> None:
    wanted = watching(policy=UpdatePolicy.IMPORT, backup_storages=("s1", "s2"))
    world = World.of(wanted, "s1", "s2")
    world.sources = {A: content(1)}
    served(world, wanted)
    world.store("s2").up = False
    world.sources[A] = content(3)
    look(world)
    finish_all(world)
    assert set(world.store("s1").claims) == {content(3).sha256}
    assert set(world.store("s2").claims) == {content(1).sha256}
    world.store("s2").up = True
    world.settle()
    finish_all(world)
    assert ready(world)
    assert [set(store.claims) for store in world.stores] == [{content(3).sha256}] * 2


def test_a_list_that_names_other_bytes_brings_them_and_one_that_flips_back_does_not() -> None:
    wanted = watching(policy=UpdatePolicy.IMPORT, checksum_from=ChecksumFrom(SourceUrl.parse(LIST)))
    world = World.of(wanted)
    world.sources, world.lists = {A: content(1)}, {LIST: content(1).sha256}
    served(world, wanted)
    world.lists[LIST] = content(3).sha256
    look(world)
    world.lists[LIST] = content(1).sha256
    finish_all(world)
    assert ready(world)
    assert world.settle().effects == ()
    world.lists[LIST], world.sources[A] = content(3).sha256, content(3)
    look(world)
    finish_all(world)
    current = world.image.status.current
    assert ready(world)
    assert current is not None
    assert (current.content, current.proof) == (content(3), "checksum list sha256")


def test_lost_bytes_that_the_source_has_no_more_are_replaced_by_what_it_has(following: World) -> None:
    """Import says so; until the look, they are pinned."""
    world = following
    world.sources[A] = content(3)
    world.stores[0].objects.clear()
    world.settle()
    world.finish()
    world.settle()
    assert (reason(world), stalled(world)) == (Reason.SOURCE_CHANGED, True)
    look(world)
    finish_all(world)
    assert ready(world)
    assert set(world.stores[0].objects) == {content(3).sha256}


def test_a_failed_look_changes_nothing_of_an_import_that_failed(following: World) -> None:
    world = following
    world.sources[A] = content(3)
    look(world)
    world.finish(Failure(Reason.FORMAT_REJECTED, "a page", terminal=True))
    world.settle()
    before = world.image.status.conditions
    world.now += LATER
    world.settle()
    assert all(not isinstance(state, Broken) for state in world.states.values())
    world.finish(Failure(Reason.SOURCE_UNREACHABLE, "503", terminal=False))
    world.settle()
    assert world.image.status.conditions == before
