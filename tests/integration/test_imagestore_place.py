"""Whose directory it is, what is where in it, and that an unmounted mount point is never an empty store."""

import hashlib
import json
import os
import stat
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from controller import errors
from controller.adapters.backup.factory import BackupStorages
from controller.adapters.backup.imagestore import ImageStore
from controller.adapters.durable_files import FileCalls
from controller.model.backup_storage import BackupStorageSpec, ImageStoreSpec, StorageType
from tests.fakes.clock import FakeClock
from tests.fakes.faulty_files import FaultyFiles
from tests.fakes.memory_directory import memory_directory
from tests.fakes.stored_bytes import IMAGE, OTHER_IMAGE, content_of, publish, put, read_all, ref_of

UUID = "5" * 32
DATA = b"image" * 1000


def store_at(path: Path, uuid: str = UUID, files: FaultyFiles | None = None) -> ImageStore:
    return ImageStore(str(path), storage_uuid=uuid, reserved_bytes=0, clock=FakeClock(), files=files)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(path: Path) -> ImageStore:
    made = store_at(path)
    made.probe()
    return made


def test_a_person_finds_and_checks_an_image_with_ls_and_sha256sum(store: ImageStore, path: Path) -> None:
    """The whole tree of a store with one image."""
    content = put(store, DATA)
    sha256 = hashlib.sha256(DATA).hexdigest()
    files = {str(name.relative_to(path)) for name in path.rglob("*") if name.is_file()}
    assert files == {
        "goldmaster.json",
        f"objects/sha256/{sha256[:2]}/{sha256}",
        f"objects/sha256/{sha256[:2]}/{sha256}.json",
        f"images/{IMAGE}/{sha256[:40]}",
        f"images/{IMAGE}/{sha256[:40]}.json",
    }
    named = path / "images" / IMAGE / content.image_id
    assert hashlib.sha256(named.read_bytes()).hexdigest() == sha256
    info = named.stat()
    assert info.st_nlink == 2
    assert stat.S_IMODE(info.st_mode) == 0o444
    claim = json.loads((path / "images" / IMAGE / f"{content.image_id}.json").read_text())
    assert (claim["imageUuid"], claim["content"]["sha256"]) == (IMAGE, f"sha256:{sha256}")


def test_nobody_else_may_look_into_a_store(store: ImageStore, path: Path) -> None:
    put(store, DATA)
    modes = {stat.S_IMODE(name.stat().st_mode) for name in [path, *path.rglob("*")] if name.is_dir()}
    assert modes == {0o700}


def test_the_last_drop_leaves_no_file_of_the_image(store: ImageStore, path: Path) -> None:
    content = put(store, DATA)
    store.unlink(IMAGE, content.sha256)
    assert [name.name for name in path.rglob("*") if name.is_file()] == ["goldmaster.json"]
    assert list((path / "images").iterdir()) == []


def test_an_unmounted_mount_point_is_unavailable_and_stays_empty(store: ImageStore, path: Path) -> None:
    put(store, DATA)
    path.rename(path.with_name("away"))
    with pytest.raises(errors.StorageUnavailable, match="No such file"):
        store.refs(IMAGE)
    path.mkdir()
    with pytest.raises(errors.StorageUnavailable, match="is it mounted"):
        store.refs(IMAGE)
    with pytest.raises(errors.StorageUnavailable, match="is it mounted"):
        store.probe(create=False)
    assert list(path.iterdir()) == []
    path.rmdir()
    path.with_name("away").rename(path)
    assert [ref.intact for ref in store.refs(IMAGE)] == [True]


def test_a_directory_with_other_things_in_it_is_refused_and_left_alone(path: Path) -> None:
    path.mkdir()
    (path / "holiday.tmp").write_text("mine")
    with pytest.raises(errors.StorageUnavailable, match=r"holiday\.tmp"):
        store_at(path).probe()
    assert os.listdir(path) == ["holiday.tmp"]


def test_a_fresh_file_system_and_an_unfinished_creation_are_taken(path: Path) -> None:
    path.mkdir()
    (path / "lost+found").mkdir()
    (path / "00000000-12-0-00ff00ff.tmp").write_text("{")
    store_at(path).probe()
    assert {"goldmaster.json", "lost+found", "staging"} == set(os.listdir(path))


