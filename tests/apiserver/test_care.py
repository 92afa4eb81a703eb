"""The controller is upgraded, removed, restored: no Image goes with it, and no byte is fetched twice."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver import cluster, fixtures, operating
from tests.apiserver.image_server import ImageServer
from tests.apiserver.operating import OperatorProcess
from tests.fakes import images as make

pytestmark = pytest.mark.needs_kube
ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
GROUP = "/apis/goldmaster.dev/v1alpha1"
MIB = 1024 * 1024


@pytest.fixture
def first(fragile: cluster.Cluster, folder: Path) -> Iterator[OperatorProcess]:
    """An operator on a server of its own, with the storage `main`."""
    process = OperatorProcess(fragile, folder, name="first").start()
    try:
        fragile.kubectl("apply", "-f", "-", stdin=json.dumps(operating.storage("main", process.root / "main")))
        yield process
    finally:
        process.stop()


@pytest.fixture
def later(fragile: cluster.Cluster, folder: Path) -> Iterator[list[OperatorProcess]]:
    """What a test starts after the first one; stopped at its end."""
    started: list[OperatorProcess] = []
    yield started
    for process in started:
        process.stop()


def image(kube: cluster.Cluster, name: str) -> dict[str, Any]:
    return kube.admin.get(f"{GROUP}/namespaces/default/images/{name}").body


def put(process: OperatorProcess, name: str, url: str, **spec: object) -> None:
    process.kube.kubectl("apply", "-f", "-", stdin=json.dumps(operating.image(name, url, **spec)))


def becomes_ready(process: OperatorProcess, name: str) -> None:
    process.until(lambda: operating.ready(image(process.kube, name)) == ("True", "Succeeded"))


def test_an_upgrade_in_mid_transfer_goes_on_where_it_was(
    fragile: cluster.Cluster, first: OperatorProcess, later: list[OperatorProcess], images: ImageServer, folder: Path
) -> None:
    """As the papers say it: apply the manifests; the Deployment stops the old Pod and starts a new one."""
    content = make.raw(24 * MIB, seed=31)
    url = images.add("/upgrade.raw", content)
    images.hold_after, images.held = 20 * MIB, {"/upgrade.raw"}
    images.flow.clear()
    put(first, "big", url)
    first.until(lambda: operating.arrived_bytes(image(fragile, "big")) >= 16 * MIB)
    fragile.kubectl("apply", "--server-side", "-k", str(MANIFESTS))
    assert first.stop() == 0
    kept = operating.kept_bytes(first.root / "main")
    assert kept >= 16 * MIB
    images.flow.set()
    later.append(OperatorProcess(fragile, folder, name="second").start())
    becomes_ready(later[0], "big")
    assert [start for path, start in images.requests if path == "/upgrade.raw"][-1] >= kept
    assert image(fragile, "big")["status"]["actualSize"] == len(content)


def test_removing_the_controller_removes_no_image_and_a_new_one_fetches_nothing(
    fragile: cluster.Cluster, first: OperatorProcess, later: list[OperatorProcess], images: ImageServer, folder: Path
) -> None:
    """Its namespace, rights and Lease go. The view of the next one is built from the objects and the storages."""
    fragile.kubectl("apply", "--server-side", "-k", str(MANIFESTS))
    for number in range(3):
        put(first, f"kept-{number}", images.add(f"/kept-{number}.raw", make.raw(seed=40 + number)))
        becomes_ready(first, f"kept-{number}")
    before = [image(fragile, f"kept-{number}") for number in range(3)]
    first.stop()
    claim = ["pvc", "goldmaster-images", "-n", operating.NAMESPACE]
    fragile.kubectl("patch", *claim, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    fragile.kubectl("delete", "-k", str(MANIFESTS / "controller"), "--timeout=60s")
    assert [image(fragile, f"kept-{number}") for number in range(3)] == before, "untouched, to the version"
    asked = len(images.requests)
    operating.install_rights(fragile)
    fixtures.eventually(
        lambda: fragile.kubectl("get", "sa", "goldmaster", "-n", operating.NAMESPACE, check=False).returncode == 0
    )
    later.append(OperatorProcess(fragile, folder, name="second").start())
    later[0].until(lambda: bool(later[0].said("operator.leads")))
    put(later[0], "new", images.add("/new.raw", make.raw(seed=44)))
    becomes_ready(later[0], "new")
    assert [image(fragile, f"kept-{number}") for number in range(3)] == before, "0 writes"
    assert [path for path, _ in images.requests[asked:]] == ["/new.raw"], "0 downloads"


def test_uninstalling_as_the_papers_say_leaves_nothing_stuck(
    fragile: cluster.Cluster, first: OperatorProcess, images: ImageServer
) -> None:
    """Images, storages, controller, CRDs, in this order; the bytes go by the deletion policy of each."""
    paper = (MANIFESTS / "README.md").read_text().split("## Uninstall")[1].split("```sh\n")[2].split("```")[0]
    commands = [line.removeprefix("kubectl ").split() for line in paper.strip().splitlines()]
    fragile.kubectl("apply", "--server-side", "-k", str(MANIFESTS))
    claim = ["pvc", "goldmaster-images", "-n", operating.NAMESPACE]
    fragile.kubectl("patch", *claim, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    for name, policy in (("gone", "Direct"), ("trashed", "Delay")):
        put(first, name, images.add(f"/{name}.raw", make.raw(seed=len(name))), deletionPolicy=policy)
        becomes_ready(first, name)
    for command in commands:
        if command[-1].startswith("manifests/"):  # the Pod goes with its Deployment
            first.stop()
        fragile.kubectl(*[str(ROOT / word) if "/" in word else word for word in command], "--timeout=60s")
    assert "goldmaster" not in fragile.kubectl("get", "crds,clusterroles,clusterrolebindings", "-o", "name").stdout
    assert "NotFound" in fragile.kubectl("get", "namespace", operating.NAMESPACE, check=False).stderr
    kept = [path for path in (first.root / "main" / "objects").rglob("*") if path.is_file() and path.suffix != ".json"]
    assert len(kept) == 1, "the trashed one"


def test_objects_restored_with_their_status_find_their_bytes(
    fragile: cluster.Cluster, first: OperatorProcess, later: list[OperatorProcess], images: ImageServer, folder: Path
) -> None:
    """A cluster that was lost: the objects are made anew, with other uids; the storage is as it was."""
    put(first, "saved", images.add("/saved.raw", make.raw(seed=51)))
    becomes_ready(first, "saved")
    saved = json.loads(fragile.kubectl("get", "backupstorages,images", "-A", "-o", "json").stdout)
    first.stop()
    for item in saved["items"]:
        path = path_of(item)
        assert fragile.admin.merge(path, {"metadata": {"finalizers": None}}).ok
        assert fragile.admin.delete(path).ok
        for field in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"):
            item["metadata"].pop(field, None)
    asked = len(images.requests)
    text = json.dumps(saved)
    fragile.kubectl("create", "-f", "-", stdin=text)
    fragile.kubectl("replace", "--subresource=status", "-f", "-", stdin=text)
    later.append(OperatorProcess(fragile, folder, name="second").start())
    becomes_ready(later[0], "saved")
    later[0].until(lambda: "observedGeneration" in image(fragile, "saved")["status"])
    old = next(item for item in saved["items"] if item["kind"] == "Image")
    found = image(fragile, "saved")
    assert found["status"]["uuid"] == old["status"]["uuid"] != found["metadata"]["uid"].replace("-", "")
    assert (
        found["status"]["backupStorageRefs"][0]["installPath"] == old["status"]["backupStorageRefs"][0]["installPath"]
    )
    assert len(images.requests) == asked, "0 downloads"


def test_without_the_status_the_storage_says_what_to_do(
    fragile: cluster.Cluster, first: OperatorProcess, later: list[OperatorProcess], images: ImageServer, folder: Path
) -> None:
    """Bytes that another BackupStorage may own are not taken over by guess."""
    first.until(lambda: operating.ready(fragile.get("backupstorage", "main")) == ("True", "Succeeded"))
    first.stop()
    path = f"{GROUP}/backupstorages/main"
    assert fragile.admin.merge(path, {"metadata": {"finalizers": None}}).ok
    assert fragile.admin.delete(path).ok
    fragile.kubectl("create", "-f", "-", stdin=json.dumps(operating.storage("main", first.root / "main")))
    later.append(OperatorProcess(fragile, folder, name="second").start())

    def told() -> bool:
        return operating.ready(fragile.get("backupstorage", "main")) == ("False", "StorageUnavailable")

    later[0].until(told)
    assert "write the latter into" in json.dumps(fragile.get("backupstorage", "main")["status"])


def path_of(item: dict[str, Any]) -> str:
    if item["kind"] == "BackupStorage":
        return f"{GROUP}/backupstorages/{item['metadata']['name']}"
    return f"{GROUP}/namespaces/{item['metadata']['namespace']}/images/{item['metadata']['name']}"
