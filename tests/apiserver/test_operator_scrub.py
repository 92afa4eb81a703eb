"""A scrub in a cluster: with the rights of the manifests, told by kubectl, and what it finds is mended."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver import cluster, operating, person
from tests.apiserver.image_server import ImageServer
from tests.apiserver.operating import OperatorProcess
from tests.apiserver.person import Person
from tests.fakes import images as make

pytestmark = pytest.mark.needs_kube


@pytest.fixture(scope="module")
def kube(operated: cluster.Cluster) -> cluster.Cluster:
    """In this module, the API server is the one that has an operator."""
    return operated


def flip(path: Path) -> None:
    """Let the disk lose a bit."""
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    path.chmod(0o444)


def test_a_damaged_copy_is_found_mended_and_told(
    kube: cluster.Cluster, kube_namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    content = make.raw(seed=77)
    sha256 = hashlib.sha256(content).hexdigest()
    place = operator.root / "scrubbed"
    kube.kubectl("apply", "-f", "-", stdin=json.dumps(operating.storage("scrubbed", place)))
    image = operating.image("golden", images.add("/scrubbed.raw", content), backupStorages=["scrubbed"])
    kube.kubectl("apply", "-n", kube_namespace, "-f", "-", stdin=json.dumps(image))
    kube.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "-n", kube_namespace, "image/golden")
    stored = place / "objects" / "sha256" / sha256[:2] / sha256
    flip(stored)
    wanted = operating.storage("scrubbed", place, scrubInterval="1h")
    kube.kubectl("apply", "-f", "-", stdin=json.dumps(wanted))

    def scrub() -> dict[str, Any]:
        found: dict[str, Any] = kube.get("backupstorage", "scrubbed")["status"].get("lastScrub", {})
        return found

    operator.until(lambda: scrub().get("state") == "Finished")
    found = scrub()
    assert (found["copies"], found["bytes"], found["damaged"]) == (1, len(content), 1)
    operator.until(lambda: stored.exists() and hashlib.sha256(stored.read_bytes()).hexdigest() == sha256)
    operator.until(lambda: operating.ready(kube.get("image", "golden", "-n", kube_namespace))[0] == "True")
    assert [path.name for path in sorted((place / "quarantine").iterdir())] == [f"{sha256}.1", f"{sha256}.1.json"]
    (said,) = operator.said("scrub.damaged")
    assert said["level"] == "error"
    held = {"copies": 1, "bytes": len(content)}
    operator.until(lambda: kube.get("backupstorage", "scrubbed")["status"].get("quarantine") == held)
    wide = kube.kubectl("get", "gmbs", "scrubbed", "-o", "wide").stdout.splitlines()
    headers, row = wide[0].split(), wide[1].split()
    assert "SCRUBBED" in headers
    assert row[headers.index("QUARANTINE")] == str(len(content))
    asked = ("quarantine", "expunge", "--all", "--storage", "scrubbed", "--yes")
    assert f"{sha256}.1 is gone" in Person(kube.kubeconfig, "default").well(*asked)
    assert list((place / "quarantine").iterdir()) == []
    status = kube.get("image", "golden", "-n", kube_namespace)["status"]
    assert status["current"]["importedAt"] >= status["verifiedAt"], "an hour newer would be told"
    receipt = ("describe", "image", "golden", "-n", kube_namespace, "--receipt")
    told = json.loads(Person(kube.kubeconfig, "default").well(*receipt))
    assert told["subject"][0]["digest"]["sha256"] == sha256
    assert told["predicate"]["source"]["address"] == "127.0.0.1"
    assert told["predicate"]["startedAt"] >= found["startedAt"], "of its rebuilding"
    viewer = person.with_roles(kube, kube_namespace, "viewer", "goldmaster-view")
    assert viewer.runs(*receipt).code == 10, "only who may list BackupStorages"
    kube.kubectl("delete", "image", "golden", "-n", kube_namespace)
    kube.kubectl("delete", "backupstorage", "scrubbed")
