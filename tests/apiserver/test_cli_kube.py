"""`goldmaster VERB --kube`: the command of a person with limited rights, against statuses of an operator that runs."""

import hashlib
import json
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.apiserver import assets, cluster, fixtures, operating, person
from tests.apiserver.image_server import ImageServer
from tests.apiserver.operating import OperatorProcess
from tests.apiserver.person import Person, Said
from tests.fakes import images as make

pytestmark = pytest.mark.needs_kube

VIEW, EDIT = "goldmaster-view", "goldmaster-edit"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z|[A-Z][a-z]{2} \d+, \d{4} \d+:\d\d:\d\d [AP]M")
_UUID = re.compile(r"\b[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\b")
_AGE = re.compile(r"\b\d+[smhd](\d+[smh])?\b *")


@pytest.fixture(scope="module")
def kube(operated: cluster.Cluster) -> cluster.Cluster:
    """In this module, the API server is the one that has an operator."""
    return operated


@pytest.fixture
def editor(kube: cluster.Cluster, kube_namespace: str) -> Person:
    """May do with Images what `edit` may. kubectl's own `edit` holds both by aggregation."""
    return person.with_roles(kube, kube_namespace, "editor", VIEW, EDIT)


@pytest.fixture
def viewer(kube: cluster.Cluster, kube_namespace: str) -> Person:
    return person.with_roles(kube, kube_namespace, "viewer", VIEW)


def apply(kube: cluster.Cluster, namespace: str, document: dict[str, Any], manager: str = "kubectl") -> None:
    as_manager = ("--server-side", f"--field-manager={manager}", "--force-conflicts")
    kube.kubectl("apply", *as_manager, "-n", namespace, "-f", "-", stdin=json.dumps(document))


def alike(text: str) -> str:
    """Leave out of a text what differs between two objects that were made alike."""
    text = _AGE.sub("AGE ", _TIME.sub("TIME", _UUID.sub("UUID", text)))
    return "\n".join(re.sub(r" {2,}", "  ", line).rstrip() for line in text.splitlines())


@pytest.fixture(scope="module")
def twins(
    kube: cluster.Cluster, operator: OperatorProcess, images: ImageServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Person, Path, str]]:
    """The same two images in a namespace of the cluster and in a state directory, one replaced once, one missing."""
    namespace, folder = "twins", tmp_path_factory.mktemp("twins")
    kube.kubectl("create", "namespace", namespace)
    viewer = person.with_roles(kube, namespace, "viewer", VIEW)
    state, tree = folder / "state", folder / "tree"
    tree.mkdir()
    main = operating.storage("main", operator.root / "main")
    (tree / "main.json").write_text(
        json.dumps(main | {"spec": main["spec"] | {"imageStore": {"path": str(folder / "main")}}})
    )
    allowed = ("--state", state, "--allow-network", "127.0.0.0/8")
    missing = operating.image("missing", f"http://127.0.0.1:{images.port}/none.qcow2")
    for seed, code in ((21, 0), (22, 4)):
        url = images.add(f"/twin-{seed}.qcow2", make.raw(seed=seed))
        twin = operating.image("twin", url, description="both")
        for document in (twin, missing) if code else (twin,):
            apply(kube, namespace, document)
            document["metadata"]["namespace"] = namespace
            (tree / f"{document['metadata']['name']}.json").write_text(json.dumps(document))
        operator.wait_for("image/twin", namespace)
        assert viewer.runs("apply", tree, *allowed, kube=False).code == code
    operator.until(lambda: operating.ready(kube.get("image", "twin", "-n", namespace))[0] == "True")
    operator.until(lambda: operating.ready(kube.get("image", "missing", "-n", namespace))[1] == "SourceNotFound")
    yield viewer, state, namespace
    kube.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.mark.parametrize(
    "verb",
    [
        ("get", "images"),
        ("get", "images", "-o", "wide"),
        ("get", "gmi", "twin", "-o", "wide"),
        ("history", "twin"),
        ("history", "twin", "-o", "json"),
        ("history", "missing"),
        ("inventory",),
        ("inventory", "missing"),
    ],
)
def test_a_cluster_is_shown_as_a_state_is(twins: tuple[Person, Path, str], verb: tuple[str, ...]) -> None:
    viewer, state, namespace = twins
    ours = viewer.runs(*verb)
    theirs = viewer.runs(*verb, "--state", state, "-n", namespace, kube=False)
    assert ours.code == theirs.code == 0
    assert alike(ours.out) == alike(theirs.out)
    assert alike(ours.err) == alike(theirs.err)
    assert (ours.out + ours.err).strip()


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_full_objects_are_the_same_but_for_what_a_server_adds(twins: tuple[Person, Path, str], output: str) -> None:
    viewer, state, namespace = twins
    read = json.loads if output == "json" else yaml.safe_load
    ours = read(viewer.well("get", "images", "-o", output))
    theirs = read(viewer.runs("get", "images", "-o", output, "-n", namespace, "--state", state, kube=False).out)
    for item in ours["items"]:
        assert item["metadata"].pop("finalizers", []) == ["goldmaster.dev/image"]
    for item in (*ours["items"], *theirs["items"]):
        del item["metadata"]["resourceVersion"]
    assert json.loads(alike(json.dumps(ours))) == json.loads(alike(json.dumps(theirs)))
    alone = read(viewer.well("get", "image", "twin", "-o", output))
    assert alone["kind"] == "Image"
    assert "managedFields" not in alone["metadata"]


