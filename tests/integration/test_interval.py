"""A source that changes, over real HTTP and on disk, through the command line: what is told, imported and stored."""

import hashlib
import os
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from controller import wiring
from controller.gitops.loop import Standalone, default_storage
from controller.model.image import ImageStatus
from controller.model.resource import Key, Kind
from controller.settings import EngineSettings, Settings, SourceSettings, StandaloneSettings
from tests.fakes import images as fake_images
from tests.fakes.hostile_server import HostileServer, Peer, answering, head
from tests.integration.house import until
from tests.integration.ranged_server import Served, serving
from tests.integration.shell import Shell
from tests.unit.gitops import manifests

OLD, NEW = fake_images.raw(9 * 2**20, seed=1), fake_images.raw(9 * 2**20, seed=2)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def server() -> Iterator[Served]:
    with serving() as served:
        served.files["/a.raw"] = OLD
        yield served


def apply(shell: Shell, url: str, **spec: object) -> int:
    shell.manifest("a", **{"url": url, "interval": "1h", "format": "raw", **spec})
    return shell.apply("--allow-network", "127.0.0.0/8")


def look(shell: Shell) -> int:
    """Ask for a look now, and converge."""
    assert shell("reconcile", "a") == 0
    return shell.apply("--allow-network", "127.0.0.0/8")


def stored(shell: Shell) -> dict[str, int]:
    """Return sha256 -> links of what is under a final name; nothing may be left in the staging room."""
    storage = shell.state / "storage"
    assert list((storage / "staging").iterdir()) == []
    found = [path for path in (storage / "objects").rglob("*") if path.is_file() and not path.suffix]
    assert all(sha256(path.read_bytes()) == path.name for path in found)
    return {path.name: path.stat().st_nlink for path in found}


def test_notify_tells_of_a_change_and_fetches_nothing(shell: Shell, server: Served) -> None:
    assert apply(shell, server.url("/a.raw")) == 0
    assert "checkedAt" not in shell.status("a")["source"]
    sent = server.sent_bytes
    assert look(shell) == 0
    first = shell.status("a")["source"]["checkedAt"]
    assert shell.condition("a", "UpstreamChanged") is None
    server.files["/a.raw"], server.version = NEW, 2
    assert look(shell) == 0
    told = shell.condition("a", "UpstreamChanged")
    assert told is not None
    assert (told["status"], told["reason"]) == ("True", "SourceChanged")
    assert told["message"].endswith(': ETag was "/a.raw-1", is "/a.raw-2"')
    source = shell.status("a")["source"]
    assert source["checkedAt"] > first
    assert (source["etag"], source["seen"]) == ('"/a.raw-1"', {"etag": '"/a.raw-2"', "length": len(NEW)})
    assert stored(shell) == {sha256(OLD): 2}
    assert server.sent_bytes - sent == 2, "a byte for each look"
    assert shell("describe", "image", "a") == 0
    assert "looked at:" in shell.out
    assert 'source has now:   ETag "/a.raw-2", 9437184 bytes' in shell.out
    server.files["/a.raw"], server.version = OLD, 1
    assert look(shell) == 0
    assert shell.condition("a", "UpstreamChanged") is None
    assert "seen" not in shell.status("a")["source"]


def test_import_brings_the_new_bytes_beside_the_old_ones(shell: Shell, server: Served) -> None:
    assert apply(shell, server.url("/a.raw"), updatePolicy="Import") == 0
    server.files["/a.raw"], server.version = NEW, 2
    assert look(shell) == 0
    found = shell.status("a")
    assert found["current"]["sha256"] == sha256(NEW)
    assert found["current"]["source"]["etag"] == '"/a.raw-2"'
    assert [one["sha256"] for one in found["history"]] == [sha256(OLD)]
    assert stored(shell) == {sha256(OLD): 2, sha256(NEW): 2}
    assert "seen" not in found["source"]
    assert shell("rollback", "a") == 0
    assert f'checksum: "sha256:{sha256(OLD)}"' in shell.out
    assert "updatePolicy: Notify" in shell.out


def test_import_of_what_is_no_image_leaves_the_old_one_serving(shell: Shell, server: Served) -> None:
    assert apply(shell, server.url("/a.raw"), updatePolicy="Import") == 0
    server.files["/a.raw"], server.version = fake_images.PAGES["html"] * 20, 2
    assert look(shell) == 4
    told = {one["type"]: (one["status"], one["reason"]) for one in shell.status("a")["conditions"]}
    assert told["Available"] == ("True", "Succeeded")
    assert told["Ready"] == ("False", "FormatRejected")
    assert told["Stalled"] == ("True", "FormatRejected")
    assert told["UpstreamChanged"] == ("True", "SourceChanged")
    assert stored(shell) == {sha256(OLD): 2}
    server.files["/a.raw"], server.version = NEW, 3
    assert look(shell) == 0
    assert shell.status("a")["current"]["sha256"] == sha256(NEW)


def test_the_same_bytes_under_another_name_are_fetched_once_and_are_no_revision(shell: Shell, server: Served) -> None:
    assert apply(shell, server.url("/a.raw"), updatePolicy="Import") == 0
    server.version = 2
    assert look(shell) == 0
    found = shell.status("a")
    assert found["source"]["etag"] == '"/a.raw-2"'
    assert "history" not in found
    sent = server.sent_bytes
    assert look(shell) == 0
    assert server.sent_bytes - sent == 1
    assert stored(shell) == {sha256(OLD): 2}


