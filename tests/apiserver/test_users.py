"""What people may do whom a cluster's administrator bound to `view`, `edit` or `admin`, and to nothing of ours.

manifests/controller/users.yaml adds to these roles by labels; a controller of the cluster adds them up.
"""

import json
import subprocess
from collections.abc import Callable

import pytest

from tests.apiserver import cluster, fixtures, operating

pytestmark = pytest.mark.needs_kube
IMAGE = operating.image("seen", "https://images.example/seen.qcow2")
Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def kube(operated: cluster.Cluster) -> cluster.Cluster:
    """In this module, the API server is the one with the rights of manifests/."""
    return operated


@pytest.fixture
def namespace(kube: cluster.Cluster, kube_namespace: str) -> str:
    """A namespace with an Image that no operator looks at."""
    operating.apply(kube, kube_namespace, IMAGE)
    return kube_namespace


def bound(kube: cluster.Cluster, namespace: str, role: str, user: str, *, everywhere: bool = False) -> Kubectl:
    """Bind a person with a certificate to a role of Kubernetes itself, and return their kubectl."""
    if everywhere:
        kube.kubectl("create", "clusterrolebinding", user, f"--clusterrole={role}", f"--user={user}")
    else:
        kube.kubectl("create", "rolebinding", user, "-n", namespace, f"--clusterrole={role}", f"--user={user}")
    pair = kube.pair_for(user)
    shown = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
    config = kube.write_kubeconfig(kube.folder / f"{user}.kubeconfig", shown)

    def kubectl(*arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        return kube.kubectl(f"--kubeconfig={config}", "-n", namespace, *arguments, stdin=stdin, check=False)

    # until the controller has added the role up, and the server has seen it and the binding
    fixtures.eventually(lambda: kubectl("get", "images").returncode == 0)
    return kubectl


def refused(done: "subprocess.CompletedProcess[str]") -> bool:
    return done.returncode != 0 and "(Forbidden)" in done.stderr and "cannot" in done.stderr


def with_description(text: str) -> str:
    return json.dumps(operating.image("seen", "https://images.example/seen.qcow2", description=text))


def test_who_may_view_a_namespace_sees_its_images_and_changes_none(kube: cluster.Cluster, namespace: str) -> None:
    viewer = bound(kube, namespace, "view", f"{namespace}-viewer")
    assert "seen" in viewer("get", "images").stdout
    assert "https://images.example/seen.qcow2" in viewer("describe", "image", "seen").stdout
    for arguments in (
        ("annotate", "image", "seen", "goldmaster.dev/requestedAt=now"),
        ("patch", "image", "seen", "--type=merge", "-p", '{"spec":{"suspend":true}}'),
        ("delete", "image", "seen"),
        ("get", "images", "-A"),
        ("get", "backupstorages"),
    ):
        assert refused(viewer(*arguments)), arguments
    assert refused(viewer("create", "-f", "-", stdin=json.dumps(operating.image("new", "https://images.example/a"))))
    assert refused(viewer("apply", "-f", "-", stdin=with_description("mine")))
    assert "description" not in kube.get("image", "seen", "-n", namespace)["spec"]


def test_who_may_view_everything_sees_the_storages_too(kube: cluster.Cluster, namespace: str) -> None:
    auditor = bound(kube, namespace, "view", f"{namespace}-auditor", everywhere=True)
    assert "seen" in auditor("get", "images", "-A").stdout
    assert auditor("get", "backupstorages").returncode == 0
    storage = json.dumps(operating.storage("auditors", kube.folder / "auditors"))
    assert refused(auditor("create", "-f", "-", stdin=storage))


@pytest.mark.parametrize("role", ["edit", "admin"])
def test_who_may_edit_a_namespace_edits_its_images_and_nothing_else_of_ours(
    kube: cluster.Cluster, namespace: str, role: str
) -> None:
    """Not their statuses, which are the controller's to say, and no storage."""
    editor = bound(kube, namespace, role, f"{namespace}-{role}or")
    new = json.dumps(operating.image("new", "https://images.example/new.qcow2"))
    assert editor("create", "-f", "-", stdin=new).returncode == 0
    assert editor("apply", "-f", "-", stdin=with_description("ours")).returncode == 0
    assert editor("annotate", "image", "seen", "goldmaster.dev/requestedAt=now").returncode == 0
    assert editor("delete", "image", "new", "--wait=false").returncode == 0
    forged = ("patch", "image", "seen", "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Ready"}}')
    assert refused(editor(*forged))
    storage = json.dumps(operating.storage("editors", kube.folder / "editors"))
    assert refused(editor("create", "-f", "-", stdin=storage))
    assert refused(editor("get", "images", "-A"))
    found = kube.get("image", "seen", "-n", namespace)
    assert found["spec"]["description"] == "ours"
    assert found.get("status", {}) == {}
