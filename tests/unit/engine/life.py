"""Moments in the life of an Image and of a BackupStorage, as objects that our own code wrote the status of."""

from collections.abc import Iterator
from typing import Any

from controller.model import manifest
from controller.model.resource import Image, Key, Kind
from controller.model.transfer import Failure
from controller.reasons import Reason
from tests.unit.engine.engine_bench import IMAGE, STORE, URL, Bench

CURRENT, IN_PROGRESS, FAILED, TERMINATING = "Current", "InProgress", "Failed", "Terminating"
Moment = tuple[str, dict[str, Any], str]
"""What happened, the object, and what kstatus makes of it; but a suspended one is Current here."""


def moments() -> Iterator[Moment]:
    """Yield them."""
    yield from _images()
    yield from _storages()


def kstatus(found: dict[str, Any]) -> str:
    """Say what kstatus does of conditions (sigs.k8s.io/cli-utils, pkg/kstatus/status, checkGenericProperties)."""
    if found["metadata"].get("deletionTimestamp"):
        return TERMINATING
    status = found.get("status", {})
    if status.get("observedGeneration") not in {None, found["metadata"]["generation"]}:
        return IN_PROGRESS
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    if conditions.get("Reconciling", {}).get("status") == "True":
        return IN_PROGRESS
    if conditions.get("Stalled", {}).get("status") == "True":
        return FAILED
    return IN_PROGRESS if conditions.get("Ready", {}).get("status") == "False" else CURRENT


def _image(bench: Bench, *, deleted: bool = False) -> dict[str, Any]:
    found: Image = bench.image()
    metadata: dict[str, Any] = {"name": "img", "generation": found.meta.generation}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    status = manifest.image_status_to_dict(found.status)
    return {"kind": "Image", "metadata": metadata} | ({"status": status} if found.status.observed_generation else {})


def _images() -> Iterator[Moment]:
    bench = Bench()
    bench.engine.probe_storages()
    bench.engine.enqueue([IMAGE])
    bench.work()
    bench.clock.advance(2)
    bench.work()
    yield "downloading", _image(bench), IN_PROGRESS
    bench.transfers.finish(Failure(Reason.SOURCE_UNREACHABLE, "no answer from images.example", terminal=False))
    bench.work()
    yield "to be tried again", _image(bench), IN_PROGRESS
    bench = Bench()
    bench.converge()
    yield "ready", _image(bench), CURRENT
    yield "being deleted", _image(bench, deleted=True), TERMINATING
    bench.resources.put(IMAGE, {"url": "http://images.example/b"})
    yield "edited, not looked at yet", _image(bench), IN_PROGRESS
    bench.engine.enqueue([IMAGE])
    bench.work()
    bench.transfers.finish(Failure(Reason.SOURCE_NOT_FOUND, "404", terminal=True))
    bench.work()
    yield "stalled, the old bytes are served", _image(bench), FAILED
    bench = Bench()
    bench.resources.put(IMAGE, {"url": URL, "suspend": True})
    bench.converge()
    yield "suspended before anything came", _image(bench), CURRENT
    bench = Bench()
    bench.resources.put(IMAGE, {"url": URL, "backupStorages": ["missing"]})
    bench.converge()
    yield "waits for a storage", _image(bench), IN_PROGRESS


def _storages() -> Iterator[Moment]:
    bench = Bench()
    bench.engine.probe_storages()
    yield "connected", _storage(bench, STORE), CURRENT
    bench.store().faults.unreachable = True
    bench.engine.do(STORE)
    yield "disconnected", _storage(bench, STORE), IN_PROGRESS


def _storage(bench: Bench, key: Key) -> dict[str, Any]:
    assert key.kind is Kind.BACKUP_STORAGE
    found = bench.resources.storage(key)
    assert found is not None
    status = manifest.storage_status_to_dict(found.status)
    return {
        "kind": "BackupStorage",
        "metadata": {"name": key.name, "generation": found.meta.generation},
        "status": status,
    }