def test_a_missing_parent_is_not_made_up(path: Path) -> None:
    with pytest.raises(errors.StorageUnavailable, match="No such file"):
        store_at(path / "deeper").probe()
    assert not path.exists()


def test_another_storage_s_directory_is_refused_with_both_uuids(store: ImageStore, path: Path) -> None:
    """Two BackupStorages on one directory would drop each other's claims."""
    other = store_at(path, "6" * 32)
    with pytest.raises(errors.StorageUnavailable, match=r"5{32}.*6{32}"):
        other.probe()
    marker = path / "goldmaster.json"
    marker.write_text(marker.read_text().replace(UUID, "6" * 32))
    other.probe()
    with pytest.raises(errors.StorageUnavailable, match=r"6{32}.*5{32}"):
        store.refs(IMAGE)


@pytest.mark.parametrize(
    ("text", "says"), [("", "not readable"), ("{}", "not readable"), ('"layout"', "not readable"), ("99", "layout 99")]
)
def test_a_marker_that_is_damaged_or_newer_is_refused(store: ImageStore, path: Path, text: str, says: str) -> None:
    marker = path / "goldmaster.json"
    marker.write_text(marker.read_text().replace('"layout": 1', '"layout": 99') if text == "99" else text)
    with pytest.raises(errors.StorageUnavailable, match=says):
        store.find(content_of(DATA).sha256)


def test_a_probe_leaves_nothing_and_makes_nothing_anew(store: ImageStore, path: Path) -> None:
    before = (path / "goldmaster.json").stat().st_mtime_ns
    store.probe()
    store.probe(create=False)
    assert (path / "goldmaster.json").stat().st_mtime_ns == before
    assert list((path / "staging").iterdir()) == []


def test_a_symbolic_link_inside_the_store_is_not_followed(store: ImageStore, path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (path / "images").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.StorageUnavailable):
        put(store, DATA)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_publishing_costs_two_syncs_and_a_first_claim_three(path: Path) -> None:
    """What 1,000 small images cost; one more for the data."""
    files = FaultyFiles()
    store = store_at(path, files=files)
    store.probe()
    put(store, DATA)
    store.unlink(IMAGE, content_of(DATA).sha256)
    staged = store.stage("t-1", keep_bytes=0, size_hint=len(DATA))
    staged.write(memoryview(DATA))
    files.made.clear()
    staged.sync()
    assert files.made.count("fdatasync") == 1
    files.made.clear()
    store.publish(staged, content_of(DATA))
    assert (files.made.count("fsync"), files.made.count("fdatasync")) == (2, 0)
    files.made.clear()
    store.link(IMAGE, ref_of(content_of(DATA)))
    assert files.made.count("fsync") == 3


def test_a_partial_that_is_an_object_already_is_never_written_to(store: ImageStore, path: Path) -> None:
    """A crash between giving the final name and dropping the staged one, then a resume."""
    content = put(store, DATA)
    partial = path / "staging" / "t-1.partial"
    os.link(path / "images" / IMAGE / content.image_id, partial)
    staged = store.stage("t-1", keep_bytes=100, size_hint=None)
    assert staged.written_bytes == 100
    assert partial.stat().st_nlink == 1
    staged.write(memoryview(b"other bytes"))
    staged.sync()
    staged.close()
    assert partial.read_bytes() == DATA[:100] + b"other bytes"
    assert read_all(store, content.sha256) == DATA
    os.link(path / "images" / IMAGE / content.image_id, path / "staging" / "t-2.partial")
    store.stage("t-2", keep_bytes=0, size_hint=None).discard()
    assert read_all(store, content.sha256) == DATA


