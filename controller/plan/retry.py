"""When to try again, and when not to."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.model.image import RetryPolicy
from controller.model.transfer import Failure
from controller.reasons import Reason

WAITING = frozenset({Reason.STORAGE_UNAVAILABLE, Reason.DEPENDENCY_NOT_READY, Reason.QUEUED})
"""Waiting for another object, or for a turn at a server, is not a failed try."""
WAITING_AT_MOST = timedelta(seconds=60)
"""How long it may take until an object that was waited for, and that nobody tells us of, is noticed."""


@dataclass(frozen=True, slots=True)
class Decision:
    """`next_retry_at` None: stalled until the spec changes or somebody asks to look again."""

    attempts: int
    next_retry_at: datetime | None


def jitter(seed: str, share: float = 0.2) -> float:
    """Return a factor in [1, 1 + share), the same for the same seed: spread without a random source."""
    return 1 + share * int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big") / 2**32


def backoff(policy: RetryPolicy, attempts: int, seed: str) -> timedelta:
    """Return the wait after the given number of failed tries: doubling, capped, with jitter."""
    doubled: timedelta = policy.initial_backoff * 2 ** min(max(attempts - 1, 0), 30)
    seconds = min(doubled, policy.max_backoff).total_seconds() * jitter(f"{seed}/{attempts}")
    return timedelta(seconds=seconds)


def waiting(since: datetime | None, policy: RetryPolicy, seed: str, now: datetime) -> timedelta:
    """Return until when to look again for what was waited for in vain since then: doubling, and a minute at most.

    So a Secret that comes within seconds is used within seconds, and one that never comes costs little. Without a
    count, as waiting never counts.
    """
    so_far = timedelta() if since is None else now - since
    first = min(policy.initial_backoff, WAITING_AT_MOST)
    return min(max(so_far, first), WAITING_AT_MOST) * jitter(seed)


def after_failure(
    failure: Failure,
    *,
    advanced: bool,
    attempts: int,
    mismatched_before: bool,
    policy: RetryPolicy,
    seed: str,
    now: datetime,
    waiting_since: datetime | None = None,
) -> Decision:
    """Decide after a failed try.

    A checksum mismatch is tried once more from zero, because mirrors flip. Waiting for another object or a turn never
    counts; many may wait for the same moment, so they come a little after it, each at a time of its own. Progress
    resets the count.
    """
    if failure.reason in WAITING:
        asked = (failure.retry_after or timedelta(0)) * jitter(seed)
        return Decision(attempts, now + max(waiting(waiting_since, policy, seed, now), asked))
    attempts = 1 if advanced else attempts + 1
    once_more = failure.reason is Reason.CHECKSUM_MISMATCH and not mismatched_before
    if (failure.terminal and not once_more) or (policy.limit is not None and attempts > policy.limit):
        return Decision(attempts, None)
    wait = backoff(policy, attempts, seed)
    return Decision(attempts, now + max(wait, failure.retry_after or wait))
