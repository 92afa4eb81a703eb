"""Items 46 to 48: what people, disks and crashes do to a store is found, explained and mended, and never served."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from controller import errors, ports
from controller.adapters.backup.imagestore import ImageStore
from controller.model.image import Content
from tests.fakes.clock import FakeClock
from tests.fakes.faulty_files import FaultyFiles
from tests.fakes.memory_directory import memory_directory
from tests.fakes.stored_bytes import IMAGE, OTHER_IMAGE, content_of, publish, put, read_all, ref_of

DATA = b"image" * 1000
LATER = timedelta(days=3650)


class Store:
    """An ImageStore with one claimed content, and hands to damage it with."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()
        self.files = FaultyFiles()
        self.adapter = ImageStore(
            str(path), storage_uuid="5" * 32, reserved_bytes=0, clock=self.clock, files=self.files
        )
        self.adapter.probe()
        self.content = put(self.adapter, DATA)

    @property
    def object(self) -> Path:
        return self.path / "objects" / "sha256" / self.content.sha256.hex[:2] / self.content.sha256.hex

    @property
    def record(self) -> Path:
        return self.object.with_name(self.object.name + ".json")

    @property
    def link(self) -> Path:
        return self.path / "images" / IMAGE / self.content.image_id

    @property
    def claim(self) -> Path:
        return self.link.with_name(self.link.name + ".json")

    @property
    def codes(self) -> list[str]:
        return [finding.code for finding in self.adapter.findings()]

    @property
    def intact(self) -> list[bool]:
        return [ref.intact for ref in self.adapter.refs(IMAGE)]

    def mended(self) -> list[ports.Finding]:
        """Repair until nothing can be repaired; return what is left."""
        for _ in range(3):
            for finding in self.adapter.findings():
                self.adapter.mend(finding)
                self.adapter.mend(finding)
        return list(self.adapter.findings())


@pytest.fixture
def store() -> Iterator[Store]:
    with memory_directory() as path:
        yield Store(path / "store")


def truncate(store: Store) -> None:
    store.object.chmod(0o644)
    os.truncate(store.object, 10)


def grow(store: Store) -> None:
    store.object.chmod(0o644)
    with store.object.open("ab") as file:
        file.write(b"more")


def lose_object(store: Store) -> None:
    store.object.unlink()


def lose_object_and_record(store: Store) -> None:
    store.object.unlink()
    store.record.unlink()


def lose_everything_but_the_claim(store: Store) -> None:
    store.object.unlink()
    store.link.unlink()


def lose_record(store: Store) -> None:
    store.record.unlink()


def damage_record(store: Store) -> None:
    store.record.write_text("{")


def lose_link(store: Store) -> None:
    store.link.unlink()


def detach_link(store: Store) -> None:
    store.link.unlink()
    store.link.write_bytes(DATA)


def symlink_link(store: Store) -> None:
    store.link.unlink()
    store.link.symlink_to(store.object)


def symlink_object(store: Store) -> None:
    elsewhere = store.path.parent / "elsewhere"
    elsewhere.write_bytes(DATA)
    store.object.unlink()
    store.object.symlink_to(elsewhere)


def fifo_object(store: Store) -> None:
    store.object.unlink()
    os.mkfifo(store.object)


def directory_object(store: Store) -> None:
    store.object.unlink()
    store.object.mkdir()


def damage_claim(store: Store) -> None:
    store.claim.write_text("{")


def lose_claim(store: Store) -> None:
    store.claim.unlink()


def make_writable(store: Store) -> None:
    store.object.chmod(0o644)


Hand = Callable[[Store], None]
# what is done to the store; what is found at once and later; whether the claim is intact before and after the repair
CASES: dict[str, tuple[Hand, list[str], list[bool], list[bool]]] = {
    "truncated": (truncate, ["wrong-size"], [False], [False]),
    "grown": (grow, ["wrong-size"], [False], [False]),
    "object-lost": (lose_object, ["record-without-object", "claim-without-object"], [False], [True]),
    "object-and-record-lost": (lose_object_and_record, ["claim-without-object"], [False], [True]),
    "bytes-lost": (
        lose_everything_but_the_claim,
        ["record-without-object", "claim-without-object"],
        [False],
        [False],
    ),
    "record-lost": (lose_record, ["object-without-record"], [True], [True]),
    "record-damaged": (damage_record, ["object-without-record"], [True], [True]),
    "link-lost": (lose_link, ["claim-detached"], [False], [True]),
    "link-detached": (detach_link, ["claim-detached"], [False], [True]),
    "link-is-a-symlink": (symlink_link, ["not-a-regular-file"], [False], [True]),
    "object-is-a-symlink": (symlink_object, ["not-a-regular-file", "claim-detached"], [False], [True]),
    "object-is-a-fifo": (fifo_object, ["not-a-regular-file", "claim-detached"], [False], [True]),
    "object-is-a-directory": (directory_object, ["not-a-regular-file", "claim-detached"], [False], [True]),
    "claim-damaged": (damage_claim, ["claim-unreadable"], [], []),
    "claim-lost": (lose_claim, ["link-without-claim"], [], []),
    "writable": (make_writable, ["wrong-mode"], [True], [True]),
}


