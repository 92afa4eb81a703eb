"""What every BackupStorage keeps of `ports.Receipts`: the one in memory and the real ones."""

from dataclasses import replace

import pytest

from controller import errors
from controller.engine.transfer.trail import MAX_MESSAGE
from controller.model.delivery import Delivery, Skipped, Validator
from controller.model.digest import Algorithm, Digest
from controller.reasons import Reason
from tests.contract.conftest import Rig
from tests.fakes.stored_bytes import IMAGE, OTHER_IMAGE, publish, put, ref_of

RECEIPT = {"_type": "x", "predicate": {"größe": [1, 2]}}


def test_a_receipt_comes_back_as_it_was_given_for_its_claim_only(rig: Rig) -> None:
    content = publish(rig.storage, b"image")
    rig.storage.link(IMAGE, ref_of(content), RECEIPT)
    rig.storage.link(OTHER_IMAGE, ref_of(content))
    rig.restart()
    assert rig.storage.receipt(IMAGE, content.sha256) == RECEIPT
    assert rig.storage.receipt(OTHER_IMAGE, content.sha256) is None
    (ref,) = rig.storage.refs(IMAGE)
    assert ref.intact
    assert list(rig.storage.findings()) == []


def test_a_claim_renewed_without_a_receipt_keeps_its_own_and_another_one_replaces_it(rig: Rig) -> None:
    content = publish(rig.storage, b"image")
    rig.storage.link(IMAGE, ref_of(content), RECEIPT)
    rig.storage.link(IMAGE, ref_of(content, "source-2"))
    assert rig.storage.receipt(IMAGE, content.sha256) == RECEIPT
    assert [ref.source_id for ref in rig.storage.refs(IMAGE)] == ["source-2"]
    rig.storage.link(IMAGE, ref_of(content), {"other": True})
    assert rig.storage.receipt(IMAGE, content.sha256) == {"other": True}


def test_a_receipt_goes_with_its_claim(rig: Rig) -> None:
    content = publish(rig.storage, b"image")
    rig.storage.link(OTHER_IMAGE, ref_of(content))
    rig.storage.link(IMAGE, ref_of(content), RECEIPT)
    rig.storage.unlink(IMAGE, content.sha256)
    assert rig.storage.receipt(IMAGE, content.sha256) is None
    rig.storage.link(IMAGE, ref_of(content))
    assert rig.storage.receipt(IMAGE, content.sha256) is None


def test_the_longest_claim_is_read_as_it_was_made(rig: Rig) -> None:
    """Eight mirrors that were asked in vain, each with as much to say as is kept, in letters that JSON spells out."""
    content = publish(rig.storage, b"image")
    url = "http://m.example/" + "a" * 1000
    skipped = (Skipped(url, Reason.SOURCE_NOT_FOUND, "é" * MAX_MESSAGE),) * 8
    delivery = Delivery(url, Validator("é" * 600, "é" * 128), 5, url, skipped)
    ref = replace(ref_of(content), delivery=delivery)
    rig.storage.link(IMAGE, ref, RECEIPT)
    (found,) = rig.storage.refs(IMAGE)
    assert (found.delivery, found.intact) == (delivery, True)
    assert rig.storage.receipt(IMAGE, content.sha256) == RECEIPT
    assert list(rig.storage.findings()) == []


def test_what_is_not_claimed_has_none_and_a_storage_that_is_away_does_not_say_so(rig: Rig) -> None:
    content = put(rig.storage, b"image")
    assert rig.storage.receipt(IMAGE, Digest(Algorithm.SHA256, "0" * 64)) is None
    assert rig.storage.receipt(OTHER_IMAGE, content.sha256) is None
    rig.cut_off()
    with pytest.raises(errors.StorageUnavailable):
        rig.storage.receipt(IMAGE, content.sha256)
    with pytest.raises(errors.InvalidSpec):
        rig.storage.receipt("../x", content.sha256)
