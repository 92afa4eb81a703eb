"""`kubectl apply -k manifests/` installs what the papers say, and the API server has nothing to object."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.apiserver import cluster, fixtures, operating

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


def account_may(kube: cluster.Cluster, verb: str, what: str, *flags: str) -> bool:
    """Return whether the controller's account has a right, as the server itself sees it."""
    account = f"system:serviceaccount:{operating.NAMESPACE}:{operating.ACCOUNT}"
    asked = kube.kubectl("auth", "can-i", verb, what, f"--as={account}", *flags, check=False)
    return asked.stdout.strip() == "yes"


def test_the_account_may_do_no_more_than_is_listed(operated: cluster.Cluster) -> None:
    """Least privilege."""

    def may(verb: str, what: str, *flags: str) -> bool:
        return account_may(operated, verb, what, *flags)

    assert may("patch", "images.goldmaster.dev", "-A")
    assert may("update", "images.goldmaster.dev", "--subresource=status", "-A")
    assert may("update", "leases.coordination.k8s.io/goldmaster", "-n", operating.NAMESPACE)
    for verb_, what in [
        ("delete", "images.goldmaster.dev"),
        ("create", "images.goldmaster.dev"),
        ("update", "images.goldmaster.dev"),
        ("get", "secrets"),
        ("list", "pods"),
        ("get", "namespaces"),
        ("patch", "events"),
        ("update", "namespaces"),
        ("get", "customresourcedefinitions"),
    ]:
        assert not may(verb_, what, "-A"), (verb_, what)
    assert not may("update", "leases.coordination.k8s.io/other", "-n", operating.NAMESPACE)


def test_secrets_are_read_where_a_namespace_says_so_or_everywhere(operated: cluster.Cluster) -> None:
    """One overlay for each; neither lists, watches or changes them."""
    namespaced, everywhere = (str(MANIFESTS / "overlays" / f"secrets-{way}") for way in ("namespaced", "cluster-wide"))
    for name in ("reads", "keeps"):
        operated.kubectl("create", "namespace", f"{name}-secrets")
    operated.kubectl("apply", "--server-side", "--warnings-as-errors", "-n", "reads-secrets", "-k", namespaced)
    fixtures.eventually(lambda: account_may(operated, "get", "secrets", "-n", "reads-secrets"))
    assert not account_may(operated, "get", "secrets", "-n", "keeps-secrets")
    operated.kubectl("apply", "--server-side", "--warnings-as-errors", "-k", everywhere)
    try:
        fixtures.eventually(lambda: account_may(operated, "get", "secrets", "-n", "keeps-secrets"))
        for verb in ("list", "watch", "create", "patch"):
            assert not account_may(operated, verb, "secrets", "-n", "reads-secrets")
    finally:
        operated.kubectl("delete", "-k", everywhere)
    fixtures.eventually(lambda: not account_may(operated, "get", "secrets", "-n", "keeps-secrets"))
