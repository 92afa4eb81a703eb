"""What kubectl alone tells and does: columns, waiting, apply in both ways without drift, deletion in any order."""

import itertools
import json
import re

import pytest

from tests.apiserver import cluster, operating
from tests.apiserver.image_server import ImageServer
from tests.apiserver.operating import OperatorProcess, apply
from tests.fakes import images as make

pytestmark = pytest.mark.needs_kube
AGE = re.compile(r"\d+[smh]")


@pytest.fixture(scope="module")
def kube(operated: cluster.Cluster) -> cluster.Cluster:
    """In this module, the API server is the one that has an operator."""
    return operated


@pytest.fixture
def namespace(kube_namespace: str) -> str:
    return kube_namespace


def row(kube: cluster.Cluster, namespace: str, name: str, *flags: str) -> dict[str, str]:
    """Return a line of `kubectl get` by its header; columns are as wide as the header and the longest value."""
    header, *lines = kube.kubectl("get", "images", "-n", namespace, *flags).stdout.splitlines()
    starts = [found.start() for found in re.finditer(r"\S+", header)]
    line = next(line for line in lines if line.startswith(f"{name} "))
    cells = [line[start:end].strip() for start, end in itertools.zip_longest(starts, starts[1:])]
    return dict(zip(header.split(), cells, strict=True))


def test_a_glance_tells_whether_it_is_there_how_big_what_is_wrong_how_old(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    content = make.qcow2()
    apply(kube, namespace, operating.image("good", images.add("/glance.qcow2", content)))
    apply(kube, namespace, operating.image("bad", f"http://127.0.0.1:{images.port}/no-such-image"))
    operator.wait_for("image/good", namespace)
    operator.wait_for("image/bad", namespace, "Stalled")
    status = kube.get("image", "good", "-n", namespace)["status"]
    good, bad = row(kube, namespace, "good"), row(kube, namespace, "bad")
    assert (good["PHASE"], good["READY"], good["REASON"], good["FORMAT"]) == ("Ready", "True", "Succeeded", "qcow2")
    assert good["SIZE"] == str(status["size"])
    assert (bad["PHASE"], bad["READY"], bad["REASON"]) == ("Failed", "False", "SourceNotFound")
    assert AGE.fullmatch(good["AGE"])
    assert AGE.fullmatch(bad["AGE"])
    wide = row(kube, namespace, "good", "-o", "wide")
    assert wide["STORED"] == str(len(content))
    assert wide["UUID"] == status["uuid"]
    assert wide["MESSAGE"] == "stored and verified on main"
    assert "404" in row(kube, namespace, "bad", "-o", "wide")["MESSAGE"]


def test_waiting_for_ready_means_this_generation(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    """After an edit kubectl waits for the new bytes, although the old ones are served."""
    apply(kube, namespace, operating.image("moved", images.add("/before.raw", make.raw(seed=21))))
    operator.wait_for("image/moved", namespace)
    images.hold_after, images.held = 1024 * 1024, {"/after.raw"}
    after = operating.image("moved", images.add("/after.raw", make.raw(8 * 1024 * 1024, seed=22)))
    apply(kube, namespace, after)
    try:
        moved = ["-n", namespace, "image/moved"]
        assert kube.kubectl("wait", "--for=condition=Ready", "--timeout=1s", *moved, check=False).returncode != 0
        kube.kubectl("wait", "--for=condition=Available", "--timeout=60s", *moved)
    finally:
        images.flow.set()
    operator.wait_for("image/moved", namespace)
    assert kube.get("image", "moved", "-n", namespace)["status"]["actualSize"] == 8 * 1024 * 1024


@pytest.mark.parametrize("flags", [(), ("--server-side",)], ids=["three-way", "server-side"])
def test_apply_sees_no_drift_after_ready(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer, flags: tuple[str, ...]
) -> None:
    """Neither diff nor a second apply has anything to change; a field that is taken out goes, and nothing else."""
    path = f"/drift-{namespace}.raw"
    url = images.add(path, make.raw(seed=23))
    document = operating.image("steady", url, description="first", retry={"limit": 3})
    apply(kube, namespace, document, *flags)
    operator.wait_for("image/steady", namespace)
    before = kube.get("image", "steady", "-n", namespace)
    kube.kubectl("diff", *flags, "-n", namespace, "-f", "-", stdin=json.dumps(document))
    assert ("unchanged" if not flags else "serverside-applied") in apply(kube, namespace, document, *flags)
    after = kube.get("image", "steady", "-n", namespace)
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    del document["spec"]["retry"]
    apply(kube, namespace, document, *flags)
    operator.until(lambda: operating.ready(kube.get("image", "steady", "-n", namespace)) == ("True", "Succeeded"))
    edited = kube.get("image", "steady", "-n", namespace)
    assert "limit" not in edited["spec"].get("retry", {})
    assert edited["metadata"]["finalizers"] == ["goldmaster.dev/image"]
    assert edited["status"]["digests"] == before["status"]["digests"]
    assert images.asked(path) == 1


@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "between", "last"])
def test_a_storage_and_its_images_go_together_in_any_order(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer, place: int
) -> None:
    """As Flux and Argo CD prune: each deletion is sent without waiting for the one before."""
    order = ["image/one", "image/two"]
    order.insert(place, "backupstorage/doomed")
    root = operator.root / f"doomed-{namespace}"
    apply(kube, namespace, operating.storage("doomed", root))
    for name, seed, policy in (("one", 24, "Direct"), ("two", 25, "Delay")):
        url = images.add(f"/together-{name}.raw", make.raw(seed=seed))
        apply(kube, namespace, operating.image(name, url, backupStorages=["doomed"], deletionPolicy=policy))
    for name in ("one", "two"):
        operator.wait_for(f"image/{name}", namespace)
    for what in order:
        kube.kubectl("delete", what, "-n", namespace, "--wait=false")
    for what in order:
        done = kube.kubectl("wait", "--for=delete", what, "-n", namespace, "--timeout=60s", check=False)
        assert done.returncode == 0 or "NotFound" in done.stderr, f"{done.stderr}\n{operator.tail()}"
    left = [path for path in (root / "objects").rglob("*") if path.is_file() and path.suffix != ".json"]
    assert [path.read_bytes() for path in left] == [make.raw(seed=25)], "what is in the trash stays with its directory"
