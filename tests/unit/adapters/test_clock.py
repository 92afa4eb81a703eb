"""The real clock and the fake one keep the same promises."""

from datetime import UTC, datetime, timedelta

import pytest

from controller.adapters.clock import SystemClock
from controller.ports import Clock
from tests.fakes.clock import FakeClock


@pytest.mark.parametrize("clock", [SystemClock(), FakeClock(), FakeClock(tick=0.5)], ids=["system", "fake", "ticking"])
def test_a_clock_is_aware_of_utc_and_never_goes_back(clock: Clock) -> None:
    assert clock.now().tzinfo is UTC
    earlier = clock.monotonic()
    assert clock.monotonic() >= earlier


def test_the_system_clock_shows_this_time() -> None:
    assert abs(SystemClock().now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_the_fake_clock_moves_both_times_together() -> None:
    clock = FakeClock()
    now, seconds = clock.now(), clock.monotonic()
    clock.advance(90)
    clock.advance(timedelta(minutes=1))
    assert clock.now() - now == timedelta(seconds=150)
    assert clock.monotonic() - seconds == 150


def test_the_wall_clock_may_jump_back_the_monotonic_one_not() -> None:
    clock = FakeClock()
    seconds = clock.monotonic()
    clock.set(datetime(2020, 1, 1, tzinfo=UTC))
    assert clock.now().year == 2020
    assert clock.monotonic() == seconds
    with pytest.raises(ValueError, match="go back"):
        clock.advance(-1)


def test_a_ticking_clock_moves_with_every_look() -> None:
    clock = FakeClock(tick=2)
    assert clock.monotonic() + 2 == clock.monotonic()
