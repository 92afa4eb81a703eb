"""The engine over fakes: what is written, what is on the storages, and what happens when a step fails."""

import itertools
import threading
from dataclasses import replace
from datetime import timedelta
from typing import NoReturn

import pytest
import structlog

from controller import errors
from controller.engine.doctor import diagnose
from controller.engine.reconcile import Outcome
from controller.engine.storages import OpenStorage
from controller.model import conditions
from controller.model.backup_storage import Capacity, StorageStatus
from controller.model.conditions import ConditionType
from controller.model.image import Phase, RefStatus
from controller.model.resource import DEFAULT_STORAGE, Image, Key, Kind
from controller.model.transfer import Failure, TransferRequest, TrashRecord
from controller.reasons import Reason
from tests.fakes.backup_storage import FakeBackupStorage
from tests.fakes.transfers import content_of
from tests.unit.engine.engine_bench import DATA, IMAGE, STORE, URL, Bench


def test_an_image_becomes_ready_with_one_status_write(bench: Bench) -> None:
    bench.engine.probe_storages()
    before = bench.resources.writes
    bench.converge()
    assert bench.says(ConditionType.READY)
    assert bench.resources.writes == before + 1
    assert bench.image().status.refs[0].install_path.startswith("zstore://")
    assert not bench.transfers.owned(bench.image().meta.uid), "a finished transfer is forgotten"


def test_looking_again_at_a_ready_image_writes_nothing(bench: Bench) -> None:
    bench.converge()
    writes, image = bench.resources.writes, bench.image()
    bench.engine.enqueue([IMAGE])
    bench.work()
    assert bench.resources.writes == writes
    assert bench.image() == image


def test_the_finalizer_is_on_before_anything_is_done(bench: Bench) -> None:
    held = bench.image()
    bench.resources._objects[IMAGE] = replace(held, meta=replace(held.meta, finalized=False))
    bench.engine.probe_storages()
    plain, order = bench.transfers.start, []

    def start(request: TransferRequest, owner: str) -> None:
        order.append(bench.image().meta.finalized)
        plain(request, owner)

    bench.transfers.start = start  # type: ignore[method-assign]
    bench.engine.enqueue([IMAGE])
    bench.work()
    assert order == [True]


def test_a_conflict_looks_again_and_converges(bench: Bench) -> None:
    bench.engine.probe_storages()
    bench.engine.enqueue([IMAGE])
    bench.work()
    bench.transfers.finish()
    plain = bench.resources.write_image_status
    raced = iter([True])

    def raced_write(image: Image, status: object) -> Image:
        if next(raced, False):
            bench.resources.ask_again(IMAGE)
        return plain(image, status)  # type: ignore[arg-type]

    bench.resources.write_image_status = raced_write  # type: ignore[method-assign]
    bench.work()
    assert not bench.says(ConditionType.READY)
    bench.clock.advance(timedelta(seconds=1))
    bench.work()
    assert bench.says(ConditionType.READY)
    assert len(bench.transfers.started) == 1


def test_a_storage_that_fails_in_the_middle_of_a_pass_is_probed_and_the_image_looked_at_again(bench: Bench) -> None:
    bench.engine.probe_storages()
    bench.engine.enqueue([IMAGE])
    bench.work()
    bench.transfers.finish()
    bench.store().faults.unreachable = True
    bench.work()
    storage = bench.resources.storage(STORE)
    assert storage is not None
    assert storage.status.status is StorageStatus.DISCONNECTED
    bench.store().faults.unreachable = False
    bench.clock.advance(timedelta(seconds=61))
    bench.work()
    assert bench.says(ConditionType.READY)
    assert len(bench.transfers.started) == 1


