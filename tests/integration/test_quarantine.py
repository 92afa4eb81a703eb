"""Damaged copies that are kept for a person: counted, listed, and gone when a person says so, not before."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.integration.shell import Shell
from tests.integration.test_damage_told import flip, stored


@pytest.fixture
def damaged(shell: Shell) -> bytes:
    """An image whose damaged copy lies in quarantine and was rebuilt."""
    data = shell.image("a")
    assert shell.apply() == 0
    flip(stored(shell.state / "storage", data))
    assert shell("verify", "a", "--quarantine") == 6
    assert shell.apply() == 0
    return data


def kept(shell: Shell) -> list[str]:
    return sorted(path.name for path in (shell.state / "storage" / "quarantine").iterdir())


def told(shell: Shell) -> dict[str, int] | None:
    """Return what the status of the storage says."""
    assert shell("get", "backupstorage", "default", "-o", "json") == 0
    found: dict[str, int] | None = json.loads(shell.out)["status"].get("quarantine")
    return found


def test_what_lies_in_quarantine_is_counted_wherever_room_is_told_of(shell: Shell, damaged: bytes) -> None:
    assert told(shell) == {"copies": 1, "bytes": len(damaged)}
    assert shell("get", "backupstorages", "-o", "wide") == 0
    headers, row = (line.split() for line in shell.out.splitlines())
    assert row[headers.index("QUARANTINE")] == "64Ki"
    assert shell("describe", "backupstorage", "default") == 0
    assert "1 damaged, 64Ki: see goldmaster quarantine list" in shell.out
    assert "64Ki: goldmaster quarantine expunge --all --storage default" in shell.out
    assert shell("doctor") == 0
    assert "default: 1 damaged copy (64Ki) is kept in quarantine until goldmaster quarantine expunge" in shell.err
    assert "nothing is wrong" in shell.err


def test_it_is_listed_with_since_when_and_why(shell: Shell, damaged: bytes) -> None:
    assert shell("quarantine", "list") == 0
    _, row = shell.out.splitlines()
    name = hashlib.sha256(damaged).hexdigest()
    assert row.split()[:3] == ["default", f"{name}.1", "64Ki"]
    assert f"expected sha256:{name}" in row
    assert shell("quarantine", "list", "--storage", "default", "-o", "json") == 0
    (found,) = json.loads(shell.out)
    assert (found["sha256"], found["bytes"]) == (name, len(damaged))
    assert shell("quarantine", "list", "--storage", "none") == 8


def test_nothing_goes_unasked_and_what_a_person_lets_go_is_gone(shell: Shell, damaged: bytes) -> None:
    name = f"{hashlib.sha256(damaged).hexdigest()}.1"
    assert shell("quarantine", "expunge", "--all") == 2
    assert "nobody is there to ask" in shell.err
    assert shell("quarantine", "expunge") == 2
    assert shell("quarantine", "expunge", "--yes", name[:7]) == 8
    assert kept(shell) == [name, f"{name}.json"]
    assert shell("quarantine", "expunge", "--yes", name[:8]) == 0
    assert f"default: {name} is gone, 64Ki" in shell.out
    assert kept(shell) == []
    assert told(shell) is None
    assert shell("quarantine", "list") == 0
    assert "nothing is in quarantine" in shell.err
    assert shell("quarantine", "expunge", "--yes", "--all") == 0
    assert shell("verify", "a") == 0, "what serves is untouched"


def test_what_a_person_put_there_is_neither_counted_nor_removed(shell: Shell, damaged: bytes) -> None:
    notes = shell.state / "storage" / "quarantine" / "notes.txt"
    notes.write_text("asked the vendor")
    assert shell("quarantine", "expunge", "--yes", "--all") == 0
    assert kept(shell) == ["notes.txt"]
    assert damaged


def test_a_disabled_storage_keeps_what_it_has_and_one_that_is_away_says_so(shell: Shell, damaged: bytes) -> None:
    spec = {"type": "ImageStore", "imageStore": {"path": str(shell.state / "storage")}, "state": "Disabled"}
    document = {"apiVersion": "goldmaster.dev/v1alpha1", "kind": "BackupStorage", "metadata": {"name": "default"}}
    (shell.manifests / "storage.json").write_text(json.dumps({**document, "spec": spec}))
    assert shell.apply() == 0
    assert shell("quarantine", "expunge", "--yes", "--all") == 6
    assert "default is Disabled" in shell.err
    assert len(kept(shell)) == 2
    store = shell.state / "storage"
    store.rename(store.with_name("elsewhere"))
    assert shell("quarantine", "list") == 6
    assert "default: " in shell.err
    assert damaged


def test_a_note_that_is_missing_or_odd_hides_nothing(shell: Shell, damaged: bytes) -> None:
    (note,) = (shell.state / "storage" / "quarantine").glob("*.json")
    for text in ("[]", "{", None):
        note.unlink() if text is None else note.write_text(text)
        assert shell("quarantine", "list") == 0
        assert shell.out.splitlines()[1].split()[-1] == "-"
    assert Path(note.parent, f"{hashlib.sha256(damaged).hexdigest()}.1").exists()
