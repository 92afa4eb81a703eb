"""The API server of the tests behaves as one that people use: TLS, RBAC, tokens, controllers, nothing left behind."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests import sandbox
from tests.apiserver import assets, client, cluster, fixtures, processes

pytestmark = pytest.mark.needs_kube


def test_kubectl_and_the_server_are_of_the_version_that_is_pinned(kube: cluster.Cluster) -> None:
    versions = json.loads(kube.kubectl("version", "-o", "json").stdout)
    server = versions["serverVersion"]["gitVersion"]
    assert versions["clientVersion"]["gitVersion"] == server
    assert kube.binaries.version in {None, server}  # None: somebody else's build


def test_the_server_is_ready(kube: cluster.Cluster) -> None:
    assert kube.admin.get("/readyz").ok
    assert kube.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}").stdout == "admin"


def test_who_shows_no_credentials_is_nobody(kube: cluster.Cluster) -> None:
    stranger = client.Client(kube.server, kube.authority)
    forger = kube.client_for("not.a.token")
    assert stranger.get("/api/v1/namespaces").status == 403
    assert forger.get("/api/v1/namespaces").status == 401
    stranger.close()
    forger.close()


def test_who_does_not_know_the_authority_does_not_connect(kube: cluster.Cluster, tmp_path: Path) -> None:
    from tests.apiserver import credentials

    other = client.Client(kube.server, credentials.Authority(tmp_path).certificate)
    with pytest.raises(client.Unreachable, match="certificate verify failed"):
        other.get("/readyz")
    other.close()


def test_a_token_may_do_what_rbac_grants_and_no_more(
    kube: cluster.Cluster, kube_namespace: str, tmp_path: Path
) -> None:
    kube.kubectl("create", "serviceaccount", "reader", "-n", kube_namespace)
    token = kube.token_for("reader", kube_namespace)
    images = f"/apis/goldmaster.dev/v1alpha1/namespaces/{kube_namespace}/images"
    reader = kube.client_for(token)
    assert reader.get(images).status == 403
    role = ["role", "reader", "--verb=get,list", "--resource=images.goldmaster.dev"]
    kube.kubectl("create", *role, "-n", kube_namespace)
    binding = ["rolebinding", "reader", "--role=reader", f"--serviceaccount={kube_namespace}:reader"]
    kube.kubectl("create", *binding, "-n", kube_namespace)
    fixtures.eventually(lambda: reader.get(images).ok)
    assert reader.create(images, image("a")).status == 403
    assert reader.get(f"/api/v1/namespaces/{kube_namespace}/secrets").status == 403
    reader.close()
    config = kube.write_kubeconfig(tmp_path / "reader", {"token": token})
    said = kube.kubectl(f"--kubeconfig={config}", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    assert said.stdout == f"system:serviceaccount:{kube_namespace}:reader"


def test_a_deleted_namespace_is_emptied_and_goes(kube: cluster.Cluster, kube_namespace: str) -> None:
    images = f"/apis/goldmaster.dev/v1alpha1/namespaces/{kube_namespace}/images"
    assert kube.admin.create(images, image("a")).ok
    assert kube.admin.delete(f"/api/v1/namespaces/{kube_namespace}").ok
    fixtures.eventually(lambda: kube.admin.get(f"/api/v1/namespaces/{kube_namespace}").status == 404)
    assert kube.admin.get(images).body["items"] == []


def test_what_an_image_owns_goes_with_it(kube: cluster.Cluster, kube_namespace: str) -> None:
    images = f"/apis/goldmaster.dev/v1alpha1/namespaces/{kube_namespace}/images"
    maps = f"/api/v1/namespaces/{kube_namespace}/configmaps"
    owner = kube.admin.create(images, image("a")).body
    reference = {key: owner[key] for key in ("apiVersion", "kind")} | {"name": "a", "uid": owner["metadata"]["uid"]}
    owned = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned", "ownerReferences": [reference]}}
    assert kube.admin.create(maps, owned).ok
    assert kube.admin.delete(f"{images}/a").ok
    fixtures.eventually(lambda: kube.admin.get(f"{maps}/owned").status == 404)


def test_a_new_namespace_gets_its_account(kube: cluster.Cluster, kube_namespace: str) -> None:
    account = f"/api/v1/namespaces/{kube_namespace}/serviceaccounts/default"
    fixtures.eventually(lambda: kube.admin.get(account).ok)


def test_stop_leaves_neither_process_nor_file(tmp_path: Path) -> None:
    """Beside the one that the other tests use: two of them share nothing."""
    before = sandbox.child_processes()
    another = cluster.Cluster(assets.find(os.environ), tmp_path / "another")
    another.start()
    assert another.get("namespace", "default")["metadata"]["name"] == "default"
    another.stop()
    another.stop()
    assert sandbox.child_processes() == before
    assert list(tmp_path.iterdir()) == []


def test_a_failed_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    script = tmp_path / "broken"
    script.write_text("#!/bin/sh\necho flag provided but not defined\nexit 2\n")
    script.chmod(0o755)
    failing = cluster.Cluster(replace(assets.find(os.environ), apiserver=script), tmp_path / "failing")
    before = sandbox.child_processes()
    with pytest.raises(processes.NotReady, match="ended with 2:\nflag provided but not defined"):
        failing.start()
    failing.stop()
    assert sandbox.child_processes() == before
    assert list(tmp_path.iterdir()) == [script]


def image(name: str) -> dict[str, object]:
    return {
        "apiVersion": "goldmaster.dev/v1alpha1",
        "kind": "Image",
        "metadata": {"name": name},
        "spec": {"url": "https://h.example/a"},
    }