@pytest.mark.parametrize("keep_bytes", [0, 5000])
def test_a_partial_has_one_writer(store: ImageStore, path: Path, keep_bytes: int) -> None:
    """Two processes on one store: here, two adapters. The second is turned away and changes nothing."""
    other = store_at(path)
    staged = store.stage("t-1", keep_bytes=0, size_hint=None)
    staged.write(memoryview(DATA))
    staged.sync()
    for second in (other, store):
        with pytest.raises(errors.StorageUnavailable, match="is being written by another process"):
            second.stage("t-1", keep_bytes=keep_bytes, size_hint=None)
    store.publish(staged, content_of(DATA))
    assert read_all(store, content_of(DATA).sha256) == DATA
    other.stage("t-1", keep_bytes=keep_bytes, size_hint=None).discard()


def test_a_partial_that_was_let_go_is_another_writer_s(store: ImageStore, path: Path) -> None:
    staged = store.stage("t-1", keep_bytes=0, size_hint=None)
    staged.write(memoryview(DATA))
    staged.sync()
    staged.close()
    again = store_at(path).stage("t-1", keep_bytes=len(DATA), size_hint=None)
    assert again.written_bytes == len(DATA)
    with pytest.raises(errors.StorageUnavailable, match="is being written"):
        store.stage("t-1", keep_bytes=len(DATA), size_hint=None)
    again.discard()
    store.stage("t-1", keep_bytes=0, size_hint=None).discard()
    assert list((path / "staging").iterdir()) == []


class Intruding(FileCalls):
    """Right after the object got its name, and before its mode forbids writing, another process wants the partial."""

    def __init__(self) -> None:
        self.intruder: ImageStore | None = None
        self.heard: list[str] = []

    def fchmod(self, fd: int, mode: int) -> None:
        if self.intruder is not None:
            with pytest.raises(errors.StorageUnavailable) as caught:
                self.intruder.stage("t-1", keep_bytes=100, size_hint=None)
            self.heard.append(str(caught.value))
        super().fchmod(fd, mode)


def test_a_partial_is_its_writer_s_until_its_bytes_have_their_name(store: ImageStore, path: Path) -> None:
    files = Intruding()
    publishing = ImageStore(str(path), storage_uuid=UUID, reserved_bytes=0, clock=FakeClock(), files=files)
    staged = publishing.stage("t-1", keep_bytes=0, size_hint=None)
    staged.write(memoryview(DATA))
    staged.sync()
    files.intruder = store
    publishing.publish(staged, content_of(DATA))
    assert [text.partition(" is ")[2] for text in files.heard] == ["being written by another process"]
    assert read_all(store, content_of(DATA).sha256) == DATA
    assert list((path / "staging").iterdir()) == []


def test_a_partial_replaced_before_it_could_be_locked_is_somebody_else_s(path: Path) -> None:
    """Opened, then removed by its writer, then locked: the lock is on a file that has no name."""

    class Late(FileCalls):
        def lock(self, fd: int, *, exclusive: bool) -> None:
            (path / "staging" / "t-1.partial").unlink()
            super().lock(fd, exclusive=exclusive)

    store_at(path).probe()
    late = ImageStore(str(path), storage_uuid=UUID, reserved_bytes=0, clock=FakeClock(), files=Late())
    with pytest.raises(errors.StorageUnavailable, match="is being written"):
        late.stage("t-1", keep_bytes=0, size_hint=None)


def test_a_partial_with_the_mode_of_an_object_is_copied_not_opened_for_writing(store: ImageStore, path: Path) -> None:
    """A crash in publish, and the object went since: without privileges the file could not be opened for writing."""
    partial = path / "staging" / "t-1.partial"
    partial.write_bytes(DATA)
    partial.chmod(0o444)
    staged = store.stage("t-1", keep_bytes=100, size_hint=None)
    assert (staged.written_bytes, stat.S_IMODE(partial.stat().st_mode)) == (100, 0o600)
    staged.discard()


def test_a_staged_file_that_somebody_swapped_is_not_published(store: ImageStore, path: Path) -> None:
    staged = store.stage("t-1", keep_bytes=0, size_hint=None)
    staged.write(memoryview(DATA))
    staged.sync()
    partial = path / "staging" / "t-1.partial"
    partial.unlink()
    partial.write_bytes(b"x" * len(DATA))
    with pytest.raises(errors.StorageUnavailable, match="not the file that was staged"):
        store.publish(staged, content_of(DATA))
    staged.close()
    assert store.find(content_of(DATA).sha256) is None


