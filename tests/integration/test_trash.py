"""History, rollback and trash over real files, from the command line."""

import hashlib
import io
import json
import shutil

import pytest
import yaml

from tests.integration.shell import Shell


def objects(shell: Shell) -> set[str]:
    """Return the names of the stored contents."""
    place = shell.state / "storage" / "objects"
    return {path.name for path in place.rglob("*") if path.is_file() and path.suffix == ""}


def untouched(shell: Shell) -> set[str]:
    """Return all files and their bytes, but for what SQLite makes for a reader."""
    return {line for line in shell.files() if not line.startswith("state ") and ".db" not in line}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def changed(shell: Shell) -> tuple[bytes, bytes]:
    """Import `a` from one file, then from another, which is gone from its place; return old and new bytes."""
    first = shell.image("a", 1)
    assert shell.apply() == 0
    second = shell.image("a2", 2)
    (shell.manifests / "a2.json").unlink()
    shell.manifest("a", url=str(shell.sources / "a2"), format="raw")
    assert shell.apply() == 0
    (shell.sources / "a").unlink()
    return first, second


def test_history_numbers_what_is_kept(shell: Shell, changed: tuple[bytes, bytes]) -> None:
    assert shell("history", "a") == 0
    header, current, older = shell.out.splitlines()
    assert header.split()[:4] == ["REVISION", "FORMAT", "SIZE", "STORED"]
    assert (current.split()[0], older.split()[0]) == ("current", "1")
    assert sha256(changed[1]) in current
    assert sha256(changed[0]) in older
    assert shell("history", "a", "-o", "json") == 0
    records = json.loads(shell.out)
    assert [(record["revision"], record["current"]) for record in records] == [(0, True), (1, False)]
    assert records[1]["url"] == f"file://{shell.sources}/a"
    assert records[1]["proof"] == "first use"


def test_rollback_prints_what_to_commit_and_the_source_is_not_asked(shell: Shell, changed: tuple[bytes, bytes]) -> None:
    before = untouched(shell)
    assert shell("rollback", "a") == 0
    assert untouched(shell) == before, "a rollback edits nothing"
    change = yaml.safe_load(shell.out)["spec"]
    assert change == {"url": f"file://{shell.sources}/a", "checksum": f"sha256:{sha256(changed[0])}"}
    assert f"{shell.manifests / 'a.json'}:1" in shell.out
    assert "query" not in shell.err
    shell.manifest("a", format="raw", **change)
    assert shell.apply() == 0, "although the file that the url names is gone"
    assert shell("history", "a", "-o", "json") == 0
    assert [record["sha256"] for record in json.loads(shell.out)] == [sha256(changed[0]), sha256(changed[1])]
    assert shell("rollback", "a") == 0
    assert sha256(changed[1]) in shell.out, "the way forth is a way back, too"


def test_a_revision_that_is_not_kept_is_not_found(shell: Shell, changed: tuple[bytes, bytes]) -> None:
    assert changed
    for number in ("2", "0", "-1"):
        assert shell("rollback", "a", "--to", number) == 8
        assert shell.err == f"goldmaster: default/a has no older revision {number}: it keeps 1\n"
    assert shell("rollback", "none") == 8


