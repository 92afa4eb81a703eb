"""The end of images over fakes: what holds up a deletion, and what becomes of the trash."""

from datetime import timedelta

import pytest

from controller import errors
from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.resource import FORCE_DELETE, Key, Kind
from controller.model.transfer import TrashRecord
from tests.unit.engine.engine_bench import IMAGE, STORE, URL, Bench


@pytest.mark.parametrize(("policy", "step"), [("Direct", "unlink"), ("Delay", "discard")])
def test_a_storage_that_answers_but_lets_nothing_go_holds_a_deletion_up_until_it_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, policy: str, step: str
) -> None:
    """A directory of somebody else's, or a disk too full for the record in the trash."""
    spec = {"url": URL, "deletionPolicy": policy}
    bench.resources.put(IMAGE, spec)
    bench.converge()

    def refused(*_: object) -> None:
        raise errors.NoSpace("the disk is full")

    monkeypatch.setattr(bench.store(), step, refused)
    bench.resources.remove(IMAGE)
    bench.engine.do(IMAGE)
    ready = conditions.find(bench.image().status.conditions, ConditionType.READY)
    assert ready is not None
    assert ready.message == "deletion waits: s1 could not be asked: the disk is full"
    assert bench.passes[-1][1].requeue is not None
    bench.resources.put(IMAGE, spec, {FORCE_DELETE: "true"})
    bench.resources.remove(IMAGE)
    bench.engine.do(IMAGE)
    assert bench.resources.image(IMAGE) is None


def test_whoever_writes_the_uuid_of_trash_into_a_spec_does_not_keep_it(bench: Bench) -> None:
    bench.resources.put(IMAGE, {"url": URL, "deletionPolicy": "Delay", "expungeAfter": "1h"})
    bench.converge()
    uuid, other = bench.image().status.uuid, Key(Kind.IMAGE, "evil", "keeper")
    bench.resources.remove(IMAGE)
    bench.engine.do(IMAGE)
    assert [record.image_uuid for record in bench.store().trash()] == [uuid]
    bench.resources.put(other, {"url": URL, "uuid": uuid, "suspend": True})
    bench.engine.do(other)
    bench.clock.advance(timedelta(hours=2))
    bench.engine.do(STORE)
    assert bench.store().trash() == ()
    assert list(bench.store().claims()) == []


def test_what_cannot_be_expunged_does_not_keep_the_rest_of_the_trash(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.converge()
    store, now = bench.store(), bench.clock.now()
    stuck, goes = (f"{number:032x}" for number in (1, 2))
    for uuid in (stuck, goes):
        store.discard(TrashRecord(uuid, "default", f"gone-{uuid[-1]}", now, now))
    plain = store.restore

    def refused(uuid: str) -> None:
        if uuid == stuck:
            raise errors.StorageUnavailable("a directory of somebody else's")
        plain(uuid)

    monkeypatch.setattr(store, "restore", refused)
    bench.clock.advance(timedelta(seconds=61))
    bench.engine.do(STORE)
    assert [record.image_uuid for record in store.trash()] == [stuck]


def test_a_scrub_that_cannot_begin_keeps_no_trash_and_no_partials(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies beside the bytes about the last one cannot be read: nothing else depends on it."""
    bench.converge()
    store, now = bench.store(), bench.clock.now()
    store.discard(TrashRecord("0" * 32, "default", "gone", now, now))
    store.stage("get-abandoned", keep_bytes=0, size_hint=None).close()

    def unreadable(_: object) -> None:
        raise errors.StorageUnavailable("scrub.json: Permission denied")

    monkeypatch.setattr(bench.engine.scrubs, "look", unreadable)
    bench.clock.advance(timedelta(days=30))
    bench.engine.do(STORE)
    assert store.trash() == ()
    assert store.partials == {}