@pytest.mark.parametrize("name", CASES)
def test_damage_is_found_not_served_and_mended(store: Store, name: str) -> None:
    hand, codes, before, after = CASES[name]
    hand(store)
    assert store.intact == before
    store.clock.advance(LATER)
    assert store.codes == codes
    left = store.mended()
    assert store.intact == after
    assert [finding.repair for finding in left if finding.repair] == []
    assert not left or after == [False]
    if after == [True]:
        assert read_all(store.adapter, store.content.sha256) == DATA
    put(store.adapter, DATA)
    assert store.intact == [True]
    assert store.mended() == []


@pytest.mark.parametrize("name", ["object-is-a-symlink", "object-is-a-fifo", "object-is-a-directory"])
def test_what_is_not_a_regular_file_is_never_opened_as_bytes(store: Store, name: str) -> None:
    CASES[name][0](store)
    assert store.adapter.find(store.content.sha256) is None
    with pytest.raises(errors.StorageDamaged):
        store.adapter.open(store.content.sha256)
    with pytest.raises(errors.StorageDamaged):
        store.adapter.link(OTHER_IMAGE, ref_of(store.content))


def test_operations_under_way_are_no_findings(store: Store) -> None:
    """Bytes that wait for their first claim, a partial being written, a claim half made."""
    publish(store.adapter, b"waits for its claim")
    staged = store.adapter.stage("t-1", keep_bytes=0, size_hint=None)
    store.claim.unlink()
    assert store.codes == []
    staged.discard()


def test_files_that_are_not_ours_are_named_and_left_alone(store: Store) -> None:
    names = [
        "README",
        "objects/README",
        "objects/sha256/README",
        f"objects/sha256/{store.object.parent.name}/README",
        f"objects/sha256/{store.object.parent.name}/{store.object.name}.bak",
        "images/README",
        f"images/{IMAGE}/README",
        f"images/{IMAGE}/{store.link.name}.bak",
        "staging/README",
    ]
    for name in names:
        (store.path / name).write_text("mine")
    store.clock.advance(LATER)
    left = store.mended()
    assert sorted(finding.path for finding in left) == sorted(names)
    assert {(finding.code, finding.repair) for finding in left} == {("foreign-file", "")}
    assert all((store.path / name).read_text() == "mine" for name in names)


def test_every_finding_says_what_and_what_a_repair_would_do(store: Store) -> None:
    truncate(store)
    lose_claim(store)
    store.clock.advance(LATER)
    for finding in store.adapter.findings():
        assert finding.explanation
        assert (store.path / finding.path).exists()


@pytest.mark.parametrize(
    "path", ["../outside", "objects/sha256/../../goldmaster.json", "images/../goldmaster.json", "", "/etc/passwd", "a"]
)
def test_a_finding_with_a_made_up_path_changes_nothing(store: Store, path: str) -> None:
    before = {name: name.lstat().st_ino for name in store.path.rglob("*")}
    store.adapter.mend(ports.Finding("leaked-staging", path, "", "remove it"))
    assert {name: name.lstat().st_ino for name in store.path.rglob("*")} == before


def test_mending_a_finding_that_is_no_longer_true_changes_nothing(store: Store) -> None:
    """A person looked, somebody mended it meanwhile, then the person says repair."""
    for name in (store.object, store.link):
        path = str(name.relative_to(store.path))
        for code in ("unclaimed-object", "wrong-size", "claim-without-object", "link-without-claim"):
            store.adapter.mend(ports.Finding(code, path, "", "remove it"))
    store.clock.advance(LATER)
    assert store.intact == [True]
    assert store.codes == []


def test_a_repair_never_removes_claimed_bytes_whose_link_is_lost(store: Store) -> None:
    """The object has one name left, and a claim file speaks for it."""
    store.link.unlink()
    store.clock.advance(LATER)
    path = str(store.object.relative_to(store.path))
    store.adapter.mend(ports.Finding("unclaimed-object", path, "", "remove them"))
    assert store.object.read_bytes() == DATA


def test_quarantined_bytes_are_kept_with_a_note_and_reachable_under_no_other_name(store: Store) -> None:
    store.adapter.link(OTHER_IMAGE, ref_of(store.content))
    store.adapter.quarantine(store.content.sha256, "sha256 is another one")
    (kept,) = (name for name in (store.path / "quarantine").iterdir() if name.suffix != ".json")
    assert kept.read_bytes() == DATA
    assert kept.stat().st_nlink == 1
    assert "sha256 is another one" in kept.with_name(kept.name + ".json").read_text()
    assert not store.link.exists()
    put(store.adapter, DATA)
    store.adapter.quarantine(store.content.sha256, "again")
    assert len(list((store.path / "quarantine").iterdir())) == 4


