"""What a plan does at the end of an image, and with what it replaced: deletion, trash, history."""

from dataclasses import replace
from datetime import timedelta

from controller.model.image import DeletionPolicy
from controller.model.resource import FORCE_DELETE
from controller.plan.deletion import due
from controller.plan.effects import LetGo
from tests.fakes.world import World, content, ready, spec

A, B = "http://images.example/a", "http://images.example/b"


def test_deletion_drops_every_claim_then_lets_go(world: World) -> None:
    world.run()
    world.image = replace(world.image, meta=replace(world.image.meta, deleting=True))
    plan = world.settle()
    assert plan.after == (LetGo(),)
    assert world.gone
    assert not world.stores[0].claims


def test_deletion_stops_a_transfer(world: World) -> None:
    world.settle()
    world.image = replace(world.image, meta=replace(world.image.meta, deleting=True))
    world.settle()
    assert world.gone
    assert not world.states


def test_a_storage_that_cannot_be_asked_holds_the_deletion_and_says_so(world: World) -> None:
    world.run()
    world.image = replace(world.image, meta=replace(world.image.meta, deleting=True))
    world.stores[0].up = False
    plan = world.settle()
    assert not world.gone
    assert plan.requeue is not None
    assert "s1 could not be asked" in plan.summary
    world.stores[0].up = True
    world.settle()
    assert world.gone


def test_older_revisions_are_kept_and_a_revert_costs_no_byte(world: World) -> None:
    keep = {"revision_history_limit": 2}
    world.edit(spec(A, **keep))
    world.run()
    world.edit(spec(B, **keep))
    world.run()
    assert ready(world)
    assert [revision.content for revision in world.image.status.history] == [content(1)]
    assert set(world.stores[0].objects) == {content(1).sha256, content(2).sha256}
    world.started.clear()
    world.edit(spec(A, **keep))
    world.run()
    assert ready(world)
    assert not world.started
    assert world.image.status.current is not None
    assert world.image.status.current.content == content(1)
    assert [revision.content for revision in world.image.status.history] == [content(2)]


def test_the_history_is_cut_to_its_limit_and_the_bytes_go(world: World) -> None:
    for number in range(1, 6):
        url = f"http://images.example/{number}"
        world.sources[url] = content(number)
        world.edit(spec(url, revision_history_limit=2))
        world.run()
    assert [revision.content for revision in world.image.status.history] == [content(4), content(3)]
    assert set(world.stores[0].objects) == {content(number).sha256 for number in (3, 4, 5)}
    world.edit(spec("http://images.example/5", revision_history_limit=0))
    world.run()
    assert world.image.status.history == ()
    assert set(world.stores[0].objects) == {content(5).sha256}


def delete(world: World) -> None:
    world.image = replace(world.image, meta=replace(world.image.meta, deleting=True))
    world.settle()


def test_a_delayed_deletion_keeps_the_bytes_and_notes_until_when(world: World) -> None:
    world.edit(spec(A, deletion_policy=DeletionPolicy.DELAY, expunge_after=timedelta(hours=5)))
    world.run()
    delete(world)
    assert world.gone
    assert world.stores[0].claims
    record = world.stores[0].trash
    assert record is not None
    assert record.expunge_at == world.now + timedelta(hours=5)
    assert (record.namespace, record.name) == ("default", "img")
    assert not due(record, frozenset(), world.now + timedelta(hours=4))
    assert due(record, frozenset(), world.now + timedelta(hours=5))
    assert not due(record, frozenset({record.whose}), world.now + timedelta(hours=5)), "it lives again"


def test_never_keeps_the_bytes_for_a_person(world: World) -> None:
    world.edit(spec(A, deletion_policy=DeletionPolicy.NEVER))
    world.run()
    delete(world)
    record = world.stores[0].trash
    assert record is not None
    assert record.expunge_at is None
    assert not due(record, frozenset(), world.now + timedelta(days=10000))


def test_an_image_applied_again_is_back_without_a_download(world: World) -> None:
    world.edit(spec(A, deletion_policy=DeletionPolicy.DELAY))
    world.run()
    delete(world)
    world.gone = False
    world.started.clear()
    world.image = replace(World.of(spec(A)).image, spec=world.image.spec)
    world.run()
    assert ready(world)
    assert not world.started
    assert world.stores[0].trash is None


def test_an_image_that_never_had_bytes_leaves_no_record(world: World) -> None:
    world.edit(spec(A, deletion_policy=DeletionPolicy.DELAY))
    world.settle()
    delete(world)
    assert world.gone
    assert world.stores[0].trash is None


def test_force_delete_gives_up_on_a_storage_that_cannot_be_asked(world: World) -> None:
    world.run()
    world.stores[0].up = False
    delete(world)
    assert not world.gone
    world.image = replace(world.image, meta=replace(world.image.meta, annotations={FORCE_DELETE: "true"}))
    assert "given up" in world.settle().summary
