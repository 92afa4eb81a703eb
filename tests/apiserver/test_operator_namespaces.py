"""Storages that are for some namespaces only: held to in every pass, by the labels as they are now."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from controller.model.manifest import parse_storage_spec
from tests.apiserver import cluster, operating
from tests.apiserver.image_server import ImageServer
from tests.apiserver.operating import OperatorProcess
from tests.fakes import images as make

pytestmark = pytest.mark.needs_kube
GOLD = {"matchLabels": {"tier": "gold"}}


@pytest.fixture(scope="module")
def kube(operated: cluster.Cluster) -> cluster.Cluster:
    """In this module, the API server is the one that has an operator."""
    return operated


@pytest.fixture
def namespace(kube_namespace: str) -> str:
    return kube_namespace


@pytest.fixture(scope="module")
def gold(kube: cluster.Cluster, operator: OperatorProcess) -> Path:
    """The storage `gold`, for namespaces with tier=gold; `main` is the default, and for everybody."""
    path = operator.root / "gold"
    document = operating.storage("gold", path, namespaceSelector=GOLD)
    kube.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    kube.kubectl("wait", "--for=condition=Ready", "backupstorage/gold", "--timeout=60s")
    return path


def apply(kube: cluster.Cluster, namespace: str, name: str, url: str, *storages: str) -> None:
    document = operating.image(name, url, deletionPolicy="Direct")
    if storages:
        document["spec"]["backupStorages"] = list(storages)
    kube.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(document))


def becomes(operator: OperatorProcess, namespace: str, name: str, *ready: str) -> dict[str, Any]:
    kube, seen = operator.kube, {}

    def holds() -> bool:
        seen[name] = kube.get("image", name, "-n", namespace)
        return operating.ready(seen[name]) == ready

    operator.until(holds)
    return seen[name]


def message(found: dict[str, Any]) -> str:
    return str(next(entry["message"] for entry in found["status"]["conditions"] if entry["type"] == "Ready"))


def objects(path: Path) -> int:
    return sum(1 for file in (path / "objects").rglob("*") if file.is_file() and file.suffix != ".json")


def test_a_label_on_the_namespace_opens_the_storage_at_once(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer, gold: Path
) -> None:
    apply(kube, namespace, "opened", images.add("/opened.raw", make.raw(seed=1)), "gold")
    found = becomes(operator, namespace, "opened", "False", "DependencyNotReady")
    assert message(found) == "may not use BackupStorage gold, whose namespaceSelector does not select this namespace"
    assert images.asked("/opened.raw") == 0
    kube.kubectl("label", "namespace", namespace, "tier=gold")
    becomes(operator, namespace, "opened", "True", "Succeeded")
    assert images.asked("/opened.raw") == 1


def test_a_label_that_goes_leaves_what_is_there_and_places_nothing_new(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer, gold: Path
) -> None:
    kube.kubectl("label", "namespace", namespace, "tier=gold")
    apply(kube, namespace, "kept", images.add("/kept.raw", make.raw(seed=2)), "gold")
    becomes(operator, namespace, "kept", "True", "Succeeded")
    count = objects(gold)
    kube.kubectl("label", "namespace", namespace, "tier-")
    operator.until(lambda: "kept on gold" in message(kube.get("image", "kept", "-n", namespace)))
    found = kube.get("image", "kept", "-n", namespace)
    assert operating.ready(found) == ("True", "Succeeded")
    assert [ref["status"] for ref in found["status"]["backupStorageRefs"]] == ["Ready"]
    apply(kube, namespace, "late", images.add("/late.raw", make.raw(seed=3)), "gold")
    becomes(operator, namespace, "late", "False", "DependencyNotReady")
    assert objects(gold) == count
    assert images.asked("/late.raw") == 0
    kube.kubectl("delete", "image", "kept", "late", "-n", namespace, "--timeout=60s")
    assert objects(gold) == count - 1


def test_who_names_no_storage_gets_one_that_is_for_them(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    """A default of their own for some namespaces beside the one for all others."""
    for name, labels in (("own", [{"key": "own", "operator": "Exists"}]), ("rest", [])):
        selector = {"matchExpressions": labels or [{"key": "own", "operator": "DoesNotExist"}]}
        document = operating.storage(f"default-{name}", operator.root / f"default-{name}", namespaceSelector=selector)
        document["metadata"]["annotations"] = {"goldmaster.dev/default": "true"}
        kube.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    kube.kubectl("annotate", "backupstorage", "main", "goldmaster.dev/default-")
    try:
        kube.kubectl("label", "namespace", namespace, "own=")
        apply(kube, namespace, "chosen", images.add("/chosen.raw", make.raw(seed=4)))
        found = becomes(operator, namespace, "chosen", "True", "Succeeded")
        assert [ref["backupStorageName"] for ref in found["status"]["backupStorageRefs"]] == ["default-own"]
    finally:
        kube.kubectl("annotate", "backupstorage", "main", "goldmaster.dev/default=true")
        kube.kubectl("delete", "image", "chosen", "-n", namespace, "--timeout=60s")
        kube.kubectl("delete", "backupstorage", "default-own", "default-rest", "--timeout=60s")


@pytest.mark.parametrize(
    "selector",
    [
        {},
        {"matchLabels": {"tier": "gold"}},
        {"matchLabels": {"empty": ""}},
        {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["gold", "tin"]}]},
        {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["gold"]}]},
        {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": [""]}]},
        {"matchExpressions": [{"key": "tier", "operator": "Exists"}]},
        {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]},
        {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["sel-1", "sel-2"]}]},
        {"matchLabels": {"team": "a"}, "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["tin"]}]},
    ],
    ids=json.dumps,
)
def test_a_selector_selects_what_the_server_itself_selects(kube: cluster.Cluster, selector: dict[str, Any]) -> None:
    """The same selector, as the query of a list, decided by apimachinery."""
    spaces: tuple[dict[str, str], ...] = (
        {},
        {"tier": "gold"},
        {"tier": "tin", "team": "a"},
        {"tier": "", "team": "a"},
        {"empty": "", "team": "b"},
    )
    for number, labels in enumerate(spaces):
        metadata = {"name": f"sel-{number}", "labels": {**labels, "of": "selectors"}}
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        kube.admin.create("/api/v1/namespaces", document)  # the first case makes them, the others find them
    written = ["of=selectors", *(f"{key}={value}" for key, value in selector.get("matchLabels", {}).items())]
    for entry in selector.get("matchExpressions", []):
        key, values = entry["key"], ",".join(entry.get("values", []))
        match entry["operator"]:
            case "In":
                written.append(f"{key} in ({values})")
            case "NotIn":
                written.append(f"{key} notin ({values})")
            case "Exists":
                written.append(key)
            case "DoesNotExist":
                written.append(f"!{key}")
    listed = kube.admin.get(f"/api/v1/namespaces?labelSelector={quote(','.join(written))}")
    assert listed.ok, listed.message
    expected = {item["metadata"]["name"] for item in listed.body["items"]}
    every = kube.admin.get("/api/v1/namespaces?labelSelector=of%3Dselectors").body["items"]
    spec = parse_storage_spec({"type": "ImageStore", "imageStore": {"path": "/x"}, "namespaceSelector": selector})
    assert spec.namespace_selector is not None
    found = {item["metadata"]["name"] for item in every if spec.namespace_selector.matches(item["metadata"]["labels"])}
    assert found == expected
    assert len(every) == len(spaces)


def test_without_the_right_to_list_namespaces_only_selectors_are_not_judged(
    fragile: cluster.Cluster, images: ImageServer, folder: Path
) -> None:
    """As with RBAC of an older version. All else works, and the right is noticed when it comes."""
    role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/goldmaster-controller"
    whole = fragile.admin.get(role).body
    rules = [rule for rule in whole["rules"] if "namespaces" not in rule["resources"]]
    assert len(rules) < len(whole["rules"])
    assert fragile.admin.merge(role, {"rules": rules}).ok
    process = OperatorProcess(fragile, folder, "--list-interval=1s").start()
    try:
        for name, fields in (("open", {}), ("gold", {"namespaceSelector": GOLD})):
            document = operating.storage(name, process.root / name, **fields)
            fragile.kubectl("apply", "-f", "-", stdin=json.dumps(document))
        fragile.kubectl("label", "namespace", "default", "tier=gold")
        apply(fragile, "default", "plain", images.add("/plain.raw", make.raw(seed=5)), "open")
        apply(fragile, "default", "gilded", images.add("/gilded.raw", make.raw(seed=6)), "gold")
        becomes(process, "default", "plain", "True", "Succeeded")
        found = becomes(process, "default", "gilded", "False", "DependencyNotReady")
        assert "cannot be judged" in message(found)
        assert process.said("kube.namespaces_unreadable")
        assert fragile.admin.merge(role, {"rules": whole["rules"]}).ok
        becomes(process, "default", "gilded", "True", "Succeeded")
        assert not process.said("kube.feed_broke")
    finally:
        process.stop()