def test_bytes_in_quarantine_do_not_come_back_through_a_claim(store: Store) -> None:
    """A crash in the middle of `quarantine`: the object is away, the claim's link is still there."""
    (store.path / "quarantine").mkdir()
    store.object.rename(store.path / "quarantine" / f"{store.object.name}.1")
    store.clock.advance(LATER)
    (finding,) = store.mended()
    assert (finding.code, finding.repair) == ("claim-without-object", "")
    assert store.intact == [False]
    put(store.adapter, DATA)
    assert store.intact == [True]
    assert store.link.stat().st_ino == store.object.stat().st_ino


def test_swapped_objects_of_one_size_are_found_by_their_digest_only(store: Store) -> None:
    """The audit does not read bytes; `verify` does, and quarantines them."""
    other = put(store.adapter, DATA[::-1], OTHER_IMAGE)
    theirs = store.path / "objects" / "sha256" / other.sha256.hex[:2] / other.sha256.hex
    aside = store.path.parent / "aside"
    store.object.rename(aside)
    theirs.rename(store.object)
    aside.rename(theirs)
    store.clock.advance(LATER)
    assert store.codes == ["claim-detached", "claim-detached"]
    assert store.intact == [False]


def test_a_flipped_bit_is_found_when_the_same_content_is_stored_again(store: Store) -> None:
    """Fresh bytes take the place of the damaged ones, which are kept; an image that had those is told and mended."""
    damaged = bytearray(DATA)
    damaged[2500] ^= 1
    store.object.chmod(0o644)
    store.object.write_bytes(damaged)
    put(store.adapter, DATA, OTHER_IMAGE)
    assert read_all(store.adapter, store.content.sha256) == DATA
    (kept,) = (name for name in (store.path / "quarantine").iterdir() if name.suffix != ".json")
    assert kept.read_bytes() == damaged
    assert "not the bytes of" in kept.with_name(kept.name + ".json").read_text()
    assert store.intact == [False]
    assert store.mended() == []
    assert (store.intact, store.link.read_bytes()) == ([True], DATA)


def test_bytes_that_the_disk_cannot_read_any_more_are_replaced_too(store: Store) -> None:
    staged = store.adapter.stage("t-1", keep_bytes=0, size_hint=None)
    staged.write(memoryview(DATA))
    staged.sync()
    before = store.object.stat().st_ino
    store.files.arm(1, errno.EIO, only=frozenset({"preadv"}))
    store.adapter.publish(staged, store.content)
    assert store.files.failed == "preadv"
    assert store.object.stat().st_ino != before
    assert read_all(store.adapter, store.content.sha256) == DATA


def test_right_bytes_that_are_there_stay_the_same_file(store: Store) -> None:
    before = store.object.stat().st_ino
    put(store.adapter, DATA, OTHER_IMAGE)
    assert (store.object.stat().st_ino, store.intact) == (before, [True])


def test_a_damaged_record_is_renewed_by_publishing_again(store: Store) -> None:
    damage_record(store)
    assert store.adapter.find(store.content.sha256) is None
    publish(store.adapter, DATA)
    assert store.adapter.find(store.content.sha256) == store.content


@pytest.mark.parametrize("hand", [lose_record, lose_object_and_record])
def test_a_record_that_is_made_anew_of_a_claim_does_not_say_what_was_downloaded(store: Store, hand: Hand) -> None:
    """A claim was made of a status, and what others may have by a digest is read from the record."""
    hand(store)
    store.mended()
    assert store.adapter.find(store.content.sha256) == replace(store.content, source_digests=(store.content.sha256,))


def test_an_object_whose_record_and_claim_disagree_goes_to_quarantine(store: Store) -> None:
    truncate(store)
    store.record.unlink()
    store.clock.advance(LATER)
    left = store.mended()
    assert [finding.code for finding in left] == ["claim-without-object"]
    assert store.intact == [False]


def test_a_mode_is_mended_without_touching_the_bytes(store: Store) -> None:
    make_writable(store)
    store.clock.advance(LATER)
    assert store.mended() == []
    assert stat.S_IMODE(store.object.stat().st_mode) == 0o444
    assert store.object.read_bytes() == DATA


def test_claims_of_other_images_do_not_stand_for_this_one(store: Store) -> None:
    """A claim file copied under another content's name is none."""
    other: Content = content_of(b"other")
    store.claim.rename(store.claim.with_name(f"{other.image_id}.json"))
    assert store.adapter.refs(IMAGE) == ()
