"""Conditions as metav1.Condition has them, read by kstatus: Ready, and the abnormal-true Reconciling and Stalled."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from controller.reasons import Reason


class ConditionType(StrEnum):
    """`Reconciling`, `Stalled` and `UpstreamChanged` are present only while true; the others say True or False."""

    AVAILABLE = "Available"
    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    VERIFIED = "Verified"
    UPSTREAM_CHANGED = "UpstreamChanged"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition. `last_transition_time` moves only when `status` changes."""

    type: ConditionType
    status: bool
    reason: Reason
    message: str
    observed_generation: int
    last_transition_time: datetime


def merge(old: Iterable[Condition], new: Iterable[Condition]) -> tuple[Condition, ...]:
    """Return `new`, each keeping its `last_transition_time` from `old` where the status is the same; sorted by type."""
    before = {condition.type: condition for condition in old}
    merged = []
    for condition in new:
        previous = before.get(condition.type)
        same = previous is not None and previous.status == condition.status
        merged.append(_since(condition, previous.last_transition_time) if same and previous else condition)
    return tuple(sorted(merged, key=lambda condition: condition.type.value))


def _since(one: Condition, time: datetime) -> Condition:
    return Condition(one.type, one.status, one.reason, one.message, one.observed_generation, time)


def find(conditions: Iterable[Condition], wanted: ConditionType) -> Condition | None:
    """Return the condition of that type, None where there is none."""
    return next((condition for condition in conditions if condition.type is wanted), None)


def is_true(conditions: Iterable[Condition], wanted: ConditionType) -> bool:
    """Whether the condition is there and True."""
    found = find(conditions, wanted)
    return found is not None and found.status
