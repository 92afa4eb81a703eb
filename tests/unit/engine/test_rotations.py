"""An image that a Secret stalled is tried again once that Secret is another one, and not before."""

from datetime import timedelta

import pytest

from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.transfer import Failure
from controller.reasons import Reason
from tests.fakes.secrets import FakeSecrets, secret
from tests.unit.engine.engine_bench import IMAGE, URL, Bench

REFUSED = Failure(Reason.AUTHENTICATION_FAILED, "the source says 401", terminal=True)


def rotate(secrets: FakeSecrets, token: str) -> None:
    new = secret(token=token)
    secrets.known[new.namespace, new.name] = new


def refused(secrets: FakeSecrets, reason: Reason = Reason.AUTHENTICATION_FAILED) -> Bench:
    """Return a bench whose image is stalled with what its Secret said."""
    rotate(secrets, "first-token")
    bench = Bench(secrets)
    bench.resources.put(IMAGE, {"url": URL, "secretRef": {"name": "mirror"}})
    bench.engine.probe_storages()
    bench.engine.enqueue([IMAGE])
    bench.work()
    bench.transfers.finish(Failure(reason, "refused", terminal=True))
    bench.work()
    assert bench.says(ConditionType.STALLED)
    return bench


def pass_time(bench: Bench, *, minutes: int) -> None:
    for _ in range(minutes * 12):
        bench.clock.advance(timedelta(seconds=5))
        bench.work()


@pytest.mark.parametrize("reason", [Reason.AUTHENTICATION_FAILED, Reason.SIGNATURE_INVALID, Reason.POLICY_DENIED])
def test_a_rotated_secret_is_tried_within_a_minute_and_a_quarter(reason: Reason) -> None:
    secrets = FakeSecrets()
    bench = refused(secrets, reason)
    pass_time(bench, minutes=10)
    assert len(bench.transfers.started) == 1, "the same Secret is not tried again"
    writes = bench.resources.writes
    rotate(secrets, "second-token")
    pass_time(bench, minutes=1)
    pass_time(bench, minutes=1)
    assert len(bench.transfers.started) == 2
    bench.transfers.finish()
    bench.work()
    assert bench.says(ConditionType.READY)
    assert bench.resources.writes <= writes + 2


def test_a_rotated_secret_that_is_refused_too_stalls_again_and_waits_for_the_next() -> None:
    secrets = FakeSecrets()
    bench = refused(secrets)
    rotate(secrets, "second-token")
    pass_time(bench, minutes=1)
    bench.transfers.finish(REFUSED)
    pass_time(bench, minutes=10)
    assert len(bench.transfers.started) == 2
    assert bench.says(ConditionType.STALLED)


def test_soon_after_the_refusal_it_is_looked_for_more_often() -> None:
    """Whoever mends a Secret at once sees the image go on within seconds."""
    secrets = FakeSecrets()
    bench = refused(secrets)
    rotate(secrets, "second-token")
    bench.clock.advance(timedelta(seconds=7))
    bench.work()
    assert len(bench.transfers.started) == 2


def test_what_no_secret_can_mend_stays_stalled() -> None:
    secrets = FakeSecrets()
    bench = refused(secrets, Reason.SOURCE_NOT_FOUND)
    rotate(secrets, "second-token")
    pass_time(bench, minutes=15)
    assert len(bench.transfers.started) == 1
    ready = conditions.find(bench.image().status.conditions, ConditionType.READY)
    assert ready is not None
    assert ready.reason is Reason.SOURCE_NOT_FOUND


def test_a_suspended_image_is_not_tried_whatever_its_secret_does() -> None:
    secrets = FakeSecrets()
    bench = refused(secrets)
    bench.resources.put(IMAGE, {"url": URL, "secretRef": {"name": "mirror"}, "suspend": True})
    rotate(secrets, "second-token")
    bench.engine.enqueue([IMAGE])
    pass_time(bench, minutes=2)
    assert len(bench.transfers.started) == 1