def test_room_is_taken_early_and_given_back(store: ImageStore, path: Path) -> None:
    """A length that was too long costs nothing afterwards."""
    staged = store.stage("t-1", keep_bytes=0, size_hint=2**24)
    partial = path / "staging" / "t-1.partial"
    assert partial.stat().st_size == 0
    assert partial.stat().st_blocks * 512 >= 2**24
    staged.write(memoryview(DATA))
    store.publish(staged, content_of(DATA))
    (placed,) = path.glob("objects/sha256/??/" + content_of(DATA).sha256.hex)
    assert placed.stat().st_blocks * 512 < 2**20


def test_memory_file_systems_and_large_files_work(tmp_path: Path) -> None:
    """On a tmpfs (no or pretended direct I/O) and on a disk, above the size from which direct I/O is used."""
    data = os.urandom(2**20) * 9 + b"tail"
    with memory_directory() as memory:
        for path in (memory / "store", tmp_path / "store"):
            store = ImageStore(str(path), storage_uuid=UUID, reserved_bytes=0, clock=FakeClock())
            store.probe()
            content = publish(store, data)
            assert hashlib.sha256(read_all(store, content.sha256)).hexdigest() == content.sha256.hex


def test_the_factory_builds_one_adapter_per_storage_without_touching_anything(tmp_path: Path) -> None:
    """An adapter holds the locks of its contents, so there is one; a changed spec is another."""
    factory = BackupStorages(FakeClock())
    spec = BackupStorageSpec(StorageType.IMAGE_STORE, ImageStoreSpec(str(tmp_path / "store")))
    adapter = factory(UUID, spec)
    assert factory(UUID, spec) is adapter
    assert factory("6" * 32, spec) is not adapter
    moved = BackupStorageSpec(StorageType.IMAGE_STORE, ImageStoreSpec(str(tmp_path / "other")))
    assert factory(UUID, moved) is not adapter
    assert list(tmp_path.iterdir()) == []


def test_a_changed_spec_shares_the_locks_and_the_bytes_that_await_their_claim(tmp_path: Path) -> None:
    """A transfer goes on with the adapter that it began with, while others get one of the new spec."""
    factory = BackupStorages(FakeClock())
    place = ImageStoreSpec(str(tmp_path / "store"))
    before = factory(UUID, BackupStorageSpec(StorageType.IMAGE_STORE, place, reserved_capacity_bytes=0))
    after = factory(UUID, BackupStorageSpec(StorageType.IMAGE_STORE, place, reserved_capacity_bytes=1))
    assert after is not before
    before.probe()
    content = publish(before, DATA)
    after.unlink(OTHER_IMAGE, content.sha256)
    before.link(IMAGE, ref_of(content))
    assert [ref.intact for ref in after.refs(IMAGE)] == [True]
    assert isinstance(before, ImageStore)
    assert isinstance(after, ImageStore)
    done = threading.Event()

    def drop() -> None:
        after.unlink(IMAGE, content.sha256)
        done.set()

    dropping = threading.Thread(target=drop)
    with before._layout.lock(content.sha256):  # held as by an operation under way
        dropping.start()
        assert not done.wait(0.1)
    dropping.join(60)
    assert done.is_set()


def test_a_sweep_leaves_what_is_young_and_what_is_not_ours(path: Path) -> None:
    clock = FakeClock()
    store = ImageStore(str(path), storage_uuid=UUID, reserved_bytes=0, clock=clock, files=FaultyFiles())
    store.probe()
    staging = path / "staging"
    for name in ("t-1.partial", "t-1.json", "t-2.json", "00000000-12-0-00ff00ff.tmp", "README"):
        (staging / name).write_text("x")
        os.utime(staging / name, (clock.now().timestamp() - 60,) * 2)
    os.utime(staging / "t-1.json", (clock.now().timestamp(),) * 2)
    assert store.sweep((), timedelta(minutes=2)) == []
    assert store.sweep((), timedelta(minutes=1)) == ["00000000-12-0-00ff00ff.tmp", "t-2"]
    assert store.sweep((), timedelta(0)) == ["t-1"]
    assert os.listdir(staging) == ["README"]
