"""get, describe, inventory: what they print of a state."""

import json
from pathlib import Path

import pytest
import yaml

from controller.adapters.clock import SystemClock
from controller.gitops.desired import Guards
from controller.gitops.state import State
from controller.model.stored import Verb
from controller.plan import source
from tests.unit.cli.conftest import Call
from tests.unit.gitops.manifests import image_key, tree, wanted


def test_get_lists_what_the_crd_prints(call: Call, state_dir: Path) -> None:
    header, good, slow = call("get", "images", "--state", state_dir).out.splitlines()
    assert header.split() == ["NAME", "PHASE", "READY", "REASON", "FORMAT", "SIZE", "AGE"]
    assert good.split()[:6] == ["good", "Ready", "True", "Succeeded", "qcow2", "8Gi"]
    assert slow.split()[:6] == ["slow", "Downloading", "False", "SourceUnreachable", "-", "-"]


def test_wide_says_more(call: Call, state_dir: Path) -> None:
    answer = call("get", "gmi", "-o", "wide", "-A", "--state", state_dir)
    header, good, slow = answer.out.splitlines()
    assert header.split()[0] == "NAMESPACE"
    assert header.split()[8:] == ["STORED", "PERCENT", "ATTEMPTS", "STORAGES", "REVISION", "UUID", "MESSAGE"]
    assert good.split()[8:12] == ["280Mi", "-", "0", "default"]
    assert slow.split()[8:12] == ["-", "25%", "2", "-"]


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_full_objects_come_as_a_list_and_alone_by_name(call: Call, state_dir: Path, output: str) -> None:
    read = json.loads if output == "json" else yaml.safe_load
    listed = read(call("get", "images", "-o", output, "--state", state_dir).out)
    assert (listed["apiVersion"], listed["kind"]) == ("v1", "List")
    assert [item["metadata"]["name"] for item in listed["items"]] == ["good", "slow"]
    alone = read(call("get", "image", "good", "-o", output, "--state", state_dir).out)
    assert alone == listed["items"][0]
    assert (alone["apiVersion"], alone["kind"]) == ("goldmaster.dev/v1alpha1", "Image")
    assert alone["status"]["size"] == 8589934592
    assert alone["metadata"]["labels"] == {"team": "a"}


def test_an_empty_list_is_a_list(call: Call, state_dir: Path) -> None:
    answer = call("get", "images", "-n", "none", "-o", "json", "--state", state_dir)
    assert json.loads(answer.out)["items"] == []


def test_nothing_found_says_where_there_is_something(call: Call, state_dir: Path) -> None:
    answer = call("get", "images", "-n", "none", "--state", state_dir)
    assert (answer.code, answer.out) == (0, "")
    assert answer.err == "No images found in namespace none (2 in others: -A).\n"


def test_storages_are_listed_whatever_the_namespace(call: Call, state_dir: Path) -> None:
    header, row = call("get", "backupstorages", "-n", "other", "-o", "wide", "--state", state_dir).out.splitlines()
    assert header.split()[:4] == ["NAME", "TYPE", "STATUS", "READY"]
    assert row.split()[:4] == ["default", "ImageStore", "Connecting", "False"]
    assert str(state_dir / "storage") in row


@pytest.mark.parametrize(
    "arguments",
    [["get", "images", "none"], ["describe", "image", "none"], ["inventory", "none"], ["reconcile", "none"]],
)
def test_a_name_that_is_not_there_is_not_found(call: Call, state_dir: Path, arguments: list[str]) -> None:
    answer = call(*arguments, "--state", state_dir)
    assert (answer.code, answer.out) == (8, "")
    assert answer.err == "goldmaster: images 'none' not found in namespace default\n"


@pytest.mark.parametrize(
    "verb", [["get", "images"], ["inventory"], ["reconcile", "a"], ["verify", "--all"], ["doctor"]]
)
def test_without_a_state_none_is_made(call: Call, tmp_path: Path, verb: list[str]) -> None:
    answer = call(*verb, "--state", tmp_path / "none")
    assert answer.code == 8
    assert "there is no state" in answer.err
    assert not (tmp_path / "none").exists()


