"""The command line over real files, a real state and a real store: apply, plan, run, verify, doctor."""

import fcntl
import hashlib
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable

import pytest

from tests.integration.shell import Shell

WITHIN_S = 60.0
COMMAND = [sys.executable, "-m", "controller"]


def test_apply_ends_with_the_table_and_a_second_one_changes_nothing(shell: Shell) -> None:
    data = shell.image("a", 1)
    shell.image("b", 2)
    assert shell.apply() == 0
    assert [line.split()[:3] for line in shell.out.splitlines()[1:]] == [["a", "Ready", "True"], ["b", "Ready", "True"]]
    assert shell.err.endswith("2 of 2 images are Ready\n")
    stored = [path for path in (shell.state / "storage" / "objects").rglob("*") if path.suffix == "" and path.is_file()]
    assert hashlib.sha256(data).hexdigest() in {path.name for path in stored}
    before = {path: path.stat().st_mtime_ns for path in stored}
    assert shell.apply() == 0
    assert {path: path.stat().st_mtime_ns for path in stored} == before


def test_apply_without_the_policy_opened_is_refused_and_with_it_tried_again(shell: Shell) -> None:
    shell.image("a")
    assert shell("apply", str(shell.manifests)) == 5
    assert "default/a: PolicyDenied" in shell.err
    assert "0 of 1 images are Ready" in shell.err
    assert shell("apply", str(shell.manifests)) == 5
    assert shell.apply() == 0


def test_nothing_starts_while_a_manifest_is_wrong(shell: Shell) -> None:
    shell.image("a")
    shell.image("b", spec={"format": "qcow3"})
    assert shell.apply() == 3
    assert "spec.format: must be one of" in shell.err
    assert shell.err.endswith("nothing was started\n")
    assert shell("get", "images") == 0
    assert shell.out == ""


@pytest.mark.parametrize("spec", [{"checksum": "sha256:" + "0" * 64}, {"format": "qcow2"}, {"url": "/no/such/file"}])
def test_an_image_that_cannot_become_ready_ends_apply(shell: Shell, spec: dict[str, object]) -> None:
    shell.image("a", spec=spec)
    assert shell("apply", str(shell.manifests), "--allow-path", "/", "--timeout", "50s") == 4
    assert "0 of 1 images are Ready" in shell.err
    assert shell.out.splitlines()[1].split()[1:3] == ["Failed", "False"]


def test_apply_gives_up_after_its_timeout(shell: Shell) -> None:
    shell.image("a")
    storage = {"type": "ImageStore", "imageStore": {"path": str(shell.root / "gone" / "store")}}
    document = {
        "apiVersion": "goldmaster.dev/v1alpha1",
        "kind": "BackupStorage",
        "metadata": {"name": "gone"},
        "spec": storage,
    }
    (shell.manifests / "gone.json").write_text(json.dumps(document))
    assert shell.apply("--timeout", "1s") == 4
    assert "time is up after 1s (--timeout)" in shell.err


def test_a_removed_manifest_is_a_deletion_unless_it_was_the_last(shell: Shell) -> None:
    shell.image("a", 1)
    shell.image("b", 2)
    assert shell.apply() == 0
    (shell.manifests / "b.json").unlink()
    assert shell.apply() == 0
    assert "1 of 1 images are Ready" in shell.err
    (shell.manifests / "a.json").unlink()
    assert shell.apply() == 4
    assert "suddenly empty" in shell.err
    assert shell.apply("--confirm-deletions") == 0
    assert "0 of 0 images are Ready" in shell.err


def test_plan_says_what_and_why_and_changes_nothing(shell: Shell) -> None:
    shell.image("a", 1)
    before = shell.files()
    assert shell("plan", str(shell.manifests), "-o", "json") == 0
    assert json.loads(shell.out) == [
        {"object": "backupstorage/default", "why": "new", "standing": "to do", "action": "take up"},
        {
            "object": "default/a",
            "why": "new",
            "standing": "to do",
            "action": f"fetch file://{shell.sources}/a to default",
        },
    ]
    assert shell.files() == before
    assert shell.apply() == 0
    shell.image("b", 2)
    shell.manifest("a", url=str(shell.sources / "a"), format="raw", description="changed")
    before = shell.files()
    assert shell("plan", str(shell.manifests)) == 0
    lines = shell.out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["default/a", "changed"], ["default/b", "new"]]
    (shell.manifests / "b.json").unlink()
    assert shell("plan", str(shell.manifests), "--confirm-deletions") == 0
    assert {line for line in shell.files() if "storage" in line} == {line for line in before if "storage" in line}


def test_plan_of_wrong_manifests_and_held_back_deletions(shell: Shell) -> None:
    shell.image("a")
    assert shell.apply() == 0
    (shell.manifests / "a.json").unlink()
    assert shell("plan", str(shell.manifests)) == 0
    assert "not deleted (1)" in shell.err
    assert "0 to do, 1 as it should be" in shell.err
    shell.manifest("a", url=7)
    assert shell("plan", str(shell.manifests)) == 3
    assert "spec.url" in shell.err


