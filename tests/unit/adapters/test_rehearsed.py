"""The storages of `plan`: they answer, and nothing on disk changes."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from controller import errors
from controller.adapters.backup.factory import BackupStorages
from controller.adapters.backup.rehearsed import RehearsedStorages
from controller.model.backup_storage import BackupStorageSpec, ImageStoreSpec, StorageType
from controller.model.digest import Algorithm, Digest
from tests.fakes.clock import FakeClock

UUID = "ae840e03a0044b759b0a8c09a141a46b"
SHA256 = Digest(Algorithm.SHA256, "0" * 64)


def spec(place: Path) -> BackupStorageSpec:
    return BackupStorageSpec(StorageType.IMAGE_STORE, ImageStoreSpec(str(place)))


def times(place: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in [place, *place.rglob("*")]}


def test_a_store_that_would_be_made_counts_as_empty_and_is_not_made(tmp_path: Path) -> None:
    store = RehearsedStorages(FakeClock())(UUID, spec(tmp_path / "not" / "yet"))
    room = os.statvfs(tmp_path)
    assert store.probe().total_bytes == room.f_frsize * room.f_blocks
    assert (store.refs(UUID), store.find(SHA256), store.sweep([], timedelta(0))) == ((), None, [])
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_there_answers_and_is_left_alone(tmp_path: Path) -> None:
    BackupStorages(FakeClock())(UUID, spec(tmp_path / "store")).probe()
    leftover = tmp_path / "store" / "staging" / "old.partial"
    leftover.write_bytes(b"x")
    os.utime(leftover, (0, 0))
    before = times(tmp_path)
    store = RehearsedStorages(FakeClock())(UUID, spec(tmp_path / "store"))
    assert store.probe(create=False).available_bytes > 0
    assert (store.refs(UUID), store.find(SHA256), store.sweep([], timedelta(0))) == ((), None, [])
    assert times(tmp_path) == before


def test_a_store_that_was_there_once_is_not_taken_for_empty(tmp_path: Path) -> None:
    (tmp_path / "unmounted").mkdir()
    for name in ("unmounted", "gone"):
        store = RehearsedStorages(FakeClock())(UUID, spec(tmp_path / name))
        with pytest.raises(errors.StorageUnavailable):
            store.probe(create=False)


def test_what_is_no_store_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(errors.StorageUnavailable):
        RehearsedStorages(FakeClock())(UUID, spec(tmp_path)).probe()
