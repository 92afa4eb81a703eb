"""A disk that cannot give one copy back: the scrub says so, takes it out of service, and reads those after it."""

import errno
import threading
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from controller.adapters.backup.imagestore import ImageStore
from controller.adapters.durable_files import FileCalls
from controller.engine.scrub import Scrubs
from controller.engine.storages import OpenStorage
from controller.model.digest import Digest
from controller.model.resource import Key, Kind
from controller.model.scrub import ScrubState
from controller.settings import ScrubSettings
from tests.fakes.clock import FakeClock
from tests.fakes.resources import FakeResources
from tests.fakes.stored_bytes import IMAGE, put

WITHIN_S = 60.0
FAST = ScrubSettings(2**50, 2**50, timedelta(0))


class SickFiles(FileCalls):
    """Fails one kind of call for the file of one name, each time."""

    def __init__(self, call: str, code: int) -> None:
        self.sick = ""
        self._call, self._code = call, code
        self._open: set[int] = set()

    def open(self, path: str, flags: int, mode: int = 0o600, dir_fd: int | None = None) -> int:
        sick = bool(self.sick) and path.endswith(self.sick)
        if sick and self._call == "open":
            self._fail()
        fd = super().open(path, flags, mode, dir_fd)
        (self._open.add if sick else self._open.discard)(fd)
        return fd

    def preadv(self, fd: int, buffer: memoryview, offset: int) -> int:
        if fd in self._open and self._call == "preadv":
            self._fail()
        return super().preadv(fd, buffer, offset)

    def _fail(self) -> NoReturn:
        raise OSError(self._code, "the disk is sick")


@pytest.mark.parametrize(
    ("call", "code"),
    [("preadv", errno.EIO), ("preadv", errno.ENODATA), ("preadv", errno.EACCES), ("open", errno.EIO)],
)
def test_a_copy_that_cannot_be_read_is_damage_and_the_scrub_goes_on(tmp_path: Path, call: str, code: int) -> None:
    clock, files = FakeClock(), SickFiles(call, code)
    resources = FakeResources(clock)
    key = Key(Kind.BACKUP_STORAGE, "", "s1")
    path = {"type": "ImageStore", "imageStore": {"path": str(tmp_path)}, "scrubInterval": "1h"}
    resources.put(key, path)
    resource = resources.storage(key)
    assert resource is not None
    store = ImageStore(str(tmp_path), storage_uuid="5" * 32, reserved_bytes=0, clock=clock, files=files)
    store.probe()
    first, middle, last = sorted(
        (put(store, bytes([seed]) * 5000).sha256 for seed in range(3)), key=lambda one: one.hex
    )
    files.sick = middle.hex
    ended, damaged = threading.Event(), list[Digest]()
    storage = OpenStorage(resource, store, connected=True)

    def changed(_: str) -> None:
        if not scrubs.running(storage.uuid):
            ended.set()

    scrubs = Scrubs(clock, FAST, busy=lambda: False, on_damage=lambda _, one: damaged.append(one), on_change=changed)
    scrubs.open()
    clock.advance(60)
    scrubs.look(storage)
    assert ended.wait(WITHIN_S)
    scrubs.stop()
    found = scrubs.state(storage.uuid)
    assert found is not None
    assert (found.state, found.copies, found.damaged) == (ScrubState.FINISHED, 3, 1)
    assert damaged == [middle]
    (held,) = store.in_quarantine()
    assert held.sha256 == middle
    assert held.why.startswith("found by a scrub: ")
    seen = {ref.content.sha256: ref for ref in store.refs(IMAGE)}
    assert [seen[one].intact for one in (first, middle, last)] == [True, False, True]
    assert [seen[one].verified_at == clock.now() for one in (first, last)] == [True, True]
