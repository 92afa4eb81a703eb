"""Any way of cutting bytes into pieces writes the same file, with and without direct I/O."""

import errno
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.adapters.backup.imagestore_writer import BLOCK, Writer
from tests.fakes.faulty_files import FaultyFiles, NoDirectIo

ARENA = mmap.mmap(-1, 4 * 2**20)
ARENA[:] = os.urandom(len(ARENA))
LENGTHS = st.one_of(
    st.integers(0, 3 * BLOCK),
    st.sampled_from([BLOCK - 1, BLOCK, BLOCK + 1, 2**20, 2**20 - 1, 2**20 + BLOCK, 2**20 + 1]),
)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        yield fd
    finally:
        os.close(fd)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(pieces=st.lists(st.tuples(LENGTHS, st.booleans(), st.booleans()), max_size=8), start=st.integers(0, 2 * BLOCK))
@pytest.mark.parametrize(
    "made",
    [
        FaultyFiles,
        partial(FaultyFiles, longest_write=5000),
        partial(NoDirectIo, at_first_write=False),
        partial(NoDirectIo, at_first_write=True),
    ],
    ids=["direct", "short-writes", "no-direct-io", "refused-at-first-write"],
)
@pytest.mark.parametrize("direct", [True, False], ids=["asked", "not-asked"])
def test_any_pieces_write_the_same_file(
    tmp_path: Path, made: Callable[[], FaultyFiles], direct: bool, pieces: list[tuple[int, bool, bool]], start: int
) -> None:
    """Aligned and odd memory, syncs in between, a resumed offset: the file is the concatenation."""
    path, files = tmp_path / "file", made()
    expected = bytearray(ARENA[:start])
    path.write_bytes(expected)
    with opened(path) as fd:
        writer = Writer(files, fd, start=start, direct=direct)
        for length, aligned, sync in pieces:
            offset = 0 if aligned else 1
            piece = memoryview(ARENA)[offset : offset + length]
            writer.append(piece)
            expected += piece
            assert writer.written == len(expected)
            if sync:
                writer.sync()
                assert path.read_bytes() == expected
        writer.sync()
        assert path.read_bytes() == expected
        writer.release()


def test_whole_pages_go_past_the_page_cache_without_a_copy(tmp_path: Path) -> None:
    """The fast path: one write per piece, from the caller's memory."""
    files = FaultyFiles()
    with opened(tmp_path / "file") as fd:
        writer = Writer(files, fd, start=0, direct=True)
        assert writer.direct
        files.made.clear()
        writer.append(memoryview(ARENA))
        writer.append(memoryview(ARENA))
        assert files.made == ["pwrite", "pwrite"]
        assert writer.in_file == 2 * len(ARENA)


def test_what_waits_in_the_buffer_can_be_read_back(tmp_path: Path) -> None:
    with opened(tmp_path / "file") as fd:
        writer = Writer(FaultyFiles(), fd, start=0, direct=True)
        writer.append(memoryview(b"abc"))
        buffer = memoryview(bytearray(5))
        assert writer.in_file == 0
        assert writer.read_pending(1, buffer) == 2
        assert bytes(buffer[:2]) == b"bc"
        assert writer.read_pending(3, buffer) == 0


def test_buffered_bytes_are_synced_every_64_mebibytes(tmp_path: Path) -> None:
    """Dirty memory stays bounded, and the last sync is short."""
    files = FaultyFiles()
    with opened(tmp_path / "file") as fd:
        writer = Writer(files, fd, start=0, direct=False)
        for _ in range(33):
            writer.append(memoryview(ARENA))
        assert files.made.count("fdatasync") == 2


def test_a_file_system_that_takes_no_bytes_ends_the_write(tmp_path: Path) -> None:
    """No endless loop where a write returns 0."""
    with opened(tmp_path / "file") as fd:
        writer = Writer(FaultyFiles(longest_write=0), fd, start=0, direct=False)
        with pytest.raises(OSError, match="takes no bytes") as caught:
            writer.append(memoryview(b"abc"))
    assert caught.value.errno == errno.EIO
