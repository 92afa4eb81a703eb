"""Verify and doctor over fakes."""

from controller.engine.doctor import diagnose
from controller.engine.verify import verify_image
from controller.model.conditions import ConditionType
from controller.model.image import RefStatus
from controller.reasons import Reason
from tests.fakes.transfers import content_of
from tests.unit.engine.engine_bench import DATA, IMAGE, STORE, Bench


def test_verify_reads_the_bytes_and_quarantines_what_is_wrong(bench: Bench) -> None:
    bench.converge()
    (good,) = verify_image(bench.image(), bench.engine.storages, bench.clock, quarantine=True)
    assert good.problem == ""
    assert good.got == content_of(DATA).sha256
    held = next(iter(bench.store().objects.values()))
    held.data[0] ^= 1
    (kept,) = verify_image(bench.image(), bench.engine.storages, bench.clock, quarantine=False)
    assert kept.damaged
    assert "expected sha256:" in kept.problem
    (bad,) = verify_image(bench.image(), bench.engine.storages, bench.clock, quarantine=True)
    assert "quarantined" in bad.problem
    bench.engine.enqueue([IMAGE])
    bench.work()
    assert not bench.says(ConditionType.READY), "a Ready ref never stays on wrong bytes"
    bench.transfers.finish()
    bench.work()
    assert bench.says(ConditionType.READY)


def test_verify_notes_when_a_copy_was_right_and_does_without_where_it_cannot(bench: Bench) -> None:
    bench.converge()
    (held,) = bench.store().objects.values()
    bench.clock.advance(3600)
    bench.store().faults.full = True
    (good,) = verify_image(bench.image(), bench.engine.storages, bench.clock, quarantine=False)
    assert good.problem == ""
    assert held.verified_at < bench.clock.now()
    bench.store().faults.full = False
    list(verify_image(bench.image(), bench.engine.storages, bench.clock, quarantine=False))
    assert held.verified_at == bench.clock.now()


def test_verify_tells_unreachable_from_damaged(bench: Bench) -> None:
    assert list(verify_image(bench.image(), bench.engine.storages, bench.clock, quarantine=True)) == []
    bench.converge()
    bench.store().faults.unreachable = True
    (verdict,) = verify_image(bench.image(), bench.engine.storages, bench.clock, quarantine=True)
    assert verdict.problem
    assert not verdict.damaged
    bench.store().faults.unreachable = False
    bench.store().faults.damaged_reads = True
    (verdict,) = verify_image(bench.image(), bench.engine.storages, bench.clock, quarantine=True)
    assert verdict.damaged


def test_verify_takes_what_the_disk_cannot_read_out_of_service(bench: Bench) -> None:
    """Its name and size are right, so that each look would call it Ready."""
    bench.converge()
    bench.store().faults.damaged_reads = True
    (left,) = verify_image(bench.image(), bench.engine.storages, bench.clock, quarantine=False)
    assert (left.damaged, left.got, len(bench.store().objects)) == (True, None, 1)
    (bad,) = verify_image(bench.image(), bench.engine.storages, bench.clock, quarantine=True)
    assert bad.problem == "unreadable; quarantined"
    assert not bench.store().objects
    (gone,) = verify_image(bench.image(), bench.engine.storages, bench.clock, quarantine=True)
    assert (gone.damaged, "is not there" in gone.problem) == (True, True)


def test_who_lost_a_copy_to_a_scrub_and_was_not_looked_at_is_written_down_at_the_end(bench: Bench) -> None:
    bench.converge()
    (storage,) = bench.engine.storages.all()
    sha256 = content_of(DATA).sha256
    storage.adapter.quarantine(sha256, "a test says so")
    bench.engine._damage_found(storage, sha256)
    assert bench.says(ConditionType.READY)
    bench.engine.stop()
    assert not bench.says(ConditionType.READY)
    assert not bench.says(ConditionType.AVAILABLE)
    assert [(ref.status, ref.reason) for ref in bench.image().status.refs] == [
        (RefStatus.FAILED, Reason.STORAGE_DAMAGED)
    ]
    assert len(bench.transfers.started) == 1, "nothing is begun by who goes"


def test_who_was_looked_at_since_is_not_written_again(bench: Bench) -> None:
    bench.converge()
    (storage,) = bench.engine.storages.all()
    sha256 = content_of(DATA).sha256
    storage.adapter.quarantine(sha256, "a test says so")
    bench.engine._damage_found(storage, sha256)
    bench.work()
    bench.transfers.finish()
    bench.work()
    assert bench.says(ConditionType.READY)
    writes = bench.resources.writes
    bench.engine.stop()
    assert bench.resources.writes == writes


def test_doctor_finds_nothing_where_nothing_is_wrong(bench: Bench) -> None:
    bench.converge()
    assert list(diagnose(bench.resources, bench.engine.storages, repair=False, running=False)) == []


def test_doctor_names_claims_of_unknown_images_and_never_drops_them(bench: Bench) -> None:
    bench.converge()
    bench.resources._objects.pop(IMAGE)
    (found,) = diagnose(bench.resources, bench.engine.storages, repair=True, running=False)
    assert found.finding.code == "foreign-claim"
    assert not found.mended
    assert len(list(bench.store().claims())) == 1


def test_doctor_names_refs_without_a_claim_and_storages_that_do_not_answer(bench: Bench) -> None:
    bench.converge()
    uuid = bench.image().status.uuid
    assert uuid is not None
    bench.store().unlink(uuid, content_of(DATA).sha256)
    codes = [
        found.finding.code for found in diagnose(bench.resources, bench.engine.storages, repair=False, running=True)
    ]
    assert codes == ["ref-without-claim"]
    bench.store().faults.unreachable = True
    codes = [
        found.finding.code for found in diagnose(bench.resources, bench.engine.storages, repair=False, running=True)
    ]
    assert codes == ["unreachable"]


def test_doctor_names_refs_to_a_storage_that_is_gone(bench: Bench) -> None:
    bench.converge()
    bench.resources._objects.pop(STORE)
    bench.engine.storages._open.clear()
    (found,) = diagnose(bench.resources, bench.engine.storages, repair=False, running=False)
    assert found.finding.code == "ref-to-nowhere"
