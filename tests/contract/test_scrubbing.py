"""What every BackupStorage keeps of `ports.Scrubbing`: the one in memory and the real ones."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from controller import errors
from controller.model.digest import Algorithm, Digest
from controller.model.scrub import Scrub, ScrubRecord, ScrubState
from tests.contract.conftest import Rig
from tests.fakes.stored_bytes import IMAGE, content_of, publish, put


def test_what_is_stored_is_listed_in_order_and_from_anywhere(rig: Rig) -> None:
    digests = sorted((put(rig.storage, bytes([seed])).sha256 for seed in range(20)), key=lambda one: one.hex)
    unclaimed = publish(rig.storage, b"unclaimed").sha256
    digests = sorted([*digests, unclaimed], key=lambda one: one.hex)
    assert list(rig.storage.stored(None)) == digests
    assert list(rig.storage.stored(digests[7])) == digests[8:]
    assert list(rig.storage.stored(digests[-1])) == []
    assert list(rig.storage.stored(Digest(Algorithm.SHA256, "0" * 64))) == digests


def test_the_time_of_the_last_proof_is_noted_beside_the_bytes(rig: Rig) -> None:
    content = put(rig.storage, b"image")
    at = rig.clock.now() + timedelta(days=3)
    assert [ref.verified_at for ref in rig.storage.refs(IMAGE)] == [rig.clock.now()]
    rig.storage.note_verified(content.sha256, at)
    rig.restart()
    assert [ref.verified_at for ref in rig.storage.refs(IMAGE)] == [at]
    assert rig.storage.find(content.sha256) == content
    rig.clock.advance(timedelta(days=5))
    publish(rig.storage, b"image")  # proven once more while it was stored again
    assert [ref.verified_at for ref in rig.storage.refs(IMAGE)] == [rig.clock.now()]
    assert list(rig.storage.findings()) == []


def test_nothing_is_noted_of_what_is_not_there(rig: Rig) -> None:
    content = put(rig.storage, b"image")
    rig.storage.quarantine(content.sha256, "a bit flipped")
    rig.storage.note_verified(content.sha256, rig.clock.now())
    assert rig.storage.find(content.sha256) is None
    assert list(rig.storage.stored(None)) == []


def test_how_far_a_scrub_came_is_remembered(rig: Rig) -> None:
    assert rig.storage.scrub_record() is None
    record = ScrubRecord(Scrub(ScrubState.RUNNING, rig.clock.now(), None, 3, 4, 1), content_of(b"image").sha256)
    rig.storage.save_scrub_record(record)
    rig.restart()
    assert rig.storage.scrub_record() == record
    assert list(rig.storage.findings()) == []


def test_a_fresh_reader_reads_the_same_bytes(rig: Rig) -> None:
    content = put(rig.storage, bytes(range(256)) * 50)
    reader = rig.storage.open(content.sha256, fresh=True)
    buffer = memoryview(bytearray(20000))
    assert reader.readinto(buffer) == 12800
    assert bytes(buffer[:12800]) == bytes(range(256)) * 50
    reader.close()


def test_a_scrub_cannot_ask_a_storage_that_is_away(rig: Rig) -> None:
    content = put(rig.storage, b"image")
    rig.cut_off()
    calls: list[Callable[[], object]] = [
        lambda: list(rig.storage.stored(None)),
        lambda: rig.storage.note_verified(content.sha256, rig.clock.now()),
        rig.storage.scrub_record,
        lambda: rig.storage.save_scrub_record(ScrubRecord(Scrub(ScrubState.RUNNING, rig.clock.now()))),
        lambda: rig.storage.open(content.sha256, fresh=True),
    ]
    for call in calls:
        with pytest.raises(errors.StorageUnavailable):
            call()
