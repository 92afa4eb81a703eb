"""The pool: joining, letting go, order, place in the line, stopping."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
import structlog

from controller import errors
from controller.engine.figures import Figures, ReadFrom, Saving
from controller.engine.transfer.pool import EmbeddedTransfers
from controller.model.transfer import Broken, Placed, Queued, Running, TransferRequest, TransferState
from controller.model.url import SourceUrl
from controller.reasons import Reason
from tests.unit.engine.transfer import world
from tests.unit.engine.transfer.world import KIB, ScriptedSource, Storages

IMAGE = random.Random(7).randbytes(300 * KIB)
SOON_S = 60


@dataclass
class Changes:
    """What `on_change` was told; `until` waits for a condition that each telling may have made true.

    How a transfer ended is there to see before it is told of, so who asserts on `told` waits for the telling.
    """

    told: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, key: str, owners: frozenset[str]) -> None:
        with self.news:
            self.told.append((key, owners))
            self.news.notify_all()

    def until(self, condition: Callable[[], bool]) -> None:
        with self.news:
            assert self.news.wait_for(condition, SOON_S), self.told


@dataclass
class Gatekeeper:
    """Holds every read until it is opened, and counts who waits."""

    opened: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __call__(self, position: int) -> None:
        if not self.opened.is_set():
            self.arrived.release()
            assert self.opened.wait(SOON_S)

    def wait_for_one(self) -> None:
        assert self.arrived.acquire(timeout=SOON_S)


@contextmanager
def pool(
    source: ScriptedSource,
    storages: Storages | None = None,
    concurrency: int = 1,
    figures: Figures | None = None,
    per_origin: int | None = None,
) -> Iterator[tuple[EmbeddedTransfers, Changes]]:
    changes = Changes()
    transfers = EmbeddedTransfers(
        source,
        storages or world.storages("a"),
        world.RealClock(),
        changes,
        concurrency=concurrency,
        per_origin=per_origin,
        pace=world.PACE,
        figures=figures,
    )
    try:
        yield transfers, changes
    finally:
        assert transfers.close(SOON_S)


def ended(transfers: EmbeddedTransfers, key: str) -> Callable[[], bool]:
    return lambda: isinstance(transfers.state(key), Placed | Broken)


def test_a_transfer_is_started_told_and_remembered_until_it_is_released() -> None:
    with pool(ScriptedSource(IMAGE)) as (transfers, changes):
        assert transfers.state("get-1") is None
        transfers.start(world.request(), "one")
        changes.until(lambda: changes.told == [("get-1", frozenset({"one"}))] * 2)
        assert isinstance(transfers.state("get-1"), Placed)
        assert transfers.owned("one") == {"get-1"}
        transfers.release("get-1", "one")
        assert transfers.state("get-1") is None
        assert transfers.owned("one") == frozenset()


def test_log_lines_name_the_source_without_its_query() -> None:
    signed = SourceUrl("http", "images.example", None, "/golden.img", "signature=s3cret")
    with structlog.testing.capture_logs() as lines, pool(ScriptedSource(IMAGE)) as (transfers, changes):
        transfers.start(replace(world.request(), url=signed), "one")
        changes.until(ended(transfers, "get-1"))
    assert [(line["event"], line["url"]) for line in lines] == [("transfer.finished", signed.redacted)]
    assert "s3cret" not in str(lines)


def test_the_same_key_is_one_transfer_for_all_who_ask() -> None:
    gate = Gatekeeper()
    source = ScriptedSource(IMAGE, on_read=gate)
    with pool(source, concurrency=4) as (transfers, changes):
        for owner in ("one", "two", "three"):
            transfers.start(world.request(), owner)
        gate.opened.set()
        changes.until(lambda: ended(transfers, "get-1")() and changes.told[-1][1] == {"one", "two", "three"})
        assert len(source.asked) == 1
        transfers.release("get-1", "one")
        transfers.start(world.request(), "four")
        assert isinstance(transfers.state("get-1"), Placed)
        assert len(source.asked) == 1


def test_what_a_transfer_costs_and_saves_is_counted_once() -> None:
    gate, figures = Gatekeeper(), Figures()
    with pool(ScriptedSource(IMAGE, on_read=gate), figures=figures) as (transfers, changes):
        for owner in ("one", "two", "three"):
            transfers.start(world.request(), owner)
        gate.wait_for_one()
        assert transfers.load() == (0, 1)
        transfers.start(world.request(key="get-2"), "five")
        assert transfers.load() == (1, 1)
        transfers.release("get-2", "five")
        gate.opened.set()
        changes.until(ended(transfers, "get-1"))
        transfers.start(world.request(), "four")
        transfers.start(world.request(), "four")
        assert figures.received()[ReadFrom.SOURCE] == len(IMAGE)
        assert figures.saved()[Saving.DEDUPE] == 3 * len(IMAGE)
        assert figures.ended() == {(ReadFrom.SOURCE, Reason.SUCCEEDED): 1}
        assert figures.transfer_wait.taken().count == 1
    assert transfers.load() == (0, 0)


def test_a_broken_transfer_is_counted_by_its_reason_and_a_resumed_one_by_what_it_kept() -> None:
    figures = Figures()
    source = ScriptedSource(IMAGE, break_at=[200 * KIB])
    with pool(source, figures=figures) as (transfers, changes):
        transfers.start(world.request(), "one")
        changes.until(ended(transfers, "get-1"))
        transfers.release("get-1", "one")
        transfers.start(world.request(), "one")
        changes.until(lambda: isinstance(transfers.state("get-1"), Placed))
    assert figures.ended() == {(ReadFrom.SOURCE, Reason.SOURCE_UNREACHABLE): 1, (ReadFrom.SOURCE, Reason.SUCCEEDED): 1}
    assert 0 < figures.saved()[Saving.RESUME] <= 200 * KIB
    assert figures.received()[ReadFrom.SOURCE] >= len(IMAGE) - figures.saved()[Saving.RESUME]


def test_one_of_two_owners_leaving_stops_nothing() -> None:
    gate = Gatekeeper()
    with pool(ScriptedSource(IMAGE, on_read=gate)) as (transfers, changes):
        transfers.start(world.request(), "one")
        transfers.start(world.request(), "two")
        gate.wait_for_one()
        transfers.release("get-1", "one")
        transfers.release("get-1", "stranger")
        gate.opened.set()
        changes.until(lambda: changes.told[-1] == ("get-1", frozenset({"two"})))
        assert isinstance(transfers.state("get-1"), Placed)


def test_the_last_owner_leaving_stops_it_and_a_new_start_goes_on_from_there() -> None:
    gate = Gatekeeper()
    source = ScriptedSource(IMAGE, on_read=lambda position: gate(position) if position >= 200 * KIB else None)
    with pool(source) as (transfers, changes):
        transfers.start(world.request(), "one")
        gate.wait_for_one()
        transfers.release("get-1", "one")
        assert transfers.state("get-1") is None
        transfers.start(world.request(), "two")
        assert isinstance(transfers.state("get-1"), Queued)
        gate.opened.set()
        changes.until(ended(transfers, "get-1"))
        result = transfers.state("get-1")
        assert isinstance(result, Placed)
        assert result.resumed_bytes > 0
        assert source.sent_bytes <= len(IMAGE) + world.PACE.slice_bytes + 4096
        assert ("get-1", frozenset({"one"})) not in changes.told[1:]


def test_the_place_in_the_line_is_told_and_leaving_it_moves_the_others_up() -> None:
    gate = Gatekeeper()
    with pool(ScriptedSource(IMAGE, on_read=gate)) as (transfers, changes):
        for number in range(4):
            transfers.start(world.request(key=f"get-{number}"), f"owner-{number}")
        gate.wait_for_one()
        assert isinstance(transfers.state("get-0"), Running)
        assert [transfers.state(f"get-{number}") for number in (1, 2, 3)] == [Queued(1), Queued(2), Queued(3)]
        transfers.release("get-2", "owner-2")
        assert transfers.state("get-3") == Queued(2)
        gate.opened.set()
        order = ["get-0", "get-0", "get-1", "get-1", "get-3", "get-3"]
        changes.until(lambda: [key for key, _ in changes.told] == order)


def test_namespaces_take_turns() -> None:
    gate = Gatekeeper()
    with pool(ScriptedSource(IMAGE, on_read=gate)) as (transfers, changes):
        for number in range(100):
            transfers.start(world.request(key=f"big-{number}", namespace="big"), "big")
        gate.wait_for_one()
        transfers.start(world.request(key="small-0", namespace="small"), "small")
        assert transfers.state("small-0") == Queued(2)
        gate.opened.set()
        changes.until(ended(transfers, "small-0"))
        started = list(dict.fromkeys(key for key, _ in changes.told))
        assert started.index("small-0") == 2


def test_as_many_run_at_once_as_allowed_and_no_more() -> None:
    gate = Gatekeeper()
    source = ScriptedSource(IMAGE, on_read=gate)
    with pool(source, concurrency=3) as (transfers, changes):
        for number in range(5):
            transfers.start(world.request(key=f"get-{number}", namespace="ab"[number % 2]), "one")
        for _ in range(3):
            gate.wait_for_one()
        states: list[TransferState | None] = [transfers.state(f"get-{number}") for number in range(5)]
        assert [type(state) for state in states] == [Running, Running, Running, Queued, Queued]
        gate.opened.set()
        for number in range(5):
            changes.until(ended(transfers, f"get-{number}"))


def test_a_namespace_whose_sources_hang_leaves_a_slot_to_the_others() -> None:
    gate = Gatekeeper()
    source = ScriptedSource(IMAGE, on_read=gate)
    with pool(source, concurrency=4) as (transfers, changes):
        for number in range(8):
            transfers.start(world.request(key=f"slow-{number}", namespace="slow"), "slow")
        for _ in range(3):
            gate.wait_for_one()
        source.on_read = lambda _: None
        for number in range(3):
            transfers.start(world.request(key=f"quick-{number}", namespace="quick"), "quick")
        changes.until(ended(transfers, "quick-2"))
        states = [type(transfers.state(f"slow-{number}")) for number in range(8)]
        assert states == [Running] * 3 + [Queued] * 5
        for number in range(8):
            transfers.release(f"slow-{number}", "slow")
        gate.opened.set()


def test_closing_stops_what_runs_forgets_the_line_and_keeps_what_was_fetched() -> None:
    gate = Gatekeeper()
    storages = world.storages("a")
    source = ScriptedSource(IMAGE, on_read=lambda position: gate(position) if position >= 200 * KIB else None)
    with pool(source, storages) as (transfers, _):
        transfers.start(world.request(), "one")
        transfers.start(world.request(key="get-2"), "one")
        gate.wait_for_one()
        closing = threading.Thread(target=transfers.close, args=(SOON_S,))
        closing.start()
        while not transfers.closing:
            closing.join(0.001)
        gate.opened.set()
        closing.join(SOON_S)
        transfers.start(world.request(key="get-3"), "one")
        assert transfers.state("get-3") is None
    assert [record.durable_bytes >= 190 * KIB for record in storages["a"].records.values()] == [True]

    source.on_read = lambda _: None
    with pool(source, storages) as (transfers, changes):
        transfers.start(world.request(), "one")
        changes.until(ended(transfers, "get-1"))
    assert len(source.asked) == 2
    assert source.sent_bytes <= len(IMAGE) + world.PACE.slice_bytes + 4096


def test_closing_does_not_wait_for_ever() -> None:
    gate = Gatekeeper()
    with pool(ScriptedSource(IMAGE, on_read=gate)) as (transfers, _):
        transfers.start(world.request(), "one")
        gate.wait_for_one()
        assert transfers.close(0.01) is False
        gate.opened.set()


def test_a_broken_transfer_stays_broken_until_it_is_released() -> None:
    source = ScriptedSource(IMAGE, refuse=errors.SourceUnreachable("503"))
    with pool(source) as (transfers, changes):
        transfers.start(world.request(), "one")
        changes.until(ended(transfers, "get-1"))
        transfers.start(world.request(), "one")
        assert len(source.asked) == 1
        source.refuse = None
        transfers.release("get-1", "one")
        transfers.start(world.request(), "one")
        changes.until(lambda: isinstance(transfers.state("get-1"), Placed))


def test_a_bug_breaks_its_transfer_and_not_the_pool(capfd: pytest.CaptureFixture[str]) -> None:
    def surprise(position: int) -> None:
        source.on_read = lambda _: None
        raise ZeroDivisionError

    source = ScriptedSource(IMAGE, on_read=surprise)
    with pool(source) as (transfers, changes):
        transfers.start(world.request(key="get-1"), "one")
        transfers.start(world.request(key="get-2"), "one")
        changes.until(ended(transfers, "get-2"))
        first, second = transfers.state("get-1"), transfers.state("get-2")
        assert isinstance(second, Placed)
        assert isinstance(first, Broken)
        assert (first.failure.reason, first.failure.terminal) == (Reason.INTERNAL_ERROR, False)
    assert "ZeroDivisionError" in "".join(capfd.readouterr())


def test_the_places_of_a_thousand_waiting_images_are_cheap() -> None:
    gate = Gatekeeper()
    with pool(ScriptedSource(IMAGE, on_read=gate)) as (transfers, _):
        for number in range(1000):
            transfers.start(world.request(key=f"get-{number}", namespace=f"namespace-{number % 10}"), "one")
        gate.wait_for_one()
        began = time.thread_time()
        places = {transfers.state(f"get-{number}") for number in range(1, 1000)}
        assert time.thread_time() - began < 1
        assert places == {Queued(place) for place in range(1, 1000)}
        for number in range(1000):
            transfers.release(f"get-{number}", "one")
        gate.opened.set()


def at_origin(key: str, host: str, namespace: str = "default") -> TransferRequest:
    return replace(world.request(key=key, namespace=namespace), url=SourceUrl.parse(f"https://{host}/{key}"))


def at_the_start(gate: Gatekeeper) -> Callable[[int], None]:
    """Return a hook that holds the first read of a transfer only, so that those under way go on."""
    return lambda position: gate(position) if position == 0 else None


def test_an_origin_at_its_bound_takes_no_slot_from_others() -> None:
    """Four slots, one origin with two: its third image waits in the line, the other origin's does not."""
    gate = Gatekeeper()
    source = ScriptedSource(IMAGE, on_read=gate)
    with pool(source, concurrency=4, per_origin=2) as (transfers, changes):
        for number in range(3):
            transfers.start(at_origin(f"slow-{number}", "slow.example", f"n{number}"), "one")
        for _ in range(2):
            gate.wait_for_one()
        source.on_read = lambda _: None
        transfers.start(at_origin("quick", "quick.example"), "one")
        changes.until(ended(transfers, "quick"))
        assert [type(transfers.state(f"slow-{number}")) for number in range(3)] == [Running, Running, Queued]
        gate.opened.set()
        changes.until(ended(transfers, "slow-2"))


def test_one_transfer_that_ends_lets_two_begin_where_it_held_two_back() -> None:
    """`held` fills its namespace and its origin; with its end one of each may start, in a thread that slept too."""
    warm, first, second = Gatekeeper(), Gatekeeper(), Gatekeeper()
    source = ScriptedSource(IMAGE, on_read=warm)
    with pool(source, concurrency=2, per_origin=1) as (transfers, changes):
        for name in ("one", "two"):
            transfers.start(at_origin(name, f"{name}.example", name), "warm")
        for _ in range(2):
            warm.wait_for_one()
        source.on_read = at_the_start(first)
        warm.opened.set()
        changes.until(lambda: ended(transfers, "one")() and ended(transfers, "two")())
        transfers.start(at_origin("held", "x.example", "a"), "one")
        first.wait_for_one()
        transfers.start(at_origin("same-namespace", "y.example", "a"), "one")
        transfers.start(at_origin("same-origin", "x.example", "b"), "one")
        source.on_read = at_the_start(second)
        first.opened.set()
        for _ in range(2):
            second.wait_for_one()
        second.opened.set()
