"""Conditions: a transition moves the time, nothing else does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from controller.model import conditions
from controller.model.conditions import Condition, ConditionType
from controller.reasons import Reason

THEN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = THEN + timedelta(hours=1)
READY = Condition(ConditionType.READY, True, Reason.SUCCEEDED, "there", 1, THEN)


def test_the_time_stays_while_the_status_does() -> None:
    """A new reason, message or generation is no transition."""
    later = Condition(ConditionType.READY, True, Reason.PROGRESSING, "changed", 2, NOW)
    assert conditions.merge([READY], [later]) == (replace(later, last_transition_time=THEN),)


def test_the_time_moves_with_the_status() -> None:
    later = replace(READY, status=False, last_transition_time=NOW)
    assert conditions.merge([READY], [later]) == (later,)


def test_what_is_not_said_anew_goes_and_the_rest_is_sorted() -> None:
    stalled = replace(READY, type=ConditionType.STALLED, last_transition_time=NOW)
    available = replace(READY, type=ConditionType.AVAILABLE, last_transition_time=NOW)
    assert conditions.merge([READY], [stalled, available]) == (available, stalled)


def test_conditions_are_found_by_type() -> None:
    assert conditions.find([READY], ConditionType.READY) is READY
    assert conditions.find([READY], ConditionType.STALLED) is None
    assert conditions.is_true([READY], ConditionType.READY)
    assert not conditions.is_true([replace(READY, status=False)], ConditionType.READY)
    assert not conditions.is_true([], ConditionType.READY)
