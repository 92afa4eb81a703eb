"""What statuses tell leads to the same plans as what is seen, as long as they are true."""

from dataclasses import replace

import pytest

from controller.model.backup_storage import BackupStorageStatus, Capacity, StorageStatus
from controller.model.conditions import Condition, ConditionType
from controller.model.resource import DEFAULT_STORAGE, BackupStorage, Key, Kind, Meta, Resource
from controller.plan.effects import Link, StartTransfer
from controller.plan.image import plan_image
from controller.plan.observed import Observed
from controller.plan.reported import reported
from controller.reasons import Reason
from tests.fakes.world import EPOCH, LIMITS, World, content, spec


def storage(world: World, name: str, status: StorageStatus = StorageStatus.CONNECTED) -> BackupStorage:
    """Return the object of one of a world's storages."""
    view = next(view for view in world.observe().storages if view.name == name)
    ready = Condition(ConditionType.READY, False, Reason.STORAGE_UNAVAILABLE, "it burnt down", 1, EPOCH)
    known = BackupStorageStatus(uuid=view.uuid, status=status, capacity=Capacity(2**40, 2**30), conditions=(ready,))
    meta = Meta(Key(Kind.BACKUP_STORAGE, "", name), "uid", 1, "1", EPOCH, {DEFAULT_STORAGE: "true"})
    return Resource(meta, replace(view.spec, reserved_capacity_bytes=2**29), known)


def seen(world: World, status: StorageStatus = StorageStatus.CONNECTED) -> Observed:
    return reported(world.image, [storage(world, store.name, status) for store in world.stores], lambda _: True)


@pytest.fixture
def world() -> World:
    """Two storages that hold an image."""
    made = World.of(spec(backup_storages=("one", "two"), revision_history_limit=2), "one", "two")
    made.sources = {"http://images.example/a": content(1), "http://images.example/b": content(2)}
    made.run()
    return made


def test_what_is_settled_is_settled(world: World) -> None:
    plan = plan_image(world.image, seen(world), EPOCH, LIMITS)
    assert (plan.effects, plan.after, plan.status) == ((), (), world.image.status)


def test_a_change_is_fetched_and_a_revert_is_not(world: World) -> None:
    world.edit(spec("http://images.example/b", backup_storages=("one", "two"), revision_history_limit=2))
    (start,) = plan_image(world.image, seen(world), EPOCH, LIMITS).effects
    assert isinstance(start, StartTransfer)
    world.run()
    world.edit(spec(backup_storages=("one", "two"), revision_history_limit=2))
    plan = plan_image(world.image, seen(world), EPOCH, LIMITS)
    assert not any(isinstance(effect, StartTransfer | Link) for effect in plan.effects)
    assert plan.status.current is not None
    assert plan.status.current.url == "http://images.example/a"


@pytest.mark.parametrize("status", [StorageStatus.CONNECTING, StorageStatus.DISCONNECTED])
def test_a_storage_that_does_not_answer_is_unknown_and_not_empty(world: World, status: StorageStatus) -> None:
    observed = seen(world, status)
    assert [view.refs for view in observed.storages] == [None, None]
    assert not plan_image(world.image, observed, EPOCH, LIMITS).effects
    assert ("it burnt down" in observed.storages[0].trouble) is (status is StorageStatus.DISCONNECTED)


def test_room_default_and_permission_are_those_of_the_object(world: World) -> None:
    observed = reported(world.image, [storage(world, "one")], lambda _: False)
    (view,) = observed.storages
    assert (view.room_bytes, view.default, view.permitted) == (2**29, True, False)
    bare = replace(storage(world, "one"), status=BackupStorageStatus(uuid=view.uuid))
    assert reported(world.image, [bare], lambda _: None).storages[0].room_bytes == 0


def test_a_ref_without_its_copy_claims_nothing(world: World) -> None:
    status = world.image.status
    world.image = replace(
        world.image, status=replace(status, refs=tuple(replace(ref, install_path="") for ref in status.refs))
    )
    assert [view.refs for view in seen(world).storages] == [(), ()]
