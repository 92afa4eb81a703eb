"""Mirrors, and sources that change, on a real API server: what the status keeps, and what kubectl can wait for."""

import hashlib
import json
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
def namespace(kube_namespace: str) -> str:
    return kube_namespace


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def look(kube: cluster.Cluster, operator: OperatorProcess, namespace: str, name: str) -> dict[str, Any]:
    """Ask for a look now, and wait for it; return the status."""
    before = kube.get("image", name, "-n", namespace)["status"].get("source", {}).get("checkedAt")
    token = f"goldmaster.dev/requestedAt={before or 'first'}"
    kube.kubectl("annotate", "image", name, "-n", namespace, "--overwrite", token)

    def looked() -> bool:
        source = kube.get("image", name, "-n", namespace)["status"]["source"]
        return bool(source.get("checkedAt")) and source["checkedAt"] != before

    operator.until(looked)
    found: dict[str, Any] = kube.get("image", name, "-n", namespace)["status"]
    return found


def test_a_mirror_serves_and_those_that_do_not_are_named(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    wanted, other = make.raw(seed=71), make.raw(seed=72)
    mirrors = [images.add("/other.raw", other), images.add("/wanted.raw", wanted)]
    gone = mirrors[0].replace("other", "gone")
    checksum = f"sha256:{sha256(wanted)}"
    apply(kube, namespace, operating.image("mirrored", gone, mirrors=mirrors, checksum=checksum))
    operator.wait_for("image/mirrored", namespace)
    status = kube.get("image", "mirrored", "-n", namespace)["status"]
    source, told = status["source"], f"expected {checksum}, got sha256:{sha256(other)}"
    assert (source["servedBy"], source["mirror"], source["length"]) == (mirrors[1], mirrors[1], len(wanted))
    assert [(one["url"], one["reason"]) for one in source["skipped"]] == [
        (gone, "SourceNotFound"),
        (mirrors[0], "ChecksumMismatch"),
    ]
    assert source["skipped"][1]["message"] == told
    ready = next(one for one in status["conditions"] if one["type"] == "Ready")
    assert ready["message"].endswith(f"; {mirrors[0]} was skipped: {told}")
    assert sha256(wanted) in operator.stored()
    assert sha256(other) not in operator.stored()


def test_a_source_that_changes_is_told_and_then_imported(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    old, new = make.raw(seed=73), make.raw(seed=74)
    apply(kube, namespace, operating.image("moving", images.add("/moving.raw", old), interval="1h"))
    operator.wait_for("image/moving", namespace)
    before = kube.get("image", "moving", "-n", namespace)
    status = look(kube, operator, namespace, "moving")
    assert "seen" not in status["source"]
    assert status["conditions"] == before["status"]["conditions"]
    images.add("/moving.raw", new)
    status = look(kube, operator, namespace, "moving")
    kube.kubectl("wait", "--for=condition=UpstreamChanged", "--timeout=60s", "-n", namespace, "image/moving")
    assert status["source"]["seen"]["length"] == len(new)

    def told() -> list[dict[str, Any]]:
        events = kube.admin.get(f"/api/v1/namespaces/{namespace}/events").body["items"]
        return [one for one in events if one["reason"] == "UpstreamChanged"]

    operator.until(lambda: bool(told()))
    look(kube, operator, namespace, "moving")
    assert [(one["type"], one["involvedObject"]["name"]) for one in told()] == [("Normal", "moving")]
    assert status["current"]["sha256"] == sha256(old)
    assert sha256(new) not in operator.stored()
    patch = json.dumps({"spec": {"updatePolicy": "Import"}})
    kube.kubectl("patch", "image", "moving", "-n", namespace, "--type=merge", "-p", patch)

    def imported() -> bool:
        found = kube.get("image", "moving", "-n", namespace)
        return operating.ready(found)[0] == "True" and found["status"]["current"]["sha256"] == sha256(new)

    operator.until(imported)
    found = kube.get("image", "moving", "-n", namespace)["status"]
    assert [one["sha256"] for one in found["history"]] == [sha256(old)]
    assert "UpstreamChanged" not in [one["type"] for one in found["conditions"]]
    assert {sha256(old), sha256(new)} <= operator.stored()
