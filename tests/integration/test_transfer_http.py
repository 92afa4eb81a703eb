"""Transfers over real HTTP onto a real store: stopping, and going on in a new process's place."""

import hashlib
import random
import threading
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

from controller.adapters.backup.factory import BackupStorages
from controller.adapters.clock import SystemClock
from controller.adapters.sources.address_policy import AddressPolicy
from controller.adapters.sources.http import HttpSource
from controller.engine.transfer.limits import PAGE
from controller.engine.transfer.pool import EmbeddedTransfers
from controller.model.backup_storage import BackupStorageSpec, ImageStoreSpec, StorageType
from controller.model.transfer import Broken, Placed, Running
from tests.integration import ranged_server
from tests.integration.transfer_child import PACE, request_of

IMAGE = random.Random(7).randbytes(2 * 2**20)
SOON_S = 60.0


class News:
    """Tells when a transfer is as wished for; asks often, as bytes that come are not told."""

    def __init__(self) -> None:
        self._told = threading.Event()

    def __call__(self, key: str, owners: frozenset[str]) -> None:
        self._told.set()

    def until(self, condition: Callable[[], bool]) -> None:
        clock = SystemClock()
        end = clock.monotonic() + SOON_S
        while not condition():
            assert clock.monotonic() < end
            self._told.wait(0.005)


def pool(news: News) -> EmbeddedTransfers:
    clock = SystemClock()
    source = HttpSource(AddressPolicy((ip_network("127.0.0.0/8"),)), clock)
    return EmbeddedTransfers(source, BackupStorages(clock), clock, news, concurrency=1, pace=PACE)


def test_a_stop_waits_for_no_source_and_the_next_instance_goes_on(tmp_path: Path) -> None:
    """The source says nothing more for hours; and what both fetch is no more than the image and a page."""
    store = tmp_path / "store"
    store.mkdir()
    BackupStorages(SystemClock())("a", _spec(store)).probe()
    with ranged_server.serving() as served:
        served.files = {"/image": IMAGE}
        served.bytes_per_s = 2 * 2**20
        job = {"key": "get-1", "url": served.url("/image"), "targets": {"a": str(store)}, "checksum": None}
        news = News()
        first = pool(news)
        first.start(request_of(job), "one")
        news.until(lambda: isinstance(state := first.state("get-1"), Running) and state.bytes > 300_000)
        served.bytes_per_s = 1
        assert first.close(SOON_S)

        served.bytes_per_s = 0
        second = pool(news)
        try:
            second.start(request_of(job), "one")
            news.until(lambda: isinstance(second.state("get-1"), Placed | Broken))
            result = second.state("get-1")
        finally:
            assert second.close(SOON_S)
    assert isinstance(result, Placed), result
    assert result.resumed_bytes > 300_000 - PAGE
    assert result.resumed_bytes + result.fetched_bytes == len(IMAGE)
    digest = hashlib.sha256(IMAGE).hexdigest()
    assert (store / "objects" / "sha256" / digest[:2] / digest).read_bytes() == IMAGE
    assert list((store / "staging").iterdir()) == []


def _spec(store: Path) -> BackupStorageSpec:
    return BackupStorageSpec(StorageType.IMAGE_STORE, ImageStoreSpec(str(store)), reserved_capacity_bytes=0)