def test_no_space_for_a_claim_is_tried_again(bench: Bench) -> None:
    bench.engine.probe_storages()
    bench.engine.enqueue([IMAGE])
    bench.work()
    bench.transfers.finish()
    bench.store().faults.full = True
    bench.work()
    assert not bench.says(ConditionType.READY)
    bench.store().faults.full = False
    bench.clock.advance(timedelta(seconds=11))
    bench.work()
    assert bench.says(ConditionType.READY)


def test_a_bug_of_ours_is_logged_and_the_key_looked_at_again(bench: Bench) -> None:
    bench.engine.probe_storages()
    broken = iter([True])
    plain = bench.resources.image

    def buggy(key: Key) -> Image | None:
        if next(broken, False):
            raise ZeroDivisionError
        return plain(key)

    bench.resources.image = buggy  # type: ignore[method-assign]
    bench.engine.enqueue([IMAGE])
    bench.work()
    assert not bench.transfers.started
    bench.clock.advance(timedelta(seconds=31))
    bench.work()
    assert bench.transfers.started


def test_a_failed_transfer_shows_in_the_status_and_is_forgotten(bench: Bench) -> None:
    bench.engine.probe_storages()
    bench.engine.enqueue([IMAGE])
    bench.work()
    bench.transfers.finish(Failure(Reason.SOURCE_NOT_FOUND, "404 Not Found", terminal=True))
    bench.work()
    assert bench.image().status.phase is Phase.FAILED
    assert not bench.transfers.owned(bench.image().meta.uid)


def test_a_storage_that_goes_away_and_comes_back_moves_no_byte(bench: Bench) -> None:
    bench.converge()
    bench.store().faults.unreachable = True
    bench.clock.advance(timedelta(seconds=61))
    bench.work()
    assert bench.image().status.refs[0].status is RefStatus.UNKNOWN
    assert not bench.says(ConditionType.READY)
    bench.store().faults.unreachable = False
    bench.clock.advance(timedelta(seconds=61))
    bench.work()
    assert bench.says(ConditionType.READY)
    assert len(bench.transfers.started) == 1
    assert bench.store().counts.published == 1


def test_a_second_image_of_the_same_source_shares_the_transfer(bench: Bench) -> None:
    other = Key(Kind.IMAGE, "default", "other")
    bench.resources.put(other, {"url": URL})
    bench.converge()
    found = bench.resources.image(other)
    assert found is not None
    assert conditions.is_true(found.status.conditions, ConditionType.READY)
    assert bench.says(ConditionType.READY)
    assert len(bench.transfers.started) == 1
    assert len(list(bench.store().claims())) == 2


def test_an_image_that_vanishes_leaves_no_transfer_behind(bench: Bench) -> None:
    """Nobody saw it being deleted: its finalizer was forced off. A successor starts its own."""
    bench.engine.probe_storages()
    bench.engine.enqueue([IMAGE])
    bench.work()
    uid = bench.image().meta.uid
    assert bench.engine.transfers.owned(uid)
    bench.resources.remove(IMAGE)
    bench.resources.release(IMAGE, uid)
    bench.engine.enqueue([IMAGE])
    bench.work()
    assert not bench.engine.transfers.owned(uid)
    bench.resources.put(IMAGE, {"url": URL})
    bench.engine.enqueue([IMAGE])
    bench.work()
    assert bench.engine.transfers.owned(bench.image().meta.uid)


def test_deletion_leaves_nothing(bench: Bench) -> None:
    bench.converge()
    bench.resources.remove(IMAGE)
    bench.engine.enqueue([IMAGE])
    bench.work()
    assert bench.resources.image(IMAGE) is None
    assert not list(bench.store().claims())
    assert bench.store().find(content_of(DATA).sha256) is None
    assert bench.passes[-1][1].gone


