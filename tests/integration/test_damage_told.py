"""What `get` says once bytes are gone, before anybody went on: a copy that is not there is never Ready."""

import hashlib
import json
import os
from pathlib import Path

from controller import wiring
from controller.settings import Settings, StandaloneSettings
from tests.integration.shell import Shell


def flip(place: Path) -> None:
    """Flip a byte of stored bytes, keeping their times."""
    facts = place.stat()
    place.chmod(0o600)
    with place.open("r+b") as file:
        byte = file.read(1)
        file.seek(0)
        file.write(bytes([byte[0] ^ 1]))
    place.chmod(facts.st_mode)
    os.utime(place, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def stored(store: Path, data: bytes) -> Path:
    name = hashlib.sha256(data).hexdigest()
    return store / "objects" / "sha256" / name[:2] / name


def storage(shell: Shell, name: str) -> None:
    spec = {"type": "ImageStore", "imageStore": {"path": str(shell.root / name)}, "reservedCapacity": "1Mi"}
    document = {"apiVersion": "goldmaster.dev/v1alpha1", "kind": "BackupStorage", "metadata": {"name": name}}
    (shell.manifests / f"storage-{name}.json").write_text(
        json.dumps({**document, "spec": {**spec, "state": "Enabled"}})
    )


def told(shell: Shell, name: str) -> dict[str, tuple[str, str]]:
    conditions = shell.status(name)["conditions"]
    return {one["type"]: (one["status"], one["reason"]) for one in conditions}


LOST = {
    "Available": ("False", "StorageDamaged"),
    "Ready": ("False", "StorageDamaged"),
    "Reconciling": ("True", "Progressing"),
    "Verified": ("False", "StorageDamaged"),
}


def test_verify_with_quarantine_writes_down_that_nothing_serves_the_image_any_more(shell: Shell) -> None:
    data = shell.image("a")
    assert shell.apply() == 0
    flip(stored(shell.state / "storage", data))
    assert shell("verify", "a", "--quarantine") == 6
    assert told(shell, "a") == LOST
    (ref,) = shell.status("a")["backupStorageRefs"]
    assert (ref["status"], ref["reason"], ref["installPath"]) == ("Failed", "StorageDamaged", "")
    assert shell("get", "images") == 0
    assert shell.out.splitlines()[1].split()[:4] == ["a", "Pending", "False", "StorageDamaged"]
    assert shell.apply() == 0
    assert told(shell, "a")["Ready"] == ("True", "Succeeded")


def test_whoever_shares_what_went_to_quarantine_is_told_of_too(shell: Shell) -> None:
    data = shell.image("a")
    shell.image("b", spec={"url": str(shell.sources / "a")})
    shell.image("c", 3)
    assert shell.apply() == 0
    flip(stored(shell.state / "storage", data))
    assert shell("verify", "a", "--quarantine") == 6
    assert shell.err.count("reconcile requested") == 2
    assert told(shell, "b") == LOST
    assert told(shell, "c")["Ready"] == ("True", "Succeeded")


def test_a_copy_in_quarantine_leaves_the_image_served_from_the_other_storage_and_not_ready(shell: Shell) -> None:
    for name in ("s1", "s2"):
        storage(shell, name)
    data = shell.image("a", spec={"backupStorages": ["s1", "s2"]})
    assert shell.apply() == 0
    flip(stored(shell.root / "s1", data))
    assert shell("verify", "a", "--quarantine") == 6
    said = told(shell, "a")
    assert (said["Ready"], said["Available"]) == (("False", "StorageDamaged"), ("True", "Succeeded"))
    assert said["Verified"] == ("True", "Succeeded"), "what is served was proven"
    refs = {
        ref["backupStorageName"]: (ref["status"], ref.get("reason")) for ref in shell.status("a")["backupStorageRefs"]
    }
    assert refs == {"s1": ("Failed", "StorageDamaged"), "s2": ("Ready", None)}
    (shell.sources / "a").unlink()
    assert shell.apply() == 0


def test_verify_alone_changes_no_status(shell: Shell) -> None:
    data = shell.image("a")
    assert shell.apply() == 0
    flip(stored(shell.state / "storage", data))
    before = shell.status("a")
    assert shell("verify", "a") == 6
    assert shell.status("a") == before


def test_beside_an_instance_it_is_the_instance_that_writes(shell: Shell) -> None:
    """Two writers of one status would undo each other: the verb leaves a request, which the instance takes up."""
    data = shell.image("a")
    assert shell.apply() == 0
    flip(stored(shell.state / "storage", data))
    before = shell.status("a")
    with wiring.standalone(Settings(), StandaloneSettings(shell.state)) as alone:
        assert shell("verify", "a", "--quarantine") == 6
        assert "reconcile requested; the instance that runs" in shell.err
        assert shell.status("a") == before
        assert [request.key.name for request in alone.state.take_requests()] == ["a"]
