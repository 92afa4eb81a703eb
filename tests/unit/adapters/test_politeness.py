"""How much of us an origin gets: connections, requests a minute, and nothing before Retry-After."""

import heapq
import threading
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import errors
from controller.adapters.clock import SystemClock
from controller.adapters.sources import politeness
from controller.adapters.sources.politeness import Politeness, Turn
from controller.reasons import Reason
from controller.settings import PolitenessSettings
from tests.fakes.clock import FakeClock
from tests.fakes.fetching import NEVER

HERE, THERE = "https://a.example:443", "https://b.example:443"


def polite(clock: FakeClock, connections: int = 2, requests: int = 60) -> Politeness:
    return Politeness(clock, PolitenessSettings(connections, requests), tick_s=0.001)


def held_back(of: Politeness, origin: str = HERE) -> errors.OriginBusy:
    with pytest.raises(errors.OriginBusy) as caught:
        of.enter(origin, NEVER)
    return caught.value


def wait_of(error: errors.OriginBusy) -> float:
    assert error.retry_after is not None
    return error.retry_after.total_seconds()


def test_an_origin_has_so_many_connections_and_another_one_its_own() -> None:
    clock = FakeClock(tick=0.1)
    here = polite(clock)
    first, _ = here.enter(HERE, NEVER), here.enter(HERE, NEVER)
    error = held_back(here)
    assert str(error) == f"{HERE} has 2 connections of ours already"
    assert (error.reason, wait_of(error)) == (Reason.QUEUED, politeness.BUSY_FOR_S)
    here.enter(THERE, NEVER)
    first.close()
    first.close()
    here.enter(HERE, NEVER)
    held_back(here)


def test_a_connection_that_ends_in_time_is_waited_for() -> None:
    here = Politeness(SystemClock(), PolitenessSettings(1, 60), tick_s=60)
    first = here.enter(HERE, NEVER)
    timer = threading.Timer(0.05, first.close)
    timer.start()
    try:
        here.enter(HERE, NEVER).close()
    finally:
        timer.join()


def test_a_minutes_worth_may_come_at_once_and_then_comes_at_its_pace() -> None:
    clock = FakeClock()
    here = polite(clock, connections=1000, requests=30)
    for _ in range(30):
        here.enter(HERE, NEVER)
    with pytest.raises(errors.Interrupted):
        here.enter(HERE, _set_after(3))  # the next is two seconds away: worth waiting for
    clock.advance(10)
    for _ in range(5):
        here.enter(HERE, NEVER)
    clock.advance(3600)
    for _ in range(30):
        here.enter(HERE, NEVER)


def test_who_is_sent_away_is_told_a_time_of_its_own() -> None:
    clock = FakeClock()
    here = polite(clock, connections=1000, requests=10)
    for _ in range(10):
        here.enter(HERE, NEVER)
    waits = [wait_of(held_back(here)) for _ in range(4)]
    assert waits == pytest.approx([6, 12, 18, 24])
    assert str(held_back(here)) == f"{HERE} was asked 10 times in a minute already"
    clock.advance(3600)
    for _ in range(10):
        here.enter(HERE, NEVER)
    assert wait_of(held_back(here)) == pytest.approx(6), "promises of an hour ago are past"


def test_namespaces_have_an_origins_requests_in_turn_however_many_images_they_have() -> None:
    """One has a thousand images; two have a few, and come when all was promised: half a minute, not hours.

    Ten a minute: the first ten go at once. After that the pace is six seconds for all together.
    """
    clock = FakeClock()
    began = clock.monotonic()
    here = polite(clock, connections=1000, requests=10)
    wants = [(0.0, f"a-{number}") for number in range(1000)] + [(1.0, "b-0"), (1.0, "b-1"), (90.0, "c-0")]
    heapq.heapify(wants)
    served: dict[str, float] = {}
    while len(served) < 120:
        at, name = heapq.heappop(wants)
        clock.advance(max(began + at - clock.monotonic(), 0.0))
        try:
            here.enter(HERE, NEVER, name[0]).close()
        except errors.OriginBusy as error:
            heapq.heappush(wants, (clock.monotonic() - began + wait_of(error), name))
        else:
            served[name] = clock.monotonic() - began
    times = sorted(served.values())
    assert times[:10] == [0.0] * 10
    # two rounds of two namespaces: one until the time that it was told, one more where its turn was just over
    assert served["b-0"] <= 2 * 2 * 6
    assert served["b-1"] <= served["b-0"] + 2 * 2 * 6
    assert served["c-0"] <= 90 + 2 * 2 * 6
    # nothing of the pace is lost to places that are kept: a hundred and ten requests at six seconds
    assert times[-1] == pytest.approx(110 * 6, rel=0.05)


