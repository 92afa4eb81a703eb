"""What people ask for beside the spec, from the command line: suspend, resume, and giving up a storage that is gone."""

import json

from tests.integration import ranged_server
from tests.integration.shell import Shell
from tests.integration.test_trash import objects, sha256

LOOPBACK = ("--allow-network", "127.0.0.0/8")


def test_a_suspended_image_serves_what_it_has_and_the_apply_after_resume_waits_for_the_new_bytes(shell: Shell) -> None:
    old = shell.image("a", 1)
    assert shell.apply() == 0
    new = shell.image("a", 2)
    with ranged_server.serving() as served:
        served.files["/a.raw"], served.bytes_per_s = new, 4 * len(new)
        shell.manifest("a", url=served.url("/a.raw"))
        assert shell("suspend", "a") == 0
        assert shell.apply(*LOOPBACK) == 4
        assert "default/a: Suspended: suspended: nothing is started" in shell.err
        assert served.asked == []
        assert objects(shell) == {sha256(old)}
        assert (shell.status("a")["phase"], shell.status("a")["current"]["sha256"]) == ("Ready", sha256(old))
        assert shell("describe", "image", "a") == 0
        assert "suspend true, by `goldmaster suspend`; the manifest says false" in shell.out
        assert shell("resume", "a") == 0
        assert shell.apply(*LOOPBACK) == 0
        assert served.asked == [("/a.raw", 200)]
    assert shell.status("a")["current"]["sha256"] == sha256(new)
    assert objects(shell) == {sha256(old), sha256(new)}


def test_a_deletion_says_which_storage_holds_it_up_until_a_person_gives_that_up(shell: Shell) -> None:
    """The manifest is written once more, with the annotation, and removed again: the way that needs no other verb."""
    data = shell.image("a", 1, {"deletionPolicy": "Direct"})
    shell.image("b", 2)
    assert shell.apply() == 0
    store, away = shell.state / "storage", shell.state / "elsewhere"
    store.rename(away)
    manifest = shell.manifests / "a.json"
    document = json.loads(manifest.read_text())
    manifest.unlink()
    assert shell.apply("--timeout", "1s") == 4
    assert "default/a: StorageUnavailable: deletion waits: default could not be asked" in shell.err
    assert shell("get", "image", "a") == 0
    assert "Deleting" in shell.out
    document["metadata"]["annotations"] = {"goldmaster.dev/force-delete": "true"}
    manifest.write_text(json.dumps(document))
    assert shell.apply("--timeout", "1s") == 4
    manifest.unlink()
    assert shell.apply("--timeout", "1s") == 4
    assert "default/a" not in shell.err
    assert shell("get", "image", "a") == 8
    away.rename(store)
    assert shell.apply() == 0
    assert sha256(data) in objects(shell), "nothing was deleted that could not be asked"
    assert shell("doctor") != 0
    assert sha256(data)[:40] in shell.out + shell.err
