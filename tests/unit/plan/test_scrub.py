"""When a storage is scrubbed, and what is told of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from controller.model.digest import Algorithm, Digest
from controller.model.scrub import MAX_MESSAGE, Scrub, ScrubRecord, ScrubState
from controller.plan import scrub

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
SHA256 = Digest(Algorithm.SHA256, "a" * 64)
DONE = scrub.finished(scrub.begin(None, NOW), NOW + timedelta(hours=1))


def test_without_an_interval_nothing_is_ever_due() -> None:
    assert not scrub.due(None, None, "s", NOW)
    assert not scrub.due(None, scrub.begin(None, NOW), "s", NOW + 100 * WEEK)


def test_the_first_is_due_at_once_and_so_is_one_that_broke_off() -> None:
    assert scrub.due(WEEK, None, "s", NOW)
    assert scrub.due(WEEK, scrub.interrupted(scrub.begin(None, NOW), "stopped"), "s", NOW)
    assert scrub.due(WEEK, scrub.begin(None, NOW), "s", NOW), "of a process that was killed"


@given(st.text(max_size=20))
def test_the_next_begins_one_interval_after_the_last_began_or_a_fifth_later(seed: str) -> None:
    assert not scrub.due(WEEK, DONE, seed, NOW + WEEK - timedelta(seconds=1))
    assert scrub.due(WEEK, DONE, seed, NOW + WEEK * 1.2)


def test_storages_drift_apart() -> None:
    ends = {
        next(hour for hour in range(240) if scrub.due(WEEK, DONE, str(seed), NOW + timedelta(hours=hour)))
        for seed in range(20)
    }
    assert len(ends) > 5


def test_a_clock_that_was_set_back_does_not_put_scrubs_off_for_years() -> None:
    assert scrub.due(WEEK, DONE, "s", NOW - timedelta(days=3650))


def test_one_that_broke_off_goes_on_and_a_finished_one_begins_anew() -> None:
    broken = scrub.interrupted(scrub.past(scrub.begin(None, NOW), SHA256, 10, damaged=True), "stopped")
    again = scrub.begin(broken, NOW + WEEK)
    assert again.position == SHA256
    assert again.scrub == Scrub(ScrubState.RUNNING, NOW, None, 1, 10, 1)
    anew = scrub.begin(DONE, NOW + WEEK)
    assert anew == ScrubRecord(Scrub(ScrubState.RUNNING, NOW + WEEK, DONE.scrub.finished_at))


def test_a_record_that_says_running_is_believed_only_of_ourselves() -> None:
    running = scrub.begin(None, NOW).scrub
    assert scrub.told(running, running=True) == running
    left = scrub.told(running, running=False)
    assert left is not None
    assert (left.state, left.message) == (ScrubState.INTERRUPTED, scrub.NOBODY)
    assert scrub.told(DONE.scrub, running=False) == DONE.scrub
    assert scrub.told(None, running=False) is None


def test_a_long_reason_fits_the_status() -> None:
    assert len(scrub.interrupted(DONE, "x" * 5000).scrub.message) == MAX_MESSAGE
    assert replace(DONE.scrub, state=ScrubState.INTERRUPTED).finished_at == DONE.scrub.finished_at
