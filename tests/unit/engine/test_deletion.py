"""The end of images over fakes: what holds up a deletion, and what becomes of the trash."""

import pytest

from controller import errors
from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.resource import FORCE_DELETE
from tests.unit.engine.engine_bench import IMAGE, URL, Bench


@pytest.mark.parametrize(("policy", "step"), [("Direct", "unlink"), ("Delay", "discard")])
def test_a_storage_that_answers_but_lets_nothing_go_holds_a_deletion_up_until_it_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, policy: str, step: str
) -> None:
    """A directory of somebody else's, or a disk too full for the record in the trash."""
    spec = {"url": URL, "deletionPolicy": policy}
    bench.resources.put(IMAGE, spec)
    bench.converge()

    def refused(*_: object) -> None:
        raise errors.NoSpace("the disk is full")

    monkeypatch.setattr(bench.store(), step, refused)
    bench.resources.remove(IMAGE)
    bench.engine.do(IMAGE)
    ready = conditions.find(bench.image().status.conditions, ConditionType.READY)
    assert ready is not None
    assert ready.message == "deletion waits: s1 could not be asked: the disk is full"
    assert bench.passes[-1][1].requeue is not None
    bench.resources.put(IMAGE, spec, {FORCE_DELETE: "true"})
    bench.resources.remove(IMAGE)
    bench.engine.do(IMAGE)
    assert bench.resources.image(IMAGE) is None
