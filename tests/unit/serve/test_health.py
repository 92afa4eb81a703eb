"""What the kubelet hears, and when."""

from dataclasses import dataclass
from datetime import timedelta

from controller.serve import health

FIVE_MINUTES = timedelta(minutes=5)


@dataclass
class Pulse:
    leading: bool = True
    synced_at: float | None = None
    term_began: float = 0.0


def test_a_standby_is_alive_and_ready() -> None:
    assert health.alive(Pulse(leading=False), 1e6, FIVE_MINUTES).ok
    assert health.ready(Pulse(leading=False)).ok


def test_who_has_not_listed_yet_is_alive_but_not_ready() -> None:
    assert health.alive(Pulse(), 10, FIVE_MINUTES).ok
    assert not health.ready(Pulse()).ok


def test_an_outage_of_ten_minutes_is_no_reason_for_a_restart() -> None:
    assert health.alive(Pulse(synced_at=100), 100 + 600, FIVE_MINUTES).ok


def test_lists_that_are_overdue_turn_it_red() -> None:
    verdict = health.alive(Pulse(synced_at=100), 100 + 901, FIVE_MINUTES)
    assert not verdict.ok
    assert "901 s ago" in verdict.text


def test_who_never_gets_a_list_turns_red_too() -> None:
    assert not health.alive(Pulse(term_began=50), 50 + 901, FIVE_MINUTES).ok


def test_short_intervals_get_a_minute_all_the_same() -> None:
    assert health.alive(Pulse(synced_at=0), 59, timedelta(seconds=1)).ok
    assert not health.alive(Pulse(synced_at=0), 61, timedelta(seconds=1)).ok
