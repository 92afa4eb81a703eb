"""Small files are whole or not there; directories do not follow symbolic links; errors say full or unavailable."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller import errors
from controller.adapters import durable_files
from controller.adapters.durable_files import Directory
from tests.fakes.faulty_files import SYNCS, FaultyFiles


@pytest.fixture
def files() -> FaultyFiles:
    return FaultyFiles()


@pytest.fixture
def directory(files: FaultyFiles, tmp_path: Path) -> Iterator[Directory]:
    with Directory.open(files, str(tmp_path)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, errors.NoSpace),
        (errno.EDQUOT, errors.NoSpace),
        (errno.EROFS, errors.StorageUnavailable),
        (errno.EIO, errors.StorageUnavailable),
        (errno.ESTALE, errors.StorageUnavailable),
        (errno.ENOENT, errors.StorageUnavailable),
        (errno.EACCES, errors.StorageUnavailable),
        (errno.EMLINK, errors.StorageUnavailable),
    ],
)
def test_an_errno_means_full_or_unavailable(code: int, kind: type[errors.GoldmasterError]) -> None:
    with pytest.raises(kind, match="write it") as caught, durable_files.storage_errors("write it"):
        raise OSError(code, os.strerror(code))
    assert isinstance(caught.value.__cause__, OSError)


def test_every_failing_call_of_a_small_write_leaves_the_old_file_and_no_temporary(
    files: FaultyFiles, directory: Directory, tmp_path: Path
) -> None:
    """For each call in turn: old content, one name."""
    directory.write_durably(directory, "record", b"old")
    number = 0
    while True:
        number += 1
        files.arm(number, errno.EIO)
        try:
            directory.write_durably(directory, "record", b"new")
        except OSError:
            assert (tmp_path / "record").read_bytes() == b"old"
        else:
            if files.failed is None:
                break
            assert files.failed == "close"
            directory.write_durably(directory, "record", b"old")
        assert os.listdir(tmp_path) == ["record"]
    assert (tmp_path / "record").read_bytes() == b"new"
    assert number > 4


def test_a_small_write_is_synced_before_it_gets_its_name(files: FaultyFiles, directory: Directory) -> None:
    files.made.clear()
    directory.write_durably(directory, "record", b"bytes")
    assert files.made == ["open", "pwrite", "fsync", "close", "rename"]


def test_a_directory_that_cannot_be_synced_is_tolerated_but_no_other_error(
    files: FaultyFiles, directory: Directory
) -> None:
    """Some FUSE file systems say EINVAL; EIO is never silenced."""
    files.arm(1, errno.EINVAL, only=SYNCS)
    directory.sync()
    files.arm(1, errno.EIO, only=SYNCS)
    with pytest.raises(OSError, match="Input/output"):
        directory.sync()


def test_symbolic_links_below_a_directory_are_not_followed(directory: Directory, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_bytes(b"secret")
    (tmp_path / "way").symlink_to("secret")
    (tmp_path / "link").symlink_to("secret/file")
    with pytest.raises(OSError, match="Not a directory"):
        directory.child("way")
    with pytest.raises(OSError, match="Not a directory"):
        directory.made("way", "deeper")
    with pytest.raises(OSError, match="Too many levels"):
        directory.open_file("link", os.O_RDONLY)
    assert directory.read_small("link") is None
    assert not (tmp_path / "secret" / "deeper").exists()


def test_making_directories_syncs_each_one_that_got_an_entry(
    files: FaultyFiles, directory: Directory, tmp_path: Path
) -> None:
    files.made.clear()
    directory.made("a", "b").close()
    assert files.made.count("mkdir") == files.made.count("fsync") == 2
    files.made.clear()
    with directory.made("a", "b") as there:
        assert there.path == f"{tmp_path}/a/b"
    assert "fsync" not in files.made
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_reading_a_small_file_is_bounded(directory: Directory, tmp_path: Path) -> None:
    (tmp_path / "record").write_bytes(b"x" * 100)
    assert directory.read_small("record", 10) == b"x" * 10
    assert directory.read_small("record") == b"x" * 100
    assert directory.read_small("absent") is None
    os.mkfifo(tmp_path / "fifo")
    assert directory.read_small("fifo") is None


def test_preallocation_keeps_the_size(tmp_path: Path) -> None:
    """The size says what was written; the blocks are taken all the same."""
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        durable_files.FileCalls().preallocate(fd, 0, 2**20)
        info = os.fstat(fd)
        assert info.st_size == 0
        assert info.st_blocks * 512 >= 2**20
        with pytest.raises(OSError, match="Bad file descriptor"):
            durable_files.FileCalls().preallocate(-1, 0, 1)
    finally:
        os.close(fd)


def test_names_of_temporary_files_are_unique_and_known_to_the_sweep() -> None:
    names = {durable_files.temporary_name() for _ in range(100)}
    assert len(names) == 100
    assert all(durable_files.TEMPORARY_NAME.match(name) for name in names)
    assert not durable_files.TEMPORARY_NAME.match("holiday.tmp")


def test_a_temporary_file_of_a_process_that_is_gone_is_an_orphan() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as gone:
        gone.wait(60)
    ours = durable_files.temporary_name()
    space, _, *rest = ours.split("-")
    assert not durable_files.orphaned(ours)
    assert durable_files.orphaned("-".join([space, str(gone.pid), *rest]))
    assert not durable_files.orphaned("-".join(["00000000", str(gone.pid), *rest])), "another boot: nobody can tell"
    assert not durable_files.orphaned("-".join([space, "1", *rest])), "alive, whoever it belongs to"
    assert not durable_files.orphaned("get-1.partial")
