"""What every BackupStorage keeps of the promises in `controller.ports`: the one in memory and the real ones."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from controller import errors
from controller.model.digest import Algorithm, Digest
from controller.model.transfer import ResumeRecord, TrashRecord, Validator
from tests.contract.conftest import RESERVED, Rig
from tests.fakes.stored_bytes import IMAGE, OTHER_IMAGE, answer, content_of, publish, put, read_all, ref_of

RECORD = ResumeRecord("source-1", Validator('"v1"', None), 5000, 3)


def test_bytes_come_back_as_they_were_put(rig: Rig) -> None:
    data = bytes(range(256)) * 20
    content = put(rig.storage, data)
    assert rig.storage.find(content.sha256) == content
    assert read_all(rig.storage, content.sha256, 100) == data


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 2**20 + 1])
@pytest.mark.parametrize("hinted", [True, False])
def test_any_size_is_stored(rig: Rig, size: int, hinted: bool) -> None:
    data = b"\xa5" * size
    assert read_all(rig.storage, publish(rig.storage, data, hinted=hinted).sha256) == data


def test_a_claim_is_returned_as_it_was_made_and_intact(rig: Rig) -> None:
    content = publish(rig.storage, b"image")
    path = rig.storage.link(IMAGE, ref_of(content))
    assert path == f"zstore://{IMAGE}/{content.sha256.hex[:40]}"
    (ref,) = rig.storage.refs(IMAGE)
    assert ref.intact
    assert ref.install_path == path
    asked = ref_of(content)
    assert (ref.content, ref.source_id, ref.imported_at) == (asked.content, asked.source_id, asked.imported_at)
    assert (ref.proof, ref.url) == (asked.proof, asked.url)
    assert list(rig.storage.claims()) == [(IMAGE, content.sha256)]


def test_claiming_twice_is_claiming_once_and_keeps_the_newer_facts(rig: Rig) -> None:
    content = put(rig.storage, b"image")
    rig.storage.link(IMAGE, ref_of(content, "source-2"))
    assert [ref.source_id for ref in rig.storage.refs(IMAGE)] == ["source-2"]


def test_an_image_can_claim_two_contents(rig: Rig) -> None:
    contents = {put(rig.storage, b"old").sha256, put(rig.storage, b"new").sha256}
    assert {ref.content.sha256 for ref in rig.storage.refs(IMAGE)} == contents


def test_where_a_content_came_from_is_known_after_a_restart(rig: Rig) -> None:
    content = publish(rig.storage, b"image", provenance=answer())
    rig.restart()
    assert rig.storage.provenance(content.sha256) == (answer(),)
    assert rig.storage.find(content.sha256) == content


def test_the_same_bytes_from_elsewhere_add_to_it_and_nothing_is_noted_twice(rig: Rig) -> None:
    content = publish(rig.storage, b"image", provenance=answer())
    publish(rig.storage, b"image", name="t-2", provenance=answer('"v2"'))
    publish(rig.storage, b"image", name="t-3")
    rig.storage.note_provenance(content.sha256, answer('"v3"'))
    rig.storage.note_provenance(content.sha256, answer('"v1"'))
    rig.restart()
    assert rig.storage.provenance(content.sha256) == (answer(), answer('"v2"'), answer('"v3"'))
    assert rig.storage.find(content.sha256) == content


def test_only_the_newest_answers_are_remembered(rig: Rig) -> None:
    content = put(rig.storage, b"image")
    assert rig.storage.provenance(content.sha256) == ()
    for number in range(20):
        rig.storage.note_provenance(content.sha256, answer(f'"{number}"'))
    assert [known.etag for known in rig.storage.provenance(content.sha256)] == [f'"{n}"' for n in range(4, 20)]


def test_of_bytes_that_are_not_there_nothing_is_known_or_noted(rig: Rig) -> None:
    content = put(rig.storage, b"image")
    rig.storage.note_provenance(content.sha256, answer())
    rig.storage.unlink(IMAGE, content.sha256)
    assert rig.storage.provenance(content.sha256) == ()
    rig.storage.note_provenance(content.sha256, answer())
    assert rig.storage.provenance(content.sha256) == ()
    assert list(rig.storage.findings()) == []


def test_a_storage_that_cannot_be_asked_never_says_that_nothing_is_known(rig: Rig) -> None:
    content = publish(rig.storage, b"image", provenance=answer())
    rig.cut_off()
    with pytest.raises(errors.StorageUnavailable):
        rig.storage.provenance(content.sha256)
    with pytest.raises(errors.StorageUnavailable):
        rig.storage.note_provenance(content.sha256, answer('"v2"'))


def test_bytes_stay_until_the_last_claim_is_dropped(rig: Rig) -> None:
    content = put(rig.storage, b"shared")
    rig.storage.link(OTHER_IMAGE, ref_of(content))
    rig.storage.unlink(IMAGE, content.sha256)
    assert rig.storage.refs(IMAGE) == ()
    assert [ref.intact for ref in rig.storage.refs(OTHER_IMAGE)] == [True]
    rig.storage.unlink(OTHER_IMAGE, content.sha256)
    assert rig.storage.find(content.sha256) is None
    assert rig.storage.findings() == []


def test_bytes_that_were_just_published_survive_the_last_claim_of_another(rig: Rig) -> None:
    """Image A goes while image B has placed the same bytes and is about to claim them."""
    content = put(rig.storage, b"shared")
    publish(rig.storage, b"shared", name="t-2")
    rig.storage.link(OTHER_IMAGE, ref_of(content))
    rig.storage.unlink(IMAGE, content.sha256)
    assert rig.storage.find(content.sha256) == content


def test_dropping_what_is_not_there_is_fine(rig: Rig) -> None:
    rig.storage.unlink(IMAGE, content_of(b"never").sha256)
    content = put(rig.storage, b"image")
    rig.storage.unlink(OTHER_IMAGE, content.sha256)
    rig.storage.unlink(IMAGE, content.sha256)
    rig.storage.unlink(IMAGE, content.sha256)
    assert rig.storage.find(content.sha256) is None


def test_what_is_not_there_is_not_found(rig: Rig) -> None:
    absent = content_of(b"never")
    assert rig.storage.find(absent.sha256) is None
    assert rig.storage.refs(IMAGE) == ()
    assert list(rig.storage.claims()) == []
    with pytest.raises(errors.StorageDamaged):
        rig.storage.open(absent.sha256)
    with pytest.raises(errors.StorageDamaged):
        rig.storage.link(IMAGE, ref_of(absent))


def test_publishing_the_same_bytes_again_keeps_one_object(rig: Rig) -> None:
    content = put(rig.storage, b"same")
    assert publish(rig.storage, b"same", name="t-2") == content
    rig.storage.link(OTHER_IMAGE, ref_of(content))
    assert [ref.intact for uuid in (IMAGE, OTHER_IMAGE) for ref in rig.storage.refs(uuid)] == [True, True]


def test_a_staged_file_of_another_size_is_not_published(rig: Rig) -> None:
    staged = rig.storage.stage("t-1", keep_bytes=0, size_hint=None)
    staged.write(memoryview(b"short"))
    staged.sync()
    with pytest.raises(errors.StorageDamaged):
        rig.storage.publish(staged, content_of(b"longer"))
    assert rig.storage.find(content_of(b"longer").sha256) is None
    assert rig.storage.sweep((), timedelta(0)) == []


def test_a_partial_goes_on_where_its_record_says(rig: Rig) -> None:
    staged = rig.storage.stage("t-1", keep_bytes=0, size_hint=6)
    staged.write(memoryview(b"abcdef"))
    staged.sync()
    rig.storage.save_resume_record("t-1", RECORD)
    staged.write(memoryview(b"lost"))
    staged.close()
    staged.close()
    rig.restart()
    assert rig.storage.resume_record("t-1") == RECORD
    again = rig.storage.stage("t-1", keep_bytes=3, size_hint=3)
    assert again.written_bytes == 3
    again.write(memoryview(b"DEF"))
    buffer = memoryview(bytearray(10))
    assert again.read_at(2, buffer) == 4
    assert bytes(buffer[:4]) == b"cDEF"
    assert again.read_at(6, buffer) == 0
    again.sync()
    rig.storage.publish(again, content_of(b"abcDEF"))
    assert read_all(rig.storage, content_of(b"abcDEF").sha256) == b"abcDEF"
    assert rig.storage.resume_record("t-1") is None


def test_a_fresh_start_drops_the_old_partial_and_its_record(rig: Rig) -> None:
    staged = rig.storage.stage("t-1", keep_bytes=0, size_hint=None)
    staged.write(memoryview(b"old bytes"))
    staged.sync()
    rig.storage.save_resume_record("t-1", RECORD)
    staged.close()
    fresh = rig.storage.stage("t-1", keep_bytes=0, size_hint=None)
    assert fresh.written_bytes == 0
    assert rig.storage.resume_record("t-1") is None
    fresh.discard()


def test_more_kept_than_there_is_shows_in_the_count(rig: Rig) -> None:
    staged = rig.storage.stage("t-1", keep_bytes=0, size_hint=None)
    staged.write(memoryview(b"abc"))
    staged.sync()
    staged.close()
    again = rig.storage.stage("t-1", keep_bytes=100, size_hint=None)
    assert again.written_bytes == 3
    again.discard()


def test_discarding_twice_is_fine_and_leaves_nothing(rig: Rig) -> None:
    staged = rig.storage.stage("t-1", keep_bytes=0, size_hint=None)
    staged.write(memoryview(b"abc"))
    staged.discard()
    staged.discard()
    staged.close()
    assert rig.storage.sweep((), timedelta(0)) == []
    with pytest.raises(errors.StorageUnavailable):
        staged.write(memoryview(b"more"))


def test_a_sweep_takes_old_partials_that_nobody_keeps(rig: Rig) -> None:
    for name in ("t-1", "t-2"):
        staged = rig.storage.stage(name, keep_bytes=0, size_hint=None)
        staged.write(memoryview(b"abc"))
        staged.close()
    assert rig.storage.sweep(["t-1", "t-2"], timedelta(0)) == []
    assert rig.storage.sweep(["t-1"], timedelta(0)) == ["t-2"]
    assert rig.storage.stage("t-1", keep_bytes=3, size_hint=None).written_bytes == 3


def test_an_unreachable_storage_never_says_that_something_is_absent(rig: Rig) -> None:
    digest = put(rig.storage, b"image").sha256
    rig.cut_off()
    calls: list[Callable[[], object]] = [
        lambda: rig.storage.find(digest),
        lambda: rig.storage.refs(IMAGE),
        lambda: list(rig.storage.claims()),
        lambda: rig.storage.unlink(IMAGE, digest),
        lambda: rig.storage.open(digest),
        lambda: rig.storage.stage("t-9", keep_bytes=0, size_hint=None),
        lambda: rig.storage.resume_record("t-9"),
        lambda: rig.storage.save_resume_record("t-9", RECORD),
        lambda: rig.storage.sweep((), timedelta(0)),
        rig.storage.findings,
        lambda: rig.storage.probe(create=False),
    ]
    for call in calls:
        with pytest.raises(errors.StorageUnavailable):
            call()


def test_what_does_not_fit_beside_the_reserve_is_refused_before_the_first_byte(rig: Rig) -> None:
    rig.leave(RESERVED + 4096)
    rig.storage.stage("t-1", keep_bytes=0, size_hint=4096).discard()
    with pytest.raises(errors.NoSpace):
        rig.storage.stage("t-1", keep_bytes=0, size_hint=4097)
    assert rig.storage.sweep((), timedelta(0)) == []


def test_a_probe_measures(rig: Rig) -> None:
    rig.leave(123_456)
    capacity = rig.storage.probe()
    assert capacity.available_bytes == 123_456
    assert capacity.total_bytes >= 123_456


def test_a_content_cut_short_is_not_found_and_its_claims_are_not_intact(rig: Rig) -> None:
    content = put(rig.storage, b"image")
    rig.truncate(content.sha256)
    assert rig.storage.find(content.sha256) is None
    assert [ref.intact for ref in rig.storage.refs(IMAGE)] == [False]
    assert [finding.code for finding in rig.storage.findings()] == ["wrong-size"]
    with pytest.raises(errors.StorageDamaged):
        rig.storage.link(OTHER_IMAGE, ref_of(content))


def test_damaged_bytes_are_replaced_by_publishing_and_claiming_again(rig: Rig) -> None:
    content = put(rig.storage, b"image")
    rig.truncate(content.sha256)
    put(rig.storage, b"image")
    assert read_all(rig.storage, content.sha256) == b"image"
    assert [ref.intact for ref in rig.storage.refs(IMAGE)] == [True]
    assert rig.storage.findings() == []


def test_quarantined_bytes_are_out_of_service(rig: Rig) -> None:
    content = put(rig.storage, b"image")
    rig.storage.quarantine(content.sha256, "the digest is another one")
    rig.storage.quarantine(content.sha256, "twice is fine")
    assert rig.storage.find(content.sha256) is None
    assert [ref.intact for ref in rig.storage.refs(IMAGE)] == [False]
    with pytest.raises(errors.StorageDamaged):
        rig.storage.open(content.sha256)
    (finding,) = rig.storage.findings()
    assert (finding.code, finding.repair) == ("claim-without-object", "")
    put(rig.storage, b"image")
    assert [ref.intact for ref in rig.storage.refs(IMAGE)] == [True]


def test_only_the_bytes_that_were_read_go_to_quarantine(rig: Rig) -> None:
    """Reading takes long: right bytes may have taken the place of damaged ones meanwhile."""
    content = put(rig.storage, b"image")
    rig.truncate(content.sha256)
    reader = rig.storage.open(content.sha256, fresh=True)
    reader.close()
    put(rig.storage, b"image")
    assert not rig.storage.quarantine(content.sha256, "too short", reader.version)
    assert [ref.intact for ref in rig.storage.refs(IMAGE)] == [True]
    reader = rig.storage.open(content.sha256)
    reader.close()
    assert rig.storage.quarantine(content.sha256, "too short", reader.version)
    assert not rig.storage.quarantine(content.sha256, "too short", reader.version)
    assert [ref.intact for ref in rig.storage.refs(IMAGE)] == [False]


def test_bytes_that_nobody_claims_are_found_and_removed_after_an_hour(rig: Rig) -> None:
    content = publish(rig.storage, b"image")
    rig.clock.advance(timedelta(days=3650))
    (finding,) = rig.storage.findings()
    assert finding.code == "unclaimed-object"
    rig.storage.mend(finding)
    rig.storage.mend(finding)
    assert rig.storage.find(content.sha256) is None
    assert rig.storage.findings() == []


def test_a_partial_that_nobody_goes_on_with_is_found_and_removed(rig: Rig) -> None:
    staged = rig.storage.stage("t-1", keep_bytes=0, size_hint=None)
    staged.write(memoryview(b"abc"))
    staged.close()
    rig.clock.advance(timedelta(days=3650))
    (finding,) = rig.storage.findings()
    assert finding.code == "leaked-staging"
    rig.storage.mend(finding)
    rig.storage.mend(finding)
    assert rig.storage.findings() == []


@pytest.mark.parametrize("name", ["", "a/b", "..x/", "A", "a" * 81, "a\n", "ü"])
def test_names_that_would_become_paths_are_refused(rig: Rig, name: str) -> None:
    with pytest.raises(errors.InvalidSpec):
        rig.storage.stage(name, keep_bytes=0, size_hint=None)
    with pytest.raises(errors.InvalidSpec):
        rig.storage.refs(name)
    with pytest.raises(errors.InvalidSpec):
        rig.storage.unlink(name, content_of(b"x").sha256)


def test_a_deleted_image_has_one_record_until_it_is_restored(rig: Rig) -> None:
    now = rig.clock.now()
    served = Digest(Algorithm.SHA256, "ab" * 32)
    record = TrashRecord(IMAGE, "default", "debian", now, now + timedelta(hours=72), served)
    kept = TrashRecord(OTHER_IMAGE, "default", "golden", now - timedelta(days=1), None)
    assert rig.storage.trash() == ()
    assert rig.storage.discarded(IMAGE) is None
    for entry in (record, kept, record):
        rig.storage.discard(entry)
    rig.restart()
    assert rig.storage.trash() == (kept, record), "the oldest first"
    assert rig.storage.discarded(IMAGE) == record
    rig.storage.discard(replace(record, expunge_at=None))
    assert rig.storage.discarded(IMAGE) == replace(record, expunge_at=None)
    for _ in range(2):
        rig.storage.restore(IMAGE)
    assert rig.storage.trash() == (kept,)
    assert [finding.code for finding in rig.storage.findings()] == []


def test_images_are_counted_whatever_they_claim_but_not_those_in_the_trash(rig: Rig) -> None:
    assert rig.storage.image_count() == 0
    put(rig.storage, b"one")
    put(rig.storage, b"two")
    put(rig.storage, b"two", OTHER_IMAGE)
    assert rig.storage.image_count() == 2
    rig.storage.discard(TrashRecord(IMAGE, "default", "debian", rig.clock.now(), None))
    assert rig.storage.image_count() == 1
    rig.storage.restore(IMAGE)
    assert rig.storage.image_count() == 2
    rig.cut_off()
    with pytest.raises(errors.StorageUnavailable):
        rig.storage.image_count()


def test_trash_that_cannot_be_asked_is_not_empty(rig: Rig) -> None:
    rig.cut_off()
    with pytest.raises(errors.StorageUnavailable):
        rig.storage.trash()
    with pytest.raises(errors.StorageUnavailable):
        rig.storage.discarded(IMAGE)
    with pytest.raises(errors.StorageUnavailable):
        rig.storage.restore(IMAGE)