def test_a_place_that_nobody_comes_for_is_kept_for_a_while_and_spares_one_request() -> None:
    clock = FakeClock()
    here = polite(clock, connections=1000, requests=10)
    for _ in range(10):
        here.enter(HERE, NEVER, "a")
    with pytest.raises(errors.OriginBusy):
        here.enter(HERE, NEVER, "gone")
    clock.advance(6)
    with pytest.raises(errors.OriginBusy) as caught:
        here.enter(HERE, NEVER, "a")
    assert wait_of(caught.value) == pytest.approx(6), "the one that there is is another's"
    clock.advance(6)
    here.enter(HERE, NEVER, "a")
    clock.advance(politeness.LATE_S)
    for _ in range(6):
        here.enter(HERE, NEVER, "a")


def test_more_namespaces_than_requests_in_a_minute_all_get_their_turn() -> None:
    clock = FakeClock()
    here = polite(clock, connections=1000, requests=3)
    wants = [(0.0, f"ns-{number % 20}", number) for number in range(60)]
    heapq.heapify(wants)
    began, turns = clock.monotonic(), list[str]()
    for _ in range(5000):
        if not wants:
            break
        at, namespace, number = heapq.heappop(wants)
        clock.advance(max(began + at - clock.monotonic(), 0.0))
        try:
            here.enter(HERE, NEVER, namespace).close()
        except errors.OriginBusy as error:
            heapq.heappush(wants, (clock.monotonic() - began + wait_of(error), namespace, number))
        else:
            turns.append(namespace)
    assert len(turns) == 60


def test_nobody_asks_before_retry_after_and_everybody_is_told_when() -> None:
    clock = FakeClock()
    here = polite(clock)
    here.pause(HERE, timedelta(seconds=90), 429)
    error = held_back(here)
    assert str(error) == (f"{HERE} answered 429 Too Many Requests and asks for nothing before 2026-01-01T00:01:30Z")
    assert wait_of(error) == 90
    here.enter(THERE, NEVER)
    clock.advance(60)
    assert str(held_back(here)) == str(error), "a message that moved with the clock would be a status write a look"
    assert wait_of(held_back(here)) == 30
    clock.advance(30)
    here.enter(HERE, NEVER)


def test_a_shorter_pause_does_not_shorten_a_longer_one() -> None:
    here = polite(FakeClock())
    here.pause(HERE, timedelta(seconds=90), 503)
    here.pause(HERE, timedelta(seconds=10), 429)
    assert wait_of(held_back(here)) == 90
    assert "503 Service Unavailable" in str(held_back(here))


def test_a_stop_ends_the_wait_for_a_turn() -> None:
    here = Politeness(SystemClock(), PolitenessSettings(1, 60), tick_s=0.01)
    here.enter(HERE, NEVER)
    with pytest.raises(errors.Interrupted, match="waiting for a turn"):
        here.enter(HERE, _set_after(3))


def test_what_has_nothing_to_remember_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(politeness, "MAX_AT_REST", 4)
    clock = FakeClock(tick=0.1)
    here = polite(clock)
    here.pause("https://paused:443", timedelta(days=1), 429)
    here.enter("https://used:443", NEVER)
    for number in range(100):
        here.enter(f"https://h{number}:443", NEVER).close()
        clock.advance(60)
    assert len(here._origins) <= 5
    held_back(here, "https://paused:443")
    here.enter("https://used:443", NEVER)
    held_back(here, "https://used:443")


@given(steps=st.lists(st.tuples(st.sampled_from(["enter", "leave", "wait", "pause"]), st.integers(0, 30)), max_size=60))
def test_no_sequence_asks_for_more_than_is_allowed(steps: list[tuple[str, int]]) -> None:
    """Against a model: connections in use, requests in any minute, and no request in a pause."""
    clock = FakeClock(tick=0.01)
    here = polite(clock, connections=3, requests=20)
    turns: list[Turn] = []
    times: list[float] = []
    paused_until = 0.0
    for what, number in steps:
        if what == "enter":
            try:
                turns.append(here.enter(HERE, NEVER))
            except errors.OriginBusy:
                continue
            times.append(clock.monotonic())
            assert times[-1] >= paused_until
        elif what == "leave" and turns:
            turns.pop(number % len(turns)).close()
        elif what == "wait":
            clock.advance(number)
        elif what == "pause":
            here.pause(HERE, timedelta(seconds=number), 503)
            paused_until = max(paused_until, clock.monotonic() + number - 0.1)
        assert len(turns) <= 3
        assert sum(1 for at in times if at > times[-1] - 60) <= 40, "a full bucket, and what flows in meanwhile"


class _SetAfter:
    """A stop token that is set once it was looked at so many times."""

    def __init__(self, looks: int) -> None:
        self._left = looks

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


def _set_after(looks: int) -> _SetAfter:
    return _SetAfter(looks)
