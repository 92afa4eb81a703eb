"""An engine over fakes whose passes a test drives by hand."""

from controller.engine.engine import Engine
from controller.engine.reconcile import Outcome
from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.resource import Image, Key, Kind
from controller.ports import Secrets
from controller.settings import EngineSettings, TransferSettings
from tests.fakes.backup_storage import FakeBackupStorage, FakeStorageFactory
from tests.fakes.clock import FakeClock
from tests.fakes.resources import FakeResources
from tests.fakes.transfers import FakeTransfers

URL = "http://images.example/a"
DATA = b"golden" * 100
IMAGE = Key(Kind.IMAGE, "default", "img")
STORE = Key(Kind.BACKUP_STORAGE, "", "s1")


class Bench:
    """An engine whose passes the test drives by hand."""

    def __init__(self, secrets: Secrets | None = None) -> None:
        self.clock = FakeClock()
        self.resources = FakeResources(self.clock)
        self.factory = FakeStorageFactory(self.clock)
        self.passes: list[tuple[Key, Outcome]] = []
        self._secrets = secrets
        self.restart()
        self.storage("s1")
        self.resources.put(IMAGE, {"url": URL, "deletionPolicy": "Direct"})

    def restart(self) -> None:
        """Begin with an engine that remembers nothing."""
        self.engine = Engine(
            self.resources,
            self.factory,
            lambda on_change, _: FakeTransfers(self.factory, on_change),
            self.clock,
            EngineSettings(),
            TransferSettings(),
            on_pass=lambda key, outcome: self.passes.append((key, outcome)),
            secrets=self._secrets,
        )
        assert isinstance(self.engine.transfers, FakeTransfers)
        self.transfers = self.engine.transfers
        self.transfers.sources[URL] = DATA

    def storage(self, name: str) -> None:
        spec = {"type": "ImageStore", "imageStore": {"path": f"/{name}"}, "reservedCapacity": "0"}
        self.resources.put(Key(Kind.BACKUP_STORAGE, "", name), spec)

    def work(self, *, limit: int = 50) -> None:
        """Do every pass that is due now."""
        for _ in range(limit):
            if (key := self.engine.queue.get(0)) is None:
                return
            self.engine.do(key)
            self.engine.queue.done(key)
        raise AssertionError("the queue does not run dry")

    def converge(self) -> None:
        """Probe, look at every image, let transfers end well."""
        self.engine.probe_storages()
        self.engine.enqueue(self.resources.keys(Kind.IMAGE))
        for _ in range(4):
            self.work()
            self.transfers.finish()

    def image(self) -> Image:
        found = self.resources.image(IMAGE)
        assert found is not None
        return found

    def store(self, name: str = "s1") -> FakeBackupStorage:
        found = next(storage for storage in self.engine.storages.all() if storage.name == name)
        assert isinstance(found.adapter, FakeBackupStorage)
        return found.adapter

    def says(self, kind: ConditionType) -> bool:
        return conditions.is_true(self.image().status.conditions, kind)
