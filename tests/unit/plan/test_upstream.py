"""What a plan makes of a source that changes by itself: when it is looked at, and what is told."""

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.model.delivery import Delivery, Sighting, Validator
from controller.model.image import ChecksumFrom, UpdatePolicy
from controller.model.transfer import Failure, Looked, Placed
from controller.model.url import SourceUrl
from controller.plan.effects import ReleaseTransfer, StartTransfer
from controller.reasons import Reason
from tests.fakes.world import World, available, content, ready, reason, spec, stalled
from tests.unit.plan.looking import HOUR, LATER, A, look, looks, served, told, watching

B = "http://images.example/b"
LIST = "http://images.example/SUMS"


@pytest.fixture
def world(world: World) -> World:
    """An image that is Ready and is looked at every hour."""
    return served(world, watching())


# --- when -----------------------------------------------------------------------------------------------------------


def test_without_an_interval_nobody_looks(world: World) -> None:
    world.edit(spec(A))
    world.settle()
    world.now += timedelta(days=400)
    assert world.settle().effects == ()


def test_a_look_is_due_an_interval_after_the_import_and_up_to_a_fifth_more(world: World) -> None:
    plan = world.settle()
    assert plan.requeue is not None
    assert plan.requeue <= timedelta(seconds=720), "the resync comes first"
    world.now += HOUR - timedelta(seconds=60)
    plan = world.settle()
    assert not plan.effects
    assert plan.requeue is not None
    assert plan.requeue <= HOUR * 0.2 + timedelta(seconds=60)
    world.now += plan.requeue
    plan = world.step()
    assert len(looks(plan)) == 1
    assert plan.looking


def test_the_plan_that_makes_an_image_ready_knows_when_to_look() -> None:
    """No later pass would say so before the resync."""
    world = World.of(watching(), "s1")
    world.sources = {A: content(1)}
    world.image = replace(world.image, spec=replace(world.image.spec, interval=timedelta(minutes=5)))
    world.settle()
    world.finish()
    plan = world.settle()
    assert ready(world)
    assert plan.requeue is not None
    assert timedelta(minutes=5) <= plan.requeue <= timedelta(minutes=6)


def test_a_look_costs_one_write_and_no_download(world: World) -> None:
    before = world.image.status
    world.now += LATER
    start = world.step()
    assert start.status == before
    assert world.step().status == before, "it is under way"
    assert world.step().looking
    world.finish()
    noted = world.step()
    assert noted.status == replace(before, watch=replace(before.watch, checked_at=world.now))
    assert noted.again
    after = world.step()
    assert (after.status, after.effects, after.looking) == (noted.status, (), False)
    assert not world.states
    assert [request.look for request in world.started] == [False, True]


def test_a_restart_looks_no_earlier(world: World) -> None:
    look(world)
    world.states.clear()
    world.now += HOUR - timedelta(seconds=1)
    assert not looks(world.settle())


def test_a_clock_that_was_set_back_holds_up_no_look_and_makes_no_loop(world: World) -> None:
    world.now -= timedelta(days=9)
    assert len(looks(world.settle())) == 1
    world.finish()
    world.settle()
    assert world.image.status.watch.checked_at == world.now
    assert not looks(world.settle())


def test_who_asks_has_it_looked_at_now(world: World) -> None:
    world.image = replace(world.image, meta=replace(world.image.meta, requested_at="now"))
    assert len(looks(world.settle())) == 1
    world.finish()
    world.settle()
    assert world.image.status.watch.checked_at == world.now
    assert not looks(world.settle())


def test_a_suspended_image_is_not_looked_at_and_a_look_under_way_is_let_go(world: World) -> None:
    world.now += LATER
    world.settle()
    (key,) = world.states
    world.edit(watching(suspend=True))
    assert ReleaseTransfer(key) in world.step().effects
    assert not world.states
    assert not looks(world.settle())


def test_a_look_at_what_is_not_asked_for_any_more_is_let_go(world: World) -> None:
    world.now += LATER
    world.settle()
    (key,) = world.states
    world.edit(watching(B))
    assert ReleaseTransfer(key) in world.step().effects
    world.finish()
    for _ in range(4):
        world.settle()
    assert ready(world)
    assert world.image.status.watch.seen is None


def test_a_look_that_ended_about_another_source_says_nothing(world: World) -> None:
    world.now += LATER
    world.settle()
    world.sources[A] = content(3)
    world.finish()
    world.edit(watching(B))
    assert world.step().summary == "forget a look at another source"
    assert world.image.status.watch.checked_at is None
    assert told(world) is None


def test_a_deletion_stops_a_look(world: World) -> None:
    world.now += LATER
    world.settle()
    world.image = replace(world.image, meta=replace(world.image.meta, deleting=True))
    world.settle()
    assert world.gone
    assert not world.states


