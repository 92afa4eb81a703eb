"""What every BackupStorage keeps of `ports.Quarantines`: the one in memory and the real ones."""

from datetime import timedelta

import pytest

from controller import errors
from controller.model.quarantine import Quarantine
from tests.contract.conftest import Rig
from tests.fakes.stored_bytes import IMAGE, put


def test_there_is_nothing_in_quarantine_at_first(rig: Rig) -> None:
    put(rig.storage, b"image")
    assert rig.storage.quarantine_use() == Quarantine()
    assert rig.storage.in_quarantine() == ()


def test_damaged_bytes_are_counted_with_why_until_a_person_lets_them_go(rig: Rig) -> None:
    content, other = put(rig.storage, b"image"), put(rig.storage, b"another")
    rig.storage.quarantine(content.sha256, "a bit flipped")
    rig.storage.quarantine(other.sha256, "two did")
    rig.restart()
    assert rig.storage.quarantine_use() == Quarantine(2, len(b"image") + len(b"another"))
    found = {held.sha256: held for held in rig.storage.in_quarantine()}
    one = found[content.sha256]
    assert (one.name, one.size_bytes, one.why) == (f"{content.sha256.hex}.1", len(b"image"), "a bit flipped")
    rig.storage.let_go(one.name)
    rig.restart()
    assert [held.sha256 for held in rig.storage.in_quarantine()] == [other.sha256]
    assert rig.storage.quarantine_use() == Quarantine(1, len(b"another"))
    assert [finding.code for finding in rig.storage.findings()] == ["claim-without-object"] * 2
    rig.storage.let_go(one.name)


def test_the_same_content_may_be_damaged_twice(rig: Rig) -> None:
    content = put(rig.storage, b"image")
    rig.storage.quarantine(content.sha256, "once")
    assert put(rig.storage, b"image") == content
    rig.storage.quarantine(content.sha256, "twice")
    assert sorted(held.name for held in rig.storage.in_quarantine()) == [f"{content.sha256.hex}.{n}" for n in (1, 2)]


def test_letting_go_touches_no_bytes_that_serve(rig: Rig) -> None:
    content = put(rig.storage, b"image")
    rig.storage.quarantine(content.sha256, "a bit flipped")
    put(rig.storage, b"image")
    (held,) = rig.storage.in_quarantine()
    rig.storage.let_go(held.name)
    assert [ref.intact for ref in rig.storage.refs(IMAGE)] == [True]
    assert rig.storage.find(content.sha256) == content


def test_a_storage_that_cannot_be_asked_has_no_empty_quarantine(rig: Rig) -> None:
    rig.clock.advance(timedelta(seconds=1))
    rig.cut_off()
    for ask in (rig.storage.quarantine_use, rig.storage.in_quarantine, lambda: rig.storage.let_go("0" * 64 + ".1")):
        with pytest.raises(errors.StorageUnavailable):
            ask()
