"""Storages that are not for everybody: what is placed, what stays, and what the status says of it."""

import pytest

from controller.model.image import RefStatus, State
from controller.reasons import Reason
from tests.fakes.world import World, available, content, ready, reason, spec

A, B = "http://images.example/a", "http://images.example/b"


def world_of(*names: str, **fields: object) -> World:
    world = World.of(spec(A, **fields), *names)
    world.sources = {A: content(1), B: content(2)}
    return world


def test_an_image_that_names_a_storage_that_is_not_for_it_waits_and_says_which() -> None:
    world = world_of("s1", "s2", backup_storages=("s2",))
    world.store("s2").permitted = False
    plan = world.settle()
    assert not world.started
    assert reason(world) is Reason.DEPENDENCY_NOT_READY
    assert plan.summary == "may not use BackupStorage s2, whose namespaceSelector does not select this namespace"
    world.store("s2").permitted = True
    world.run()
    assert ready(world)


def test_the_storages_that_are_for_it_are_filled_meanwhile() -> None:
    world = world_of("s1", "s2", backup_storages=("s1", "s2"))
    world.store("s2").permitted = False
    world.run()
    assert available(world)
    assert not ready(world)
    assert [ref.storage_name for ref in world.image.status.refs] == ["s1"]
    world.store("s2").permitted = True
    world.run()
    assert ready(world)
    assert set(world.store("s2").claims) == {content(1).sha256}


def test_unknown_labels_are_no_permission_and_no_refusal() -> None:
    world = world_of("s1", backup_storages=("s1",))
    world.store("s1").permitted = None
    assert "cannot be judged" in world.settle().summary
    assert not world.started


def test_the_default_is_the_one_that_is_for_this_namespace() -> None:
    world = world_of("s1", "s2", "s3")
    for name in ("s1", "s2"):
        world.store(name).default = True
    world.store("s1").permitted = False
    world.run()
    assert [ref.storage_name for ref in world.image.status.refs] == ["s2"]


def test_without_a_default_the_roomiest_that_is_for_this_namespace_is_chosen() -> None:
    world = world_of("s1", "s2", "s3")
    world.store("s1").permitted, world.store("s1").room = False, 10**12
    world.store("s3").room = 1
    world.run()
    assert [ref.storage_name for ref in world.image.status.refs] == ["s2"]


def test_where_none_is_for_this_namespace_all_are_named() -> None:
    world = world_of("s1", "s2")
    for store in world.stores:
        store.permitted = False
    assert world.settle().summary == (
        "there are only BackupStorages whose namespaceSelector does not select this namespace: s1, s2"
    )
    assert not world.started


def test_a_copy_stays_and_serves_when_the_labels_change_and_nothing_is_written_twice() -> None:
    world = world_of("s1", "s2", backup_storages=("s1", "s2"))
    world.run()
    world.store("s2").permitted = False
    plan = world.settle()
    assert ready(world), "this generation is there, on every storage it names"
    assert plan.summary.endswith(
        "kept on s2, whose namespaceSelector does not select this namespace: nothing new goes there"
    )
    assert {ref.storage_name: ref.status for ref in world.image.status.refs} == {
        "s1": RefStatus.READY,
        "s2": RefStatus.READY,
    }
    before = world.image.status
    assert world.settle().effects == ()
    assert world.image.status == before
    world.store("s2").permitted = True
    world.settle()
    assert "kept" not in world.settle().summary


def test_a_copy_that_is_lost_there_is_not_made_again() -> None:
    world = world_of("s1", "s2", backup_storages=("s1", "s2"))
    world.run()
    world.store("s2").permitted = False
    world.store("s2").objects.clear()
    world.started.clear()
    world.run()
    assert not world.started
    assert available(world)
    assert reason(world) is Reason.DEPENDENCY_NOT_READY


def test_an_edit_brings_the_new_bytes_elsewhere_and_leaves_the_old_ones_alone_there() -> None:
    world = world_of("s1", "s2", backup_storages=("s1", "s2"))
    world.run()
    world.store("s2").permitted = False
    world.edit(spec(B, backup_storages=("s1", "s2")))
    world.run()
    assert set(world.store("s1").claims) == {content(2).sha256}
    assert set(world.store("s2").claims) == {content(1).sha256}
    assert (available(world), ready(world)) == (True, False)
    world.edit(spec(B, backup_storages=("s1",)))
    world.run()
    assert ready(world)
    assert not world.store("s2").claims, "who no longer names it asks for the removal"


def test_an_image_that_chose_by_itself_keeps_serving_from_there() -> None:
    world = world_of("s1", "s2")
    world.run()
    (ref,) = world.image.status.refs
    world.store(ref.storage_name).permitted = False
    world.run()
    assert ready(world)
    assert [one.storage_name for one in world.image.status.refs] == [ref.storage_name]


@pytest.mark.parametrize("close", [{"state": State.DISABLED}, {"permitted": False}], ids=["Disabled", "selector"])
def test_a_transfer_into_a_storage_that_is_closed_meanwhile_is_stopped(close: dict[str, object]) -> None:
    world = world_of("s1", backup_storages=("s1",))
    world.settle()
    assert world.states
    for name, value in close.items():
        setattr(world.store("s1"), name, value)
    world.settle()
    assert not world.states
    assert reason(world) is Reason.DEPENDENCY_NOT_READY
    world.store("s1").state, world.store("s1").permitted = State.ENABLED, True
    world.run()
    assert ready(world)


def test_the_other_storages_of_such_a_transfer_are_gone_on_with() -> None:
    world = world_of("s1", "s2", backup_storages=("s1", "s2"))
    world.settle()
    world.store("s1").state = State.DISABLED
    world.settle()
    assert [[target.name for target in request.targets] for request in world.started] == [["s1", "s2"], ["s2"]]
    world.run()
    assert available(world)
    assert not world.store("s1").objects


def test_a_storage_that_only_does_not_answer_stops_no_transfer() -> None:
    world = world_of("s1", "s2", backup_storages=("s1", "s2"))
    world.settle()
    world.store("s1").up = False
    world.settle()
    assert len(world.started) == 1
    assert world.states