def test_deleted_bytes_stay_for_their_time_then_go(bench: Bench) -> None:
    bench.resources.put(IMAGE, {"url": URL, "expungeAfter": "2h"})
    bench.converge()
    bench.resources.remove(IMAGE)
    bench.engine.enqueue([IMAGE])
    bench.work()
    assert bench.resources.image(IMAGE) is None
    assert [record.name for record in bench.store().trash()] == ["img"]
    assert list(diagnose(bench.resources, bench.engine.storages, repair=False, running=False)) == []
    bench.clock.advance(timedelta(hours=1))
    bench.work()
    assert bench.store().find(content_of(DATA).sha256) is not None
    bench.clock.advance(timedelta(hours=1))
    bench.work()
    assert bench.store().find(content_of(DATA).sha256) is None
    assert bench.store().trash() == ()


def test_the_trash_of_a_storage_that_fails_is_emptied_later(bench: Bench) -> None:
    bench.resources.put(IMAGE, {"url": URL, "expungeAfter": "1s"})
    bench.converge()
    bench.resources.remove(IMAGE)
    bench.engine.enqueue([IMAGE])
    bench.work()
    store = bench.store()
    plain = store.trash

    def failing() -> tuple[TrashRecord, ...]:
        raise errors.StorageUnavailable("the disk is gone")

    store.trash = failing  # type: ignore[method-assign]
    bench.clock.advance(timedelta(seconds=61))
    bench.work()
    store.trash = plain  # type: ignore[method-assign]
    assert store.trash()
    bench.clock.advance(timedelta(seconds=61))
    bench.work()
    assert store.trash() == ()


def test_another_images_uuid_is_a_name_and_not_a_right(bench: Bench) -> None:
    """Whoever writes another namespace's uuid into a manifest can neither read, replace nor delete its bytes."""
    bench.converge()
    uuid, thief = bench.image().status.uuid, Key(Kind.IMAGE, "evil", "thief")
    bench.transfers.sources["http://evil.example/x"] = b"other" * 100
    sha256 = content_of(DATA).sha256
    for spec in (
        {"url": "http://evil.example/x", "revisionHistoryLimit": 0},
        {"url": "http://evil.example/x", "checksum": str(sha256)},
        {"url": "http://evil.example/x", "suspend": True, "deletionPolicy": "Direct"},
    ):
        bench.resources.put(thief, {**spec, "uuid": uuid})
        bench.engine.enqueue([thief])
        bench.work()
        found = bench.resources.image(thief)
        assert found is not None
        assert not conditions.is_true(found.status.conditions, ConditionType.READY)
        assert not conditions.is_true(found.status.conditions, ConditionType.AVAILABLE)
        assert conditions.is_true(found.status.conditions, ConditionType.STALLED)
        bench.resources.remove(thief)
        bench.engine.enqueue([thief])
        bench.work()
        assert bench.resources.image(thief) is None
    assert bench.store().find(sha256) is not None
    assert [owner for owner, _ in bench.store().claims()] == [uuid]
    bench.engine.enqueue([IMAGE])
    bench.work()
    assert bench.says(ConditionType.READY)
    assert len(bench.transfers.started) == 1


@pytest.mark.parametrize("given", [False, True], ids=["uuid of its own", "uuid of its choice"])
def test_another_images_uuid_is_no_right_either_while_no_storage_can_say_whose_it_is(*, given: bool) -> None:
    """After a restart the copy may come before the original, and before any storage was asked."""
    bench, chosen = Bench(), "aaaaaaaaaaaa4aaa8aaaaaaaaaaaaaaa"
    bench.resources.put(IMAGE, {"url": URL, **({"uuid": chosen} if given else {})})
    bench.converge()
    uuid, thief = bench.image().status.uuid, Key(Kind.IMAGE, "evil", "thief")
    store = bench.store()
    bench.restart()
    bench.resources.put(thief, {"url": URL, "uuid": uuid})
    store.faults.unreachable = True
    bench.engine.probe_storages()
    for key in (thief, IMAGE, thief):
        bench.engine.do(key)
    store.faults.unreachable = False
    for _ in range(2):
        bench.converge()
    assert bench.says(ConditionType.READY)
    found = bench.resources.image(thief)
    assert found is not None
    assert conditions.is_true(found.status.conditions, ConditionType.STALLED)
    assert not conditions.is_true(found.status.conditions, ConditionType.READY)