def test_verify_finds_damage_and_quarantine_has_it_mended(shell: Shell) -> None:
    data = shell.image("a")
    assert shell.apply() == 0
    assert shell("verify", "a") == 0
    assert f"right: sha256:{hashlib.sha256(data).hexdigest()}" in shell.out
    damage(shell, data)
    assert shell("verify", "--all") == 6
    assert "damaged: expected" in shell.out
    assert "damaged copies were left as they are: with --quarantine" in shell.err
    assert not list(shell.state.glob("storage/quarantine/*"))
    assert shell("verify", "a", "--quarantine") == 6
    assert "quarantined" in shell.out
    assert "fetched again:\ndefault/a: reconcile requested; the next apply or run takes it up" in shell.err
    assert shell("describe", "image", "a") == 0
    assert "not taken up yet" in shell.out
    assert shell.apply() == 0
    assert shell("verify", "a") == 0


def test_verify_notes_beside_the_bytes_when_they_were_right_and_nothing_else(shell: Shell) -> None:
    data = shell.image("a")
    assert shell.apply() == 0
    name = hashlib.sha256(data).hexdigest()
    record = shell.state / "storage" / "objects" / "sha256" / name[:2] / f"{name}.json"
    old = json.loads(record.read_text())
    record.write_text(json.dumps({**old, "verifiedAt": "2020-01-02T03:04:05Z"}))
    assert shell.apply() == 0
    assert shell("describe", "image", "a") == 0
    assert "last read and right at 2020-01-02T03:04:05Z" in shell.out
    before = shell.files()
    assert shell("verify", "a") == 0
    changed = {line.split()[0] for line in before ^ shell.files() if not line.startswith("state/goldmaster.db")}
    files = {path for path in changed if (shell.root / path).is_file()}
    assert files == {str(record.relative_to(shell.root))}
    new = json.loads(record.read_text())
    assert new.pop("verifiedAt") > old.pop("verifiedAt")
    assert new == old
    assert shell.apply() == 0
    assert shell("describe", "image", "a") == 0
    assert "last read and right at 2020" not in shell.out


def test_describe_shows_the_receipt_of_each_copy_and_prints_the_statement(shell: Shell) -> None:
    data = shell.image("a", 1)
    shell.image("b", spec={"url": str(shell.sources / "a")})
    assert shell.apply() == 0
    assert shell("describe", "image", "a") == 0
    (line,) = [line for line in shell.out.splitlines() if "by goldmaster" in line]
    assert line.split()[:2] == ["default:", "Downloaded"]
    assert f"from file://{shell.sources}/a: 64Ki fetched" in line
    assert shell("describe", "image", "a", "--receipt") == 0
    found = json.loads(shell.out)
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    digests = {"sha256": hashlib.sha256(data).hexdigest(), "md5": hashlib.md5(data).hexdigest()}
    assert found["subject"] == [{"name": "default/a", "digest": digests}]
    assert found["predicate"]["source"]["fetchedBytes"] == len(data)
    assert "address" not in found["predicate"]["source"]
    assert found["predicate"]["proof"] == "first use"
    uuid = found["predicate"]["image"]["uuid"]
    (claim,) = (shell.state / "storage" / "images" / uuid).glob("*.json")
    assert json.loads(claim.read_text())["receipt"] == found
    assert shell("doctor") == 0


def test_without_a_receipt_there_is_none_and_the_claim_still_serves(shell: Shell) -> None:
    """An older version made the claim."""
    shell.image("a")
    assert shell.apply() == 0
    (claim,) = shell.state.glob("storage/images/*/*.json")
    old = json.loads(claim.read_text())
    del old["receipt"]
    claim.write_text(json.dumps(old))
    assert shell.apply() == 0
    assert shell("describe", "image", "a", "--receipt") == 8
    assert "no receipt lies beside a copy that is served" in shell.err
    assert shell("describe", "image", "a") == 0
    assert "Import receipts" not in shell.out
    claim.write_text(json.dumps({**old, "receipt": {"predicateType": "https://other.example/v1"}}))
    assert shell("describe", "image", "a", "--receipt") == 8
    shutil.rmtree(shell.state / "storage")
    assert shell("describe", "image", "a", "--receipt") == 8


def test_only_an_image_has_a_receipt(shell: Shell) -> None:
    shell.image("a")
    assert shell.apply() == 0
    assert shell("describe", "backupstorage", "default", "--receipt") == 2
    assert shell("describe", "image", "none", "--receipt") == 8


