"""What need not be fetched: what the namespace has, and what an answer proved; and what is fetched all the same."""

from dataclasses import replace

import pytest

from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.delivery import Delivery
from controller.model.digest import Digest
from controller.model.image import Format, ImageStatus, MediaType, Revision
from controller.model.transfer import Placed, Queued, Running
from controller.plan.effects import Link, StartTransfer
from controller.plan.source import source_id
from controller.reasons import Reason
from tests.fakes.world import EPOCH, World, content, ready, reason, spec, stalled

A, GONE = "http://images.example/a", "http://images.example/gone"
MINE = content(2)


def neighbour(world: World, store: str = "s1") -> None:
    """Let another image of the namespace have a content on a storage."""
    world.neighbours[MINE.sha256] = world.store(store).objects[MINE.sha256] = MINE


def stranger(world: World, store: str = "s1") -> None:
    """Let an image of another namespace have it."""
    world.strangers[MINE.sha256] = world.store(store).objects[MINE.sha256] = MINE


def test_what_another_image_of_the_namespace_has_is_claimed_at_once() -> None:
    world = World.of(spec(GONE, checksum=MINE.sha256))
    neighbour(world)
    plan = world.step()
    assert [type(effect) for effect in plan.effects] == [Link]
    world.run()
    assert ready(world)
    assert world.started == []
    current = world.image.status.current
    assert current is not None
    assert current.delivery == Delivery("Image default/neighbour", length=MINE.size_bytes, fetched_bytes=0)
    assert current.proof == "checksum sha256"


def test_it_is_copied_from_the_storage_that_has_it() -> None:
    world = World.of(spec(GONE, checksum=MINE.sha256, backup_storages=("s1", "s2")), "s1", "s2")
    neighbour(world)
    world.run()
    assert ready(world)
    assert [request.copy_from is not None for request in world.started] == [True]


@pytest.mark.parametrize("up", [True, False])
def test_it_is_fetched_where_only_strangers_have_it_or_it_cannot_be_asked(up: bool) -> None:
    world = World.of(spec(A, checksum=MINE.sha256, backup_storages=("s1",)), "s1", "s2")
    world.sources = {A: MINE}
    if up:
        stranger(world, "s2")
    else:
        neighbour(world, "s2")
        world.store("s2").up = False
    plan = world.step()
    assert [type(effect) for effect in plan.effects] == [StartTransfer]
    assert world.started[0].copy_from is None


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"format": Format.RAW}, Reason.FORMAT_REJECTED),
        ({"media_type": MediaType.ISO}, Reason.FORMAT_REJECTED),
        ({"max_size_bytes": 10}, Reason.TOO_LARGE),
    ],
)
def test_what_the_spec_demands_is_held_to(wanted: dict[str, object], why: Reason) -> None:
    world = World.of(spec(GONE, checksum=MINE.sha256, **wanted))
    neighbour(world)
    world.step()
    assert stalled(world)
    assert reason(world) is why
    assert not world.store("s1").claims


@pytest.mark.parametrize("promise", [None, MINE.md5, content(3).sha256])
def test_without_a_digest_that_names_it_nothing_is_shared(promise: Digest | None) -> None:
    world = World.of(spec(A, checksum=promise))
    world.sources = {A: MINE}
    neighbour(world)
    plan = world.step()
    assert [type(effect) for effect in plan.effects] == [StartTransfer]


def test_a_status_that_somebody_wrote_gives_nobody_what_others_stored() -> None:
    """Whoever may write a status could name any content in it: it is fetched, and must be what it says."""
    world = World.of(spec(A))
    stranger(world)
    forged = Revision(MINE, source_id(world.image.spec.url), A, EPOCH, "first use")
    world.image = replace(world.image, status=ImageStatus(current=forged))
    world.sources = {A: content(1)}
    plan = world.step()
    assert [type(effect) for effect in plan.effects] == [StartTransfer]
    assert world.started[0].copy_from is None
    world.finish()
    world.settle()
    assert reason(world) is Reason.SOURCE_CHANGED
    assert not world.store("s1").claims


def test_what_was_proven_is_remembered_until_its_copy_is_claimed() -> None:
    """The bytes lie on another storage: while they are copied, the transfer that proved the right is not let go of."""
    world = World.of(spec(A, backup_storages=("s2",)), "s1", "s2")
    world.sources, world.proves = {A: MINE}, True
    stranger(world)
    world.settle()
    (proof,) = world.states
    world.finish()
    assert isinstance(world.states[proof], Placed)
    for _ in range(3):
        world.settle()
        assert proof in world.states
        assert [state for key, state in world.states.items() if key != proof] == [Running(0, None)]
    world.run()
    assert ready(world)
    assert [request.copy_from is None for request in world.started] == [True, False]


def test_who_waits_for_another_transfer_says_so_and_has_no_place_in_the_line() -> None:
    world = World.of(spec(A))
    world.step()
    world.states = dict.fromkeys(world.states, Queued(0, behind=True))
    world.step()
    status = world.image.status
    found = conditions.find(status.conditions, ConditionType.READY)
    message = found.message if found is not None else ""
    assert reason(world) is Reason.QUEUED
    assert status.queue_position is None
    assert "waits for a transfer of the same source that is under way" in message
