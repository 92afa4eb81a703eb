"""What a person does with kubectl, on a real API server with a real operator that has the rights of its manifests."""

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver import cluster, fixtures, operating
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


def refs(found: dict[str, Any]) -> dict[str, str]:
    return {ref["backupStorageName"]: ref["status"] for ref in found["status"].get("backupStorageRefs", [])}


def test_apply_of_an_image_ends_with_its_bytes_on_the_storage(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    content = make.qcow2()
    url = images.add("/first.qcow2", content)
    apply(kube, namespace, operating.image("first", url))
    operator.wait_for("image/first", namespace)
    found = kube.get("image", "first", "-n", namespace)
    assert found["status"]["phase"] == "Ready"
    assert found["status"]["format"] == "qcow2"
    assert found["status"]["digests"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert found["status"]["uuid"] == found["metadata"]["uid"].replace("-", "")
    assert refs(found) == {"main": "Ready"}
    assert hashlib.sha256(content).hexdigest() in operator.stored()
    table = kube.kubectl("get", "images", "-n", namespace).stdout
    assert table.splitlines()[1].split()[:4] == ["first", "Ready", "True", "Succeeded"]


def test_only_status_and_finalizer_are_ever_written(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    """No annotation, no label; server-side apply of the same manifest stays without conflict, diff without drift."""
    manifest = operating.image("owned", images.add("/owned.raw", make.raw(seed=2)))
    kube.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=json.dumps(manifest))
    operator.wait_for("image/owned", namespace)
    found = kube.get("image", "owned", "-n", namespace, "--show-managed-fields")
    ours = [entry for entry in found["metadata"]["managedFields"] if entry["manager"] == "goldmaster"]
    wrote = {entry.get("subresource", ""): entry["fieldsV1"] for entry in ours}
    assert wrote[""] == {"f:metadata": {"f:finalizers": {".": {}, 'v:"goldmaster.dev/image"': {}}}}
    assert set(wrote["status"]) == {"f:status"}
    assert set(wrote) == {"", "status"}
    assert "annotations" not in found["metadata"]
    assert found["spec"]["url"] == manifest["spec"]["url"]
    kube.kubectl("diff", "--server-side", "-n", namespace, "-f", "-", stdin=json.dumps(manifest))
    kube.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=json.dumps(manifest))
    assert kube.get("image", "owned", "-n", namespace)["metadata"]["generation"] == 1


def test_an_edit_replaces_the_bytes(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    old, new = make.raw(seed=4), make.raw(seed=5)
    apply(kube, namespace, operating.image("edited", images.add("/old.raw", old)))
    operator.wait_for("image/edited", namespace)
    url = images.add("/new.raw", new)
    kube.kubectl("patch", "image", "edited", "-n", namespace, "--type=merge", "-p", json.dumps({"spec": {"url": url}}))
    wanted = hashlib.sha256(new).hexdigest()

    def replaced() -> bool:
        found = kube.get("image", "edited", "-n", namespace)
        return operating.ready(found)[0] == "True" and found["status"]["digests"]["sha256"] == wanted

    operator.until(replaced)
    assert wanted in operator.stored()


def test_a_deleted_image_goes_with_its_bytes(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    content = make.raw(seed=6)
    apply(kube, namespace, operating.image("doomed", images.add("/doomed.raw", content), deletionPolicy="Direct"))
    operator.wait_for("image/doomed", namespace)
    digest = hashlib.sha256(content).hexdigest()
    assert digest in operator.stored()
    kube.kubectl("delete", "image", "doomed", "-n", namespace, "--timeout=60s")
    operator.until(lambda: digest not in operator.stored())


def test_an_image_made_anew_has_the_uuid_the_bytes_and_the_history_of_the_deleted_one(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    """Its object has another uid; nothing is fetched, and what was kept is a rollback away."""
    old, new = make.raw(seed=21), make.raw(seed=22)
    first, second = images.add("/again-1.raw", old), images.add("/again-2.raw", new)
    kept = {"deletionPolicy": "Delay", "revisionHistoryLimit": 2}
    for url in (first, second):
        apply(kube, namespace, operating.image("again", url, **kept))
        operator.until(lambda: operating.ready(kube.get("image", "again", "-n", namespace))[0] == "True")
    found = kube.get("image", "again", "-n", namespace)
    assert [one["sha256"] for one in found["status"]["history"]] == [hashlib.sha256(old).hexdigest()]
    kube.kubectl("delete", "image", "again", "-n", namespace, "--timeout=60s")
    asked = images.asked("/again-1.raw"), images.asked("/again-2.raw")
    apply(kube, namespace, operating.image("again", second, **kept))
    operator.wait_for("image/again", namespace)
    after = kube.get("image", "again", "-n", namespace)
    assert after["metadata"]["uid"] != found["metadata"]["uid"]
    assert after["status"]["uuid"] == found["status"]["uuid"]
    assert after["status"]["history"] == found["status"]["history"]
    back = {"checksum": "sha256:" + hashlib.sha256(old).hexdigest(), **kept}
    apply(kube, namespace, operating.image("again", first, **back))
    wanted = hashlib.sha256(old).hexdigest()
    operator.until(lambda: operating.ready(kube.get("image", "again", "-n", namespace))[0] == "True")
    assert kube.get("image", "again", "-n", namespace)["status"]["digests"]["sha256"] == wanted
    assert (images.asked("/again-1.raw"), images.asked("/again-2.raw")) == asked


def test_an_image_that_is_deleted_while_it_comes_leaves_nothing(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    url = images.add("/slow-doomed.raw", make.raw(16 * 1024 * 1024, seed=7))
    images.hold_after = 1024 * 1024
    images.held.add("/slow-doomed.raw")
    apply(kube, namespace, operating.image("slow-doomed", url))
    operator.until(lambda: images.sent.get("/slow-doomed.raw", 0) >= 1024 * 1024)
    try:
        kube.kubectl("delete", "image", "slow-doomed", "-n", namespace, "--timeout=60s")
        assert images.sent["/slow-doomed.raw"] < len(images.files["/slow-doomed.raw"])
        assert hashlib.sha256(images.files["/slow-doomed.raw"]).hexdigest() not in operator.stored()
    finally:
        images.flow.set()


def test_a_storage_outside_of_the_roots_is_refused(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer, tmp_path: Path
) -> None:
    apply(kube, namespace, operating.storage("elsewhere", tmp_path / "elsewhere"))

    def denied() -> bool:
        return operating.ready(kube.get("backupstorage", "elsewhere")) == ("False", "PolicyDenied")

    operator.until(denied)
    assert not (tmp_path / "elsewhere").exists()
    url = images.add("/denied.raw", make.raw(seed=8))
    apply(kube, namespace, operating.image("denied", url, backupStorages=["elsewhere"]))

    def waits() -> bool:
        return operating.ready(kube.get("image", "denied", "-n", namespace))[0] == "False"

    operator.until(waits)
    assert images.asked("/denied.raw") == 0
    kube.kubectl("delete", "image", "denied", "-n", namespace, "--timeout=60s")
    kube.kubectl("delete", "backupstorage", "elsewhere", "--timeout=60s")


def test_a_storage_deleted_before_its_images_goes_after_them(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    """As Flux prunes: in any order, and without waiting for one to be gone."""
    apply(kube, namespace, operating.storage("second", operator.root / "second"))
    content = make.raw(seed=9)
    url = images.add("/pruned.raw", content)
    apply(kube, namespace, operating.image("pruned", url, backupStorages=["second"], deletionPolicy="Direct"))
    operator.wait_for("image/pruned", namespace)
    kube.kubectl("delete", "backupstorage", "second", "--wait=false")
    assert operator.stored("second")
    assert kube.get("backupstorage", "second")["metadata"]["deletionTimestamp"]
    kube.kubectl("delete", "image", "pruned", "-n", namespace, "--wait=false")
    kube.kubectl("wait", "--for=delete", "backupstorage/second", "--timeout=60s")
    assert operator.stored("second") == set()
    gone = kube.kubectl("get", "image", "pruned", "-n", namespace, check=False)
    assert "NotFound" in gone.stderr


def test_a_namespace_goes_with_its_images(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    apply(kube, namespace, operating.image("inside", images.add("/inside.raw", make.raw(seed=10))))
    operator.wait_for("image/inside", namespace)
    kube.kubectl("delete", "namespace", namespace, "--timeout=60s")


def test_writers_that_never_rest_do_not_keep_an_image_from_ready(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    """Their annotations and labels are all there in the end, and so is our status: nobody's write is lost."""
    apply(kube, namespace, operating.image("stormy", images.add("/stormy.raw", make.raw(seed=11))))
    path = f"/apis/goldmaster.dev/v1alpha1/namespaces/{namespace}/images/stormy"
    stop, written = threading.Event(), [0, 0]

    def write(number: int) -> None:
        while not stop.is_set() and written[number] < 2000:
            written[number] += 1
            patch = {"metadata": {"annotations": {f"example.org/{number}": str(written[number])}}}
            assert kube.admin.merge(path, patch).ok

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        operator.wait_for("image/stormy", namespace)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    found = kube.get("image", "stormy", "-n", namespace)
    ours = {name: value for name, value in found["metadata"]["annotations"].items() if name.startswith("example.org/")}
    assert ours == {f"example.org/{number}": str(written[number]) for number in range(2)}
    assert operating.ready(found) == ("True", "Succeeded")
    kube.kubectl("delete", "image", "stormy", "-n", namespace, "--timeout=60s")


def test_a_missing_source_is_told(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    apply(kube, namespace, operating.image("nowhere", f"http://127.0.0.1:{images.port}/nowhere.raw"))

    def stalled() -> bool:
        return operating.ready(kube.get("image", "nowhere", "-n", namespace)) == ("False", "SourceNotFound")

    operator.until(stalled)
    conditions = kube.get("image", "nowhere", "-n", namespace)["status"]["conditions"]
    assert {"Stalled": "True"}.items() <= {entry["type"]: entry["status"] for entry in conditions}.items()
    url = images.add("/nowhere.raw", make.raw(seed=12))
    asked = "goldmaster.dev/requestedAt=now"
    kube.kubectl("annotate", "image", "nowhere", "-n", namespace, asked)
    operator.wait_for("image/nowhere", namespace)
    assert url


def test_a_spec_of_another_version_is_stalled_and_can_be_deleted(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    """The CRD on the server is laxer than this version knows: the object says so and nothing else is disturbed."""
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/images.goldmaster.dev"
    strict = kube.admin.get(crd).body
    schema = strict["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["platform"]
    choices = schema.pop("enum")
    url = images.add("/newer.raw", make.raw(seed=13))
    try:
        assert kube.admin.replace(crd, strict).ok
        newer = operating.image("newer", url, platform="Plan9")
        fixtures.eventually(
            lambda: (
                kube.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(newer), check=False).returncode == 0
            )
        )
        operator.until(lambda: operating.ready(kube.get("image", "newer", "-n", namespace)) == ("False", "InvalidSpec"))
        assert "spec.platform" in json.dumps(kube.get("image", "newer", "-n", namespace)["status"])
        apply(kube, namespace, operating.image("older", url))
        operator.wait_for("image/older", namespace)
        kube.kubectl("delete", "image", "newer", "-n", namespace, "--timeout=60s")
    finally:
        again = kube.admin.get(crd).body
        version = again["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        version["platform"]["enum"] = choices
        assert kube.admin.replace(crd, again).ok
