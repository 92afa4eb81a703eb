"""The admission policy: who may take images from where, put them where, and how large; by the server's own words."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver import cluster, fixtures, operating
from tests.apiserver.client import Answer
from tests.apiserver.conftest import started

pytestmark = pytest.mark.needs_kube
POLICY = Path(__file__).resolve().parents[2] / "manifests" / "policy"
PARAMETERS = f"/api/v1/namespaces/{operating.NAMESPACE}/configmaps/goldmaster-policy"
SHA = "sha256:" + "0" * 64
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Cluster]:
    yield from started(tmp_path_factory.mktemp("guarded") / "cluster")


@pytest.fixture(scope="module")
def guarded(server: cluster.Cluster) -> cluster.Cluster:
    """A server with the policy, in force."""
    server.kubectl("apply", "--server-side", "--warnings-as-errors", "-k", str(POLICY))
    for team in ("team-a", "team-b", "probe"):
        server.kubectl("create", "namespace", team)
    return server


def limit(kube: cluster.Cluster, **keys: str) -> None:
    """Put these parameters, and no others, into force. Keys of a namespace: hosts__team_a."""
    mark = f"{next(_numbers)}.probe.example"
    data = {key.replace("__", ".").replace("_", "-"): value for key, value in keys.items()} | {"hosts.probe": mark}
    body = kube.admin.get(PARAMETERS).body
    answer = kube.admin.replace(PARAMETERS, {**body, "data": data})
    assert answer.ok, answer.message
    fixtures.eventually(lambda: f"allowed are {mark}" in make(kube, "probe").message)


def make(kube: cluster.Cluster, namespace: str, **spec: object) -> Answer:
    document = operating.image("tried", str(spec.pop("url", "https://images.example/a")), **spec)
    path = f"/apis/goldmaster.dev/v1alpha1/namespaces/{namespace}/images"
    return kube.admin.create(path, document, dry_run=True)


def test_without_limits_everything_is_taken(guarded: cluster.Cluster) -> None:
    limit(guarded, hosts="*", storages="*")
    assert make(guarded, "team-a").ok
    limit(guarded)
    assert make(guarded, "team-a", url="/srv/a.img", backupStorages=["any"]).ok


@pytest.mark.parametrize(
    "url",
    [
        "https://images.example/a",
        "http://IMAGES.example:8080/a?b=https://evil.example/",
        "https://images.example./a",
        "https://images.example?evil",
        "https://a.b.mirror.example/x",
        "https://[2001:db8::1]:8443/x",
        "https://198.51.100.7/x",
    ],
)
def test_a_host_that_is_listed_is_taken(guarded: cluster.Cluster, url: str) -> None:
    limit(guarded, hosts="images.example *.mirror.example\n[2001:db8::1]\t198.51.100.7")
    assert make(guarded, "team-a", url=url).ok


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"url": "https://evil.example/images.example"}, "evil.example"),
        ({"url": "https://images.example.evil.example/a"}, "images.example.evil.example"),
        ({"url": "https://mirror.example/a"}, "mirror.example"),
        ({"url": "https://notmirror.example/a"}, "notmirror.example"),
        ({"url": "https://[2001:db8::2]/a"}, "[2001:db8::2]"),
        ({"url": "/srv/images.example"}, "file:"),
        ({"url": "file:///images.example"}, "file:"),
        ({"checksumFrom": {"url": "https://evil.example/S"}}, "evil.example"),
        ({"mirrors": ["https://images.example/b", "https://evil.example/b"], "checksum": SHA}, "evil.example"),
        ({"mirrors": ["/srv/b.img"], "checksum": SHA}, "file:"),
        (
            {
                "checksumFrom": {
                    "url": "https://images.example/S",
                    "signature": {"url": "https://evil.example/S.gpg", "keyRef": {"name": "keys"}},
                }
            },
            "evil.example",
        ),
    ],
)
def test_a_host_that_is_not_is_named(guarded: cluster.Cluster, spec: dict[str, Any], named: str) -> None:
    limit(guarded, hosts="images.example *.mirror.example")
    said = make(guarded, "team-a", **spec)
    assert said.status == 403
    assert f"images of namespace team-a may not come from {named}; allowed are images.example" in said.message


def test_a_namespace_has_limits_of_its_own(guarded: cluster.Cluster) -> None:
    limit(guarded, hosts="images.example", hosts__team_b="*.b.example file:")
    assert make(guarded, "team-a").ok
    assert make(guarded, "team-b").status == 403
    assert make(guarded, "team-b", url="https://x.b.example/a").ok
    assert make(guarded, "team-b", url="/srv/a.img").ok


def test_storages_are_named_and_allowed(guarded: cluster.Cluster) -> None:
    """Without a name the default storage would serve, whichever that is."""
    limit(guarded, storages="*", storages__team_a="main archive")
    assert "must name their storages, of main, archive" in make(guarded, "team-a").message
    said = make(guarded, "team-a", backupStorages=["main", "vault"]).message
    assert "may not lie on vault; allowed are main, archive" in said
    assert make(guarded, "team-a", backupStorages=["archive"]).ok
    assert make(guarded, "team-b").ok


@pytest.mark.parametrize("size", ["100Gi", 1, "107374182400", "1.5Gi", "100G"])
def test_a_size_within_the_bound_is_taken(guarded: cluster.Cluster, size: object) -> None:
    limit(guarded, maxSize="100Gi")
    assert make(guarded, "team-a", maxSize=size).ok


def test_a_size_has_to_be_said_and_bounded(guarded: cluster.Cluster) -> None:
    limit(guarded, maxSize="100Gi", revisionHistoryLimit="1")
    assert "must say a maxSize of at most 100Gi" in make(guarded, "team-a").message
    for size in ("100.5Gi", 107374182401, "1Ti"):
        assert "at most 100Gi" in make(guarded, "team-a", maxSize=size).message
    small = {"maxSize": "1Gi"}
    assert "revisionHistoryLimit: at most 1" in make(guarded, "team-a", **small).message, "the default is 2"
    assert make(guarded, "team-a", revisionHistoryLimit=1, **small).ok


def test_what_is_there_is_left_alone_until_its_spec_changes(guarded: cluster.Cluster) -> None:
    """A finalizer that could not be taken off would hold the object, and its namespace, for ever."""
    limit(guarded)
    assert make(guarded, "team-a").ok
    guarded.kubectl(
        "apply", "-n", "team-a", "-f", "-", stdin=json.dumps(operating.image("old", "https://old.example/a"))
    )
    path = "/apis/goldmaster.dev/v1alpha1/namespaces/team-a/images/old"
    limit(guarded, hosts="images.example", maxSize="1Gi")
    assert make(guarded, "team-a").status == 403
    assert guarded.admin.merge(path, {"metadata": {"finalizers": ["goldmaster.dev/image"]}}).ok
    assert guarded.admin.merge(f"{path}/status", {"status": {"phase": "Pending"}}).ok
    refused = guarded.admin.merge(path, {"spec": {"displayName": "renamed"}})
    assert refused.status == 403
    assert "may not come from old.example" in refused.message
    guarded.kubectl("delete", "image", "old", "-n", "team-a", "--wait=false")
    assert guarded.admin.merge(path, {"metadata": {"finalizers": None}}).ok
    assert guarded.admin.get(path).status == 404


def test_without_its_parameters_nothing_new_is_taken(guarded: cluster.Cluster) -> None:
    limit(guarded)
    assert make(guarded, "team-a").ok
    path = "/apis/goldmaster.dev/v1alpha1/namespaces/team-a/images/held"
    held = json.dumps(operating.image("held", "https://a.example/a"))
    guarded.kubectl("apply", "-n", "team-a", "-f", "-", stdin=held)
    assert guarded.admin.merge(path, {"metadata": {"finalizers": ["goldmaster.dev/image"]}}).ok
    kept = guarded.admin.get(PARAMETERS).body
    assert guarded.admin.delete(PARAMETERS).ok
    try:
        fixtures.eventually(lambda: "no params found for policy binding" in make(guarded, "team-a").message)
        refused = guarded.admin.merge(path, {"metadata": {"finalizers": None}})
        assert "no params found for policy binding" in refused.message, "the papers say: deletions included"
    finally:
        kept["metadata"] = {"name": kept["metadata"]["name"], "labels": kept["metadata"]["labels"]}
        assert guarded.admin.create(PARAMETERS.rsplit("/", 1)[0], kept).ok
    fixtures.eventually(lambda: guarded.admin.merge(path, {"metadata": {"finalizers": None}}).ok)


def test_a_quota_counts_images(guarded: cluster.Cluster) -> None:
    """Its status is what the quota controller writes first; none runs in these tests."""
    limit(guarded)
    guarded.kubectl("create", "namespace", "counted")
    guarded.kubectl("apply", "-n", "counted", "-f", str(POLICY / "quota.yaml"))
    (count,) = guarded.get("resourcequota", "images", "-n", "counted")["spec"]["hard"]
    quota = "/api/v1/namespaces/counted/resourcequotas/images/status"
    assert guarded.admin.merge(quota, {"status": {"hard": {count: "1"}, "used": {count: "0"}}}).ok
    images = "/apis/goldmaster.dev/v1alpha1/namespaces/counted/images"
    first, second = (operating.image(name, "https://a.example/a") for name in ("first", "second"))
    fixtures.eventually(lambda: guarded.admin.create(images, first).status in {201, 409})
    fixtures.eventually(lambda: "exceeded quota: images" in guarded.admin.create(images, second).message)


def test_kubectl_shows_what_is_refused(guarded: cluster.Cluster) -> None:
    """As manifests/policy/README.md has it."""
    limit(guarded, hosts="cloud.debian.org")
    manifest = json.dumps(operating.image("evil", "https://evil.example/a"))
    said = guarded.kubectl("apply", "-n", "team-b", "-f", "-", stdin=manifest, check=False)
    assert said.returncode == 1
    transcript = (POLICY / "README.md").read_text().split("```\n$ kubectl apply -n team-b -f evil.yaml\n")[1]
    assert said.stderr.replace("STDIN", "evil.yaml") == transcript.split("```")[0]
