"""`kubectl apply -k manifests/` installs what the papers say, and the API server has nothing to object."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.model.admission import Admission
from tests.apiserver import cluster, operating

pytestmark = pytest.mark.needs_kube
MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
Documents = list[dict[str, Any]]


@pytest.fixture(scope="module")
def built(operated: cluster.Cluster) -> Documents:
    return list(yaml.safe_load_all(operated.kubectl("kustomize", str(MANIFESTS)).stdout))


def the(built: Documents, kind: str) -> dict[str, Any]:
    (found,) = (document for document in built if document["kind"] == kind)
    return found


def test_all_of_it_is_accepted_without_a_warning(fragile: cluster.Cluster) -> None:
    """Pod Security warns of a Deployment whose Pods the level `restricted` would not let run. Twice is no change."""
    fragile.kubectl("apply", "--server-side", "--warnings-as-errors", "-k", str(MANIFESTS))
    again = fragile.kubectl("apply", "--server-side", "--warnings-as-errors", "-k", str(MANIFESTS))
    assert "deployment.apps/goldmaster serverside-applied" in again.stdout
    fragile.kubectl("diff", "--server-side", "-k", str(MANIFESTS))
    fragile.kubectl("apply", "--server-side", "-k", str(MANIFESTS / "samples"))
    fragile.kubectl("delete", "-k", str(MANIFESTS / "controller"), "--wait=false")
    assert fragile.get("image", "debian")["spec"]["url"]
    assert fragile.get("crd", "images.goldmaster.dev")["status"]["acceptedNames"]["kind"] == "Image"


def test_the_account_may_do_no_more_than_is_listed(operated: cluster.Cluster) -> None:
    """Least privilege, as the server itself sees it."""
    account = f"system:serviceaccount:{operating.NAMESPACE}:{operating.ACCOUNT}"

    def may(verb: str, what: str, *flags: str) -> bool:
        asked = operated.kubectl("auth", "can-i", verb, what, f"--as={account}", *flags, check=False)
        return asked.stdout.strip() == "yes"

    assert may("patch", "images.goldmaster.dev", "-A")
    assert may("update", "images.goldmaster.dev", "--subresource=status", "-A")
    assert may("update", "leases.coordination.k8s.io/goldmaster", "-n", operating.NAMESPACE)
    for verb_, what in [
        ("delete", "images.goldmaster.dev"),
        ("create", "images.goldmaster.dev"),
        ("update", "images.goldmaster.dev"),
        ("get", "secrets"),
        ("list", "pods"),
        ("list", "namespaces"),
        ("get", "customresourcedefinitions"),
    ]:
        assert not may(verb_, what, "-A"), (verb_, what)
    assert not may("update", "leases.coordination.k8s.io/other", "-n", operating.NAMESPACE)


def test_editors_of_a_namespace_may_edit_its_images(built: Documents) -> None:
    roles = {document["metadata"]["name"]: document for document in built if document["kind"] == "ClusterRole"}
    assert "rbac.authorization.k8s.io/aggregate-to-view" in roles["goldmaster-view"]["metadata"]["labels"]
    (rule,) = roles["goldmaster-edit"]["rules"]
    assert rule["resources"] == ["images"]


def test_the_samples_are_valid_for_both_modes() -> None:
    from controller.gitops import crds

    judge: Admission = crds.admission()
    samples = [path for path in sorted((MANIFESTS / "samples").glob("*.yaml")) if path.name != "kustomization.yaml"]
    for path in samples:
        verdict = judge.review(yaml.safe_load(path.read_text()))
        assert not verdict.problems, (path.name, json.dumps([str(problem) for problem in verdict.problems]))
