"""What Flux and Argo CD are given: CEL is tried by the API server's own interpreter, merging by kubectl."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.apiserver import cluster, fixtures, operating
from tests.unit.engine import life

pytestmark = pytest.mark.needs_kube
GITOPS = Path(__file__).resolve().parents[2] / "manifests" / "gitops"
VERDICTS = {"inProgress": life.IN_PROGRESS, "failed": life.FAILED, "current": life.CURRENT}
MOMENTS = [moment for moment in life.moments() if moment[2] != life.TERMINATING]
SPECS: dict[str, dict[str, Any]] = {
    "Image": operating.image("judged", "https://images.example/a"),
    "BackupStorage": operating.storage("judged", Path("/srv/judged")),
}
PATHS = {
    "Image": "/apis/goldmaster.dev/v1alpha1/namespaces/default/images",
    "BackupStorage": "/apis/goldmaster.dev/v1alpha1/backupstorages",
}
_FIELD = re.compile(r"(?<![a-z.])(?=(status|metadata)[.])")
"""Flux hands the fields to an expression, a policy the object."""
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"


def expressions(kind: str) -> dict[str, str]:
    documents = yaml.safe_load_all((GITOPS / "flux.yaml").read_text())
    checks = [check for document in documents for check in document["spec"].get("healthCheckExprs", [])]
    (found,) = (check for check in checks if check["kind"] == kind)
    assert found["apiVersion"] == "goldmaster.dev/v1alpha1"
    return {name: found[name] for name in VERDICTS}


def judging(kind: str) -> list[tuple[str, dict[str, Any]]]:
    """A policy that refuses every status write and says, in doing so, what Flux's expressions make of it."""
    said = " + ' ' + ".join(
        f"'{name}=' + string({_FIELD.sub('object.', text)})" for name, text in expressions(kind).items()
    )
    rule = {"apiGroups": ["goldmaster.dev"], "apiVersions": ["v1alpha1"], "operations": ["UPDATE"]}
    spec = {
        "matchConstraints": {"resourceRules": [rule | {"resources": [f"{PATHS[kind].rsplit('/', 1)[1]}/status"]}]},
        "validations": [{"expression": "false", "messageExpression": said}],
    }
    name = f"judge-{kind.lower()}"
    common = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    binding = {"policyName": name, "validationActions": ["Deny"]}
    return [
        (POLICIES, common | {"kind": "ValidatingAdmissionPolicy", "spec": spec}),
        (f"{POLICIES[:-3]}ybindings", common | {"kind": "ValidatingAdmissionPolicyBinding", "spec": binding}),
    ]


@pytest.fixture(scope="module", params=["Image", "BackupStorage"])
def judge(request: pytest.FixtureRequest, operated: cluster.Cluster) -> Iterator[tuple[str, cluster.Cluster]]:
    """Yield the kind and the server, while a policy there judges statuses of that kind."""
    kind = request.param
    made = judging(kind)
    answer = operated.admin.create(PATHS[kind], SPECS[kind])
    assert answer.ok, answer.message
    for path, document in made:
        answer = operated.admin.create(path, document)
        assert answer.ok, answer.message
    fixtures.eventually(lambda: bool(verdicts(operated, kind, {"metadata": {"generation": 1}, "status": {}})))
    yield kind, operated
    for path, document in made:
        operated.admin.delete(f"{path}/{document['metadata']['name']}")
    operated.admin.delete(f"{PATHS[kind]}/judged")


def verdicts(kube: cluster.Cluster, kind: str, found: dict[str, Any]) -> list[str]:
    """Return what Flux would find of this status; the object on the server has the generation 1."""
    path = f"{PATHS[kind]}/judged"
    status = dict(found["status"])
    if "observedGeneration" in status:
        status["observedGeneration"] = 1 if status["observedGeneration"] == found["metadata"]["generation"] else 2
    answer = kube.admin.replace(f"{path}/status", kube.admin.get(path).body | {"status": status}, dry_run=True)
    told = dict(re.findall(r"(inProgress|failed|current)=(true|false)", answer.message))
    return [VERDICTS[name] for name, value in told.items() if value == "true"]


def test_flux_finds_exactly_what_is_meant(judge: tuple[str, cluster.Cluster]) -> None:
    """Exactly one expression is true, so that the order in which Flux asks them does not matter."""
    kind, kube = judge
    ours = [moment for moment in MOMENTS if moment[1]["kind"] == kind]
    assert len(ours) >= 2
    assert {name: verdicts(kube, kind, found) for name, found, _ in ours} == {name: [meant] for name, _, meant in ours}


def test_kubectl_merges_the_health_checks_into_what_argo_cd_has(kube: cluster.Cluster, kube_namespace: str) -> None:
    kube.kubectl("create", "configmap", "argocd-cm", "-n", kube_namespace, "--from-literal=url=https://argocd.example")
    patch = str(GITOPS / "argocd-health.yaml")
    kube.kubectl("patch", "configmap", "argocd-cm", "-n", kube_namespace, "--patch-file", patch)
    data = kube.get("configmap", "argocd-cm", "-n", kube_namespace)["data"]
    scripts = [value for key, value in data.items() if key.startswith("resource.customizations.health.goldmaster.dev_")]
    assert data["url"] == "https://argocd.example"
    assert len(scripts) == 2
    assert scripts[0] == scripts[1]
    assert "Degraded" in scripts[0]


def test_both_kinds_are_judged_alike() -> None:
    assert expressions("Image") == expressions("BackupStorage")
