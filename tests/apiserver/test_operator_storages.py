"""A BackupStorage as an administrator meets it with kubectl: probes, capacity, states, the default, deletion."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver import cluster, operating
from tests.apiserver.image_server import ImageServer
from tests.apiserver.operating import OperatorProcess
from tests.fakes import images as make

pytestmark = pytest.mark.needs_kube


@pytest.fixture(scope="module")
def kube(operated: cluster.Cluster) -> cluster.Cluster:
    """In this module, the API server is the one that has an operator."""
    return operated


@pytest.fixture
def namespace(kube_namespace: str) -> str:
    return kube_namespace


class Kept:
    """One storage of a test's own, and the Images that a test puts on it."""

    def __init__(self, operator: OperatorProcess, namespace: str, name: str) -> None:
        self.operator, self.kube, self.namespace, self.name = operator, operator.kube, namespace, name
        self.path = operator.root / name
        self._asked = 0
        self.apply()

    def apply(self, **spec: object) -> None:
        document = operating.storage(self.name, self.path, **spec)
        self.kube.kubectl("apply", "-f", "-", stdin=json.dumps(document))

    def probe(self) -> None:
        """Ask for a probe now."""
        self._asked += 1
        self.kube.kubectl(
            "annotate", "--overwrite", "backupstorage", self.name, f"goldmaster.dev/requestedAt={self._asked}"
        )

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.kube.get("backupstorage", self.name).get("status", {})
        return found

    def says(self, status: str) -> None:
        self.operator.until(lambda: self.status().get("status") == status)

    def put(self, name: str, url: str, **spec: object) -> None:
        document = operating.image(name, url, **{"backupStorages": [self.name], "deletionPolicy": "Direct", **spec})
        self.kube.kubectl("apply", "-n", self.namespace, "-f", "-", stdin=json.dumps(document))

    def image(self, name: str) -> dict[str, Any]:
        return self.kube.get("image", name, "-n", self.namespace)

    def becomes(self, name: str, *ready: str) -> dict[str, Any]:
        self.operator.until(lambda: operating.ready(self.image(name)) == ready)
        return self.image(name)

    def remove(self, *images: str) -> None:
        for name in images:
            self.kube.kubectl("delete", "image", name, "-n", self.namespace, "--timeout=60s")
        self.kube.kubectl("delete", "backupstorage", self.name, "--timeout=60s")