def test_another_images_trash_is_not_revived_by_its_uuid(bench: Bench) -> None:
    bench.resources.put(IMAGE, {"url": URL})
    bench.converge()
    uuid, thief = bench.image().status.uuid, Key(Kind.IMAGE, "evil", "thief")
    bench.resources.remove(IMAGE)
    bench.engine.enqueue([IMAGE])
    bench.work()
    bench.resources.put(thief, {"url": URL, "uuid": uuid})
    bench.engine.enqueue([thief])
    bench.work()
    found = bench.resources.image(thief)
    assert found is not None
    assert conditions.is_true(found.status.conditions, ConditionType.STALLED)
    assert [record.namespace for record in bench.store().trash()] == ["default"]


def test_a_key_of_a_vanished_object_is_a_pass_over_nothing(bench: Bench) -> None:
    bench.engine.enqueue([Key(Kind.IMAGE, "default", "nobody")])
    bench.work()
    assert bench.passes[-1][1] == Outcome(None, gone=True)


def test_a_storage_in_deletion_serves_until_no_image_is_on_it(bench: Bench) -> None:
    bench.converge()
    bench.resources.remove(STORE)
    bench.engine.queue.add(STORE)
    bench.work()
    assert bench.resources.storage(STORE) is not None
    bench.resources.remove(IMAGE)
    bench.engine.enqueue([IMAGE])
    bench.work()
    bench.engine.queue.add(STORE)
    bench.work()
    assert bench.resources.storage(STORE) is None
    assert bench.engine.storages.all() == ()
    with pytest.raises(errors.StorageUnavailable, match="not known"):
        bench.engine.storages.by_uuid("0" * 32)


def test_a_storage_that_vanished_is_forgotten_and_wakes_the_images(bench: Bench) -> None:
    bench.converge()
    seen: list[OpenStorage] = []
    bench.engine.storages._on_change = seen.append
    bench.resources._objects.pop(STORE)
    bench.engine.queue.add(STORE)
    bench.work()
    assert [storage.name for storage in seen] == ["s1"]


def test_a_storage_that_once_answered_is_never_made_anew(bench: Bench) -> None:
    """An export that is not mounted is an empty directory: it must not become an empty store."""
    asked: list[bool] = []
    plain = FakeBackupStorage.probe
    bench.engine.storages.load()
    store = bench.store()

    def probe(*, create: bool = True) -> Capacity:
        asked.append(create)
        return plain(store, create=create)

    store.probe = probe  # type: ignore[method-assign]
    bench.engine.probe_storages()
    bench.engine.probe_storages()
    assert asked == [True, False]


def test_workers_take_keys_until_stopped() -> None:
    bench = Bench()
    looked = threading.Event()
    bench.engine._on_pass = lambda _key, _outcome: looked.set()
    bench.engine.start()
    try:
        assert looked.wait(60)
    finally:
        bench.engine.stop()
    assert bench.transfers.started


def test_partials_nobody_waits_for_are_swept_and_the_others_kept(bench: Bench) -> None:
    bench.engine.probe_storages()
    bench.engine.enqueue([IMAGE])
    bench.work()
    (waited_for,) = bench.transfers.owned(bench.image().meta.uid)
    for name in (waited_for, f"{waited_for}.source", "get-of-an-older-spec"):
        bench.store().stage(name, keep_bytes=0, size_hint=None).close()
    bench.clock.advance(timedelta(hours=2))
    bench.work()
    assert set(bench.store().partials) == {waited_for, f"{waited_for}.source"}
    bench.transfers.finish()
    bench.clock.advance(timedelta(hours=2))
    bench.work()
    assert bench.says(ConditionType.READY)
    bench.clock.advance(timedelta(hours=2))
    bench.work()
    assert bench.store().partials == {}


