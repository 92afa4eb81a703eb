"""The storages that the suites about storages run against."""

import shutil
from pathlib import Path
from typing import Protocol

import pytest

from controller import ports
from controller.adapters.backup.imagestore import ImageStore
from controller.model.digest import Digest
from tests.fakes.backup_storage import FakeBackupStorage
from tests.fakes.clock import FakeClock
from tests.fakes.faulty_files import FaultyFiles

UUID = "5" * 32
RESERVED = 1000


class Rig(Protocol):
    """A storage and what a test does to it from outside."""

    storage: ports.AuditedStorage
    clock: FakeClock

    def restart(self) -> None:
        """Forget everything that is not on the storage."""

    def cut_off(self) -> None:
        """Make it unreachable."""

    def leave(self, available_bytes: int) -> None:
        """Let so much room be left."""

    def truncate(self, digest: Digest) -> None:
        """Cut stored bytes short."""


class FakeRig:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.fake = FakeBackupStorage(UUID, self.clock, reserved_bytes=RESERVED)
        self.storage: ports.AuditedStorage = self.fake

    def restart(self) -> None:
        """It holds nothing but what is stored."""

    def cut_off(self) -> None:
        self.fake.faults.unreachable = True

    def leave(self, available_bytes: int) -> None:
        self.fake.total_bytes += available_bytes - self.fake.available_bytes

    def truncate(self, digest: Digest) -> None:
        self.fake.objects[digest.hex].data.pop()


class ImageStoreRig:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()
        self.files = FaultyFiles(available_bytes=2**40)
        self.restart()

    def restart(self) -> None:
        self.storage: ports.AuditedStorage = ImageStore(
            str(self.path), storage_uuid=UUID, reserved_bytes=RESERVED, clock=self.clock, files=self.files
        )

    def cut_off(self) -> None:
        shutil.rmtree(self.path)
        self.path.mkdir()  # what an unmounted mount point looks like

    def leave(self, available_bytes: int) -> None:
        self.files.available_bytes = available_bytes

    def truncate(self, digest: Digest) -> None:
        place = self.path / "objects" / "sha256" / digest.hex[:2] / digest.hex
        place.chmod(0o644)
        place.write_bytes(place.read_bytes()[:-1])


@pytest.fixture(params=["fake", "imagestore"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    made: Rig = FakeRig() if request.param == "fake" else ImageStoreRig(tmp_path / "store")
    made.storage.probe()
    return made
