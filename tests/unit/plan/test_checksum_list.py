"""What a plan does with an image whose digest a publisher's list says."""

from dataclasses import replace

import pytest

from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.digest import Digest
from controller.model.image import ChecksumFrom, SignedBy
from controller.model.url import SourceUrl
from controller.plan import source
from controller.plan.effects import StartTransfer
from controller.reasons import Reason
from tests.fakes.world import World, content, spec

A, B = "http://images.example/a", "http://images.example/b"
LIST, OTHER_LIST = "http://images.example/SUMS?sig=1", "http://images.example/SUMS?sig=2"


def listed(url: str = LIST, entry: str | None = None) -> ChecksumFrom:
    return ChecksumFrom(SourceUrl.parse(url), entry)


@pytest.fixture
def world() -> World:
    world = World.of(spec(A, checksum_from=listed()))
    world.sources = {A: content(1), B: content(2)}
    world.lists = {LIST: content(1).sha256, OTHER_LIST: content(1).sha256}
    return world


def served(world: World) -> tuple[bool, Digest | None, str]:
    status = world.image.status
    ready = conditions.is_true(status.conditions, ConditionType.READY)
    if status.current is None:
        return ready, None, ""
    return ready, status.current.content.sha256, status.current.proof


def test_the_proof_is_the_list(world: World) -> None:
    world.run()
    assert served(world) == (True, content(1).sha256, "checksum list sha256")
    verified = conditions.find(world.image.status.conditions, ConditionType.VERIFIED)
    assert verified is not None
    assert "by checksum list sha256 at" in verified.message
    assert next(iter(world.stores[0].claims.values())).proof == "checksum list sha256"


def test_nothing_is_asked_again_while_url_and_list_stay(world: World) -> None:
    world.run()
    world.lists[LIST] = content(2).sha256
    world.states.clear()
    world.run()
    assert len(world.started) == 1


@pytest.mark.parametrize("change", [listed(OTHER_LIST), listed(entry="other")], ids=["url", "entry"])
def test_another_list_is_another_import_that_knows_what_is_there(world: World, change: ChecksumFrom) -> None:
    world.run()
    world.edit(spec(A, checksum_from=change))
    plan = world.step()
    (start,) = [effect for effect in plan.effects if isinstance(effect, StartTransfer)]
    assert start.request.known == (content(1),)
    assert start.request.checksum_from == change
    world.finish()
    world.run()
    assert served(world) == (True, content(1).sha256, "checksum list sha256")
    assert not world.states


def test_a_list_in_place_of_trust_on_first_use_is_asked_once(world: World) -> None:
    """Its digest matches, so the bytes stay; what they are proven by changes, on the claim too."""
    world.image = World.of(spec(A)).image
    world.run()
    assert served(world)[2] == "first use"
    world.edit(spec(A, checksum_from=listed()))
    world.run()
    assert served(world) == (True, content(1).sha256, "checksum list sha256")
    assert next(iter(world.stores[0].claims.values())).proof == "checksum list sha256"
    assert len(world.started) == 2


def test_a_list_that_names_other_bytes_brings_them_and_only_then_lets_the_old_ones_go(world: World) -> None:
    world.run()
    world.sources[A] = content(3)
    world.lists[OTHER_LIST] = content(3).sha256
    world.edit(spec(A, checksum_from=listed(OTHER_LIST)))
    world.settle()
    assert content(1).sha256 in world.stores[0].claims
    world.finish()
    world.run()
    assert served(world) == (True, content(3).sha256, "checksum list sha256")
    assert list(world.stores[0].claims) == [content(3).sha256]


def test_a_list_without_the_image_stalls_and_what_is_served_stays(world: World) -> None:
    world.run()
    del world.lists[OTHER_LIST]
    world.edit(spec(B, checksum_from=listed(OTHER_LIST)))
    world.settle()
    world.finish()
    world.settle()
    found = world.image.status.conditions
    assert conditions.is_true(found, ConditionType.AVAILABLE)
    stalled = conditions.find(found, ConditionType.STALLED)
    assert stalled is not None
    assert stalled.reason is Reason.SOURCE_NOT_FOUND


def test_a_lost_copy_is_fetched_for_the_digest_that_was_proven_whatever_the_list_says_now(world: World) -> None:
    world.run()
    world.lists.clear()
    world.stores[0].objects.clear()
    world.run()
    assert served(world) == (True, content(1).sha256, "checksum list sha256")
    request = world.started[-1]
    assert (request.checksum_from, request.expected_content) == (None, content(1))


def test_a_wiped_status_is_rebuilt_from_the_claims(world: World) -> None:
    world.run()
    world.image = World.of(world.image.spec).image
    world.states.clear()
    world.run()
    assert served(world) == (True, content(1).sha256, "checksum list sha256")
    assert len(world.started) == 1


def test_known_bytes_that_go_meanwhile_are_fetched(world: World) -> None:
    world.run()
    world.edit(spec(A, checksum_from=listed(OTHER_LIST)))
    world.step()
    world.finish()
    world.stores[0].objects.clear()
    world.run()
    assert served(world) == (True, content(1).sha256, "checksum list sha256")
    assert content(1).sha256 in world.stores[0].objects


def test_the_list_is_part_of_what_names_a_source_and_a_transfer() -> None:
    """By url and entry; a spec without a list has the name that it always had."""
    signed = [replace(listed(), signature=SignedBy(SourceUrl.parse(url), key)) for url in (A, B) for key in ("k", "l")]
    lists = [listed(), listed(OTHER_LIST), listed(entry="a"), *signed]
    specs = [spec(A), *(spec(A, checksum_from=one) for one in lists)]
    assert len({source.source_id(one.url, one.checksum_from) for one in specs}) == 8
    assert len({source.transfer_key("default", one, 1, None) for one in specs}) == 8
    assert source.source_id(specs[0].url) == source.fingerprint(A)
