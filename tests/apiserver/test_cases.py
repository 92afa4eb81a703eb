"""The table of good and bad manifests, run through a real API server: it must say what `goldmaster validate` says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.gitops import crds
from controller.model import admission
from tests.apiserver import cluster, verdicts

TABLE = Path(__file__).resolve().parents[1] / "data" / "manifests" / "cases.yaml"
CASES: list[dict[str, Any]] = [
    case for case in yaml.load(TABLE.read_bytes(), yaml.CSafeLoader)["cases"] if not case.get("standaloneOnly")
]

pytestmark = pytest.mark.needs_kube


@pytest.fixture(scope="module")
def standalone() -> admission.Admission:
    return crds.admission()


@pytest.fixture
def stored(kube: cluster.Cluster, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """The object of a change case before the change; really stored, as a dry run stores nothing to change."""
    old = request.param["old"]
    answer = kube.admin.create(verdicts.collection(old), old)
    assert answer.ok, f"the old object of the case is refused: {answer.message}"
    yield answer.body
    kube.admin.delete(f"{verdicts.collection(old)}/{old['metadata']['name']}")


@pytest.mark.parametrize("case", [case for case in CASES if "manifest" in case], ids=lambda case: case["name"])
def test_a_manifest_gets_the_same_verdict(
    case: dict[str, Any], kube: cluster.Cluster, standalone: admission.Admission
) -> None:
    manifest = case["manifest"]
    answer = kube.admin.create(verdicts.collection(manifest), manifest, dry_run=True)
    verdicts.agree(answer, standalone.review(manifest), field=case.get("field"))
    assert answer.ok == case["valid"]


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
        f"{verdicts.collection(new)}/{new['metadata']['name']}", {**new, "metadata": metadata}, dry_run=True
    )
    before = standalone.review(case["old"]).document
    verdicts.agree(answer, standalone.review(new, before), field=case.get("field"))
    assert answer.ok == case["valid"]