def test_a_deleted_image_is_listed_and_recovered_from_the_manifest_that_is_printed(shell: Shell) -> None:
    data = shell.image("a", 1, spec={"deletionPolicy": "Never"})
    shell.image("b", 2)
    assert shell.apply() == 0
    shell("inventory", "a")
    uuid = json.loads(shell.out)["inventories"][0]["uuid"]
    (shell.manifests / "a.json").unlink()
    (shell.sources / "a").unlink()
    assert shell.apply() == 0
    assert shell("trash", "list") == 0
    _, row = shell.out.splitlines()
    assert row.split()[:3] == ["default/a", uuid, "default"]
    assert row.endswith("never")
    assert shell("trash", "list", "-o", "json") == 0
    (record,) = json.loads(shell.out)
    assert (record["bytes"], record["expungeAt"], record["contents"]) == (len(data), None, [sha256(data)])
    before = untouched(shell)
    assert shell("trash", "recover", "a") == 0
    assert untouched(shell) == before, "nothing is moved"
    document = yaml.safe_load(shell.out)
    assert document["spec"] == {
        "url": f"file://{shell.sources}/a",
        "checksum": f"sha256:{sha256(data)}",
        "backupStorages": ["default"],
        "deletionPolicy": "Never",
    }
    (shell.manifests / "a.yaml").write_text(shell.out)
    assert shell.apply() == 0
    shell("inventory", "a")
    assert json.loads(shell.out)["inventories"][0]["uuid"] == uuid
    assert shell("trash", "list") == 0
    assert (shell.out, shell.err) == ("", "the trash is empty\n")


def test_what_was_served_last_is_recovered_after_a_rollback(shell: Shell, changed: tuple[bytes, bytes]) -> None:
    shell("rollback", "a")
    shell.manifest("a", format="raw", **yaml.safe_load(shell.out)["spec"])
    shell.image("b", 3)
    assert shell.apply() == 0
    (shell.manifests / "a.json").unlink()
    assert shell.apply() == 0
    assert shell("trash", "recover", "a") == 0
    assert sha256(changed[0]) in shell.out


def test_expunged_bytes_go_and_shared_ones_stay(shell: Shell) -> None:
    data = shell.image("a", 1)
    shell.image("b", 1)
    other = shell.image("c", 2)
    assert shell.apply() == 0
    (shell.manifests / "a.json").unlink()
    (shell.manifests / "c.json").unlink()
    assert shell.apply() == 0
    assert objects(shell) == {sha256(data), sha256(other)}
    assert shell("trash", "expunge", "a", "--yes") == 0
    assert shell.out.startswith("default/a: expunged from default, ")
    assert objects(shell) == {sha256(data), sha256(other)}, "b shares the bytes of a"
    assert shell("trash", "expunge", "a", "--yes") == 8
    assert shell("trash", "expunge", "--all", "--yes") == 0
    assert objects(shell) == {sha256(data)}
    assert shell("trash", "recover", "c") == 8
    assert shell("doctor") == 0
    assert shell("get", "images") == 0
    assert shell.out.splitlines()[1].split()[:3] == ["b", "Ready", "True"]


def test_expunge_asks_and_takes_silence_for_no(shell: Shell) -> None:
    data = shell.image("a", 1)
    shell.image("b", 2)
    assert shell.apply() == 0
    (shell.manifests / "a.json").unlink()
    assert shell.apply() == 0
    assert shell("trash", "expunge", "a") == 2
    assert "default/a" in shell.err
    assert "say --yes" in shell.err
    assert shell("trash", "expunge") == 2
    assert shell("trash", "expunge", "a", "--all", "--yes") == 2
    assert sha256(data) in objects(shell)


class Terminal(io.StringIO):
    """Somebody who typed an answer."""

    def isatty(self) -> bool:
        return True


