"""By what and when an image was proven, as its status tells it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.reasons import Reason
from tests.fakes.world import EPOCH, World, available, content, ready, spec

URL = "http://images.example/a"
HOUR = timedelta(hours=1)


@pytest.fixture
def world() -> World:
    made = World.of(spec(URL, backup_storages=("s1", "s2")), "s1", "s2")
    made.sources[URL] = content(1)
    made.run()
    assert ready(made)
    return made


def prove(world: World, store: str, hours: float) -> None:
    """Note that the copy on a storage was right so long after the beginning."""
    held = world.store(store)
    sha256 = content(1).sha256
    held.claims[sha256] = replace(held.claims[sha256], verified_at=EPOCH + hours * HOUR)


def said(world: World) -> tuple[bool, Reason, str]:
    found = conditions.find(world.image.status.conditions, ConditionType.VERIFIED)
    assert found is not None
    return found.status, found.reason, found.message


def test_an_import_is_a_proof(world: World) -> None:
    status = world.image.status
    assert status.current is not None
    assert status.verified_at == status.current.imported_at
    assert said(world)[2].startswith(f"{content(1).sha256} by first use at 2026-01-01T00:")


def test_the_copy_whose_proof_is_oldest_counts(world: World) -> None:
    before = world.image.status
    prove(world, "s1", 10)
    world.run()
    assert world.image.status == before
    prove(world, "s2", 7)
    world.run()
    assert world.image.status.verified_at == EPOCH + 7 * HOUR
    assert said(world)[2].endswith("last read and right at 2026-01-01T07:00:00Z")


def test_less_than_an_hour_is_not_worth_a_write(world: World) -> None:
    for store in ("s1", "s2"):
        prove(world, store, 0.9)
    before = world.image.status
    world.run()
    assert world.image.status == before
    prove(world, "s1", 30)
    prove(world, "s2", 30)
    world.run()
    assert world.image.status.verified_at == EPOCH + 30 * HOUR
    prove(world, "s1", 29)
    world.run()
    assert world.image.status.verified_at == EPOCH + 29 * HOUR, "an older copy is told of at once"


def test_what_was_proven_stays_proven_while_no_storage_answers(world: World) -> None:
    for store in ("s1", "s2"):
        prove(world, store, 5)
    world.run()
    for store in ("s1", "s2"):
        world.store(store).up = False
    world.settle()
    assert not available(world)
    assert world.image.status.verified_at == EPOCH + 5 * HOUR
    status, reason, message = said(world)
    assert (status, reason) == (True, Reason.SUCCEEDED)
    assert "last read and right at 2026-01-01T05:00:00Z" in message


def test_bytes_that_nobody_has_any_more_are_not_verified(world: World) -> None:
    for store in ("s1", "s2"):
        world.store(store).objects.clear()
    world.settle()
    status, reason, message = said(world)
    assert (status, reason) == (False, Reason.STORAGE_DAMAGED)
    assert message.startswith("its copies are damaged or gone; it was sha256:")


def test_other_bytes_have_a_time_of_their_own(world: World) -> None:
    for store in ("s1", "s2"):
        prove(world, store, 50)
    world.run()
    other = "http://images.example/b"
    world.sources[other] = content(2)
    world.edit(spec(other, backup_storages=("s1", "s2")))
    world.run()
    status = world.image.status
    assert status.current is not None
    assert status.verified_at == status.current.imported_at
