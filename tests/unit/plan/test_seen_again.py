"""What a status says of copies while nothing is tried: stalled, waiting for the next try, or written by a passer-by."""

from dataclasses import replace
from datetime import timedelta

from controller.model import conditions
from controller.model.conditions import Condition, ConditionType
from controller.model.image import Phase, RefStatus
from controller.model.transfer import Failure
from controller.plan.status import seen_again
from controller.reasons import Reason
from tests.fakes.world import World, content, spec

URL, OTHER = "http://images.example/a", "http://images.example/b"


def served(*names: str) -> World:
    """Return a world whose image is Ready on all storages."""
    world = World.of(spec(URL, backup_storages=names or ("s1",)), *(names or ("s1",)))
    world.sources = {URL: content(1)}
    world.run()
    assert find(world, ConditionType.READY).status
    return world


def find(world: World, kind: ConditionType) -> Condition:
    found = conditions.find(world.image.status.conditions, kind)
    assert found is not None
    return found


def refs(world: World) -> list[tuple[str, RefStatus, Reason | None]]:
    return [(ref.storage_name, ref.status, ref.reason) for ref in world.image.status.refs]


def lose(world: World, name: str = "s1") -> None:
    world.store(name).objects.clear()


def look(world: World) -> None:
    """Do what a passer-by does."""
    status = seen_again(world.image, world.observe().storages, now=world.now)
    world.image = replace(world.image, status=status)


def broken(world: World, failure: Failure) -> None:
    """Ask for another source, which fails."""
    world.edit(spec(OTHER, backup_storages=world.image.spec.backup_storages))
    world.settle()
    world.finish(failure)
    world.settle()


def test_a_stalled_image_whose_old_revision_is_lost_is_not_available_any_more() -> None:
    world = served()
    broken(world, Failure(Reason.SOURCE_NOT_FOUND, "404", terminal=True))
    assert find(world, ConditionType.AVAILABLE).status
    stalled = find(world, ConditionType.STALLED)
    lose(world)
    world.settle()
    available, verified = find(world, ConditionType.AVAILABLE), find(world, ConditionType.VERIFIED)
    assert (available.status, available.reason) == (False, Reason.STORAGE_DAMAGED)
    assert (verified.status, verified.reason) == (False, Reason.STORAGE_DAMAGED)
    assert find(world, ConditionType.STALLED) == stalled, "why the new one is not there stays"
    assert world.image.status.phase is Phase.FAILED


def test_an_image_that_waits_for_the_next_try_tells_of_the_loss_at_once() -> None:
    world = served()
    broken(world, Failure(Reason.SOURCE_UNREACHABLE, "no answer", terminal=False))
    assert find(world, ConditionType.AVAILABLE).status
    before = world.image.status
    lose(world)
    plan = world.settle()
    assert plan.requeue is not None
    assert not find(world, ConditionType.AVAILABLE).status
    after = world.image.status
    assert (after.attempts, after.next_retry_at) == (before.attempts, before.next_retry_at)
    assert find(world, ConditionType.READY) == conditions.find(before.conditions, ConditionType.READY)


def test_a_stalled_image_whose_storage_is_away_says_that_nobody_knows() -> None:
    world = served()
    broken(world, Failure(Reason.SOURCE_NOT_FOUND, "404", terminal=True))
    world.store("s1").up = False
    world.settle()
    assert find(world, ConditionType.AVAILABLE).reason is Reason.STORAGE_UNAVAILABLE
    assert find(world, ConditionType.VERIFIED).status, "nothing is known to be wrong"
    assert refs(world) == [("s1", RefStatus.UNKNOWN, Reason.STORAGE_UNAVAILABLE)]
    world.store("s1").up = True
    world.settle()
    assert find(world, ConditionType.AVAILABLE).status


def test_looking_again_where_all_is_as_it_was_writes_nothing() -> None:
    world = served("s1", "s2")
    before = world.image.status
    world.now += timedelta(minutes=10)
    look(world)
    assert world.image.status == before
    broken(world, Failure(Reason.SOURCE_NOT_FOUND, "404", terminal=True))
    before = world.image.status
    world.now += timedelta(minutes=10)
    world.settle()
    assert world.image.status == before


def test_a_passer_by_takes_ready_back_and_says_which_copy_is_missing() -> None:
    world = served("s1", "s2")
    lose(world, "s2")
    look(world)
    ready = find(world, ConditionType.READY)
    assert (ready.status, ready.reason) == (False, Reason.STORAGE_DAMAGED)
    assert ready.message == "the copy on s2 is damaged or gone"
    assert find(world, ConditionType.AVAILABLE).status
    assert refs(world) == [("s1", RefStatus.READY, None), ("s2", RefStatus.FAILED, Reason.STORAGE_DAMAGED)]
    world.run()
    assert find(world, ConditionType.READY).status


def test_a_passer_by_answers_no_spec_that_nobody_acted_upon() -> None:
    world = served()
    world.edit(spec(OTHER))
    lose(world)
    look(world)
    assert world.image.status.observed_generation == world.image.meta.generation - 1
    assert {one.observed_generation for one in world.image.status.conditions} == {world.image.meta.generation - 1}


def test_a_storage_that_does_not_exist_any_more_is_unknown() -> None:
    world = served("s1", "s2")
    world.stores = [world.store("s1")]
    look(world)
    assert refs(world) == [("s1", RefStatus.READY, None), ("s2", RefStatus.UNKNOWN, Reason.STORAGE_UNAVAILABLE)]
    assert find(world, ConditionType.READY).reason is Reason.STORAGE_UNAVAILABLE
