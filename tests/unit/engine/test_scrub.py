"""Scrubs over fakes: what is read, what becomes of damage, and how one ends."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from controller import errors
from controller.engine.scrub import Scrubs
from controller.engine.storages import OpenStorage
from controller.model.backup_storage import Capacity
from controller.model.conditions import ConditionType
from controller.model.digest import Algorithm, Digest
from controller.model.resource import Key, Kind
from controller.model.scrub import Scrub, ScrubRecord, ScrubState
from controller.settings import ScrubSettings
from tests.fakes.backup_storage import FakeBackupStorage, FakeReader
from tests.fakes.stored_bytes import put
from tests.unit.engine.engine_bench import DATA, IMAGE, STORE, Bench

FAST = ScrubSettings(2**50, 2**50)
WITHIN_S = 60.0
SPEC = {"type": "ImageStore", "imageStore": {"path": "/s1"}, "reservedCapacity": "0"}


class Rig:
    """Scrubs of one fake storage. A scrub has ended when `wait` returns."""

    def __init__(
        self,
        settings: ScrubSettings = FAST,
        *,
        busy: bool = False,
        event: Callable[[], threading.Event] = threading.Event,
    ) -> None:
        self.bench = Bench()
        self.bench.resources.put(STORE, {**SPEC, "scrubInterval": "24h"})
        self.bench.engine.probe_storages()
        self.damaged: list[Digest] = []
        self.changes: list[str] = []
        self._over = threading.Condition()
        self.scrubs = Scrubs(
            self.bench.clock,
            settings,
            busy=lambda: busy,
            on_damage=lambda _, sha256: self.damaged.append(sha256),
            on_change=self._changed,
            event=event,
        )
        self.scrubs.open()

    @property
    def storage(self) -> OpenStorage:
        return self.bench.engine.storages.all()[0]

    @property
    def store(self) -> FakeBackupStorage:
        return self.bench.store()

    def look(self) -> None:
        self.scrubs.look(self.storage)

    def wait(self) -> Scrub:
        with self._over:
            assert self._over.wait_for(lambda: not self.scrubs.running(self.storage.uuid), WITHIN_S)
        found = self.scrubs.state(self.storage.uuid)
        assert found is not None
        return found

    def scrub(self) -> Scrub:
        """Let one begin and come to its end."""
        self.look()
        return self.wait()

    def _changed(self, name: str) -> None:
        with self._over:
            self.changes.append(name)
            self._over.notify_all()


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.scrubs.stop()


def digests(*data: bytes) -> list[Digest]:
    return sorted((Digest(Algorithm.SHA256, hashlib.sha256(one).hexdigest()) for one in data), key=lambda one: one.hex)


def test_every_copy_is_read_once_and_counted(rig: Rig) -> None:
    for data in (b"a" * 10, b"b" * 20, b""):
        put(rig.store, data)
    rig.bench.clock.advance(60)
    found = rig.scrub()
    now = rig.bench.clock.now()
    assert found == Scrub(ScrubState.FINISHED, now, now, copies=3, bytes=30, damaged=0)
    assert rig.store.counts.opened == 3
    assert {one.verified_at for one in rig.store.objects.values()} == {now}
    assert set(rig.changes) == {"s1"}
    opened = rig.store.counts.opened
    rig.scrub()
    assert rig.store.counts.opened == opened, "the next is not due"
    rig.bench.clock.advance(timedelta(hours=29))
    assert rig.scrub().started_at == now + timedelta(hours=29)


def test_nothing_begins_where_none_is_wanted_or_this_process_does_not_stay(rig: Rig) -> None:
    never = Scrubs(rig.bench.clock, FAST, busy=lambda: False, on_damage=lambda *_: None, on_change=lambda _: None)
    never.look(rig.storage)
    assert not never.running(rig.storage.uuid)
    rig.bench.resources.put(STORE, SPEC)
    rig.bench.engine.storages.reconcile(STORE)
    rig.look()
    assert not rig.scrubs.running(rig.storage.uuid)
    assert rig.store.scrubbed is None


def test_a_damaged_copy_is_quarantined_and_told_and_the_others_are_read(rig: Rig) -> None:
    for data in (b"a", b"b", b"c"):
        put(rig.store, data)
    middle = digests(b"a", b"b", b"c")[1]
    rig.store.objects[middle.hex].data[0] ^= 1
    found = rig.scrub()
    assert (found.state, found.copies, found.damaged) == (ScrubState.FINISHED, 3, 1)
    ((name, why),) = rig.store.quarantined
    assert name == middle.hex
    assert f"expected {middle}, got sha256:" in why
    assert rig.damaged == [middle]


def test_damage_is_believed_only_after_a_second_reading(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    put(rig.store, b"golden")
    flipped = iter([b"gOlden", b"golden"])
    monkeypatch.setattr(rig.store, "open", lambda _, *, fresh: FakeReader(rig.store, next(flipped)))
    assert rig.scrub().damaged == 0
    assert rig.store.quarantined == []


def test_a_copy_that_the_disk_cannot_read_is_damaged(rig: Rig) -> None:
    put(rig.store, b"golden")
    rig.store.faults.damaged_reads = True
    assert rig.scrub().damaged == 1
    assert rig.store.quarantined[0][1] == "found by a scrub: unreadable"


def refuse(rig: Rig, sha256: Digest, error: errors.GoldmasterError, *, times: int = 100) -> None:
    """Let one copy not be opened, so many times, while its storage answers."""
    plain, left = rig.store.open, iter(range(times))

    def sick(digest: Digest, *, fresh: bool = False) -> FakeReader:
        if digest == sha256 and next(left, None) is not None:
            raise error
        return plain(digest, fresh=fresh)

    rig.store.open = sick  # type: ignore[method-assign, assignment]


def test_a_copy_that_cannot_be_opened_while_its_storage_answers_ends_no_scrub(rig: Rig) -> None:
    """Else each scrub would end at the same copy, and those after it were never read."""
    for data in (b"a", b"b", b"c"):
        put(rig.store, data)
    middle = digests(b"a", b"b", b"c")[1]
    refuse(rig, middle, errors.StorageUnavailable("open: Input/output error"))
    found = rig.scrub()
    assert (found.state, found.copies, found.damaged) == (ScrubState.FINISHED, 3, 1)
    assert rig.store.quarantined == [(middle.hex, "found by a scrub: open: Input/output error")]
    assert rig.damaged == [middle]


def test_a_copy_that_could_not_be_opened_once_is_no_damage(rig: Rig) -> None:
    """A server that was away for a moment."""
    for data in (b"a", b"b"):
        put(rig.store, data)
    refuse(rig, digests(b"a", b"b")[0], errors.StorageUnavailable("stale"), times=1)
    found = rig.scrub()
    assert (found.state, found.copies, found.damaged) == (ScrubState.FINISHED, 2, 0)
    assert rig.store.quarantined == []


def test_a_disk_that_does_not_let_go_of_a_damaged_copy_ends_no_scrub(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (b"a", b"b"):
        put(rig.store, data)
    first = digests(b"a", b"b")[0]
    rig.store.objects[first.hex].data[0] ^= 1

    def stuck(*_: object) -> bool:
        raise errors.StorageUnavailable("rename: Input/output error")

    monkeypatch.setattr(rig.store, "quarantine", stuck)
    found = rig.scrub()
    assert (found.state, found.copies, found.damaged) == (ScrubState.FINISHED, 2, 1)


def test_a_time_that_cannot_be_noted_ends_no_scrub(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (b"a", b"b"):
        put(rig.store, data)

    def stuck(*_: object) -> None:
        raise errors.StorageUnavailable("write: Input/output error")

    monkeypatch.setattr(rig.store, "note_verified", stuck)
    found = rig.scrub()
    assert (found.state, found.copies, found.damaged) == (ScrubState.FINISHED, 2, 0)


def test_right_bytes_that_took_the_place_of_what_is_read_stay(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer of the same content finds the damage as well, and may be faster."""
    (sha256,) = digests(b"golden")
    put(rig.store, b"golden")
    rig.store.objects[sha256.hex].data.pop()
    plain, readings = rig.store.probe, []

    def healed(*, create: bool = True) -> Capacity:
        readings.append(rig.store.counts.opened)
        put(rig.store, b"golden")
        return plain(create=create)

    monkeypatch.setattr(rig.store, "probe", healed)
    found = rig.scrub()
    assert (found.state, found.damaged, rig.damaged) == (ScrubState.FINISHED, 0, [])
    assert readings, "the copy read wrong"
    assert bytes(rig.store.objects[sha256.hex].data) == b"golden"


