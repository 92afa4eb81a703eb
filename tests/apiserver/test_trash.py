"""`goldmaster trash … --kube`, as the papers have it run in the operator's Pod: there its storages are mounted.

No Pod runs here. It is the same command with the Pod's account and the Pod's storages, beside the operator.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.apiserver import cluster, fixtures, operating, person
from tests.apiserver.image_server import ImageServer
from tests.apiserver.operating import OperatorProcess
from tests.apiserver.person import Person
from tests.fakes import images as make

pytestmark = pytest.mark.needs_kube
IMAGES = "/apis/goldmaster.dev/v1alpha1/namespaces/default/images"
IN_NAMESPACE = ("-n", "default")


@pytest.fixture
def process(emptied: cluster.Cluster, folder: Path) -> Iterator[OperatorProcess]:
    started = OperatorProcess(emptied, folder).start()
    emptied.kubectl("apply", "-f", "-", stdin=json.dumps(operating.storage("main", started.root / "main")))
    yield started
    assert started.stop() == 0


@pytest.fixture
def pod(process: OperatorProcess) -> Person:
    """Who runs a command by `kubectl exec` in the Pod."""
    return Person(process.kubeconfig, operating.NAMESPACE)


def look(process: OperatorProcess, name: str) -> dict[str, Any]:
    return process.kube.admin.get(f"{IMAGES}/{name}").body


def put(process: OperatorProcess, document: dict[str, Any]) -> dict[str, Any]:
    """Apply an Image, and return it once it is Ready."""
    name = document["metadata"]["name"]
    operating.apply(process.kube, "default", document)
    process.until(lambda: operating.ready(look(process, name)) == ("True", "Succeeded"))
    return look(process, name)


def delete(process: OperatorProcess, name: str) -> None:
    """Delete an Image, and return once it is gone."""
    process.kube.kubectl("delete", "image", name, *IN_NAMESPACE, "--timeout=60s")


def test_what_was_deleted_is_listed_recovered_without_a_download_and_let_go(
    process: OperatorProcess, pod: Person, images: ImageServer
) -> None:
    url = images.add("/trashed.raw", make.raw(seed=71))
    before = put(process, operating.image("trashed", url, deletionPolicy="Never"))
    assert pod.runs("trash", "list").err == "the trash is empty\n"
    delete(process, "trashed")

    header, row = pod.well("trash", "list").splitlines()
    assert header.split()[:4] == ["IMAGE", "UUID", "STORAGE", "SIZE"]
    assert row.split()[:3] == ["default/trashed", before["status"]["uuid"], "main"]
    (record,) = json.loads(pod.well("trash", "list", "-o", "json"))
    assert record["contents"] == list(process.stored())

    said = pod.runs("trash", "recover", "trashed", *IN_NAMESPACE)
    assert said.code == 0, said
    manifest = yaml.safe_load(said.out)
    assert "uuid" not in manifest["spec"]
    assert f"its name brings uuid {before['status']['uuid']} back" in said.err
    after = put(process, manifest)
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["status"]["uuid"] == before["status"]["uuid"]
    assert images.asked("/trashed.raw") == 1
    assert pod.runs("trash", "recover", "trashed", *IN_NAMESPACE).code == 8

    delete(process, "trashed")
    assert pod.runs("trash", "expunge", "trashed").code == 8, "that is the namespace of the Pod"
    gone = pod.well("trash", "expunge", "trashed", *IN_NAMESPACE, "--yes")
    assert gone.startswith("default/trashed: expunged from main, ")
    assert process.stored() == set()
    assert pod.runs("trash", "list").err == "the trash is empty\n"


def test_nothing_of_an_image_that_lives_is_expunged(process: OperatorProcess, pod: Person, images: ImageServer) -> None:
    """Its record is put back as if the operator, which is stopped for that, had not come to it yet."""
    document = operating.image("alive", images.add("/alive.raw", make.raw(seed=72)), deletionPolicy="Never")
    put(process, document)
    delete(process, "alive")
    (record,) = (process.root / "main" / "trash").iterdir()
    text = record.read_text()
    put(process, document)
    process.stop()
    record.write_text(text)
    said = pod.runs("trash", "expunge", "--all", "--yes")
    assert said.code == 4
    assert "lives; nothing of it was expunged" in said.err
    assert len(process.stored()) == 1


def test_what_cannot_be_reached_from_here_is_named_and_not_called_empty(
    process: OperatorProcess, images: ImageServer, folder: Path
) -> None:
    """As on a laptop. The operator's root is mounted here; a second storage is on no machine at all."""
    kube = process.kube
    put(process, operating.image("here", images.add("/here.raw", make.raw(seed=73)), backupStorages=["main"]))
    delete(process, "here")
    operating.apply(kube, "default", operating.storage("away", folder / "nobody-has-this"))
    fixtures.eventually(lambda: "status" in kube.get("backupstorage", "away"))
    pair = {"client-certificate": str(kube.admin_pair.certificate), "client-key": str(kube.admin_pair.key)}
    (folder / "admin").mkdir()
    admin = Person(person.kubeconfig(kube, folder / "admin", pair, "default"), "default")
    said = admin.runs("trash", "list")
    assert said.code == 6
    assert said.out.splitlines()[1].split()[0] == "default/here"
    assert str(folder / "nobody-has-this") in said.err
    assert "kubectl -n goldmaster-system exec deploy/goldmaster -- goldmaster trash list --kube" in said.err
    assert admin.runs("trash", "recover", "none").code == 6, "it may lie there"
    assert admin.runs("trash", "expunge", "none", "--yes").code == 6
    assert not (folder / "nobody-has-this").exists()


def test_who_may_only_see_images_is_told_which_right_is_missing(process: OperatorProcess) -> None:
    viewer = person.with_roles(process.kube, "default", "trash-viewer", "goldmaster-view")
    said = viewer.runs("trash", "list")
    assert said.code == 10
    assert "backupstorages" in said.err
