"""When to look again for what is waited for."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from controller.model.image import RetryPolicy
from controller.model.transfer import Failure
from controller.plan import retry
from controller.reasons import Reason
from tests.fakes.world import EPOCH

SECONDS = st.integers(0, 10**6).map(lambda seconds: timedelta(seconds=seconds))


@given(SECONDS, st.integers(1, 3600).map(lambda seconds: timedelta(seconds=seconds)))
def test_what_is_waited_for_is_looked_at_within_a_minute_and_a_fifth(so_far: timedelta, first: timedelta) -> None:
    policy = RetryPolicy(initial_backoff=first, max_backoff=max(first, timedelta(minutes=10)))
    wait = retry.waiting(EPOCH, policy, "seed", EPOCH + so_far)
    assert min(first, timedelta(minutes=1)) <= wait <= timedelta(seconds=72)


def test_a_wait_of_an_hour_is_some_sixty_looks_not_seven_hundred() -> None:
    now, looks = EPOCH, 0
    while now < EPOCH + timedelta(hours=1):
        now += retry.waiting(EPOCH, RetryPolicy(), "seed", now)
        looks += 1
    assert looks <= 66


def test_a_busy_server_is_not_asked_before_it_said() -> None:
    failure = Failure(Reason.DEPENDENCY_NOT_READY, "429", terminal=False, retry_after=timedelta(minutes=5))
    decision = retry.after_failure(
        failure,
        advanced=False,
        attempts=3,
        mismatched_before=False,
        policy=RetryPolicy(limit=0),
        seed="seed",
        now=EPOCH,
        waiting_since=EPOCH,
    )
    assert decision.attempts == 3
    assert decision.next_retry_at is not None
    assert timedelta(minutes=5) <= decision.next_retry_at - EPOCH <= timedelta(minutes=6), "others wait for that moment"