def test_a_new_storage_is_probed_and_tells_what_it_has(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    kept = Kept(operator, namespace, "fresh")
    kube.kubectl("wait", "--for=jsonpath={.status.status}=Connected", "backupstorage/fresh", "--timeout=60s")
    kube.kubectl("wait", "--for=condition=Ready", "backupstorage/fresh", "--timeout=60s")
    status, there = kept.status(), os.statvfs(operator.root)
    assert status["totalCapacity"] == there.f_blocks * there.f_frsize
    assert 0 < status["availableCapacity"] <= status["totalCapacity"]
    assert status["images"] == 0
    assert status["uuid"] == kube.get("backupstorage", "fresh")["metadata"]["uid"].replace("-", "")
    kept.put("counted", images.add("/counted.raw", make.raw(seed=1)))
    kept.becomes("counted", "True", "Succeeded")
    kept.probe()
    operator.until(lambda: kept.status()["images"] == 1)
    table = kube.kubectl("get", "backupstorages", "fresh").stdout.splitlines()
    assert table[0].split()[:3] == ["NAME", "TYPE", "STATUS"]
    assert table[1].split()[:3] == ["fresh", "ImageStore", "Connected"]
    kept.remove("counted")


def test_one_that_goes_away_is_disconnected_and_its_copies_are_unknown_not_gone(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    """As an NFS export that is not mounted: the empty place is not taken for a new storage."""
    kept = Kept(operator, namespace, "mounted")
    kept.put("there", images.add("/there.raw", make.raw(seed=2)))
    before = kept.becomes("there", "True", "Succeeded")
    capacity = kept.status()["totalCapacity"]
    away = kept.path.rename(operator.root / "unmounted")
    kept.path.mkdir()
    kept.probe()
    kept.says("Disconnected")
    assert kept.status()["totalCapacity"] == capacity
    found = kept.becomes("there", "False", "StorageUnavailable")
    assert [ref["status"] for ref in found["status"]["backupStorageRefs"]] == ["Unknown"]
    assert (
        found["status"]["backupStorageRefs"][0]["installPath"]
        == before["status"]["backupStorageRefs"][0]["installPath"]
    )
    assert list(kept.path.iterdir()) == []
    described = kube.kubectl("describe", "backupstorage", "mounted").stdout
    assert "StorageUnavailable" in described[described.index("Events:") :]
    kept.path.rmdir()
    away.rename(kept.path)
    kept.probe()
    kept.says("Connected")
    kept.becomes("there", "True", "Succeeded")
    assert images.asked("/there.raw") == 1
    kept.remove("there")


def test_disabled_takes_nothing_and_gives_nothing_up_and_serves(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    kept = Kept(operator, namespace, "closed")
    kept.put("old", images.add("/old-closed.raw", make.raw(seed=3)))
    kept.becomes("old", "True", "Succeeded")
    kept.apply(state="Disabled")
    kept.put("new", images.add("/new-closed.raw", make.raw(seed=4)))
    kept.becomes("new", "False", "DependencyNotReady")
    assert images.asked("/new-closed.raw") == 0
    assert operating.ready(kept.image("old")) == ("True", "Succeeded")
    kube.kubectl("delete", "image", "old", "-n", namespace, "--wait=false")
    kube.kubectl("wait", "--for=jsonpath={.metadata.deletionTimestamp}", "image/old", "-n", namespace, "--timeout=60s")
    operator.until(lambda: "is Disabled" in json.dumps(kept.image("old")["status"]["conditions"]))
    assert [file for file in (kept.path / "objects").rglob("*") if file.is_file() and file.suffix != ".json"]
    kept.apply(state="Enabled")
    kube.kubectl("wait", "--for=delete", "image/old", "-n", namespace, "--timeout=60s")
    kept.becomes("new", "True", "Succeeded")
    kept.remove("new")


def test_two_defaults_are_named_and_one_serves(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    """`main` is the other one. Who was placed before the quarrel is not touched by it."""
    kept = Kept(operator, namespace, "rival")
    kept.says("Connected")
    kept.put("mine", images.add("/mine.raw", make.raw(seed=5)), backupStorages=[])
    found = kept.becomes("mine", "True", "Succeeded")
    assert [ref["backupStorageName"] for ref in found["status"]["backupStorageRefs"]] == ["main"]
    kube.kubectl("annotate", "backupstorage", "rival", "goldmaster.dev/default=true")
    kept.put("torn", images.add("/torn.raw", make.raw(seed=6)), backupStorages=[])
    found = kept.becomes("torn", "False", "DependencyNotReady")
    assert "2 storages are marked as default: main, rival; mark one" in json.dumps(found["status"]["conditions"])
    kube.kubectl("annotate", "backupstorage", "main", "goldmaster.dev/default-")
    found = kept.becomes("torn", "True", "Succeeded")
    assert [ref["backupStorageName"] for ref in found["status"]["backupStorageRefs"]] == ["rival"]
    kube.kubectl("annotate", "backupstorage", "main", "goldmaster.dev/default=true")
    kube.kubectl("annotate", "backupstorage", "rival", "goldmaster.dev/default-")
    assert operating.ready(kept.image("mine")) == ("True", "Succeeded")
    kept.remove("mine", "torn")


def test_deletion_waits_for_the_last_image_and_nothing_new_comes_meanwhile(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    kept = Kept(operator, namespace, "leaving")
    kept.put("last", images.add("/last.raw", make.raw(seed=7)))
    kept.becomes("last", "True", "Succeeded")
    refused = kube.kubectl("delete", "backupstorage", "leaving", "--timeout=2s", check=False)
    assert refused.returncode != 0
    assert kube.get("backupstorage", "leaving")["metadata"]["finalizers"] == ["goldmaster.dev/backupstorage"]
    operator.until(lambda: "waits for the images" in kept.status()["conditions"][0]["message"])
    kept.put("late", images.add("/late-leaving.raw", make.raw(seed=8)))
    kept.becomes("late", "False", "DependencyNotReady")
    assert images.asked("/late-leaving.raw") == 0
    assert operating.ready(kept.image("last")) == ("True", "Succeeded")
    kube.kubectl("delete", "image", "last", "late", "-n", namespace, "--timeout=60s")
    kube.kubectl("wait", "--for=delete", "backupstorage/leaving", "--timeout=60s")


def test_the_type_is_fixed_and_the_path_may_move_with_its_files(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    kept = Kept(operator, namespace, "moving")
    kept.put("moved", images.add("/moved.raw", make.raw(seed=9)))
    kept.becomes("moved", "True", "Succeeded")
    there: Path = kept.path.rename(operator.root / "moved-to")
    kept.path = there
    kept.apply()
    operator.until(lambda: kept.status().get("observedGeneration") == 2)
    kept.says("Connected")
    kept.becomes("moved", "True", "Succeeded")
    assert images.asked("/moved.raw") == 1
    kept.remove("moved")
