"""Whether this instance is alive and ready, as the kubelet's probes ask. Pure.

Alive means: the lists of all objects succeed in time, which is what proves that the API server can be reached and that
the loop turns. A standby is alive and ready: it has nothing to do.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

OVERDUE_INTERVALS = 3
"""Lists may fail this long before the kubelet is told: an outage of the API server alone is no reason for a restart."""
LEAST_S = 60.0


class Pulse(Protocol):
    """What the loop says about itself; times are monotonic seconds."""

    @property
    def leading(self) -> bool:
        """Whether it reconciles; else it is the standby."""
        ...

    @property
    def synced_at(self) -> float | None:
        """When all objects were last listed, None before the first time."""
        ...

    @property
    def term_began(self) -> float:
        """Since when it reconciles."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a probe."""

    ok: bool
    text: str


def alive(pulse: Pulse, now: float, list_interval: timedelta) -> Verdict:
    """Answer /healthz."""
    if not pulse.leading:
        return Verdict(True, "standby")
    age = now - (pulse.term_began if pulse.synced_at is None else pulse.synced_at)
    limit = max(list_interval.total_seconds() * OVERDUE_INTERVALS, LEAST_S)
    if age > limit:
        return Verdict(False, f"objects were last listed {age:.0f} s ago, which should be no more than {limit:.0f}")
    return Verdict(True, f"objects were listed {age:.0f} s ago" if pulse.synced_at is not None else "starting")


def ready(pulse: Pulse) -> Verdict:
    """Answer /readyz."""
    if not pulse.leading:
        return Verdict(True, "standby")
    if pulse.synced_at is None:
        return Verdict(False, "objects were not listed yet")
    return Verdict(True, "leading")
