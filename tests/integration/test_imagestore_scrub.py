"""What a scrub asks of a real directory: the medium rather than the page cache, and no service for damaged bytes."""

import errno
import json
from pathlib import Path

import pytest

from controller import errors
from controller.adapters import durable_files
from controller.adapters.backup.imagestore import ImageStore
from controller.model.digest import Algorithm, Digest
from controller.model.scrub import MAX_MESSAGE, Scrub, ScrubRecord, ScrubState
from tests.fakes.clock import FakeClock
from tests.fakes.faulty_files import FaultyFiles
from tests.fakes.stored_bytes import IMAGE, put


class Fixture:
    """A store whose system calls are counted and fail when told to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = FaultyFiles(available_bytes=2**40)
        self.store = ImageStore(str(path), storage_uuid="5" * 32, reserved_bytes=0, clock=FakeClock(), files=self.files)
        self.store.probe()


@pytest.fixture
def rig(tmp_path: Path) -> Fixture:
    return Fixture(tmp_path / "store")


def test_a_fresh_reader_lets_the_page_cache_forget_before_and_behind_itself(rig: Fixture) -> None:
    content = put(rig.store, b"x" * 5000)
    buffer = memoryview(bytearray(2000))
    for fresh in (False, True):
        reader = rig.store.open(content.sha256, fresh=fresh)
        rig.files.arm(0, 0)
        while reader.readinto(buffer):
            pass
        reader.close()
        assert ("forget" in rig.files.made) is fresh
        assert rig.files.made.count("forget") == (4 if fresh else 0)


def test_a_file_system_that_cannot_forget_is_read_all_the_same(rig: Fixture) -> None:
    content = put(rig.store, b"x" * 5000)
    rig.files.arm(1, errno.EINVAL, only=frozenset({"forget"}))
    reader = rig.store.open(content.sha256, fresh=True)
    assert rig.files.failed == "forget"
    assert reader.readinto(memoryview(bytearray(6000))) == 5000
    reader.close()


def test_a_full_disk_keeps_no_damaged_bytes_in_service(rig: Fixture) -> None:
    """The note about them does not fit; that they are out of the way matters more."""
    content = put(rig.store, b"image")
    (rig.path / "quarantine").mkdir()
    rig.files.arm(1, errno.ENOSPC, only=frozenset({"pwrite"}))
    rig.store.quarantine(content.sha256, "a bit flipped")
    assert rig.files.failed == "pwrite"
    assert [path.name for path in (rig.path / "quarantine").iterdir()] == [f"{content.sha256.hex}.1"]
    assert rig.store.find(content.sha256) is None
    assert [ref.intact for ref in rig.store.refs(IMAGE)] == [False]


def test_a_disk_that_refuses_the_note_for_another_reason_changes_nothing(rig: Fixture) -> None:
    content = put(rig.store, b"image")
    (rig.path / "quarantine").mkdir()
    rig.files.arm(1, errno.EROFS, only=frozenset({"pwrite"}))
    with pytest.raises(errors.StorageUnavailable):
        rig.store.quarantine(content.sha256, "a bit flipped")
    assert rig.store.find(content.sha256) == content


def test_what_lies_about_is_no_content(rig: Fixture) -> None:
    content = put(rig.store, b"image")
    shard = rig.path / "objects" / "sha256" / content.sha256.hex[:2]
    (shard / "notes.txt").write_text("by hand")
    (shard / ("f" * 64 if not content.sha256.hex.startswith("ff") else "0" * 64)).write_text("of another shard")
    (rig.path / "objects" / "sha256" / "zz").mkdir()
    assert list(rig.store.stored(None)) == [content.sha256]


def test_a_shard_that_goes_while_it_is_listed_is_over(rig: Fixture) -> None:
    put(rig.store, b"one")
    put(rig.store, b"two")
    listed = rig.store.stored(None)
    first = next(listed)
    for digest in set(rig.store.stored(None)) - {first}:
        rig.store.unlink(IMAGE, digest)
    assert list(listed) == []


@pytest.mark.parametrize("text", [b"", b"{}", b"null", b"\xff", b'{"state": "Running", "startedAt": "yesterday"}'])
def test_a_damaged_note_of_the_place_is_none_and_the_next_one_replaces_it(rig: Fixture, text: bytes) -> None:
    (rig.path / "scrub.json").write_bytes(text)
    assert rig.store.scrub_record() is None
    with pytest.raises(errors.InvalidSpec):
        list(rig.store.stored(Digest(Algorithm.MD5, "a" * 32)))


@pytest.mark.parametrize("code", sorted(durable_files.UNREADABLE))
def test_a_medium_that_lost_what_it_held_is_damage_however_it_says_so(rig: Fixture, code: int) -> None:
    content = put(rig.store, b"image")
    reader = rig.store.open(content.sha256, fresh=True)
    rig.files.arm(1, code, only=frozenset({"preadv"}))
    with pytest.raises(errors.StorageDamaged, match="unreadable at byte 0"):
        reader.readinto(memoryview(bytearray(10)))
    reader.close()


def test_an_error_that_says_nothing_of_the_medium_is_no_damage(rig: Fixture) -> None:
    content = put(rig.store, b"image")
    reader = rig.store.open(content.sha256, fresh=True)
    rig.files.arm(1, errno.ESTALE, only=frozenset({"preadv"}))
    with pytest.raises(errors.StorageUnavailable):
        reader.readinto(memoryview(bytearray(10)))
    reader.close()


def test_a_note_of_the_place_that_cannot_be_read_is_none_and_the_next_one_replaces_it(rig: Fixture) -> None:
    record = ScrubRecord(Scrub(ScrubState.RUNNING, FakeClock().now(), None, 3, 4, 1))
    rig.store.save_scrub_record(record)
    rig.files.arm(1, errno.EIO, only=frozenset({"preadv"}))
    assert rig.store.scrub_record() is None
    assert rig.files.failed == "preadv"
    assert rig.store.scrub_record() == record
    rig.files.arm(1, errno.ESTALE, only=frozenset({"preadv"}))
    with pytest.raises(errors.StorageUnavailable):
        rig.store.scrub_record()


@pytest.mark.parametrize("field", ["copies", "bytes", "damaged"])
@pytest.mark.parametrize("count", [-1, 2**63])
def test_a_note_with_counts_that_no_status_can_hold_is_none(rig: Fixture, field: str, count: int) -> None:
    """A cluster would refuse every status of this storage."""
    written = {"state": "Running", "startedAt": "2026-01-01T00:00:00Z", "position": None, field: count}
    (rig.path / "scrub.json").write_text(json.dumps(written))
    assert rig.store.scrub_record() is None


def test_a_note_may_say_no_more_than_a_status_holds(rig: Fixture) -> None:
    written = {"state": "Interrupted", "startedAt": "2026-01-01T00:00:00Z", "position": None, "message": "x" * 5000}
    (rig.path / "scrub.json").write_text(json.dumps(written))
    record = rig.store.scrub_record()
    assert record is not None
    assert len(record.scrub.message) == MAX_MESSAGE
