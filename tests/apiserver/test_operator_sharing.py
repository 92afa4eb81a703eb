"""Who shares stored bytes in a cluster: namespaces of a real API server, and a web server that counts."""

import hashlib
from typing import Any

import pytest

from tests.apiserver import cluster, operating
from tests.apiserver.image_server import ImageServer
from tests.apiserver.operating import OperatorProcess, apply
from tests.fakes import images as make

pytestmark = pytest.mark.needs_kube


@pytest.fixture(scope="module")
def kube(operated: cluster.Cluster) -> cluster.Cluster:
    """In this module, the API server is the one that has an operator."""
    return operated


@pytest.fixture
def other_namespace(kube: cluster.Cluster, kube_namespace: str) -> str:
    """A second tenant."""
    name = f"{kube_namespace}-other"
    kube.kubectl("create", "namespace", name)
    return name


def settled(kube: cluster.Cluster, operator: OperatorProcess, namespace: str, name: str, until: str) -> dict[str, Any]:
    """Wait for a condition of an image; return its status."""
    operator.wait_for(f"image/{name}", namespace, until)
    status: dict[str, Any] = kube.get("image", name, "-n", namespace)["status"]
    return status


def test_another_namespace_proves_its_right_and_a_thief_gets_nothing(
    kube: cluster.Cluster, kube_namespace: str, other_namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    content = make.qcow2()
    url, sha256 = images.add("/golden.qcow2", content), "sha256:" + hashlib.sha256(content).hexdigest()

    apply(kube, kube_namespace, operating.image("base", url))
    assert settled(kube, operator, kube_namespace, "base", "Ready")["source"]["fetchedBytes"] == len(content)
    gone = url.replace("golden", "gone")
    apply(kube, kube_namespace, operating.image("again", gone, checksum=sha256))
    again = settled(kube, operator, kube_namespace, "again", "Ready")
    assert (again["source"]["fetchedBytes"], again["source"]["servedBy"]) == (0, f"Image {kube_namespace}/base")
    evil = images.add("/other.qcow2", content[:-1] + b"x")
    retry = {"initialBackoff": "1s"}
    apply(kube, other_namespace, operating.image("thief", evil, checksum=sha256, retry=retry))
    thief = settled(kube, operator, other_namespace, "thief", "Stalled")
    assert "current" not in thief
    assert not thief.get("backupStorageRefs", []) or thief["backupStorageRefs"][0]["status"] == "Failed"
    apply(kube, other_namespace, operating.image("mine", url, checksum=sha256))
    assert settled(kube, operator, other_namespace, "mine", "Ready")["source"]["fetchedBytes"] == 0
    assert [asked for asked in images.requests if asked[0] == "/golden.qcow2"] == [
        ("/golden.qcow2", 0),
        ("/golden.qcow2", len(content) - 1),
    ]
    assert images.asked("/gone.qcow2") == 0
    claims = [path for path in (operator.root / "main" / "images").glob("*/*") if path.suffix != ".json"]
    assert len(claims) == 3
    assert len({path.stat().st_ino for path in claims}) == 1