def test_ignore_asks_nobody(shell: Shell, server: Served) -> None:
    assert apply(shell, server.url("/a.raw"), updatePolicy="Ignore") == 0
    del server.files["/a.raw"]
    assert look(shell) == 0
    assert "checkedAt" not in shell.status("a")["source"]


def test_a_look_that_fails_leaves_the_image_ready(shell: Shell) -> None:
    def fine(peer: Peer) -> None:
        peer.send(head("200 OK", [f"Content-Length: {len(OLD)}", 'ETag: "1"']), OLD)

    gone = answering("503 Later", "Content-Length: 0")
    with HostileServer(fine, gone, answering("200 OK", "Connection: close", body=b"x" * 600)) as server:
        assert apply(shell, server.url()) == 0
        before = shell.status("a")
        assert look(shell) == 0
        after = shell.status("a")
        assert after["source"]["checkError"] == "SourceUnreachable: the server answers 503 Service Unavailable"
        assert after["conditions"] == before["conditions"]
        assert look(shell) == 0
        assert "names no version" in shell.status("a")["source"]["checkError"]
        assert shell("describe", "image", "a") == 0
        assert "look failed:      the source names no version" in shell.out
    assert stored(shell) == {sha256(OLD): 2}


def test_a_list_that_names_other_bytes_is_noticed(shell: Shell, server: Served) -> None:
    sums = shell.sources / "SHA256SUMS"
    sums.write_text(f"{sha256(OLD)}  a.raw\n")
    assert apply(shell, server.url("/a.raw"), checksumFrom={"url": str(sums)}) == 0
    asked = server.sent_bytes
    sums.write_text(f"{sha256(NEW)}  a.raw\n")
    assert look(shell) == 0
    told = shell.condition("a", "UpstreamChanged")
    assert told is not None
    assert f"named sha256:{sha256(OLD)}, and names sha256:{sha256(NEW)} now" in told["message"]
    assert server.sent_bytes == asked, "the url is not asked"
    server.files["/a.raw"], server.version = NEW, 2
    assert apply(shell, server.url("/a.raw"), checksumFrom={"url": str(sums)}, updatePolicy="Import") == 0
    assert shell.status("a")["current"]["sha256"] == sha256(NEW)
    assert stored(shell) == {sha256(OLD): 2, sha256(NEW): 2}


def test_a_file_that_is_written_anew_is_noticed_and_a_chmod_is_not(shell: Shell) -> None:
    shell.image("a", 1, {"interval": "1h"})
    assert shell.apply() == 0
    (shell.sources / "a").chmod(0o600)
    assert look(shell) == 0
    assert shell.condition("a", "UpstreamChanged") is None
    facts = (shell.sources / "a").stat()
    os.utime(shell.sources / "a", ns=(facts.st_atime_ns, facts.st_mtime_ns + 10**9))
    assert look(shell) == 0
    told = shell.condition("a", "UpstreamChanged")
    assert told is not None
    assert "modification time was 20" in told["message"]


def test_what_was_told_makes_a_pinned_copy_no_less_pinned(shell: Shell, server: Served) -> None:
    assert apply(shell, server.url("/a.raw")) == 0
    server.files["/a.raw"], server.version = NEW, 2
    assert look(shell) == 0
    for path in (shell.state / "storage").rglob("*"):
        if path.is_file() and path.stat().st_size == len(OLD):
            path.unlink()
    assert look(shell) == 4
    ready = shell.condition("a", "Ready")
    assert ready is not None
    assert ready["reason"] == "SourceChanged"
    assert shell.condition("a", "UpstreamChanged") is not None
    assert stored(shell) == {}


def test_an_image_is_looked_at_by_itself_and_again_after_a_restart_no_earlier(tmp_path: Path, server: Served) -> None:
    """With an interval of a second, which no manifest may have: the clock is the real one."""
    networks = (ip_network("127.0.0.0/8"),)
    engine = EngineSettings(probe_interval=timedelta(seconds=1))
    settings = Settings(source=SourceSettings(allowed_networks=networks), engine=engine)
    mode = StandaloneSettings(tmp_path / "state")
    wanted = manifests.wanted("a", url=server.url("/a.raw"), interval="1s", updatePolicy="Import")
    trees = (manifests.tree(wanted), default_storage(tmp_path / "state"))

    def image(standalone: Standalone) -> ImageStatus:
        found = standalone.state.image(Key(Kind.IMAGE, "default", "a"))
        assert found is not None
        return found.status

    with wiring.standalone(settings, mode) as standalone:
        standalone.take(trees)
        standalone.engine.start()
        until(lambda: image(standalone).watch.checked_at is not None)
        server.files["/a.raw"], server.version = NEW, 2
        until(lambda: (now := image(standalone).current) is not None and now.content.sha256.hex == sha256(NEW))
        imported = image(standalone)
    assert [revision.content.sha256.hex for revision in imported.history] == [sha256(OLD)]
    asked = server.sent_bytes
    with wiring.standalone(settings, mode) as standalone:
        hourly = manifests.wanted("a", url=server.url("/a.raw"), interval="1h", updatePolicy="Import")
        standalone.take((manifests.tree(hourly), trees[1]))
        standalone.engine.start()
        until(lambda: image(standalone).observed_generation == imported.observed_generation + 1)
        until(lambda: standalone.engine.queue.idle)
    assert server.sent_bytes - asked <= 1, "an hour is not over; at most the look that was under way"