def test_a_description_has_the_same_lines_but_where_the_manifest_is(twins: tuple[Person, Path, str]) -> None:
    viewer, state, namespace = twins
    for name in ("twin", "missing"):
        ours = alike(viewer.well("describe", "image", name)).splitlines()
        theirs = alike(viewer.runs("describe", "image", name, "-n", namespace, "--state", state, kube=False).out)
        only_here = ("Manifest:", "Import receipts:", "  main:  Downloaded")
        assert ours == [line for line in theirs.splitlines() if not line.startswith(only_here)]


def test_a_name_is_found_in_all_namespaces_by_who_may_see_them(
    kube: cluster.Cluster, twins: tuple[Person, Path, str]
) -> None:
    viewer, _, namespace = twins
    denied = viewer.runs("get", "images", "-A")
    assert denied.code == 10
    assert 'cannot list resource "images" in API group "goldmaster.dev" at the cluster scope' in denied.err
    admin = Person(kube.kubeconfig, "default")
    assert [line.split()[:2] for line in admin.well("get", "images", "twin", "-A").splitlines()] == [
        ["NAMESPACE", "NAME"],
        [namespace, "twin"],
    ]
    assert admin.runs("get", "images", "twin").code == 8
    assert admin.well("get", "backupstorages").split()[8:11] == ["main", "ImageStore", "Connected"]
    assert "total:" in admin.well("describe", "backupstorage", "main")


def test_a_rollback_names_the_change_and_the_place_is_yours(twins: tuple[Person, Path, str]) -> None:
    viewer, _, _ = twins
    said = viewer.runs("rollback", "twin")
    assert said.code == 0
    assert yaml.safe_load(said.out)["spec"]["url"].endswith("/twin-21.qcow2")
    assert "kubectl patch image twin -n twins --type=merge" in said.err


def test_who_may_only_view_is_told_which_right_is_missing(
    kube: cluster.Cluster, twins: tuple[Person, Path, str]
) -> None:
    viewer, _, namespace = twins
    before = kube.get("image", "twin", "-n", namespace)
    for verb in ("suspend", "reconcile"):
        said = viewer.runs(verb, "twin")
        assert (said.code, said.out) == (10, "")
        assert said.err.count("\n") == 1
        assert 'cannot patch resource "images" in API group "goldmaster.dev" in the namespace "twins"' in said.err
    assert kube.get("image", "twin", "-n", namespace) == before
    assert 'cannot list resource "backupstorages"' in viewer.runs("get", "backupstorages").err


