"""A real API server takes the CRDs as they are: established, explained, stored without drift, statuses unpruned."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from controller.gitops import crds
from controller.model import manifest
from controller.model.backup_storage import BackupStorageStatus
from controller.model.image import ImageStatus
from tests.apiserver import cluster
from tests.unit.model import test_manifest as statuses

pytestmark = pytest.mark.needs_kube

CRDS: list[dict[str, Any]] = [dict(document) for document in crds.documents()]
PLURALS = [crd["spec"]["names"]["plural"] for crd in CRDS]
SPECS = {"Image": {"url": "https://h.example/a"}, "BackupStorage": {"type": "ImageStore", "imageStore": {"path": "/a"}}}


@pytest.mark.parametrize("crd", CRDS, ids=PLURALS)
def test_it_is_established_and_structural(kube: cluster.Cluster, crd: dict[str, Any]) -> None:
    found = kube.get("crd", crd["metadata"]["name"])
    conditions = {condition["type"]: condition["status"] for condition in found["status"]["conditions"]}
    assert conditions == {"Established": "True", "NamesAccepted": "True"}  # NonStructuralSchema would be a third
    assert found["status"]["acceptedNames"] == crd["spec"]["names"]


def test_what_is_stored_is_what_the_files_say(kube: cluster.Cluster) -> None:
    """No default of the server differs from the files: GitOps tools see no drift."""
    kube.kubectl("diff", "--server-side", "-k", str(crds.directory()))  # exit code 1 if they differ


@pytest.mark.parametrize("crd", CRDS, ids=PLURALS)
def test_every_description_is_published(kube: cluster.Cluster, crd: dict[str, Any]) -> None:
    """Where kubectl explain and editors look: the OpenAPI document of the group."""
    kind = crd["spec"]["names"]["kind"]
    published = kube.admin.get("/openapi/v3/apis/goldmaster.dev/v1alpha1").body["components"]["schemas"]
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    ours, theirs = dict(descriptions(schema)), dict(descriptions(published[f"dev.goldmaster.v1alpha1.{kind}"]))
    envelope = {"apiVersion", "kind", "metadata"}  # described by the server itself
    assert {path: text for path, text in ours.items() if path not in envelope}.items() <= theirs.items()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("images", "disk image that a VM can start from"),
        ("gmi.spec.checksum", "bytes as downloaded"),
        ("image.spec.retry.initialBackoff", "Default 5s"),
        ("image.status.conditions", "Available"),
        ("backupstorage.spec.imageStore.path", "Directory that holds the files"),
    ],
)
def test_kubectl_explains_a_field(kube: cluster.Cluster, path: str, says: str) -> None:
    assert says in " ".join(kube.kubectl("explain", path).stdout.split())


@pytest.mark.parametrize("crd", CRDS, ids=PLURALS)
def test_kubectl_get_has_the_columns(kube: cluster.Cluster, stored: dict[str, str], crd: dict[str, Any]) -> None:
    columns = crd["spec"]["versions"][0]["additionalPrinterColumns"]
    for option, most in ([], 0), (["-o", "wide"], 1):
        table = kube.kubectl("get", crd["spec"]["names"]["shortNames"][0], "--all-namespaces", *option).stdout
        expected = [column["name"].upper() for column in columns if column.get("priority", 0) <= most]
        header = table.splitlines()[0].split()
        assert [name for name in header if name not in {"NAMESPACE", "NAME"}] == expected
        assert any("status" in line.split() for line in table.splitlines()[1:])


def test_the_category_lists_all_kinds(kube: cluster.Cluster, stored: dict[str, str]) -> None:
    listed = kube.kubectl("get", "goldmaster", "--all-namespaces", "-o", "name").stdout.split()
    assert {line.split("/")[0] for line in listed} == {f"{kind.lower()}.goldmaster.dev" for kind in stored}


@pytest.fixture(scope="module")
def stored(kube: cluster.Cluster) -> Iterator[dict[str, str]]:
    """Make one object of each kind, named `status`, and return the path of each by its kind."""
    found = {}
    for crd in CRDS:
        kind, plural = crd["spec"]["names"]["kind"], crd["spec"]["names"]["plural"]
        scope = "namespaces/default/" if crd["spec"]["scope"] == "Namespaced" else ""
        collection = f"/apis/goldmaster.dev/v1alpha1/{scope}{plural}"
        document = {"apiVersion": "goldmaster.dev/v1alpha1", "kind": kind, "metadata": {"name": "status"}}
        answer = kube.admin.create(collection, document | {"spec": SPECS[kind]})
        assert answer.ok, answer.message
        found[kind] = f"{collection}/status"
    yield found
    for path in found.values():
        kube.admin.delete(path)


@given(statuses.image_statuses)
@settings(max_examples=50)
def test_the_server_keeps_all_of_an_image_status(
    kube: cluster.Cluster, stored: dict[str, str], status: ImageStatus
) -> None:
    keeps(kube, stored["Image"], manifest.image_status_to_dict(status))


@given(statuses.storage_statuses)
@settings(max_examples=30)
def test_the_server_keeps_all_of_a_storage_status(
    kube: cluster.Cluster, stored: dict[str, str], status: BackupStorageStatus
) -> None:
    keeps(kube, stored["BackupStorage"], manifest.storage_status_to_dict(status))


def test_a_full_status_is_kept(kube: cluster.Cluster, stored: dict[str, str]) -> None:
    keeps(kube, stored["Image"], manifest.image_status_to_dict(statuses.FULL_STATUS))
    keeps(kube, stored["BackupStorage"], manifest.storage_status_to_dict(statuses.FULL_STORAGE_STATUS))


def test_a_status_write_leaves_the_spec_and_the_generation_alone(kube: cluster.Cluster, stored: dict[str, str]) -> None:
    before = kube.admin.get(stored["Image"]).body
    meddling = before | {"spec": {"url": "https://evil.example/a"}, "status": {"phase": "Ready"}}
    after = kube.admin.replace(f"{stored['Image']}/status", meddling, dry_run=True)
    assert after.ok
    assert after.body["spec"] == before["spec"]
    assert after.body["metadata"]["generation"] == before["metadata"]["generation"] == 1


def test_a_storage_that_nobody_probed_says_connecting(kube: cluster.Cluster) -> None:
    """Also where no operator runs; and applying it again shows no drift."""
    spec = {"type": "ImageStore", "imageStore": {"path": "/srv/unprobed"}}
    storage = {"apiVersion": "goldmaster.dev/v1alpha1", "kind": "BackupStorage", "metadata": {"name": "unprobed"}}
    manifest_text = json.dumps(storage | {"spec": spec})
    kube.kubectl("apply", "-f", "-", stdin=manifest_text)
    assert kube.get("backupstorage", "unprobed")["status"] == {"status": "Connecting"}
    assert kube.kubectl("get", "backupstorages", "unprobed").stdout.splitlines()[1].split()[2] == "Connecting"
    kube.kubectl("diff", "-f", "-", stdin=manifest_text)
    kube.kubectl("delete", "backupstorage", "unprobed")


def keeps(kube: cluster.Cluster, path: str, status: dict[str, Any]) -> None:
    """Strict validation refuses a field that would be pruned, and the answer holds what is stored."""
    whole = kube.admin.get(path).body | {"status": json.loads(json.dumps(status))}
    answer = kube.admin.replace(f"{path}/status", whole, dry_run=True)
    assert answer.ok, answer.message
    assert answer.body["status"] == whole["status"]


def descriptions(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the description of each field, by its path."""
    for name, child in schema.get("properties", {}).items():
        yield (field := f"{path}.{name}".removeprefix(".")), child.get("description", "")
        yield from descriptions(child, field)
    if "items" in schema:
        yield from descriptions(schema["items"], f"{path}[]")
