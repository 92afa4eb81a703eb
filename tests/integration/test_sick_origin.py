"""A copy that is damaged is found when another storage is to be filled from it: it serves nobody after that."""

import pytest

from controller.model.image import RefStatus
from controller.reasons import Reason
from tests.integration.house import RAW, House, digest, ready, reason
from tests.integration.test_damage_told import flip, stored


@pytest.fixture
def damaged(house: House) -> House:
    """An image whose copy on s1 lost a byte, and whose copy on s2 is gone."""
    one, two = house.storage("s1"), house.storage("s2")
    house.image("raw", house.source("a.raw", RAW), backupStorages="[s1, s2]")
    house.apply()
    flip(stored(one, RAW))
    stored(two, RAW).unlink()
    return house


def test_it_goes_to_quarantine_and_both_are_rebuilt_from_the_source(damaged: House) -> None:
    after = damaged.apply()["raw"]
    assert ready(after)
    assert [ref.status for ref in after.status.refs] == [RefStatus.READY] * 2
    assert damaged.objects("s1") == damaged.objects("s2") == {digest(RAW)}
    kept = sorted(path.name for path in (damaged.state_dir.parent / "s1" / "quarantine").iterdir())
    assert kept == [f"{digest(RAW)}.1", f"{digest(RAW)}.1.json"]


def test_where_nobody_has_the_bytes_any_more_none_of_the_copies_is_ready(damaged: House) -> None:
    (damaged.sources / "a.raw").unlink()
    after = damaged.apply()["raw"]
    assert reason(after) is Reason.SOURCE_NOT_FOUND
    assert [(ref.status, ref.reason) for ref in after.status.refs] == [(RefStatus.FAILED, Reason.STORAGE_DAMAGED)] * 2


def test_a_third_storage_is_asked_next(house: House) -> None:
    stores = [house.storage(name) for name in ("s1", "s2", "s3")]
    house.image("raw", house.source("a.raw", RAW), backupStorages="[s1, s2, s3]", retry="{initialBackoff: 1s}")
    house.apply()
    (house.sources / "a.raw").unlink()
    flip(stored(stores[0], RAW))
    stored(stores[1], RAW).unlink()
    after = house.apply()["raw"]
    assert ready(after)
    assert all(house.objects(name) == {digest(RAW)} for name in ("s1", "s2", "s3"))
