"""Each way to install the controller: taken by the server as it is, confined, probed, called with flags it knows."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.cli import operator as verb
from tests.apiserver import assets, cluster, operating
from tests.apiserver.conftest import started

pytestmark = pytest.mark.needs_kube
MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
INSTALLS = [".", "overlays/one-node", "overlays/ha"]
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{operating.NAMESPACE}/leases/goldmaster"
APPLY = ("apply", "--server-side", "--warnings-as-errors", "-k")
Documents = list[dict[str, Any]]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Cluster]:
    """An API server that has nothing of ours but what a test installs."""
    yield from started(tmp_path_factory.mktemp("fresh") / "cluster")


def render(install: str) -> Documents:
    """Return what kubectl would send."""
    kubectl = str(assets.find(os.environ).kubectl)
    done = subprocess.run([kubectl, "kustomize", str(MANIFESTS / install)], capture_output=True, check=True, timeout=60)
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="module", params=INSTALLS)
def built(request: pytest.FixtureRequest) -> Documents:
    return render(request.param)


def the(built: Documents, kind: str) -> dict[str, Any]:
    (found,) = (document for document in built if document["kind"] == kind)
    return found


def pod(built: Documents) -> dict[str, Any]:
    found: dict[str, Any] = the(built, "Deployment")["spec"]["template"]["spec"]
    return found


def container(built: Documents) -> dict[str, Any]:
    (found,) = pod(built)["containers"]
    return dict(found)


@pytest.mark.parametrize("install", INSTALLS)
def test_the_server_takes_it_without_a_warning_and_twice_is_no_change(fresh: cluster.Cluster, install: str) -> None:
    """Pod Security warns of a Deployment whose Pods the namespace would not let run; diff shows a field it lost."""
    folder = str(MANIFESTS / install)
    try:
        fresh.kubectl(*APPLY, folder)
        fresh.kubectl(*APPLY, folder)
        fresh.kubectl("diff", "--server-side", "-k", folder)
        assert fresh.get("pdb", "goldmaster", "-n", operating.NAMESPACE)["spec"]["maxUnavailable"] == 1
    finally:  # no controller runs that would let a volume go
        for what in ("pvc", "pv"):
            name = [what, "goldmaster-images", "-n", operating.NAMESPACE]
            fresh.kubectl("delete", *name, "--wait=false", check=False)
            fresh.kubectl("patch", *name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}', check=False)


def test_the_container_is_confined(built: Documents) -> None:
    assert the(built, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    security = pod(built)["securityContext"]
    assert security["runAsNonRoot"]
    assert security["runAsUser"] >= 10000
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(built)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not any("hostPath" in volume for volume in pod(built)["volumes"])
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod(built))


def test_it_is_probed_where_it_answers(built: Documents) -> None:
    probes = {name: probe["httpGet"] for name, probe in container(built).items() if name.endswith("Probe")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    (port,) = container(built)["ports"]
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert f"--serve=:{port['containerPort']}" in container(built)["args"]
    assert the(built, "Service")["spec"]["ports"][0]["targetPort"] == port["name"]


def test_it_says_what_it_needs_and_is_bounded(built: Documents) -> None:
    resources = container(built)["resources"]
    assert set(resources["requests"]) == {"cpu", "memory"}
    assert "memory" in resources["limits"]
    assert pod(built)["terminationGracePeriodSeconds"] > 30, "transfers get 30 s to leave a resumable partial behind"


def test_everything_that_selects_its_pods_selects_them(built: Documents) -> None:
    labels = the(built, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    assert the(built, "Deployment")["spec"]["selector"]["matchLabels"].items() <= labels
    assert the(built, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels
    assert the(built, "Service")["spec"]["selector"].items() <= labels
    policy = the(built, "NetworkPolicy")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert all("ports" in rule for rule in (*policy["ingress"], *policy["egress"])), "a rule without ports opens all"


def test_it_is_called_with_flags_that_there_are(built: Documents) -> None:
    """Parsed by the command line itself; the folder of the volume is replaced by one that is there."""
    name, *flags = container(built)["args"]
    assert name == "operator"
    (root,) = (flag.split("=")[1] for flag in flags if flag.startswith("--storage-root"))
    assert root in {mount["mountPath"] for mount in container(built)["volumeMounts"]}
    sample = yaml.safe_load((MANIFESTS / "samples" / "storage.yaml").read_text())
    assert Path(sample["spec"]["imageStore"]["path"]).is_relative_to(root)
    context = verb.operator.make_context("operator", [flag.replace(root, "/") for flag in flags])
    assert context.params["serve"] == ("", 8080)
    election = context.params["leader_election"]
    assert election or the(built, "Deployment")["spec"]["strategy"]["type"] == "Recreate", "two must never overlap"


def test_it_runs_as_it_is_called_and_passes_its_probes(
    built: Documents, emptied: cluster.Cluster, folder: Path
) -> None:
    """With the flags of the container, all but the folder of the volume and the port, and the account of manifests."""
    _, *flags = container(built)["args"]
    called = [flag for flag in flags if not flag.startswith(("--storage-root", "--serve"))]
    emptied.admin.delete(LEASE)
    process = operating.OperatorProcess(emptied, folder, *called, "--serve=127.0.0.1:0").start()
    try:
        process.until(lambda: bool(process.said("operator.leads")))
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = container(built)[name]["httpGet"]["path"]
            process.until(lambda path=path: process.probe(path)[0] == 200)  # type: ignore[misc]
        assert process.metric("goldmaster_leader") == 1
        assert bool(process.said("lease.acquired")) == ("--leader-election" in called)
    finally:
        assert process.stop() == 0


def test_two_replicas_have_a_lease_a_volume_and_a_node_each() -> None:
    built = render("overlays/ha")
    spec = the(built, "Deployment")["spec"]
    assert spec["replicas"] == 2
    assert "--leader-election" in container(built)["args"]
    (term,) = pod(built)["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["labelSelector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert the(built, "PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteMany"]
    assert the(built, "PodDisruptionBudget")["spec"]["maxUnavailable"] < spec["replicas"]


def test_one_node_keeps_its_directory_when_the_claim_goes() -> None:
    built = render("overlays/one-node")
    volume, claim = the(built, "PersistentVolume"), the(built, "PersistentVolumeClaim")
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
    reference = volume["spec"]["claimRef"]
    assert (reference["namespace"], reference["name"]) == (claim["metadata"]["namespace"], claim["metadata"]["name"])
    assert claim["spec"]["storageClassName"] == volume["spec"]["storageClassName"] == ""
    assert "--no-leader-election" in container(built)["args"]


def test_crds_and_volumes_are_never_pruned(built: Documents) -> None:
    kinds = {"CustomResourceDefinition", "PersistentVolumeClaim", "PersistentVolume"}
    kept = [document for document in built if document["kind"] in kinds]
    assert len(kept) >= 3
    for document in kept:
        annotations = document["metadata"]["annotations"]
        assert annotations["kustomize.toolkit.fluxcd.io/prune"] == "disabled"
        assert annotations["argocd.argoproj.io/sync-options"] == "Prune=false"
