"""Mirrors through the command line, over real HTTP: what the status says and what lies on the disk."""

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import images as fake_images
from tests.fakes.hostile_server import HostileServer, Peer, Script, answering, head
from tests.fakes.hostile_server import serving as sending
from tests.integration import test_secrets
from tests.integration.ranged_server import Served, serving
from tests.integration.shell import Shell

IMAGE, OTHER = fake_images.raw(9 * 2**20, seed=1), fake_images.raw(9 * 2**20, seed=2)
BLOCK = 2**18 + 4096
"""What one interruption may cost."""
CHECKSUM = f"sha256:{hashlib.sha256(IMAGE).hexdigest()}"


@pytest.fixture(autouse=True)
def _secrets(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir(mode=0o700)


@pytest.fixture
def mirror() -> Iterator[Served]:
    with serving() as served:
        served.files["/m.raw"] = IMAGE
        yield served


def apply(shell: Shell, url: str, *mirrors: str, flags: tuple[str, ...] = (), **spec: object) -> int:
    shell.manifest("a", **{"url": url, "mirrors": mirrors, "checksum": CHECKSUM, "format": "raw", **spec})
    return shell.apply("--allow-network", "127.0.0.0/8", *flags)


def ready(shell: Shell) -> dict[str, Any]:
    return next(one for one in shell.status("a")["conditions"] if one["type"] == "Ready")


def stored(shell: Shell) -> list[bytes]:
    """Return what is under a final name; nothing may be left in the staging room."""
    storage = shell.state / "storage"
    assert list((storage / "staging").iterdir()) == []
    return [path.read_bytes() for path in (storage / "objects").rglob("*") if path.is_file() and not path.suffix]


def half(data: bytes, *headers: str) -> Script:
    """Send a good head, half of the body, and hang up."""

    def script(peer: Peer) -> None:
        peer.send(head("200 OK", [f"Content-Length: {len(data)}", *headers]), data[: len(data) // 2])

    return script


def test_a_mirror_serves_where_the_url_does_not(shell: Shell, mirror: Served) -> None:
    with HostileServer(answering("404 Not Found", "Content-Length: 0")) as gone:
        assert apply(shell, gone.url("/a?sig=hunter2"), mirror.url("/m.raw")) == 0
        assert "transfer.deduplicated" not in shell.err, "what it fetched itself was not spared"
        source = shell.status("a")["source"]
        assert source["servedBy"] == source["mirror"] == mirror.url("/m.raw")
        assert source["etag"] == '"/m.raw-1"'
        assert source["length"] == len(IMAGE)
        assert source["skipped"] == [
            {"url": gone.url("/a"), "reason": "SourceNotFound", "message": "the server answers 404 Not Found"}
        ]
    assert stored(shell) == [IMAGE]
    assert shell("describe", "image", "a") == 0
    assert f"mirror:           {mirror.url('/m.raw')}" in shell.out
    assert "(SourceNotFound): the server answers 404 Not Found" in shell.out
    assert "hunter2" not in shell.out


def test_a_mirror_with_other_bytes_is_skipped_and_named(shell: Shell, mirror: Served) -> None:
    wrong = hashlib.sha256(OTHER).hexdigest()
    with HostileServer(sending(OTHER)) as bad, HostileServer(answering("503 Busy")) as busy:
        assert apply(shell, busy.url(), bad.url("/m"), mirror.url("/m.raw")) == 0
        named = f"{bad.url('/m')} was skipped: expected {CHECKSUM}, got sha256:{wrong}"
        logged = [json.loads(line) for line in shell.err.splitlines() if line.startswith("{")]
    assert ready(shell)["message"] == f"stored and verified on default; {named}"
    assert shell.status("a")["source"]["fetchedBytes"] == 2 * len(IMAGE), "what was fetched in vain is told of"
    assert shell("describe", "image", "a") == 0
    assert "fetched:          18Mi in all, to have 9Mi" in shell.out
    assert f"from {mirror.url('/m.raw')}" in shell.out
    assert "18Mi fetched in all" in shell.out
    assert stored(shell) == [IMAGE]
    told = [line for line in logged if line["event"] == "transfer.source_skipped"]
    assert [line["reason"] for line in told] == ["SourceUnreachable", "ChecksumMismatch"]
    assert f"got sha256:{wrong}" in told[1]["message"]


def test_a_mirror_goes_on_in_a_later_try_after_the_url_is_gone(shell: Shell, mirror: Served) -> None:
    del mirror.files["/m.raw"]
    with HostileServer(half(IMAGE, 'ETag: "v1"'), answering("404 Not Found", "Content-Length: 0")) as dying:
        assert apply(shell, dying.url(), mirror.url("/m.raw"), flags=("--timeout", "2s")) == 4
        assert ready(shell)["reason"] == "SourceUnreachable"
        (partial,) = (shell.state / "storage" / "staging").glob("*.partial")
        kept = partial.stat().st_size
        assert len(IMAGE) // 2 - BLOCK <= kept <= len(IMAGE) // 2
        mirror.files["/m.raw"] = IMAGE
        assert apply(shell, dying.url(), mirror.url("/m.raw")) == 0
    assert mirror.sent_bytes <= len(IMAGE) - kept + BLOCK
    assert shell.status("a")["source"]["length"] == len(IMAGE)
    assert stored(shell) == [IMAGE]


def test_the_rest_comes_from_a_mirror_with_a_plain_range(shell: Shell) -> None:
    asked = []

    def ranged(peer: Peer) -> None:
        asked.append(peer.headers)
        first = int(peer.headers["range"].removeprefix("bytes=").removesuffix("-"))
        span = f"Content-Range: bytes {first}-{len(IMAGE) - 1}/{len(IMAGE)}"
        peer.send(head("206 Partial Content", [f"Content-Length: {len(IMAGE) - first}", span]), IMAGE[first:])

    with HostileServer(half(IMAGE)) as dying, HostileServer(ranged) as other:
        assert apply(shell, dying.url(), other.url()) == 0
        assert dying.connections == other.connections == 1
        assert dying.peers[0].sent_bytes + other.peers[0].sent_bytes <= len(IMAGE) + BLOCK + 1024
    assert "if-range" not in asked[0]
    assert int(asked[0]["range"].removeprefix("bytes=").removesuffix("-")) >= len(IMAGE) // 2 - BLOCK
    assert stored(shell) == [IMAGE]


def test_parts_that_do_not_fit_come_once_more_from_one_source(shell: Shell) -> None:
    """The url broke off in the middle of something else."""

    def rest_or_all(peer: Peer) -> None:
        asked = peer.headers.get("range", "bytes=0-")
        first = int(asked.removeprefix("bytes=").removesuffix("-"))
        if first == 0:
            peer.send(head("200 OK", [f"Content-Length: {len(IMAGE)}"]), IMAGE)
            return
        span = f"Content-Range: bytes {first}-{len(IMAGE) - 1}/{len(IMAGE)}"
        peer.send(head("206 Partial Content", [f"Content-Length: {len(IMAGE) - first}", span]), IMAGE[first:])

    with HostileServer(half(OTHER)) as bad, HostileServer(rest_or_all) as good:
        assert apply(shell, bad.url(), good.url()) == 0
        assert ["range" in peer.headers for peer in good.peers] == [True, False]
    assert stored(shell) == [IMAGE]


def test_nobody_serves_and_each_is_told_of(shell: Shell) -> None:
    with HostileServer(sending(OTHER)) as bad, HostileServer(answering("404 Not Found")) as shut:
        assert apply(shell, shut.url("/a"), bad.url("/b"), "/nowhere/c", retry={"initialBackoff": "1s"}) == 4
        told = ready(shell)
        assert told["reason"] == "ChecksumMismatch"
        assert [part.partition(": ")[0] for part in told["message"].split("; ")] == [
            bad.url("/b"),
            "file:///nowhere/c",
            shut.url("/a"),
        ]
        assert bad.connections == 2, "a mismatch is tried once more"
    assert "Stalled" in {one["type"] for one in shell.status("a")["conditions"]}
    assert stored(shell) == []


def test_other_mirrors_download_nothing(shell: Shell, mirror: Served) -> None:
    assert apply(shell, mirror.url("/m.raw")) == 0
    del mirror.files["/m.raw"]
    with HostileServer(answering("500 Never")) as unasked:
        assert apply(shell, mirror.url("/m.raw"), unasked.url(), unasked.url("/b")) == 0
        assert apply(shell, mirror.url("/m.raw"), unasked.url("/b")) == 0
        assert unasked.connections == 0
    assert stored(shell) == [IMAGE]


def test_a_lost_copy_is_healed_from_a_mirror(shell: Shell, mirror: Served) -> None:
    with HostileServer(sending(IMAGE), answering("410 Gone", "Content-Length: 0")) as dying:
        assert apply(shell, dying.url(), mirror.url("/m.raw")) == 0
        assert "mirror" not in shell.status("a")["source"]
        for path in (shell.state / "storage").rglob("*"):
            if path.is_file() and path.stat().st_size == len(IMAGE):
                path.unlink()
        assert apply(shell, dying.url(), mirror.url("/m.raw")) == 0
    assert shell.status("a")["source"]["mirror"] == mirror.url("/m.raw")
    assert stored(shell) == [IMAGE]


def test_a_secret_goes_to_no_mirror_that_it_does_not_list(shell: Shell) -> None:
    with (
        HostileServer(answering("401 Who", "Content-Length: 0")) as guarded,
        HostileServer(answering("401 Who", "Content-Length: 0")) as stranger,
        HostileServer(sending(IMAGE)) as friend,
    ):
        test_secrets.write(shell, f"{guarded.url('')} {friend.url('')}")
        flags = ("--secrets", str(shell.root / "secrets"))
        mirrors = (stranger.url(), friend.url())
        assert apply(shell, guarded.url(), *mirrors, flags=flags, secretRef={"name": "mirror"}) == 0
        told = ["authorization" in server.peers[0].headers for server in (guarded, stranger, friend)]
        assert told == [True, False, True]
    assert test_secrets.PASSWORD not in json.dumps(shell.status("a")) + shell.err


def test_the_whole_try_ends_when_it_is_told_to(shell: Shell) -> None:
    """A mirror that says nothing holds a stop up no longer than a url does."""
    with HostileServer(answering("404 Not Found", "Content-Length: 0")) as gone, HostileServer(Peer.hold) as silent:
        done = threading.Event()
        assert apply(shell, gone.url(), silent.url(), flags=("--timeout", "1s")) == 4
        done.set()
        assert silent.connections == 1
    assert stored(shell) == []