def test_reconcile_ends_a_wait(
    kube: cluster.Cluster, operator: OperatorProcess, images: ImageServer, editor: Person
) -> None:
    apply(kube, editor.namespace, operating.image("late", f"http://127.0.0.1:{images.port}/late.raw"))
    place = ("image", "late", "-n", editor.namespace)
    operator.until(lambda: operating.ready(kube.get(*place)) == ("False", "SourceNotFound"))
    images.add("/late.raw", make.raw(seed=23))
    told = editor.well("reconcile", "late")
    operator.wait_for("image/late", editor.namespace)
    token = kube.get(*place)["metadata"]["annotations"]["goldmaster.dev/requestedAt"]
    assert token in told
    operator.until(lambda: kube.get(*place)["status"].get("lastHandledReconcileAt") == token)
    assert f"reconcile requested at {token}, done" in editor.well("describe", "image", "late")


def test_suspend_stops_a_transfer_and_resume_goes_on_with_it(
    kube: cluster.Cluster, operator: OperatorProcess, images: ImageServer, editor: Person
) -> None:
    content = make.raw(16 * 1024 * 1024, seed=24)
    url = images.add("/slow.raw", content)
    images.hold_after, place = 4 * 1024 * 1024, ("image", "slow", "-n", editor.namespace)
    images.held.add("/slow.raw")
    try:
        apply(kube, editor.namespace, operating.image("slow", url))
        operator.until(lambda: images.sent.get("/slow.raw", 0) >= images.hold_after)
        assert "spec.suspend is true now" in editor.well("suspend", "slow")
        operator.until(lambda: operating.ready(kube.get(*place)) == ("False", "Suspended"))
        assert "is suspended already" in editor.well("suspend", "slow")
    finally:
        images.flow.set()
    assert "spec.suspend is false now" in editor.well("resume", "slow")
    operator.wait_for("image/slow", editor.namespace)
    assert kube.get(*place)["spec"]["suspend"] is False
    assert [start for path, start in images.requests if path == "/slow.raw"][-1] > 0
    images.flow.clear()


def test_of_several_names_all_or_none_are_asked(kube: cluster.Cluster, images: ImageServer, editor: Person) -> None:
    apply(kube, editor.namespace, operating.image("one", images.add("/one.raw", make.raw(seed=25))))
    said = editor.runs("suspend", "one", "none")
    assert said.code == 8
    assert said.err == f"goldmaster: images 'none' not found in namespace {editor.namespace}\n"
    assert kube.get("image", "one", "-n", editor.namespace)["spec"]["suspend"] is False


@pytest.mark.parametrize(
    ("metadata", "by"),
    [
        (
            {"labels": {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux"}},
            "Flux Kustomization flux/apps",
        ),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "gold"}}, "Flux HelmRelease gold"),
        ({"labels": {"argocd.argoproj.io/instance": "gold"}}, "Argo CD application gold"),
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "gold:goldmaster.dev/Image:x/kept"}},
            "Argo CD application gold",
        ),
    ],
)
def test_who_suspends_what_a_gitops_tool_keeps_is_warned(
    kube: cluster.Cluster, images: ImageServer, editor: Person, metadata: dict[str, Any], by: str
) -> None:
    document = operating.image("kept", images.add("/kept.raw", make.raw(seed=26)))
    document["metadata"] |= metadata
    apply(kube, editor.namespace, document, "kustomize-controller")
    said = editor.runs("suspend", "kept")
    assert (said.code, f"{by} manages it: its next sync may undo this" in said.err) == (0, True), said
    assert f"Kept by:            {by}" in editor.well("describe", "image", "kept")


def test_a_sync_undoes_what_the_manifest_says_otherwise(
    kube: cluster.Cluster, images: ImageServer, editor: Person
) -> None:
    """The stronger warning is true: the same server-side apply as Flux's takes the suspension away."""
    document = operating.image("owned", images.add("/owned.raw", make.raw(seed=27)), suspend=False)
    apply(kube, editor.namespace, document, "kustomize-controller")
    said = editor.runs("suspend", "owned")
    assert "Flux manages it and sets spec.suspend: its next sync undoes this" in said.err
    place = ("image", "owned", "-n", editor.namespace)
    assert kube.get(*place)["spec"]["suspend"] is True
    apply(kube, editor.namespace, document, "kustomize-controller")
    assert kube.get(*place)["spec"]["suspend"] is False


