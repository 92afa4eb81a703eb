"""What is kept of where the bytes came from, and when it is forgotten."""

from controller.model.delivery import Delivery, Validator
from controller.model.image import ChecksumFrom
from controller.model.url import SourceUrl
from tests.fakes.world import World, content, spec

A, B = "http://images.example/a", "http://images.example/b"
SAID = Delivery("http://images.example", Validator('"v"'), 1001, fetched_bytes=1)


def known(world: World) -> Delivery | None:
    current = world.image.status.current
    return None if current is None else current.delivery


def test_what_the_source_said_is_kept_with_the_revision(world: World) -> None:
    world.run()
    assert known(world) == SAID
    world.states.clear()
    world.run()
    assert known(world) == SAID, "a restart forgets transfers, not this"


def test_a_revision_that_is_replaced_takes_it_along_and_brings_it_back(world: World) -> None:
    world.edit(spec(A, revision_history_limit=1))
    world.run()
    world.edit(spec(B, revision_history_limit=1))
    world.run()
    assert [revision.delivery for revision in world.image.status.history] == [SAID]


def test_bytes_that_are_found_by_their_digest_keep_who_served_them_and_no_version(world: World) -> None:
    """Another url calls its versions by names of its own."""
    world.run()
    world.edit(spec(B, checksum=content(1).sha256))
    world.run()
    assert len(world.started) == 1
    assert known(world) == Delivery("http://images.example")


def test_bytes_that_are_fetched_again_are_of_the_version_that_was_seen_last(world: World) -> None:
    world.edit(spec(A, checksum=content(1).sha256))
    world.run()
    world.edit(spec(B, checksum=content(1).sha256))
    world.run()
    world.sources[B] = content(1)
    world.stores[0].objects.clear()
    world.run()
    assert len(world.started) == 2
    assert known(world) == SAID


def test_an_adopted_image_knows_the_version_that_its_claim_notes(world: World) -> None:
    world.run()
    world.image = World.of(world.image.spec).image
    world.states.clear()
    world.run()
    assert (known(world), len(world.started)) == (SAID, 1)


def test_a_list_that_names_what_is_there_says_nothing_of_the_source(world: World) -> None:
    world.run()
    world.lists = {"http://images.example/SUMS": content(1).sha256}
    world.edit(spec(A, checksum_from=ChecksumFrom(SourceUrl.parse("http://images.example/SUMS"))))
    world.run()
    assert known(world) == Delivery("http://images.example")