def test_flags_come_from_variables(call: Call, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDMASTER_STATE", str(state_dir))
    monkeypatch.setenv("GOLDMASTER_OUTPUT", "json")
    assert json.loads(call("get", "images").out)["kind"] == "List"
    assert call("get", "images", "-o", "table").out.startswith("NAME")


def test_describe_tells_everything(call: Call, state_dir: Path) -> None:
    text = call("describe", "image", "good", "--state", state_dir).out
    with State.open_reading(state_dir, SystemClock()) as state:
        instance_id = state.instance_id
    for part in (
        "Manifest:           /tree/good.yaml:1",
        "team=a",
        "8Gi (8589934592 bytes)",
        "280Mi (293641216 bytes)",
        "ab" * 32,
        "cd" * 16,
        "2026-01-02T03:04:05Z",
        "proven by:        first use",
        "served by:        http://mirror.example/good.qcow2",
        'etag:             "v7"',
        "last modified:    Thu, 01 Jan 2026 00:00:00 GMT",
        f"Ready  zstore://{source.derive_uuid(instance_id, image_key('good'))}/{('ab' * 32)[:40]}",
        "stored and verified on default",
    ):
        assert part in text
    assert "s3cret" not in text
    assert "Overrides" not in text


def test_describe_tells_what_is_under_way(call: Call, state_dir: Path) -> None:
    text = call("describe", "gmi", "slow", "--state", state_dir).out
    for part in ("1Mi of 4Mi (25%)", "place 7", "failed tries:     2", "(in 59m)", "HTTP 503"):
        assert part in text


def test_describe_tells_of_a_storage_and_of_a_deletion(call: Call, state_dir: Path) -> None:
    text = call("describe", "backupstorage", "default", "--state", state_dir).out
    assert f"path:           {state_dir / 'storage'}" in text
    assert "Namespace" not in text
    with State.open(state_dir, SystemClock()) as state:
        state.apply([tree()], Guards(confirmed=True))
    assert "Deleting since" in call("describe", "image", "good", "--state", state_dir).out
    assert call("get", "images", "good", "--state", state_dir).out.splitlines()[1].split()[1] == "Deleting"


def test_overrides_are_told_with_what_the_manifest_says(call: Call, state_dir: Path) -> None:
    assert call("suspend", "good", "--state", state_dir).code == 0
    assert call("reconcile", "good", "--state", state_dir).code == 0
    text = call("describe", "image", "good", "--state", state_dir).out
    assert "suspend true, by `goldmaster suspend`; the manifest says false" in text
    assert "not taken up yet" in text


def test_a_description_of_what_nobody_looked_at_yet_is_short(call: Call, tmp_path: Path) -> None:
    with State.open(tmp_path, SystemClock()) as state:
        state.apply([tree(wanted("new", annotations={"a": "b"}))], Guards())
    text = call("describe", "image", "new", "--state", tmp_path).out
    assert "status answers none" in text
    assert "Annotations:        a=b" in text
    assert "Conditions" not in text


def test_the_inventory_is_the_record_of_each_image(call: Call, state_dir: Path) -> None:
    reply = json.loads(call("inventory", "--state", state_dir).out)
    assert reply["success"] is True
    assert [record["name"] for record in reply["inventories"]] == ["good", "slow"]
    assert reply["inventories"][0]["createDate"] == "Jan 2, 2026 3:04:05 AM"
    assert "s3cret" not in json.dumps(reply)
    alone = json.loads(call("inventory", "slow", "--state", state_dir).out)
    assert [record["status"] for record in alone["inventories"]] == ["Downloading"]
    assert json.loads(call("inventory", "-n", "none", "--state", state_dir).out)["inventories"] == []


def test_requests_are_left_for_the_instance(call: Call, state_dir: Path) -> None:
    assert "next apply or run" in call("suspend", "good", "slow", "--state", state_dir).out
    call("resume", "slow", "--state", state_dir)
    call("reconcile", "backupstorage/default", "--state", state_dir)
    with State.open(state_dir, SystemClock()) as state:
        taken = [(request.key.name, request.verb) for request in state.take_requests()]
        good, slow = (state.image(image_key(name)) for name in ("good", "slow"))
    assert taken == [
        ("good", Verb.SUSPEND), ("slow", Verb.SUSPEND), ("slow", Verb.RESUME), ("default", Verb.RECONCILE),
    ]  # fmt: skip
    assert good is not None
    assert slow is not None
    assert (good.meta.suspend_override, slow.meta.suspend_override) == (True, None)


def test_one_unknown_name_and_nobody_is_asked(call: Call, state_dir: Path) -> None:
    assert call("suspend", "good", "none", "--state", state_dir).code == 8
    with State.open(state_dir, SystemClock()) as state:
        assert state.take_requests() == []


def test_annotations_cannot_steer_the_terminal(call: Call, state_dir: Path) -> None:
    with State.open(state_dir, SystemClock()) as state:
        hostile = wanted("hostile", annotations={"note": "\x1b[2J\nStatus: fine\x9b"})
        state.apply([tree(hostile, root="/elsewhere")], Guards())
    for verb in (["describe", "image", "hostile"], ["get", "image", "hostile", "-o", "json"]):
        answer = call(*verb, "--state", state_dir)
        assert answer.code == 0
        assert answer.out.replace("\n", "").isprintable()
        assert "\nStatus: fine" not in answer.out