def test_an_image_that_is_not_there_yet_is_not_looked_at() -> None:
    world = World.of(watching())
    world.sources = {A: content(1)}
    world.settle()
    world.finish(Failure(Reason.SOURCE_NOT_FOUND, "404", terminal=True))
    world.settle()
    assert stalled(world)
    world.now += LATER
    assert not looks(world.settle())


# --- Notify ---------------------------------------------------------------------------------------------------------


def test_a_changed_source_is_told_with_old_and_new_and_nothing_else_happens(world: World) -> None:
    world.sources[A] = content(3)
    world.etags[A] = '"w"'
    look(world)
    found = told(world)
    assert found is not None
    assert (found.status, found.reason) == (True, Reason.SOURCE_CHANGED)
    assert found.message == (
        f'the source has changed since the import of {content(1).sha256}: ETag was "v", is "w"; '
        "length was 1001, is 1003"
    )
    assert ready(world)
    assert [request.look for request in world.started] == [False, True]
    assert set(world.stores[0].objects) == {content(1).sha256}
    since = found.last_transition_time
    look(world)
    again = told(world)
    assert again is not None
    assert again.last_transition_time == since


def test_it_is_no_longer_told_when_the_source_is_back(world: World) -> None:
    world.sources[A] = content(3)
    look(world)
    assert told(world)
    world.sources[A] = content(1)
    look(world)
    assert told(world) is None
    assert world.image.status.watch.seen is None
    assert ready(world)


@pytest.mark.parametrize(
    ("known", "now", "changed"),
    [
        (Validator('"v"'), Validator('W/"v"'), False),
        (Validator('"v"', "Monday"), Validator('"v"', "Tuesday"), False),
        (Validator('"v"', "Monday"), Validator(None, "Tuesday"), True),
        (Validator(None, "Monday"), Validator('"v"', "Monday"), False),
        (Validator(None, "Monday"), Validator(None, "Tuesday"), True),
        (Validator('W/"v"'), Validator('W/"w"'), True),
        (Validator('"v"'), Validator(), False),
    ],
)
def test_weak_names_count_and_the_best_that_both_have_decides(
    world: World, known: Validator, now: Validator, changed: bool
) -> None:
    current = world.image.status.current
    assert current is not None
    current = replace(current, delivery=Delivery(A, known, 1001))
    world.image = replace(world.image, status=replace(world.image.status, current=current))
    world.now += LATER
    world.settle()
    world.states = dict.fromkeys(world.states, Looked(Sighting(now, 1001)))
    world.settle()
    assert (told(world) is not None) is changed


def test_a_file_is_another_one_by_its_time_and_size_and_not_by_a_chmod() -> None:
    world = World.of(watching("/srv/a"))
    world.sources = {"file:///srv/a": content(1)}
    served(world, watching("/srv/a"))
    current = world.image.status.current
    assert current is not None
    current = replace(current, delivery=Delivery("/srv/a", Validator(None, "1000000000/7/8/9/1001"), 1001))
    world.image = replace(world.image, status=replace(world.image.status, current=current))
    for facts, size, changed in (("1000000000/70/80/90/1001", 1001, False), ("1500000000/7/8/9/1002", 1002, True)):
        world.now += LATER
        world.settle()
        world.states = dict.fromkeys(world.states, Looked(Sighting(Validator('"x"', facts), size)))
        world.settle()
        assert (told(world) is not None) is changed
    found = told(world)
    assert found is not None
    assert found.message.endswith(
        ": modification time was 1970-01-01T00:00:01.000000000Z, is 1970-01-01T00:00:01.500000000Z; "
        "length was 1001, is 1002"
    )


def test_a_look_that_fails_is_told_and_says_nothing_of_the_image(world: World) -> None:
    world.sources[A] = content(3)
    look(world)
    before = world.image.status
    world.now += LATER
    world.settle()
    world.finish(Failure(Reason.SOURCE_NOT_FOUND, "404", terminal=True))
    world.settle()
    status = world.image.status
    assert status.conditions == before.conditions
    assert status.watch == replace(before.watch, checked_at=world.now, error="SourceNotFound: 404")
    assert (status.attempts, status.next_retry_at) == (0, None)
    look(world)
    assert world.image.status.watch.error == ""


def test_an_answer_that_names_no_version_is_no_look(world: World) -> None:
    world.now += LATER
    world.settle()
    world.states = dict.fromkeys(world.states, Looked(Sighting()))
    world.settle()
    assert "names no version" in world.image.status.watch.error
    assert told(world) is None


def test_a_look_that_waits_for_its_turn_writes_nothing_and_comes_again(world: World) -> None:
    before = world.image.status
    world.now += LATER
    world.settle()
    world.finish(Failure(Reason.QUEUED, "busy", terminal=False, retry_after=timedelta(seconds=9)))
    plan = world.settle()
    assert (plan.requeue, world.image.status) == (timedelta(seconds=9), before)
    world.now += timedelta(seconds=9)
    assert len(looks(world.settle())) == 1


