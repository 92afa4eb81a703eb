"""Items 44 and 46 of the fault list: the n-th file operation fails, for every n, in every operation of an ImageStore.

After each failure: no final name has other bytes than it says, the store opens again, the second try works, and after
a sweep and a repair nothing is left over.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from controller import errors
from controller.adapters.backup.imagestore import ImageStore
from controller.model.transfer import ResumeRecord, Validator
from tests.fakes.clock import FakeClock
from tests.fakes.faulty_files import SYNCS, FaultyFiles
from tests.fakes.memory_directory import memory_directory
from tests.fakes.stored_bytes import IMAGE, OTHER_IMAGE, content_of, put, read_all, ref_of

UUID = "5" * 32
DATA = b"0123456789abcdef" * 300
CONTENT = content_of(DATA)
RECORD = ResumeRecord("source-1", Validator('"v1"', None), 5000, 100)
OTHERS = [errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.EINTR]
FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass
class Scene:
    """A store, its files, and a clock."""

    path: Path
    files: FaultyFiles
    clock: FakeClock

    @property
    def store(self) -> ImageStore:
        """What a process that starts now sees."""
        return ImageStore(str(self.path), storage_uuid=UUID, reserved_bytes=0, clock=self.clock, files=self.files)


def import_image(scene: Scene) -> None:
    put(scene.store, DATA)


def import_direct(scene: Scene) -> None:
    store = scene.store
    staged = store.stage("t-1", keep_bytes=0, size_hint=None)
    try:
        staged.write(memoryview(DATA))
        staged.sync()
        store.publish(staged, CONTENT)
    finally:
        staged.close()


def claim(scene: Scene) -> None:
    scene.store.link(OTHER_IMAGE, ref_of(CONTENT))


def renew(scene: Scene) -> None:
    scene.store.link(IMAGE, ref_of(CONTENT, "source-2"))


def drop(scene: Scene) -> None:
    scene.store.unlink(IMAGE, CONTENT.sha256)


def promise(scene: Scene) -> None:
    store = scene.store
    staged = store.stage("t-2", keep_bytes=0, size_hint=None)
    try:
        staged.write(memoryview(DATA))
        staged.sync()
        store.save_resume_record("t-2", RECORD)
    finally:
        staged.close()


def go_on(scene: Scene) -> None:
    store = scene.store
    staged = store.stage("t-2", keep_bytes=100, size_hint=len(DATA) - 100)
    try:
        kept = staged.written_bytes
        assert kept in {0, 100}  # 0: published already, or thrown away after a failed sync
        staged.write(memoryview(DATA)[kept:])
        store.publish(staged, CONTENT)
    finally:
        staged.close()


def damage(scene: Scene) -> None:
    scene.store.quarantine(CONTENT.sha256, "a test says so")


def look(scene: Scene) -> None:
    store = scene.store
    assert store.find(CONTENT.sha256) == CONTENT
    assert [ref.intact for ref in store.refs(IMAGE)] == [True]
    assert list(store.claims()) == [(IMAGE, CONTENT.sha256)]
    assert read_all(store, CONTENT.sha256) == DATA


def probe(scene: Scene) -> None:
    scene.store.probe()


@pytest.fixture
def room() -> Iterator[Path]:
    with memory_directory() as path:
        yield path


Step = Callable[[Scene], None]
OPERATIONS: dict[str, tuple[list[Step], Step]] = {
    "probe-first": ([], probe),
    "probe": ([probe], probe),
    "import": ([probe], import_image),
    "import-direct": ([probe], import_direct),
    "import-again": ([probe, import_image], import_image),
    "claim": ([probe, import_image], claim),
    "claim-again": ([probe, import_image], renew),
    "drop": ([probe, import_image], drop),
    "drop-one-of-two": ([probe, import_image, claim], drop),
    "save-resume-record": ([probe], promise),
    "resume": ([probe, promise], go_on),
    "quarantine": ([probe, import_image], damage),
    "look": ([probe, import_image], look),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(
    ("codes", "after"),
    [
        pytest.param([errno.EIO], False, id="EIO"),
        pytest.param([errno.EIO], True, id="EIO-after-effect"),
        pytest.param([errno.ENOSPC], False, id="ENOSPC"),
        pytest.param(OTHERS, False, id="others-in-turn"),
        *(pytest.param([code], False, id=errno.errorcode[code], marks=pytest.mark.slow) for code in OTHERS),
    ],
)
def test_any_call_may_fail(room: Path, name: str, codes: list[int], after: bool) -> None:
    """One failing call per round, until a round needs no more calls than that."""
    before, operation = OPERATIONS[name]
    for number in range(1, 400):
        scene = Scene(room / f"round-{number}", FaultyFiles(), FakeClock())
        for step in before:
            step(scene)
        descriptors = set(os.listdir("/proc/self/fd"))
        code = codes[number % len(codes)]
        scene.files.arm(number, code, after=after)
        refused = _refused(operation, scene)
        scene.files.disarm()
        assert set(os.listdir("/proc/self/fd")) == descriptors, f"call {number} ({scene.files.failed}) leaks"
        if scene.files.failed is None:
            break
        if refused is not None:
            _says_what_it_is(refused, code, scene.files.failed)
        assert_nothing_is_torn(scene.path)
        scene.store.probe()
        operation(scene)
        assert_nothing_is_torn(scene.path)
        assert_repairable(scene)
    else:
        pytest.fail("the operation never ends")
    assert number > 8


def _refused(operation: Step, scene: Scene) -> errors.GoldmasterError | None:
    try:
        operation(scene)
    except errors.GoldmasterError as exc:
        return exc
    return None


def _says_what_it_is(refused: errors.GoldmasterError, code: int, call: str) -> None:
    if code in FULL:
        assert isinstance(refused, errors.NoSpace), call
    elif isinstance(refused, errors.StorageDamaged):
        assert (code, call) == (errno.EIO, "preadv"), "only unreadable bytes are damaged bytes"
    else:
        assert isinstance(refused, errors.StorageUnavailable), call


def assert_nothing_is_torn(path: Path) -> None:
    """Every name that promises a digest has it."""
    for name in _promising(path):
        digest = hashlib.sha256(name.read_bytes()).hexdigest()
        assert digest.startswith(name.name), name


def _promising(path: Path) -> Iterator[Path]:
    for pattern in ("objects/sha256/??/*", "images/*/*"):
        yield from (name for name in path.glob(pattern) if not name.name.endswith(".json"))


def assert_repairable(scene: Scene) -> None:
    """A sweep and a repair leave no finding but bytes that have to be fetched again, and no file in staging."""
    store = scene.store
    store.sweep((), timedelta(0))
    assert list((scene.path / "staging").iterdir()) == []
    scene.clock.advance(timedelta(days=3650))
    for _ in range(3):
        for finding in store.findings():
            store.mend(finding)
    assert [finding.code for finding in store.findings() if finding.repair] == []


@pytest.mark.parametrize("call", sorted(SYNCS))
def test_a_failed_sync_is_never_tried_again_on_the_same_file(room: Path, call: str) -> None:
    """The kernel marks the pages clean: the next sync would say that all is well."""
    scene = Scene(room / "store", FaultyFiles(), FakeClock())
    store = scene.store
    store.probe()
    staged = store.stage("t-1", keep_bytes=0, size_hint=len(DATA))
    staged.write(memoryview(DATA))
    scene.files.arm(1, errno.EIO, only=frozenset({call}))
    if call == "fdatasync":
        with pytest.raises(errors.StorageUnavailable):
            staged.sync()
        assert list((scene.path / "staging").iterdir()) == []
    with pytest.raises(errors.StorageUnavailable):
        store.publish(staged, CONTENT)
    assert scene.files.made.count("fdatasync") == 1
    assert not list(scene.path.glob("objects/sha256/??/*"))
    staged.close()


def test_full_while_writing_ends_the_transfer_before_the_reserve_is_eaten(room: Path) -> None:
    """Without a length nothing is refused early; the file system is asked again every 64 MiB."""
    files = FaultyFiles(available_bytes=2**40)
    clock = FakeClock()
    store = ImageStore(str(room / "store"), storage_uuid=UUID, reserved_bytes=1000, clock=clock, files=files)
    store.probe()
    staged = store.stage("t-1", keep_bytes=0, size_hint=None)
    files.available_bytes = 1000
    piece = memoryview(bytes(2**24))
    staged.write(piece)
    staged.write(piece)
    staged.write(piece)
    with pytest.raises(errors.NoSpace, match="reservedCapacity is 1000"):
        staged.write(piece)
    with pytest.raises(errors.StorageUnavailable):
        staged.write(piece)
    staged.discard()
    assert list((room / "store" / "staging").iterdir()) == []


def test_a_large_file_that_does_not_fit_is_refused_before_its_first_byte(room: Path) -> None:
    """The room is taken at once; where a file system cannot do that, the transfer goes on without."""
    scene = Scene(room / "store", FaultyFiles(), FakeClock())
    store = scene.store
    store.probe()
    for code in sorted(FULL):
        scene.files.arm(1, code, only=frozenset({"preallocate"}))
        with pytest.raises(errors.NoSpace):
            store.stage("t-1", keep_bytes=0, size_hint=2**24)
        assert list((scene.path / "staging").iterdir()) == []
    scene.files.arm(1, errno.EOPNOTSUPP, only=frozenset({"preallocate"}))
    staged = store.stage("t-1", keep_bytes=0, size_hint=2**24)
    assert scene.files.failed == "preallocate"
    staged.discard()


@pytest.mark.parametrize(("call", "code"), [("link", errno.EXDEV), ("rename", errno.EXDEV), ("link", errno.EMLINK)])
def test_a_store_across_file_systems_is_a_clear_error(room: Path, call: str, code: int) -> None:
    scene = Scene(room / "store", FaultyFiles(), FakeClock())
    scene.store.probe()
    scene.files.arm(1, code, only=frozenset({call}))
    with pytest.raises(errors.StorageUnavailable, match=os.strerror(code)):
        import_image(scene)
    assert_nothing_is_torn(scene.path)


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_is_refused_by_the_probe(room: Path, code: int) -> None:
    scene = Scene(room / "store", FaultyFiles(), FakeClock())
    scene.files.arm(1, code, only=frozenset({"link"}))
    with pytest.raises(errors.StorageUnavailable, match="no hard links"):
        scene.store.probe()
    assert list((scene.path / "staging").iterdir()) == []


def test_short_writes_are_completed(room: Path) -> None:
    files = FaultyFiles(longest_write=7)
    store = ImageStore(str(room / "store"), storage_uuid=UUID, reserved_bytes=0, clock=FakeClock(), files=files)
    store.probe()
    put(store, DATA)
    assert read_all(store, CONTENT.sha256) == DATA


def test_unreadable_stored_bytes_are_damaged_and_a_lost_server_is_unavailable(room: Path) -> None:
    scene = Scene(room / "store", FaultyFiles(), FakeClock())
    scene.store.probe()
    import_image(scene)
    for code, kind in ((errno.EIO, errors.StorageDamaged), (errno.ESTALE, errors.StorageUnavailable)):
        reader = scene.store.open(CONTENT.sha256)
        scene.files.arm(1, code, only=frozenset({"preadv"}))
        with pytest.raises(kind):
            reader.readinto(memoryview(bytearray(10)))
        reader.close()