def test_a_storage_whose_status_cannot_be_written_counts_as_it_was_probed(bench: Bench) -> None:
    """An API server that is away neither stops what storages are asked, nor looks like a bug of ours."""
    bench.converge()
    plain = bench.resources.write_storage_status

    def away(_storage: object, _status: object) -> NoReturn:
        raise errors.ClusterUnavailable("the API server does not answer")

    bench.resources.write_storage_status = away  # type: ignore[method-assign, assignment]
    bench.store().faults.unreachable = True
    with structlog.testing.capture_logs() as said:
        bench.clock.advance(timedelta(seconds=61))
        bench.work()
    assert not [line for line in said if line["event"] == "reconcile.bug"]
    assert [storage.connected for storage in bench.engine.storages.all()] == [False]
    bench.resources.write_storage_status = plain  # type: ignore[method-assign]
    bench.clock.advance(timedelta(seconds=11))
    bench.work()
    storage = bench.resources.storage(STORE)
    assert storage is not None
    assert storage.status.status is StorageStatus.DISCONNECTED


def test_a_storage_is_probed_every_60_seconds_without_anybody_asking(bench: Bench) -> None:
    bench.converge()
    probes = []
    plain = bench.store().probe

    def probe(*, create: bool = True) -> Capacity:
        probes.append(bench.clock.now())
        return plain(create=create)

    bench.store().probe = probe  # type: ignore[method-assign]
    for _ in range(300):
        bench.clock.advance(timedelta(seconds=1))
        bench.work()
    assert len(probes) == 5
    assert {(later - earlier).total_seconds() for earlier, later in itertools.pairwise(probes)} == {60.0}


def test_another_default_is_news_to_images_that_wait_for_one(bench: Bench) -> None:
    bench.storage("s2")
    for key in (STORE, Key(Kind.BACKUP_STORAGE, "", "s2")):
        bench.resources.put(key, spec_of(bench, key), {DEFAULT_STORAGE: "true"})
    bench.converge()
    assert not bench.says(ConditionType.READY)
    bench.resources.put(STORE, spec_of(bench, STORE), {})
    bench.engine.enqueue([STORE])
    bench.work()
    bench.transfers.finish()
    bench.work()
    assert bench.says(ConditionType.READY)
    assert [ref.storage_name for ref in bench.image().status.refs] == ["s2"]


def spec_of(bench: Bench, key: Key) -> dict[str, object]:
    assert bench.resources.storage(key) is not None
    return {"type": "ImageStore", "imageStore": {"path": f"/{key.name}"}, "reservedCapacity": "0"}


def test_what_an_image_has_is_known_as_soon_as_its_status_says_it(bench: Bench) -> None:
    """Not only after its next look, which is a resync away."""
    bench.converge()
    content = bench.image().status.current
    assert content is not None
    shared = bench.engine.holdings.of_namespace("default", content.content.source_digests[0])
    assert shared is not None
    assert shared.by == "Image default/img"


def test_a_server_that_is_busy_is_not_written_to_before_it_said(bench: Bench) -> None:
    bench.engine.probe_storages()
    bench.engine.enqueue([IMAGE])
    bench.work()
    bench.transfers.finish()
    tries = []
    plain = bench.resources.write_image_status

    def busy(image: Image, status: object) -> Image:
        tries.append(bench.clock.now())
        if len(tries) == 1:
            raise errors.ClusterUnavailable("429", retry_after=timedelta(seconds=45))
        return plain(image, status)  # type: ignore[arg-type]

    bench.resources.write_image_status = busy  # type: ignore[method-assign]
    for _ in range(60):
        bench.work()
        bench.clock.advance(timedelta(seconds=1))
    assert bench.says(ConditionType.READY)
    assert tries[1] - tries[0] >= timedelta(seconds=45)
