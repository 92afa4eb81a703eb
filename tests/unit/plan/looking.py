"""Steps in the life of an image whose source is looked at, for the tests of plans."""

from datetime import timedelta

from controller.model import conditions
from controller.model.conditions import Condition, ConditionType
from controller.model.image import ImageSpec, UpdatePolicy
from controller.plan.effects import Plan, StartTransfer
from tests.fakes.world import World, ready, spec

A = "http://images.example/a"
HOUR = timedelta(hours=1)
LATER = HOUR * 1.2
"""By then a look is due, whatever the jitter."""


def watching(url: str = A, policy: UpdatePolicy = UpdatePolicy.NOTIFY, **fields: object) -> ImageSpec:
    return spec(url, interval=HOUR, update_policy=policy, **fields)


def served(world: World, wanted: ImageSpec) -> World:
    world.edit(wanted)
    for _ in range(6):
        world.settle()
        world.finish()
    assert ready(world)
    assert not world.states
    return world


def looks(plan: Plan) -> list[StartTransfer]:
    return [effect for effect in plan.effects if isinstance(effect, StartTransfer) and effect.request.look]


def look(world: World) -> Plan:
    """Let an hour pass, and the look that is due end; return what is done about it."""
    world.now += LATER
    (start,) = looks(world.settle())
    assert start.request.targets == ()
    world.finish()
    return world.settle()


def told(world: World) -> Condition | None:
    return conditions.find(world.image.status.conditions, ConditionType.UPSTREAM_CHANGED)