def test_expunge_does_what_a_person_answers(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    data = shell.image("a", 1)
    shell.image("b", 2)
    assert shell.apply() == 0
    (shell.manifests / "a.json").unlink()
    assert shell.apply() == 0
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert shell("trash", "expunge", "a") == 130
    assert sha256(data) in objects(shell)
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert shell("trash", "expunge", "a") == 0
    assert sha256(data) not in objects(shell)


def test_nothing_of_an_image_that_lives_is_expunged(shell: Shell) -> None:
    data = shell.image("a", 1)
    shell.image("b", 2)
    assert shell.apply() == 0
    (shell.manifests / "a.json").unlink()
    assert shell.apply() == 0
    (record,) = (shell.state / "storage" / "trash").iterdir()
    text = record.read_text()
    shell.manifest("a", url=str(shell.sources / "a"), format="raw")
    assert shell.apply() == 0
    record.write_text(text)  # as if the instance had not come to it yet
    assert shell("trash", "expunge", "--all", "--yes") == 4
    assert "lives; nothing of it was expunged" in shell.err
    assert sha256(data) in objects(shell)


def test_a_storage_that_is_away_is_named_and_makes_the_list_incomplete(shell: Shell) -> None:
    shell.image("a", 1)
    assert shell.apply() == 0
    (shell.state / "storage").rename(shell.state / "elsewhere")
    assert shell("trash", "list") == 6
    assert shell.err.startswith("default: ")
    assert shell("trash", "expunge", "--all", "--yes") == 6
    assert shell("get", "backupstorages", "-o", "wide") == 0
    header, row = (line.split() for line in shell.out.splitlines())
    place = header.index("CURRENT")
    assert row[place : place + 3] == ["-", "-", "-"], "unknown, not empty"
    assert shell("describe", "backupstorage", "default") == 0
    assert "Usage" not in shell.out


def test_usage_tells_what_is_served_kept_and_thrown_away(shell: Shell, changed: tuple[bytes, bytes]) -> None:
    gone = shell.image("gone", 3)
    assert shell.apply() == 0
    (shell.manifests / "gone.json").unlink()
    assert shell.apply() == 0
    assert shell("get", "backupstorages", "-o", "wide") == 0
    header, row = (line.split() for line in shell.out.splitlines())
    assert header[-4:] == ["CURRENT", "HISTORY", "TRASH", "MESSAGE"]
    assert row[header.index("IMAGES")] == "1", "counted when apply ended; what is in the trash does not count"
    assert shell("describe", "backupstorage", "default") == 0
    told = [line.split()[-2] for line in shell.out.splitlines() if line.endswith("bytes)") and "Usage" not in line]
    assert told[-3:] == [f"({len(data)}" for data in (changed[1], changed[0], gone)]
    assert "by namespace:     default: current 64Ki, history 64Ki, trash 64Ki" in shell.out
    freed = [line.split(None, 1) for line in shell.out.partition("Could be freed:\n")[2].splitlines()]
    assert freed == [
        ["default:", "64Ki: spec.revisionHistoryLimit: 0 of default/a"],
        ["64Ki:", "goldmaster trash expunge gone -n default"],
    ]
    assert shell(*freed[1][1].split()[1:], "--yes") == 0, "what is told is what works"


def test_no_space_names_what_could_be_freed(shell: Shell, changed: tuple[bytes, bytes]) -> None:
    storage = {"type": "ImageStore", "imageStore": {"path": str(shell.root / "s1")}, "reservedCapacity": "1Ki"}
    document = {"apiVersion": "goldmaster.dev/v1alpha1", "kind": "BackupStorage", "metadata": {"name": "s1"}}
    place = shell.manifests / "s1.json"
    place.write_text(json.dumps({**document, "spec": storage}))
    shell.manifest("a", url=str(shell.sources / "a2"), format="raw", backupStorages=["default", "s1"])
    assert shell.apply() == 0
    place.write_text(json.dumps({**document, "spec": {**storage, "reservedCapacity": "1Pi"}}))
    shell.image("b", 4, spec={"backupStorages": ["s1"]})
    assert shell.apply("--timeout", "3s") == 4, shell.err
    assert shell("describe", "image", "b") == 0
    assert "NoSpace" in shell.out
    assert "; could be freed on s1: nothing, as all of it is served" in shell.out
    freed = shell.out.partition("Could be freed:\n")[2].splitlines()
    assert freed[0].split(None, 1) == ["default:", "64Ki: spec.revisionHistoryLimit: 0 of default/a"]
    assert freed[1].split(None, 1) == ["s1:", "nothing: all of it is served, or shared"]


def test_plan_counts_what_is_stalled_or_waits_as_such(shell: Shell) -> None:
    shell.image("a", 1)
    shell.image("b", 2, spec={"format": "qcow2"})
    shell.image("c", 3, spec={"backupStorages": ["nowhere"]})
    assert shell.apply("--timeout", "2s") == 4
    shell.image("d", 4)
    assert shell("plan", str(shell.manifests), "-o", "json") == 0
    standing = {step["object"]: step["standing"] for step in json.loads(shell.out)}
    assert standing["default/a"] == "as it should be"
    assert standing["default/b"] == "to do", "apply tries again what is stalled"
    assert standing["default/c"] == "waiting"
    assert shell("plan", str(shell.manifests)) == 0
    assert shell.err == "2 to do, 1 waiting, 1 as it should be\n"


def test_plan_counts_what_no_try_can_mend_as_stalled(shell: Shell) -> None:
    data = shell.image("a", 1)
    assert shell.apply() == 0
    shell.manifest("a", url=str(shell.sources / "a"), checksum=f"sha256:{sha256(data)}", format="qcow2")
    assert shell.apply() == 4
    assert shell("plan", str(shell.manifests)) == 0
    assert "stalled: FormatRejected: spec.format says qcow2" in shell.out
    assert shell.err == "0 to do, 1 stalled, 0 as it should be\n"


@pytest.mark.parametrize("lost", [False, True], ids=["same state", "lost state"])
def test_what_is_applied_again_has_its_older_revisions_and_goes_back_without_a_source(shell: Shell, lost: bool) -> None:
    """Three revisions, deleted; every source is gone by then, and in one case all that the state knew."""
    place = shell.root / "store"
    storage = {
        "apiVersion": "goldmaster.dev/v1alpha1",
        "kind": "BackupStorage",
        "metadata": {"name": "s1"},
        "spec": {"type": "ImageStore", "imageStore": {"path": str(place)}, "reservedCapacity": "1Mi"},
    }
    (shell.manifests / "s1.json").write_text(json.dumps(storage))
    datas = []
    for seed in (1, 2, 3):
        datas.append(shell.image(f"a{seed}", seed))
        (shell.manifests / f"a{seed}.json").unlink()
        shell.manifest("a", url=str(shell.sources / f"a{seed}"), format="raw")
        assert shell.apply() == 0
    assert shell("history", "a", "-o", "json") == 0
    before = json.loads(shell.out)
    assert [one["sha256"] for one in before] == [sha256(data) for data in reversed(datas)]
    shell("inventory", "a")
    uuid = json.loads(shell.out)["inventories"][0]["uuid"]
    (shell.manifests / "a.json").unlink()
    assert shell.apply() == 0
    shutil.rmtree(shell.sources)
    shell.sources.mkdir()
    shell.manifest("a", url=str(shell.sources / "a3"), format="raw")
    if lost:
        shutil.rmtree(shell.state)
        assert shell.apply("--timeout", "2s") != 0, "the storage is another one's until a person says so"
        shell("get", "backupstorages", "-o", "json")
        (found,) = json.loads(shell.out)["items"]
        marker = json.loads((place / "goldmaster.json").read_text()) | {"storageUuid": found["status"]["uuid"]}
        (place / "goldmaster.json").write_text(json.dumps(marker))
    assert shell.apply() == 0
    shell("inventory", "a")
    assert json.loads(shell.out)["inventories"][0]["uuid"] == uuid
    assert shell("history", "a", "-o", "json") == 0
    assert json.loads(shell.out) == before
    assert shell("trash", "list") == 0
    assert shell.err == "the trash is empty\n"
    assert shell("rollback", "a", "--to", "2") == 0
    shell.manifest("a", format="raw", **yaml.safe_load(shell.out)["spec"])
    assert shell.apply() == 0
    assert (place / "images" / uuid / sha256(datas[0])[:40]).read_bytes() == datas[0]
    assert shell("doctor") == 0