def test_what_is_deleted_while_it_is_looked_for_is_no_damage(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    put(rig.store, b"a")
    gone = digests(b"gone")
    monkeypatch.setattr(rig.store, "stored", lambda _: iter([*digests(b"a"), *gone]))
    found = rig.scrub()
    assert (found.state, found.copies, found.damaged) == (ScrubState.FINISHED, 1, 0)


@pytest.mark.parametrize("when", ["reading", "judging"])
def test_a_storage_that_goes_away_is_unknown_not_clean_and_nothing_of_it_is_damaged(rig: Rig, when: str) -> None:
    """An NFS server that stops answering may show as an error of the disk: it is asked before that is believed."""
    for data in (b"a", b"b"):
        put(rig.store, data)
    rig.store.faults.damaged_reads = when == "judging"
    calls = iter(range(100))
    plain = rig.store.open

    def lost(sha256: Digest, *, fresh: bool = False) -> FakeReader:
        if next(calls) == 1:
            rig.store.faults.unreachable = True
        return FakeReader(rig.store, b"?") if rig.store.faults.unreachable else plain(sha256, fresh=fresh)

    rig.store.open = lost  # type: ignore[method-assign]
    assert rig.scrub().state is ScrubState.INTERRUPTED
    rig.store.faults.unreachable = rig.store.faults.damaged_reads = False
    assert rig.store.quarantined == []
    assert rig.scrub().state is ScrubState.FINISHED, "the next probe that is answered goes on"
    assert {one for one, _ in rig.store.quarantined} == set()


def test_it_goes_on_after_the_last_copy_that_is_surely_read(rig: Rig) -> None:
    for data in (b"a", b"b", b"c", b"d"):
        put(rig.store, data)
    order = digests(b"a", b"b", b"c", b"d")
    began = rig.bench.clock.now()
    rig.store.scrubbed = ScrubRecord(Scrub(ScrubState.RUNNING, began, None, 2, 2, 1), order[1])
    rig.bench.clock.advance(timedelta(days=3))
    found = rig.scrub()
    assert rig.store.counts.opened == 2
    assert (found.started_at, found.copies, found.bytes, found.damaged) == (began, 4, 4, 1)


def test_a_stop_ends_a_wait_at_once_and_leaves_where_to_go_on() -> None:
    slow = Rig(ScrubSettings(1, 1, timedelta(0)))
    for data in (b"a", b"b"):
        put(slow.store, data)
    slow.look()
    slow.scrubs.stop()
    assert slow.store.scrubbed is not None
    assert slow.store.scrubbed.scrub.state is ScrubState.INTERRUPTED
    assert "next start" in slow.store.scrubbed.scrub.message
    assert not slow.scrubs.running(slow.storage.uuid)
    slow.look()
    assert not slow.scrubs.running(slow.storage.uuid), "stopped for good"


def test_an_interval_that_is_taken_off_ends_the_scrub() -> None:
    slow = Rig(ScrubSettings(1, 1))
    put(slow.store, b"a")
    slow.look()
    slow.bench.resources.put(STORE, SPEC)
    slow.bench.engine.storages.reconcile(STORE)
    slow.look()
    assert "scrubInterval was taken off" in slow.wait().message
    slow.scrubs.stop()


class Recorded(threading.Event):
    """Notes how long it was asked to wait, and does not."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0)
        return self.is_set()


@pytest.mark.parametrize(("busy", "rate"), [(False, 2**20), (True, 2**18)])
def test_it_keeps_to_its_budget_and_gives_way_to_transfers(busy: bool, rate: int) -> None:
    """2.5 MiB in slices of one, then a small copy, which counts as a MiB."""
    waits = Recorded()
    rig = Rig(ScrubSettings(2**20, 2**18), busy=busy, event=lambda: waits)
    for data in (b"x" * (5 * 2**19), b"y"):
        put(rig.store, data)
    rig.scrub()
    assert sum(waits.waits) * rate == pytest.approx(5 * 2**19 + 2**20)
    assert max(waits.waits) <= 2**20 / rate
    rig.scrubs.stop()


def test_a_full_storage_is_scrubbed_although_nothing_can_be_noted(rig: Rig) -> None:
    put(rig.store, b"a")
    rig.store.faults.full = True
    rig.scrub()
    assert rig.store.counts.opened == 1


def test_a_bug_breaks_off_one_scrub_and_is_logged(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    put(rig.store, b"a")

    def buggy(*_: object, **__: object) -> FakeReader:
        raise ZeroDivisionError

    monkeypatch.setattr(rig.store, "open", buggy)
    assert rig.scrub().message == "internal error: ZeroDivisionError"


def test_a_record_that_cannot_be_written_is_left_as_it_was(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    put(rig.store, b"a")

    def refuse(_: ScrubRecord) -> None:
        raise errors.StorageUnavailable("read-only")

    monkeypatch.setattr(rig.store, "save_scrub_record", refuse)
    rig.scrub()
    assert rig.store.scrubbed is None
    assert rig.store.counts.opened == 0


# --- in the engine ---------------------------------------------------------------------------------------------------


def done(bench: Bench, satisfied: Callable[[], bool]) -> None:
    """Work until something that a scrub's thread does shows."""
    gate = threading.Event()
    for _ in range(6000):
        bench.work()
        if satisfied():
            return
        gate.wait(0.01)
    raise AssertionError("did not happen")


def test_the_engine_scrubs_tells_and_looks_again_at_the_images_of_a_damaged_copy(bench: Bench) -> None:
    bench.resources.put(STORE, {**SPEC, "scrubInterval": "24h"})
    bench.converge()
    next(iter(bench.store().objects.values())).data[0] ^= 1
    bench.engine.scrubs.open()
    bench.clock.advance(60)
    done(bench, lambda: bool(bench.transfers.requests) and bench.transfers.busy)
    assert not bench.says(ConditionType.READY)
    assert not bench.says(ConditionType.AVAILABLE), "the only copy is out of service"
    bench.transfers.finish()
    bench.work()
    assert bench.says(ConditionType.READY)
    assert bytes(next(iter(bench.store().objects.values())).data) == DATA

    def told() -> bool:
        storage = bench.resources.storage(STORE)
        assert storage is not None
        scrub = storage.status.last_scrub
        return scrub is not None and (scrub.state, scrub.damaged) == (ScrubState.FINISHED, 1)

    done(bench, told)


def test_who_does_not_stay_does_not_scrub(bench: Bench) -> None:
    bench.resources.put(STORE, {**SPEC, "scrubInterval": "24h"})
    bench.converge()
    bench.clock.advance(60)
    bench.work()
    assert bench.store().scrubbed is None


def test_a_scrub_moves_no_date_of_the_record_and_a_lost_storage_keeps_what_is_known(bench: Bench) -> None:
    bench.resources.put(STORE, {**SPEC, "scrubInterval": "24h"})
    bench.converge()
    bench.clock.advance(60)
    bench.work()
    before = bench.resources.storage(STORE)
    assert before is not None
    began = bench.clock.now()
    bench.store().scrubbed = ScrubRecord(Scrub(ScrubState.RUNNING, began, None, 2, 2, 1))
    bench.clock.advance(60)
    bench.work()
    after = bench.resources.storage(STORE)
    assert after is not None
    assert after.status.last_scrub is not None
    assert after.status.last_scrub.state is ScrubState.INTERRUPTED
    assert after.status.last_op_date == before.status.last_op_date
    bench.store().faults.unreachable = True
    bench.clock.advance(60)
    bench.work()
    lost = bench.resources.storage(STORE)
    assert lost is not None
    assert lost.status.last_scrub == after.status.last_scrub


def test_a_storage_that_is_gone_is_not_scrubbed_on(bench: Bench) -> None:
    bench.resources.put(STORE, {**SPEC, "scrubInterval": "24h"})
    bench.engine.scrubs._settings = ScrubSettings(1, 1)
    bench.converge()
    bench.engine.scrubs.open()
    bench.clock.advance(60)
    uuid = bench.engine.storages.all()[0].uuid
    done(bench, lambda: bench.engine.scrubs.running(uuid))
    bench.resources.remove(Key(Kind.IMAGE, "default", "img"))
    bench.engine.enqueue(bench.resources.keys(Kind.IMAGE))
    bench.resources.remove(STORE)
    bench.work()
    bench.clock.advance(60)
    done(bench, lambda: not bench.engine.scrubs.running(uuid))


def test_what_a_scrub_proved_costs_each_image_one_write_and_the_next_look_none(bench: Bench) -> None:
    bench.resources.put(STORE, {**SPEC, "scrubInterval": "24h"})
    bench.converge()
    bench.clock.advance(timedelta(hours=25))
    bench.work()
    writes, began = bench.resources.writes, bench.clock.now()
    held = next(iter(bench.store().objects.values()))
    bench.store().note_verified(held.content.sha256, began)
    for _ in range(3):
        bench.engine.enqueue([IMAGE])
        bench.work()
    assert bench.resources.writes == writes + 1
    assert bench.image().status.verified_at == began
    bench.clock.advance(timedelta(minutes=59))
    bench.store().note_verified(held.content.sha256, bench.clock.now())
    bench.engine.enqueue([IMAGE])
    bench.work()
    assert bench.image().status.verified_at == began, "not an hour newer"
