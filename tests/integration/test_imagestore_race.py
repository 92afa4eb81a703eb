"""Item 48: several threads and processes at one content; one object, no dangling claim, no bytes lost under a claim."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from controller import errors
from controller.adapters.backup.imagestore import ImageStore
from tests.fakes.clock import FakeClock
from tests.fakes.faulty_files import FaultyFiles
from tests.fakes.memory_directory import memory_directory
from tests.fakes.stored_bytes import IMAGE, OTHER_IMAGE, content_of, publish, put, read_all, ref_of

DATA = b"image" * 5000
CONTENT = content_of(DATA)
ROUNDS = 30


@pytest.fixture
def path() -> Iterator[Path]:
    with memory_directory() as directory:
        yield directory / "store"


def store_at(path: Path, files: FaultyFiles | None = None) -> ImageStore:
    store = ImageStore(
        str(path), storage_uuid="5" * 32, reserved_bytes=0, clock=FakeClock(), files=files or FaultyFiles()
    )
    store.probe()
    return store


def at_once(*work: Callable[[], object]) -> None:
    """Run each in a thread of its own, from one starting line; raise what any of them raised."""
    line = threading.Barrier(len(work))

    def run(each: Callable[[], object]) -> None:
        line.wait(60)
        each()

    with ThreadPoolExecutor(len(work)) as pool:
        for future in [pool.submit(run, each) for each in work]:
            future.result(60)


@pytest.mark.parametrize("processes", [1, 2], ids=["one-process", "two-processes"])
def test_two_transfers_place_the_same_bytes_at_once(path: Path, processes: int) -> None:
    """Two processes share no lock: here, two adapters."""
    stores = [store_at(path), store_at(path)]
    one, other = stores[0], stores[processes - 1]
    for _ in range(ROUNDS):
        at_once(lambda: publish(one, DATA, name="t-1"), lambda: publish(other, DATA, name="t-2"))
        assert len([name for name in path.glob("objects/sha256/??/*") if name.suffix != ".json"]) == 1
        assert list((path / "staging").iterdir()) == []
        store_at(path).unlink(IMAGE, CONTENT.sha256)


def test_one_image_goes_while_another_claims_the_same_bytes(path: Path) -> None:
    store = store_at(path)
    for _ in range(ROUNDS):
        put(store, DATA, IMAGE)
        at_once(
            lambda: store.unlink(IMAGE, CONTENT.sha256),
            lambda: put(store, DATA, OTHER_IMAGE),
            lambda: store.find(CONTENT.sha256),
            lambda: store.refs(OTHER_IMAGE),
        )
        assert [ref.intact for ref in store.refs(OTHER_IMAGE)] == [True]
        assert read_all(store, CONTENT.sha256) == DATA
        assert store.refs(IMAGE) == ()
        assert store.findings() == []
        store.unlink(OTHER_IMAGE, CONTENT.sha256)


def test_a_claim_of_another_process_never_loses_its_bytes(path: Path) -> None:
    """The one drops the last claim while the other, without a common lock, makes one: the bytes hang on its link."""
    one, other = store_at(path), store_at(path)
    for _ in range(ROUNDS):
        put(one, DATA, IMAGE)

        def claim() -> None:
            try:
                other.link(OTHER_IMAGE, ref_of(CONTENT))
            except (errors.StorageDamaged, errors.StorageUnavailable):
                put(other, DATA, OTHER_IMAGE)

        at_once(lambda: one.unlink(IMAGE, CONTENT.sha256), claim)
        for finding in one.findings():
            one.mend(finding)
        assert [ref.intact for ref in one.refs(OTHER_IMAGE)] == [True]
        assert read_all(one, CONTENT.sha256) == DATA
        one.unlink(OTHER_IMAGE, CONTENT.sha256)


def test_bytes_being_read_stay_readable_when_their_last_claim_goes(path: Path) -> None:
    store = store_at(path)
    put(store, DATA)
    reader = store.open(CONTENT.sha256)
    store.unlink(IMAGE, CONTENT.sha256)
    buffer = memoryview(bytearray(len(DATA) + 1))
    assert reader.readinto(buffer) == len(DATA)
    assert bytes(buffer[: len(DATA)]) == DATA
    reader.close()
    reader.close()


def test_readers_and_audits_run_beside_changes(path: Path) -> None:
    """Nobody sees an error or a finding because somebody else is at work."""
    store = store_at(path)
    kept = put(store, b"kept" * 1000, IMAGE)
    done = threading.Event()

    def change() -> None:
        try:
            for number in range(ROUNDS):
                content = put(store, DATA[number:], OTHER_IMAGE)
                store.unlink(OTHER_IMAGE, content.sha256)
        finally:
            done.set()

    def look() -> None:
        while not done.is_set():
            assert [ref.intact for ref in store.refs(IMAGE)] == [True]
            assert store.find(kept.sha256) == kept
            assert set(store.claims()) >= {(IMAGE, kept.sha256)}
            store.refs(OTHER_IMAGE)
            store.sweep(["t-1"], timedelta(hours=1))

    at_once(change, look, look)
    assert store.findings() == []
