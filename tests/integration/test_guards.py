"""What a slip in the manifests must not do, from the command line: take an identity away, or bytes."""

import json
import threading
import uuid as uuids
from collections.abc import Sequence
from datetime import timedelta

import pytest

from controller import wiring
from controller.gitops.tree import Problem
from controller.model.resource import Kind
from controller.settings import Settings, StandaloneSettings
from tests.integration.shell import Shell
from tests.integration.test_trash import objects, sha256

ONE, TWO = (uuids.UUID(int=number, version=4).hex for number in (1, 2))
WAIT_S = 60


def inventory(shell: Shell, name: str) -> dict[str, object]:
    assert shell("inventory", name) == 0
    (found,) = json.loads(shell.out)["inventories"]
    return dict(found)


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, {"uuid": ONE}), ({"uuid": ONE}, {"uuid": TWO}), ({"uuid": ONE}, {})],
    ids=["added", "changed", "removed"],
)
def test_a_uuid_stays_as_it_was_made(shell: Shell, before: dict[str, str], after: dict[str, str]) -> None:
    """Refused with the rule's message and the place, whatever else changes; what is there serves on."""
    data = shell.image("a", 1, spec=before)
    assert shell.apply() == 0
    found = inventory(shell, "a")
    assert before.get("uuid", found["uuid"]) == found["uuid"]
    shell.image("a", 2, spec={**after, "description": "new"})
    for verb in ("apply", "plan"):
        assert shell(verb, str(shell.manifests), "--allow-path", str(shell.sources)) == 3
        assert f"{shell.manifests / 'a.json'}:1" in shell.err
        assert "spec.uuid: uuid is never added, changed or removed after creation" in shell.err
    assert inventory(shell, "a") == found
    assert objects(shell) == {sha256(data)}
    shell.image("a", 1, spec=before)
    assert shell.apply() == 0
    assert inventory(shell, "a") == found


def test_a_uuid_is_not_changed_by_moving_the_manifest(shell: Shell) -> None:
    shell.image("a", 1)
    assert shell.apply() == 0
    (shell.manifests / "a.json").rename(shell.manifests / "moved.json")
    document = json.loads((shell.manifests / "moved.json").read_text())
    document["spec"]["uuid"] = ONE
    (shell.manifests / "moved.json").write_text(json.dumps(document))
    assert shell.apply() == 3
    assert "uuid is never added" in shell.err
    assert inventory(shell, "a")["uuid"] != ONE


def test_an_image_that_is_made_anew_may_have_another_uuid(shell: Shell) -> None:
    shell.image("a", 1, spec={"deletionPolicy": "Direct"})
    shell.image("b", 2)
    assert shell.apply() == 0
    (shell.manifests / "a.json").unlink()
    assert shell.apply() == 0
    shell.image("a", 1, spec={"uuid": ONE})
    assert shell.apply() == 0
    assert inventory(shell, "a")["uuid"] == ONE


def test_nothing_goes_while_a_manifest_cannot_be_read(shell: Shell) -> None:
    """It may be the one that seems to be missing: also with --confirm-deletions, and for bytes that go at once."""
    kept = shell.image("a", 1, spec={"deletionPolicy": "Direct"})
    shell.image("b", 2)
    assert shell.apply() == 0
    right = (shell.manifests / "b.json").read_text()
    (shell.manifests / "a.json").unlink()
    for wrong in (right[:-2], '{"apiVersion": "goldmaster.dev/v1alpha1"}', right.replace("raw", "qcow7")):
        (shell.manifests / "b.json").write_text(wrong)
        assert shell.apply("--confirm-deletions") == 3
        assert shell.err.endswith("nothing was started\n")
        assert inventory(shell, "a")
        assert sha256(kept) in objects(shell)
    (shell.manifests / "b.json").write_text(right)
    assert shell.apply() == 0
    assert shell("inventory", "a") == 8
    assert sha256(kept) not in objects(shell)


def test_more_than_a_share_goes_only_if_it_is_meant(shell: Shell) -> None:
    """Of 20: six are 30 %, the seventh is held back with the others, and the bound can be moved."""
    for number in range(20):
        shell.image(f"i{number}", number, spec={"deletionPolicy": "Direct"})
    assert shell.apply() == 0
    stored = objects(shell)
    for number in range(7):
        (shell.manifests / f"i{number}.json").unlink()
    assert shell.apply() == 4
    assert "7 of 20 objects would go at once, at most 6 may (--max-deletions 30)" in shell.err
    assert objects(shell) == stored
    assert shell.apply("--max-deletions", "35") == 0
    assert len(objects(shell)) == 13
    for number in range(7, 20):
        if number < 18:
            (shell.manifests / f"i{number}.json").unlink()
    assert shell.apply("--max-deletions", "35") == 4
    assert shell.apply("--max-deletions", "35", "--confirm-deletions") == 0
    assert len(objects(shell)) == 2


def test_a_directory_that_is_empty_or_gone_deletes_nothing(shell: Shell) -> None:
    data = shell.image("a", 1, spec={"deletionPolicy": "Direct"})
    assert shell.apply() == 0
    (shell.manifests / "a.json").unlink()
    assert shell.apply() == 4
    assert "is suddenly empty; if that is meant, say --confirm-deletions" in shell.err
    shell.manifests.rmdir()
    assert shell.apply("--confirm-deletions") == 3
    assert objects(shell) == {sha256(data)}
    shell.manifests.mkdir()
    assert shell.apply("--confirm-deletions") == 0
    assert objects(shell) == set()


def test_the_guards_hold_while_it_runs_too(shell: Shell) -> None:
    """A watching instance sees each slip at once, reports it, and keeps what was in force."""
    for number in range(8):
        shell.image(f"i{number}", number, spec={"deletionPolicy": "Direct"})
    assert shell.apply() == 0
    stored = objects(shell)
    slipped = json.loads((shell.manifests / "i0.json").read_text())
    slipped["spec"]["uuid"] = ONE
    mode = StandaloneSettings(shell.state, scan_interval=timedelta(seconds=1))
    stop, told, told_of = threading.Event(), threading.Condition(), list[list[str]]()

    def report(problems: Sequence[Problem]) -> None:
        with told:
            told_of.append([str(one) for one in problems])
            told.notify_all()

    def seen(text: str) -> bool:
        with told:
            return told.wait_for(lambda: any(text in one for many in told_of for one in many), WAIT_S)

    with wiring.standalone(Settings(), mode, [shell.manifests]) as instance:
        thread = threading.Thread(target=instance.keep, args=([shell.manifests], stop, report))
        thread.start()
        try:
            (shell.manifests / "i0.json").write_text(json.dumps(slipped))
            assert seen("uuid is never added, changed or removed")
            for number in range(1, 8):
                (shell.manifests / f"i{number}.json").unlink()
            (shell.manifests / "wrong.json").write_text('{"apiVersion": "goldmaster.dev/v1alpha1"')
            assert seen("wrong.json"), "so the others were seen to be gone"
            assert len(instance.state.keys(Kind.IMAGE)) == 8
        finally:
            stop.set()
            thread.join()
    assert objects(shell) == stored
