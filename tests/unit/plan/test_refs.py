"""What a status says of each storage: `Downloading` only while a transfer runs that brings bytes there."""

from dataclasses import replace

from controller.model.image import RefStatus, State
from controller.model.transfer import Failure, Queued, Running
from controller.reasons import Reason
from tests.fakes.world import World, content, ready, spec

URL = "http://images.example/a"


def world_of(*names: str, suspend: bool = False) -> World:
    world = World.of(spec(URL, backup_storages=names, suspend=suspend), *names)
    world.sources = {URL: content(1)}
    return world


def refs(world: World) -> list[tuple[str, RefStatus, Reason | None]]:
    return [(ref.storage_name, ref.status, ref.reason) for ref in world.image.status.refs]


def under_way(world: World) -> None:
    """Begin, and let the status say so."""
    world.settle()
    world.settle()
    assert refs(world) == [(store.name, RefStatus.DOWNLOADING, None) for store in world.stores]


def suspend(world: World) -> None:
    world.edit(replace(world.image.spec, suspend=True))
    world.settle()


def test_an_image_suspended_in_mid_transfer_has_no_ref_where_nothing_is() -> None:
    world = world_of("s1", "s2")
    under_way(world)
    suspend(world)
    assert not world.states
    assert refs(world) == []
    world.edit(replace(world.image.spec, suspend=False))
    world.run()
    assert refs(world) == [("s1", RefStatus.READY, None), ("s2", RefStatus.READY, None)]


def test_a_copy_that_a_suspended_image_loses_is_damaged_not_downloading() -> None:
    world = world_of("s1", "s2")
    world.run()
    suspend(world)
    world.store("s2").objects.clear()
    world.settle()
    lost = [("s1", RefStatus.READY, None), ("s2", RefStatus.FAILED, Reason.STORAGE_DAMAGED)]
    assert refs(world) == lost
    world.settle()
    assert refs(world) == lost, "still, at the next look"


def test_while_a_transfer_waits_for_a_slot_nothing_is_downloading() -> None:
    world = world_of("s1")
    world.settle()
    (key,) = world.states
    world.states[key] = Queued(3)
    world.settle()
    assert refs(world) == []
    world.states[key] = Running(0, None)
    world.settle()
    assert refs(world) == [("s1", RefStatus.DOWNLOADING, None)]


def test_between_two_tries_a_ref_says_why_the_last_one_failed() -> None:
    world = world_of("s1")
    under_way(world)
    world.finish(Failure(Reason.SOURCE_UNREACHABLE, "no answer", terminal=False))
    world.settle()
    assert refs(world) == [("s1", RefStatus.FAILED, Reason.SOURCE_UNREACHABLE)]


def test_what_a_storage_may_not_take_is_not_on_its_way_there() -> None:
    world = world_of("s1", "s2")
    world.store("s2").state = State.DISABLED
    world.run()
    assert refs(world) == [("s1", RefStatus.READY, None)]
    world.store("s2").state = State.ENABLED
    world.run()
    assert refs(world) == [("s1", RefStatus.READY, None), ("s2", RefStatus.READY, None)]


def test_an_older_revision_on_a_storage_that_gets_no_new_one_is_no_damage() -> None:
    world = world_of("s1", "s2")
    world.run()
    world.store("s2").state = State.DISABLED
    other = "http://images.example/b"
    world.sources[other] = content(2)
    world.edit(replace(world.image.spec, url=spec(other).url))
    world.run()
    assert refs(world)[0] == ("s1", RefStatus.READY, None)
    assert Reason.STORAGE_DAMAGED not in {reason for _, _, reason in refs(world)}


def edited_away_while_down() -> World:
    """An image on two storages of which one went down, and whose manifest then names the other one alone."""
    world = world_of("s1", "s2")
    world.run()
    world.store("s2").up = False
    world.edit(spec(URL, backup_storages=("s1",)))
    world.run()
    return world


def test_a_copy_on_a_storage_that_is_down_is_told_of_until_it_is_known_to_be_gone() -> None:
    world = edited_away_while_down()
    away = ("s2", RefStatus.UNKNOWN, Reason.STORAGE_UNAVAILABLE)
    assert refs(world) == [("s1", RefStatus.READY, None), away]
    assert ready(world)
    world.store("s2").up = True
    world.run()
    assert refs(world) == [("s1", RefStatus.READY, None)]
    assert not world.store("s2").claims


def test_an_image_deleted_before_the_storage_is_back_leaves_no_claim_without_an_owner() -> None:
    world = edited_away_while_down()
    world.image = replace(world.image, meta=replace(world.image.meta, deleting=True))
    waits = world.settle()
    assert "s2 could not be asked" in waits.summary
    world.stores[1].up = True
    world.settle()
    assert world.gone
    assert not world.store("s2").claims


def test_who_deletes_a_storage_that_is_down_gives_up_the_copies_there() -> None:
    world = edited_away_while_down()
    world.store("s2").deleting = True
    world.settle()
    assert refs(world) == [("s1", RefStatus.READY, None)]
