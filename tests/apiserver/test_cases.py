"""The table of good and bad manifests, run through a real API server: it must say what `goldmaster validate` says."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.gitops import crds
from controller.model import admission
from tests.apiserver import client, cluster

TABLE = Path(__file__).resolve().parents[1] / "data" / "manifests" / "cases.yaml"
CASES: list[dict[str, Any]] = [
    case for case in yaml.safe_load(TABLE.read_text(encoding="utf-8"))["cases"] if not case.get("standaloneOnly")
]

pytestmark = pytest.mark.needs_kube


@pytest.fixture(scope="module")
def standalone() -> admission.Admission:
    return crds.admission()


@pytest.fixture
def stored(kube: cluster.Cluster, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """The object of a change case before the change; really stored, as a dry run stores nothing to change."""
    old = request.param["old"]
    answer = kube.admin.create(collection(old), old)
    assert answer.ok, f"the old object of the case is refused: {answer.message}"
    yield answer.body
    kube.admin.delete(f"{collection(old)}/{old['metadata']['name']}")


@pytest.mark.parametrize("case", [case for case in CASES if "manifest" in case], ids=lambda case: case["name"])
def test_a_manifest_gets_the_same_verdict(
    case: dict[str, Any], kube: cluster.Cluster, standalone: admission.Admission
) -> None:
    manifest = case["manifest"]
    answer = kube.admin.create(collection(manifest), manifest, dry_run=True)
    compare(case, answer, standalone.review(manifest))


@pytest.mark.parametrize(
    ("case", "stored"),
    [pytest.param(case, case, id=case["name"]) for case in CASES if "new" in case],
    indirect=["stored"],
)
def test_a_change_gets_the_same_verdict(
    case: dict[str, Any], stored: dict[str, Any], kube: cluster.Cluster, standalone: admission.Admission
) -> None:
    new = case["new"]
    metadata = {**new["metadata"], "resourceVersion": stored["metadata"]["resourceVersion"]}
    answer = kube.admin.replace(
        f"{collection(new)}/{new['metadata']['name']}", {**new, "metadata": metadata}, dry_run=True
    )
    compare(case, answer, standalone.review(new, standalone.review(case["old"]).document))


def test_each_case_is_of_one_of_the_two_forms() -> None:
    """A misspelt key in the table leaves no case out."""
    assert len(CASES) >= 60
    assert all(("manifest" in case) != ("new" in case and "old" in case) for case in CASES)


def collection(document: dict[str, Any]) -> str:
    if document["kind"] == "BackupStorage":
        return "/apis/goldmaster.dev/v1alpha1/backupstorages"
    namespace = document["metadata"].get("namespace", "default")
    return f"/apis/goldmaster.dev/v1alpha1/namespaces/{namespace}/images"


def compare(case: dict[str, Any], answer: client.Answer, verdict: admission.Verdict) -> None:
    """Same verdict, same field, same defaults."""
    paths = {problem.path for problem in verdict.problems}
    said = f"the API server says {answer.message or 'valid'!r}, standalone mode {paths or 'valid'!r}"
    assert answer.ok == (not paths) == case["valid"], f"the table says valid={case['valid']}, {said}"
    if answer.ok:
        assert answer.body["spec"] == verdict.document["spec"]
        return
    for named in answer.fields, paths:
        assert any(names(path, case["field"]) for path in named), f"{case['field']} is not named: {said}"
    # Standalone mode may say more at once: a server that cannot decode a document says nothing else about it.
    for field in answer.fields:
        assert any(lies_along(field, path) for path in paths), f"{field} is not named by both: {said}"


def names(path: str, field: str) -> bool:
    """Whether a path holds the field as whole segments: spec.url, or labels in metadata.labels.tier."""
    return re.search(rf"(?<![^.]){re.escape(field)}(?![^.\[])", path) is not None


def lies_along(one: str, other: str) -> bool:
    """Whether one path is the other or leads to it: a server names the map, standalone mode the entry."""
    short, long = sorted((one, other), key=len)
    return re.match(rf"{re.escape(short)}(?![^.\[])", long) is not None