def test_an_exec_plugin_and_a_context_are_taken(
    kube: cluster.Cluster, twins: tuple[Person, Path, str], tmp_path: Path
) -> None:
    viewer, _, namespace = twins
    token = json.loads(viewer.kubeconfig.read_text())["users"][0]["user"]["token"]
    plugin = tmp_path / "plugin"
    credential = {"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {"token": token}}
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(credential)}'\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    user = {"exec": {"apiVersion": credential["apiVersion"], "command": "./plugin"}}
    config = person.kubeconfig(kube, tmp_path, user, "nowhere")
    document = json.loads(config.read_text())
    document["contexts"].append(
        {"name": "other", "context": {"cluster": "tests", "user": "tests", "namespace": namespace}}
    )
    config.write_text(json.dumps(document))
    other = Person(config, namespace)
    assert "twin" in other.well("get", "images", "--context", "other")
    assert other.runs("get", "images").code == 10
    said = other.runs("get", "images", "--context", "nope")
    assert (said.code, said.err) == (2, f"goldmaster: {config} has no context 'nope'; known: tests, other\n")
    assert "twin" in other.runs("get", "images", "--context", "other", kube=False, GOLDMASTER_KUBE="1").out


def test_a_stranger_and_a_server_that_is_away_are_told_in_a_line(kube: cluster.Cluster, tmp_path: Path) -> None:
    stranger = Person(person.kubeconfig(kube, tmp_path, {"token": "wrong"}, "default"), "default")
    said = stranger.runs("get", "images")
    assert (said.code, said.out, said.err.count("\n")) == (10, "", 1)
    assert "401" in said.err
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        document = json.loads(stranger.kubeconfig.read_text())
        document["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{free.getsockname()[1]}"
        stranger.kubeconfig.write_text(json.dumps(document))
        said = stranger.runs("get", "images")
    assert (said.code, said.out, said.err.count("\n")) == (9, "", 1)
    assert "does not answer" in said.err
    assert stranger.runs("get", "images", KUBECONFIG="", HOME=str(tmp_path / "none")).code == 2


def test_a_cluster_without_our_crds_says_how_to_install_them(tmp_path: Path) -> None:
    bare = cluster.Cluster(assets.find(os.environ), tmp_path / "bare")
    try:
        bare.start()
        admin = Person(bare.kubeconfig, "default")
        for verb in (("get", "images"), ("describe", "image", "x"), ("suspend", "x"), ("inventory",)):
            said = admin.runs(*verb)
            assert (said.code, said.out, said.err.count("\n")) == (9, "", 1)
            assert "does not know images.goldmaster.dev: install the CRDs" in said.err
    finally:
        bare.stop()


def test_a_reading_verb_imports_neither_the_watch_nor_the_engine(twins: tuple[Person, Path, str]) -> None:
    viewer, _, _ = twins
    program = """
import sys
from controller.cli import main
assert main.run(["get", "images", "-o", "json", "--kube"]) == 0
heavy = {"kopf", "aiohttp", "structlog", "controller.engine.engine", "oslo_utils"}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
    environ = {"PATH": os.environ["PATH"], "KUBECONFIG": str(viewer.kubeconfig)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=operating.ROOT, env=environ, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_cluster_judges_beside_us_and_nothing_is_written(
    kube: cluster.Cluster, images: ImageServer, editor: Person, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    url = images.add("/judged.raw", make.raw(seed=28))
    existing = operating.image("existing", url, uuid="0123456789ab4def8123456789abcdef")
    apply(kube, editor.namespace, existing)
    moved = operating.image("existing", url, uuid="1123456789ab4def8123456789abcdef")
    elsewhere = operating.image("elsewhere", url)
    elsewhere["metadata"]["namespace"] = "not-there"
    for number, document in enumerate((operating.image("good", url), moved, operating.image("bad", "gopher://x"))):
        (tree / f"{number}.json").write_text(json.dumps(document))
    said = editor.runs("validate", tree)
    lines = [line.partition("/tree/")[2] for line in said.out.splitlines()]
    assert said.code == 3
    assert lines[0].startswith("1.json:1: spec.uuid: the cluster says:")
    assert [line.split(":")[0] for line in lines[1:]] == ["2.json", "2.json"], "ours and the cluster's"
    assert sum("the cluster says" in line for line in lines) == 2
    assert said.err.startswith("1 valid, 3 problems")
    (tree / "1.json").unlink()
    (tree / "2.json").write_text(json.dumps(elsewhere))
    said = editor.runs("validate", tree)
    assert said.code == 10, "no right there, whether or not it exists"
    assert 'cannot patch resource "images"' in said.err
    admin = Person(kube.kubeconfig, "default").runs("validate", tree)
    assert (admin.code, admin.out.count("\n")) == (3, 1)
    assert 'metadata.namespace: the cluster says: 404 namespaces "not-there" not found' in admin.out
    (tree / "2.json").unlink()
    assert editor.runs("validate", tree).err == "1 valid, 0 problems\n"
    assert "NotFound" in kube.kubectl("get", "image", "good", "-n", editor.namespace, check=False).stderr


def test_an_admission_policy_of_the_cluster_is_heard(
    kube: cluster.Cluster, images: ImageServer, editor: Person, tmp_path: Path
) -> None:
    name = f"only-signed-{editor.namespace}"
    rules = [{"apiGroups": ["goldmaster.dev"], "apiVersions": ["*"], "operations": ["*"], "resources": ["images"]}]
    here = {"matchLabels": {"kubernetes.io/metadata.name": editor.namespace}}
    constraints = {"resourceRules": rules, "namespaceSelector": here}
    rule = {"expression": "has(object.spec.checksum)", "message": "an image needs a checksum here"}
    policy = {"failurePolicy": "Fail", "matchConstraints": constraints, "validations": [rule]}
    version = {"apiVersion": "admissionregistration.k8s.io/v1"}
    parts = {
        "ValidatingAdmissionPolicy": policy,
        "ValidatingAdmissionPolicyBinding": {"policyName": name, "validationActions": ["Deny"]},
    }
    for kind, spec in parts.items():
        document = version | {"kind": kind, "metadata": {"name": name}, "spec": spec}
        kube.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    manifest = tmp_path / "image.json"
    manifest.write_text(json.dumps(operating.image("unsigned", images.add("/unsigned.raw", make.raw(seed=29)))))
    assert editor.runs("validate", manifest, kube=False).code == 0
    fixtures.eventually(lambda: editor.runs("validate", manifest).code == 3)
    assert "the cluster says:" in (told := editor.runs("validate", manifest).out)
    assert "an image needs a checksum here" in told


def test_a_plan_says_what_applying_would_lead_to_and_reads_only(
    kube: cluster.Cluster, operator: OperatorProcess, images: ImageServer, tmp_path: Path
) -> None:
    namespace = "planned"
    kube.kubectl("create", "namespace", namespace)
    viewer = person.with_roles(kube, namespace, "viewer", VIEW)
    kube.kubectl(
        "create", "clusterrolebinding", "planner", f"--clusterrole={VIEW}", f"--serviceaccount={namespace}:viewer"
    )
    content, tree = make.raw(seed=30), tmp_path / "tree"
    url = images.add("/planned.raw", content)
    uuid = "2123456789ab4def8123456789abcdef"
    there = operating.image("there", url, description="as it is", uuid=uuid)
    suspended = operating.image("suspended", url)
    for document in (there, suspended):
        apply(kube, namespace, document)
        operator.wait_for(f"image/{document['metadata']['name']}", namespace)
    kube.kubectl("patch", "image", "suspended", "-n", namespace, "--type=merge", "-p", '{"spec":{"suspend":true}}')
    tree.mkdir()

    def says(*documents: dict[str, Any]) -> Said:
        (tree / "all.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
        return viewer.runs("plan", tree, "-o", "json")

    before = kube.get("images", "-n", namespace)
    (only,) = json.loads(says(there).out)
    assert only == {"object": "planned/there", "why": "unchanged", "standing": "as it should be", "action": "nothing"}
    other = images.add("/other.raw", make.raw(seed=31))
    changed = operating.image("there", other, uuid=uuid)
    new = operating.image("new", url, backupStorages=["nowhere"])
    said = says(changed, new, operating.image("suspended", other))
    assert said.err.startswith("not looked at: the trash, whose bytes would serve without a fetch, and transfers")
    steps = {step["object"]: step for step in json.loads(said.out)}
    assert steps["planned/there"]["why"] == "changed: description, url", "what was applied once and is gone, goes"
    assert steps["planned/there"]["action"] == f"fetch {other} to main"
    assert steps["planned/new"]["why"] == "new"
    assert "nowhere does not exist" in steps["planned/new"]["action"]
    assert steps["planned/suspended"]["why"] == "changed: url", "what others wrote stays"
    assert "uspended" in steps["planned/suspended"]["action"]
    said = says(operating.image("there", url))
    assert (said.code, json.loads(said.out)) == (3, [])
    assert "planned/there: spec.uuid: uuid is never added, changed or removed" in said.err
    assert kube.get("images", "-n", namespace) == before
    assert images.asked("/other.raw") == 0
    kube.kubectl("delete", "clusterrolebinding", "planner")
    said = says(changed)
    assert (said.code, json.loads(said.out)[0]["action"]) == (0, "take up")
    assert 'cannot list resource "backupstorages"' in said.err
    table = viewer.runs("plan", tree)
    assert table.out.splitlines()[1].split()[:3] == ["planned/there", "changed:", "description,"]
    assert table.err.splitlines()[-1] == "1 to do, 0 as it should be"


def test_verify_reads_what_this_machine_reaches_and_says_what_it_does_not(
    kube: cluster.Cluster, operator: OperatorProcess, images: ImageServer, kube_namespace: str, tmp_path: Path
) -> None:
    """The operator's root is mounted here; with another mount namespace of the path it would not be."""
    admin = Person(person.kubeconfig(kube, tmp_path, _pair(kube), kube_namespace), kube_namespace)
    content = make.raw(seed=32)
    apply(kube, kube_namespace, operating.image("hashed", images.add("/hashed.raw", content)))
    operator.wait_for("image/hashed", kube_namespace)
    digest = hashlib.sha256(content).hexdigest()
    said = admin.runs("verify", "hashed")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[1].split()[:4] == [f"{kube_namespace}/hashed", "main", "right:", f"sha256:{digest}"]
    stored = operator.root / "main" / "objects" / "sha256" / digest[:2] / digest
    stored.chmod(0o600)
    with stored.open("r+b") as file:
        file.seek(600)
        file.write(b"flipped")
    said = admin.runs("verify", "hashed", "--quarantine")
    assert (said.code, "damaged: expected" in said.out) == (6, True)
    assert "goldmaster.dev/requestedAt is" in said.err
    operator.until(lambda: images.asked("/hashed.raw") == 2)
    operator.wait_for("image/hashed", kube_namespace)
    operator.until(lambda: admin.runs("verify", "hashed").code == 0)
    moved = operator.root.rename(operator.root.with_name("not-mounted-here"))
    try:
        said = admin.runs("verify", "hashed")
    finally:
        moved.rename(operator.root)
    assert said.code == 6
    assert f"{operator.root / 'main'}" in said.out
    assert "run this where the storage is mounted, or let the operator read it: spec.scrubInterval" in said.err
    assert admin.runs("verify", "none").code == 8


def _pair(kube: cluster.Cluster) -> dict[str, Any]:
    return {"client-certificate": str(kube.admin_pair.certificate), "client-key": str(kube.admin_pair.key)}


def test_names_of_the_cluster_are_completed(twins: tuple[Person, Path, str]) -> None:
    viewer, _, _ = twins
    for line, offered in (("suspend --kube t", ["twin"]), ("get images --kube ", ["missing", "twin"])):
        words = f"goldmaster {line}"
        environ = {"_GOLDMASTER_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        said = viewer.runs(kube=False, **environ)
        assert [entry.partition(",")[2] for entry in said.out.splitlines()] == offered, said