BUSY = Failure(Reason.QUEUED, "busy", terminal=False, retry_after=timedelta(hours=2))


def test_a_look_that_waits_for_its_turn_holds_up_no_healing() -> None:
    """Its origin said to wait for hours; the copy that was lost lies on another storage, too."""
    world = World.of(watching(), "s1", "s2")
    world.sources = {A: content(1)}
    served(world, watching(backup_storages=("s1", "s2")))
    world.now += LATER
    world.settle()
    world.store("s2").objects.clear()
    world.finish(BUSY)
    plan = world.settle()
    assert not ready(world)
    assert [effect.request.copy_from is not None for effect in plan.effects if isinstance(effect, StartTransfer)] == [
        True
    ]
    assert not looks(plan)
    world.finish()
    world.settle()
    assert ready(world)


def test_a_look_that_waits_for_its_turn_holds_up_no_resync(world: World) -> None:
    world.now += LATER
    world.settle()
    world.finish(BUSY)
    plan = world.settle()
    assert plan.requeue is not None
    assert plan.requeue <= timedelta(seconds=720), "the copies are looked at as ever"
    assert not plan.looking


def test_a_look_at_what_is_not_served_any_more_is_forgotten_even_if_it_was_told_to_wait(world: World) -> None:
    world.now += LATER
    world.settle()
    world.finish(BUSY)
    world.sources[B] = content(2)
    world.edit(watching(B))
    world.run()
    assert ready(world)
    assert not world.states


def test_what_was_adopted_gets_its_version_from_the_first_look(world: World) -> None:
    """Where a claim says nothing of it, as the first versions wrote none."""
    world.image = World.of(world.image.spec).image
    store = world.stores[0]
    store.claims = {sha256: replace(claim, delivery=None) for sha256, claim in store.claims.items()}
    served(world, world.image.spec)
    current = world.image.status.current
    assert current is not None
    assert current.delivery is None
    look(world)
    current = world.image.status.current
    assert current is not None
    assert current.delivery == Delivery("", Validator('"v"'), 1001)
    assert told(world) is None
    world.sources[A] = content(3)
    look(world)
    assert told(world)


def test_bytes_of_another_image_get_their_version_from_the_first_look_if_their_length_agrees(world: World) -> None:
    current = world.image.status.current
    assert current is not None
    for length, changed in ((1001, False), (1002, True)):
        shared = replace(current, delivery=Delivery("Image default/base", length=length))
        world.image = replace(world.image, status=replace(world.image.status, current=shared))
        look(world)
        found = world.image.status.current
        assert found is not None
        assert found.delivery is not None
        assert (found.delivery.validator == Validator('"v"'), told(world) is not None) == (not changed, changed)
        assert found.delivery.served_by == "Image default/base"


def test_a_mirror_that_served_is_looked_at_and_the_url_is_not() -> None:
    mirrors = (SourceUrl.parse(B), SourceUrl.parse("http://images.example/c"))
    world = World.of(watching(mirrors=mirrors, checksum=content(1).sha256))
    world.sources = {A: content(1)}
    world.settle()
    world.finish()
    for key, state in world.states.items():
        assert isinstance(state, Placed)
        world.states[key] = replace(state, mirror=B)
    world.settle()
    world.sources[B] = content(1)
    world.sources[A] = content(3)
    look(world)
    assert world.started[-1].mirrors == mirrors[:1]
    assert told(world) is None


def test_a_list_is_read_again_and_the_url_is_not_asked() -> None:
    world = World.of(watching(checksum_from=ChecksumFrom(SourceUrl.parse(LIST))))
    world.sources, world.lists = {A: content(1)}, {LIST: content(1).sha256}
    served(world, world.image.spec)
    world.etags[A] = '"w"'
    look(world)
    assert told(world) is None
    world.lists[LIST] = content(3).sha256
    look(world)
    found = told(world)
    assert found is not None
    assert found.message.endswith(f"the list named {content(1).sha256}, and names {content(3).sha256} now")


def test_ignore_looks_at_nothing_and_forgets_what_was_seen(world: World) -> None:
    world.sources[A] = content(3)
    look(world)
    world.edit(watching(policy=UpdatePolicy.IGNORE))
    world.settle()
    assert told(world) is None
    assert world.image.status.watch.seen is None
    world.now += LATER
    assert not looks(world.settle())


def test_a_pinned_copy_that_is_lost_is_not_rebuilt_from_other_bytes(world: World) -> None:
    """The look has told of the change; that makes it no better."""
    world.sources[A] = content(3)
    look(world)
    world.stores[0].objects.clear()
    world.settle()
    world.finish()
    world.settle()
    assert (reason(world), stalled(world)) == (Reason.SOURCE_CHANGED, True)
    assert told(world)
    assert not available(world)
