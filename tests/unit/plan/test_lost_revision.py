"""Going back to an older revision whose bytes are gone: its digest pins what the source must bring."""

from datetime import timedelta

from controller.model.image import UpdatePolicy
from controller.model.transfer import Failure
from controller.plan.effects import StartTransfer
from controller.reasons import Reason
from tests.fakes.world import World, available, content, ready, reason, spec, stalled

A, B = "http://images.example/a", "http://images.example/b"
OLD, NEW, CURRENT = content(1), content(9), content(2)


def lost(**fields: object) -> World:
    """Return a world that serves B; the bytes of A, which its history remembers, are gone."""
    world = World.of(spec(A, revision_history_limit=3, **fields))
    world.sources = {A: OLD, B: CURRENT}
    world.run()
    world.edit(spec(B, revision_history_limit=3, **fields))
    world.run()
    assert [one.content for one in world.image.status.history] == [OLD]
    del world.stores[0].objects[OLD.sha256]
    return world


def revert(world: World, **fields: object) -> None:
    world.edit(spec(A, revision_history_limit=3, **fields))
    world.settle()


def test_the_same_bytes_are_fetched_again_pinned_by_the_digest_of_that_revision() -> None:
    world = lost()
    revert(world)
    assert world.started[-1].expected_content == OLD
    world.run()
    assert ready(world)
    current = world.image.status.current
    assert current is not None
    assert current.content == OLD
    assert [one.content for one in world.image.status.history] == [CURRENT]


def test_other_bytes_are_source_changed_and_what_is_served_stays() -> None:
    world = lost()
    world.sources[A] = NEW
    revert(world)
    world.finish()
    world.settle()
    assert stalled(world)
    assert reason(world) is Reason.SOURCE_CHANGED
    assert available(world)
    assert NEW.sha256 not in world.stores[0].objects
    assert [one.content for one in world.image.status.history] == [OLD], "still remembered"
    for _ in range(3):
        world.now += timedelta(hours=1)
        plan = world.settle()
        assert not any(isinstance(effect, StartTransfer) for effect in plan.effects)


def test_who_wants_the_new_bytes_says_so_by_their_checksum() -> None:
    world = lost()
    world.sources[A] = NEW
    revert(world)
    world.finish()
    world.settle()
    revert(world, checksum=NEW.sha256)
    world.run()
    assert ready(world)
    current = world.image.status.current
    assert current is not None
    assert current.content == NEW


def test_a_source_that_is_away_is_tried_again_pinned() -> None:
    world = lost()
    revert(world)
    world.finish(Failure(Reason.SOURCE_UNREACHABLE, "no answer", terminal=False))
    world.settle()
    assert not stalled(world)
    world.now += timedelta(days=1)
    world.settle()
    assert world.started[-1].expected_content == OLD
    world.run()
    assert ready(world)


def test_who_imports_what_changes_is_pinned_to_nothing_old() -> None:
    fields = {"interval": timedelta(hours=1), "update_policy": UpdatePolicy.IMPORT}
    world = lost(**fields)
    world.sources[A] = NEW
    revert(world, **fields)
    assert world.started[-1].expected_content is None
    world.finish()
    world.settle()
    current = world.image.status.current
    assert current is not None
    assert current.content == NEW


def test_a_transfer_of_a_remembered_revision_is_one_that_the_image_waits_for() -> None:
    """Else its partial is swept before the next start goes on with it."""
    world = lost()
    revert(world)
    key = world.started[-1].key
    from controller.plan.case import transfer_keys
    from tests.fakes.world import LIMITS

    assert key in transfer_keys(world.image, LIMITS)
