"""What a plan makes of mirrors: they are asked, they are named, and they are no part of what an image is."""

from dataclasses import replace

from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.delivery import Skipped
from controller.model.transfer import Placed
from controller.model.url import SourceUrl
from controller.reasons import Reason
from tests.fakes.world import World, content, ready, spec

A = "http://images.example/a"
M1, M2 = SourceUrl.parse("http://m1.example/a?sig=1"), SourceUrl.parse("/srv/a")
PINNED = {"checksum": content(1).sha256}


def test_another_list_of_mirrors_downloads_nothing(world: World) -> None:
    for mirrors in ((), (M1,), (M2, M1), (M1, M2), ()):
        world.edit(spec(A, mirrors=mirrors, **PINNED))
        world.run()
        assert ready(world)
        assert world.image.status.observed_generation == world.image.meta.generation
    assert len(world.started) == 1


def test_mirrors_are_asked_for_the_image_and_for_a_lost_copy_of_it(world: World) -> None:
    world.edit(spec(A, mirrors=(M1, M2), **PINNED))
    world.run()
    world.stores[0].objects.clear()
    world.run()
    assert [request.mirrors for request in world.started] == [(M1, M2)] * 2


def test_images_with_other_mirrors_do_not_share_a_transfer(world: World) -> None:
    """The one without would stall the other."""
    keys = set()
    for mirrors in ((), (M1,), (M2, M1), (M1, M2)):
        world.edit(spec(A, mirrors=mirrors, **PINNED))
        keys.add(world.case.key())
    assert len(keys) == 4


def test_a_copy_from_another_storage_asks_no_mirror() -> None:
    world = World.of(spec(A, mirrors=(M1,), backup_storages=("s1", "s2"), **PINNED), "s1", "s2")
    world.sources = {A: content(1)}
    world.store("s2").up = False
    world.run()
    world.store("s2").up = True
    world.run()
    assert [request.mirrors for request in world.started] == [(M1,), ()]


def test_a_source_with_other_bytes_is_named_where_people_look_and_one_that_was_away_is_not(world: World) -> None:
    world.edit(spec(A, mirrors=(M1, M2), **PINNED))
    world.settle()
    world.finish()
    skipped = (
        Skipped(A, Reason.SOURCE_UNREACHABLE, "503"),
        Skipped(M1.redacted, Reason.CHECKSUM_MISMATCH, "expected x, got y"),
    )
    for key, state in world.states.items():
        assert isinstance(state, Placed)
        world.states[key] = replace(state, mirror=M2.redacted, skipped=skipped)
    for _ in range(2):
        world.run()
        found = conditions.find(world.image.status.conditions, ConditionType.READY)
        assert found is not None
        assert found.message == "stored and verified on s1; http://m1.example/a was skipped: expected x, got y"
    current = world.image.status.current
    assert current is not None
    assert current.delivery is not None
    assert (current.delivery.mirror, current.delivery.skipped) == (M2.redacted, skipped)
