"""What a manifest must say so that bytes which are kept serve again."""

from dataclasses import replace
from datetime import timedelta

import pytest

from controller import errors
from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.digest import Algorithm, Digest
from controller.model.image import Format, MediaType
from controller.model.transfer import StoredRef, TrashRecord
from controller.plan import rollback
from tests.fakes.world import EPOCH, World, content, spec

A, B = "http://images.example/a?signature=s3cret", "http://images.example/b"
UUID = "0123456789abcdef0123456789abcdef"
RECORD = TrashRecord(UUID, "default", "debian", EPOCH, EPOCH + timedelta(hours=72))


@pytest.fixture
def world() -> World:
    """An image that was imported from A, then from B, and keeps both."""
    world = World.of(spec(A, revision_history_limit=2))
    world.sources = {A: content(1), B: content(2)}
    world.run()
    world.edit(spec(B, revision_history_limit=2))
    world.run()
    return world


def claim(seed: int, *, days: int = 0, **fields: object) -> StoredRef:
    made = StoredRef(content(seed), "id", "", True, EPOCH + timedelta(days=days), "first use", B)
    return replace(made, **fields)  # type: ignore[arg-type]


def test_the_change_serves_the_older_bytes_and_fetches_nothing(world: World) -> None:
    revision = rollback.older(world.image, 1)
    change = rollback.change(world.image.spec, revision)
    assert change == {"url": "http://images.example/a", "checksum": str(content(1).sha256)}
    world.sources = {}
    world.edit(spec(change["url"], checksum=Digest.parse(change["checksum"]), revision_history_limit=2))
    world.run()
    assert conditions.is_true(world.image.status.conditions, ConditionType.READY)
    assert world.image.status.current is not None
    assert world.image.status.current.content == content(1)
    assert rollback.change(world.image.spec, world.image.status.current) == {}, "asked for already"


def test_a_query_is_never_shown_and_its_lack_is_known(world: World) -> None:
    revision = rollback.older(world.image, 1)
    assert "s3cret" not in str(rollback.change(world.image.spec, revision))
    assert rollback.may_lack_query(revision)
    assert rollback.may_lack_query(revision, world.image.spec)
    assert not rollback.may_lack_query(revision, spec(A)), "this manifest has it"
    assert world.image.status.current is not None
    assert not rollback.may_lack_query(world.image.status.current), "that url had none"


def test_what_the_spec_demands_otherwise_changes_with_it(world: World) -> None:
    revision = rollback.older(world.image, 1)
    iso = replace(revision, content=replace(revision.content, format=Format.ISO))
    demanding = spec(revision.url, format=Format.QCOW2, max_size_bytes=100, checksum=content(2).sha256)
    assert rollback.change(demanding, iso) == {
        "checksum": str(content(1).sha256),
        "format": "iso",
        "mediaType": "ISO",
        "maxSize": 2001,
    }
    back = rollback.change(spec(revision.url, format=Format.ISO, media_type=MediaType.ISO), revision)
    assert (back["format"], back["mediaType"]) == ("qcow2", "RootVolumeTemplate")
    data = spec(revision.url, media_type=MediaType.DATA_VOLUME_TEMPLATE)
    assert "mediaType" not in rollback.change(data, revision), "a data volume stays one"


def test_the_checksum_is_of_the_bytes_as_downloaded(world: World) -> None:
    source = Digest(Algorithm.SHA256, "ab" * 32)
    packed = replace(content(1), source_digests=(Digest(Algorithm.SHA512, "cd" * 64), source))
    revision = replace(rollback.older(world.image, 1), content=packed)
    assert rollback.change(world.image.spec, revision)["checksum"] == str(source)


@pytest.mark.parametrize(("kept", "told"), [(0, "it keeps none"), (1, "it keeps 1"), (2, "it keeps 1 to 2")])
def test_a_revision_that_is_not_kept_is_told_with_those_that_are(world: World, kept: int, told: str) -> None:
    history = world.image.status.history * kept
    image = replace(world.image, status=replace(world.image.status, history=history))
    with pytest.raises(errors.NotFound, match=f"no older revision 3: {told}$"):
        rollback.older(image, 3)


def test_what_was_noted_is_recovered_else_the_newest() -> None:
    kept = [claim(1), claim(2, days=2), claim(3, days=1)]
    assert rollback.serving(RECORD, kept) == kept[1]
    assert rollback.serving(replace(RECORD, serving=content(1).sha256), kept) == kept[0]
    assert rollback.serving(replace(RECORD, serving=content(4).sha256), kept) == kept[1], "noted, but gone"
    assert rollback.serving(RECORD, []) is None


def test_a_recovered_manifest_says_what_no_default_does() -> None:
    plain = rollback.recovery(RECORD, claim(1), ["s2", "s1"], UUID)
    assert plain["metadata"] == {"name": "debian", "namespace": "default"}
    assert plain["spec"] == {"url": B, "checksum": str(content(1).sha256), "backupStorages": ["s1", "s2"]}
    iso = claim(1, content=replace(content(1), format=Format.ISO))
    full = rollback.recovery(replace(RECORD, expunge_at=None), iso, ["s1"], "f" * 32)
    assert (full["spec"]["uuid"], full["spec"]["mediaType"], full["spec"]["deletionPolicy"]) == (UUID, "ISO", "Never")
