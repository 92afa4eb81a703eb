"""An image has the uuid of the deleted one of its name, and with it its bytes, whatever its own would have been."""

from datetime import timedelta

import pytest

from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.resource import Key, Kind
from controller.model.transfer import TrashRecord
from tests.fakes.stored_bytes import OTHER_IMAGE
from tests.fakes.transfers import content_of
from tests.fakes.world import EPOCH
from tests.unit.engine.engine_bench import DATA, IMAGE, URL, Bench

OTHER = Key(Kind.IMAGE, "default", "other")


def delete(bench: Bench, key: Key = IMAGE) -> None:
    bench.resources.remove(key)
    bench.engine.enqueue([key])
    bench.work()
    assert bench.resources.image(key) is None


@pytest.fixture
def uuid(bench: Bench) -> str:
    """The uuid of an image that was deleted a moment ago, and whose bytes are kept."""
    bench.resources.put(IMAGE, {"url": URL})
    bench.converge()
    found = bench.image().status.uuid
    assert found is not None
    delete(bench)
    assert bench.store().trash()
    bench.transfers.started.clear()
    return found


def test_an_object_of_another_uid_takes_over_uuid_and_bytes(bench: Bench, uuid: str) -> None:
    """As kubectl makes it anew, and as a standalone state that was lost: both have another uid."""
    bench.resources.put(IMAGE, {"url": URL})
    assert bench.image().meta.uid.replace("-", "") != uuid
    bench.converge()
    assert bench.says(ConditionType.READY)
    assert bench.image().status.uuid == uuid
    assert bench.image().status.refs[0].install_path.startswith(f"zstore://{uuid}/")
    assert bench.transfers.started == []
    assert bench.store().trash() == ()


def test_another_name_another_namespace_and_a_uuid_of_ones_own_take_over_nothing(bench: Bench, uuid: str) -> None:
    own = "aaaaaaaaaaaa4aaa8aaaaaaaaaaaaaaa"
    elsewhere = Key(Kind.IMAGE, "other", IMAGE.name)
    for key, given in ((OTHER, {}), (elsewhere, {}), (IMAGE, {"uuid": own})):
        bench.resources.put(key, {"url": URL, **given})
        bench.converge()
        found = bench.resources.image(key)
        assert found is not None
        assert found.status.uuid != uuid
    assert [record.image_uuid for record in bench.store().trash()] == [uuid]


def test_of_several_the_one_deleted_last_is_succeeded(bench: Bench, uuid: str) -> None:
    record = TrashRecord(OTHER_IMAGE, "default", "img", EPOCH - timedelta(days=1), None)
    bench.store().discard(record)
    bench.resources.put(IMAGE, {"url": URL})
    bench.converge()
    assert bench.image().status.uuid == uuid
    assert bench.store().trash() == (record,)


def test_a_storage_that_comes_back_in_time_gives_its_trash_back(bench: Bench, uuid: str) -> None:
    bench.store().faults.unreachable = True
    bench.engine.probe_storages()
    bench.work()
    bench.resources.put(IMAGE, {"url": URL})
    bench.engine.enqueue([IMAGE])
    bench.work()
    assert bench.image().status.uuid != uuid
    bench.store().faults.unreachable = False
    bench.clock.advance(120)
    bench.converge()
    assert bench.image().status.uuid == uuid
    assert bench.says(ConditionType.READY)


def test_who_only_names_the_uuid_does_not_keep_the_heir_from_it(bench: Bench, uuid: str) -> None:
    thief = Key(Kind.IMAGE, "evil", "thief")
    bench.resources.put(thief, {"url": URL, "uuid": uuid})
    bench.engine.enqueue([thief])
    bench.work()
    bench.resources.put(IMAGE, {"url": URL})
    bench.converge()
    assert bench.image().status.uuid == uuid
    assert bench.says(ConditionType.READY)
    found = bench.resources.image(thief)
    assert found is not None
    assert conditions.is_true(found.status.conditions, ConditionType.STALLED)
    assert bench.store().find(content_of(DATA).sha256) is not None


def test_the_trash_is_read_once_for_many_new_images(bench: Bench, uuid: str) -> None:
    looks = 0
    plain = bench.store().trash

    def counted() -> tuple[TrashRecord, ...]:
        nonlocal looks
        looks += 1
        return plain()

    bench.store().trash = counted  # type: ignore[method-assign]
    keys = [Key(Kind.IMAGE, "default", f"new-{number}") for number in range(20)]
    for key in keys:
        bench.resources.put(key, {"url": URL})
    bench.engine.enqueue(keys)
    bench.work()
    assert looks == 1
    assert uuid not in {found.status.uuid for key in keys if (found := bench.resources.image(key)) is not None}


def test_what_is_in_the_trash_goes_by_applying_it_with_direct_and_deleting_it(bench: Bench, uuid: str) -> None:
    """The way in a cluster, and without waiting for a download of something else."""
    bench.resources.put(IMAGE, {"url": "http://nowhere.example/", "deletionPolicy": "Direct", "suspend": True})
    bench.converge()
    assert bench.image().status.uuid == uuid
    delete(bench)
    assert bench.store().trash() == ()
    assert list(bench.store().claims()) == []
    assert bench.store().find(content_of(DATA).sha256) is None