def test_a_quarantined_image_that_cannot_be_fetched_again_is_not_ready(shell: Shell) -> None:
    data = shell.image("a")
    assert shell.apply() == 0
    damage(shell, data)
    assert shell("verify", "a", "--quarantine") == 6
    (shell.sources / "a").unlink()
    assert shell.apply() == 4
    assert shell("get", "images") == 0
    _, row = shell.out.splitlines()
    assert row.split()[:4] == ["a", "Failed", "False", "SourceNotFound"]


def damage(shell: Shell, data: bytes) -> None:
    """Flip a byte of the stored copy, keeping its times."""
    name = hashlib.sha256(data).hexdigest()
    path = shell.state / "storage" / "objects" / "sha256" / name[:2] / name
    facts = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.write(bytes([data[0] ^ 1]))
    path.chmod(facts.st_mode)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def test_verify_of_what_is_not_stored_is_not_ready(shell: Shell) -> None:
    shell.image("a")
    assert shell("apply", str(shell.manifests)) == 5
    assert shell("verify", "a") == 4
    assert "nothing stored" in shell.out
    assert shell("verify", "none") == 8


def test_doctor_explains_and_mends(shell: Shell) -> None:
    data = shell.image("a")
    assert shell.apply() == 0
    assert shell("doctor") == 0
    assert "nothing is wrong" in shell.err
    name = hashlib.sha256(data).hexdigest()
    (shell.state / "storage" / "objects" / "sha256" / name[:2] / f"{name}.json").unlink()
    assert shell("doctor", "-o", "json") == 6
    assert [finding["storage"] for finding in json.loads(shell.out)] == ["default"]
    assert shell("doctor") == 6
    assert "--repair would:" in shell.out
    assert shell("doctor", "--repair") == 0
    assert "1 found, 1 mended" in shell.err
    assert shell("doctor") == 0


def wait_for(process: "subprocess.Popen[str]", condition: Callable[[str], bool]) -> str:
    """Read log lines until one fits; the test's own timeout bounds the wait."""
    assert process.stderr is not None
    for line in process.stderr:
        if condition(line):
            return line
    raise AssertionError("the process ended before")


def test_run_keeps_the_images_and_stops_when_asked(shell: Shell) -> None:
    shell.image("a", 1)
    command = [*COMMAND, "run", str(shell.manifests), "--state", str(shell.state), "--allow-path", str(shell.sources)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for(process, lambda line: '"phase": "Ready"' in line and "default/a" in line)
            assert shell.apply() == 7
            assert f"process {process.pid}" in shell.err
            shell.image("b", 2)
            wait_for(process, lambda line: '"phase": "Ready"' in line and "default/b" in line)
            assert shell("reconcile", "a") == 0
            assert f"(process {process.pid}) takes it up" in shell.out
            wait_for(process, lambda line: "request.taken" in line)
            shell.manifest("b", url=7)
            assert "spec.url" in wait_for(process, lambda line: "manifest.wrong" in line)
            assert shell("get", "images", "-o", "json") == 0
            assert [item["status"]["phase"] for item in json.loads(shell.out)["items"]] == ["Ready", "Ready"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(WITHIN_S) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("no_color", [False, True])
def test_a_terminal_gets_bars_and_colours_unless_it_wants_none(shell: Shell, no_color: bool) -> None:
    shell.image("a", 1)
    environment = {**os.environ, "TERM": "xterm", **({"NO_COLOR": "1"} if no_color else {})}
    environment.pop("CI", None)
    command = [*COMMAND, "apply", str(shell.manifests), "--state", str(shell.state), "--allow-path", str(shell.sources)]
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with subprocess.Popen(command, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        text = drain(leader)
        assert process.wait(WITHIN_S) == 0
    assert ("\x1b[32mReady" in text) is not no_color
    assert "image.status" not in text
    assert "1 of 1 images are Ready" in text


def drain(leader: int) -> str:
    """Read a terminal to its end."""
    pieces = []
    try:
        while data := os.read(leader, 65536):
            pieces.append(data)
    except OSError:  # how Linux says that the other side closed
        pass
    finally:
        os.close(leader)
    return b"".join(pieces).decode()


def test_interrupted_apply_says_so(shell: Shell) -> None:
    shell.image("a")
    storage = {"type": "ImageStore", "imageStore": {"path": str(shell.root / "gone" / "store")}}
    document = {"apiVersion": "goldmaster.dev/v1alpha1", "kind": "BackupStorage", "metadata": {"name": "s"}}
    (shell.manifests / "gone.json").write_text(json.dumps({**document, "spec": storage}))
    command = [*COMMAND, "apply", str(shell.manifests), "--state", str(shell.state), "--allow-path", str(shell.sources)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            wait_for(process, lambda line: "image.status" in line)
            process.send_signal(signal.SIGINT)
            assert process.wait(WITHIN_S) == 130
            assert process.stderr is not None
            assert "interrupted; what was fetched is kept" in process.stderr.read()
        finally:
            process.kill()
