"""Resuming: only the rest of the very version that is held, else everything anew (checklist 26, 27; facts of nginx)."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller import errors
from tests.fakes.fetching import NEVER, asking, drain, fetch, http_source
from tests.fakes.hostile_server import HostileServer, Peer, Script, answering, head, serving
from tests.fakes.nginx import nginx

DATA = b"0123456789"
ETAG = '"v1"'


def partial(content_range: str, body: bytes, *more: str) -> Script:
    return answering(
        "206 Partial Content", f"Content-Range: {content_range}", f"Content-Length: {len(body)}", *more, body=body
    )


def resumed(*scripts: Script) -> tuple[int, bytes, list[Peer]]:
    """Resume at byte 4 of version v1; return offset, bytes, and what the server was asked."""
    with HostileServer(*scripts) as server:
        body = http_source().open(asking(server.url(), resume_from=4, etag=ETAG), NEVER)
        offset, data = body.offset, drain(body)
        assert body.complete
        assert body.total_bytes == len(DATA)
    return offset, data, server.peers


def test_the_rest_is_asked_for_with_if_range() -> None:
    offset, data, peers = resumed(partial("bytes 4-9/10", DATA[4:], f"ETag: {ETAG}"))
    assert (offset, data) == (4, DATA[4:])
    assert [peer.headers["range"] for peer in peers] == ["bytes=4-"]
    assert [peer.headers["if-range"] for peer in peers] == [ETAG]


def test_a_server_without_ranges_starts_over_in_the_same_answer() -> None:
    offset, data, peers = resumed(serving(DATA))
    assert (offset, data, len(peers)) == (0, DATA, 1)


UNFIT = {
    "another start": partial("bytes 3-9/10", DATA[3:], f"ETag: {ETAG}"),
    "not to the end": partial("bytes 4-8/10", DATA[4:9], f"ETag: {ETAG}"),
    "unknown total": partial("bytes 4-9/*", DATA[4:], f"ETag: {ETAG}"),
    "another unit": partial("lines 4-9/10", DATA[4:], f"ETag: {ETAG}"),
    "no range": answering("206 x", "Content-Length: 6", f"ETag: {ETAG}", body=DATA[4:]),
    "length does not fit": partial("bytes 4-9/10", DATA[4:8], f"ETag: {ETAG}"),
    "another version": partial("bytes 4-9/10", DATA[4:], 'ETag: "v2"'),
    "weak version": partial("bytes 4-9/10", DATA[4:], f"ETag: W/{ETAG}"),
    "no version": partial("bytes 4-9/10", DATA[4:]),
    "several ranges": answering(
        "206 x", "Content-Type: multipart/byteranges; boundary=x", "Content-Length: 3", body=b"--x"
    ),
    "not satisfiable": answering("416 x", "Content-Range: bytes */3"),
    "not satisfiable, no total": answering("416 x"),
    "satisfied, another version": answering("416 x", "Content-Range: bytes */4", 'ETag: "v2"'),
}


@pytest.mark.parametrize("first", UNFIT.values(), ids=UNFIT)
def test_an_answer_that_is_not_the_rest_starts_over_without_a_range(first: Script) -> None:
    offset, data, peers = resumed(first, serving(DATA))
    assert (offset, data) == (0, DATA)
    assert "range" in peers[0].headers
    assert "range" not in peers[1].headers
    assert "if-range" not in peers[1].headers


@pytest.mark.parametrize("more", [[], [f"ETag: {ETAG}"]])
def test_nothing_left_is_complete(more: list[str]) -> None:
    script = answering("416 x", "Content-Range: bytes */10", *more, body=b"<html>nothing</html>")
    with HostileServer(script) as server:
        body = http_source().open(asking(server.url(), resume_from=10, etag=ETAG), NEVER)
        assert (body.offset, body.total_bytes, body.validator.etag) == (10, 10, ETAG)
        assert drain(body) == b""
        assert body.complete


def test_a_range_that_nobody_asked_for_is_refused() -> None:
    for etag in (None, 'W/"v1"'):
        with HostileServer(partial("bytes 0-9/10", DATA)) as server:
            with pytest.raises(errors.ProtocolError, match="206"):
                http_source().open(asking(server.url(), resume_from=4, etag=etag), NEVER)
            assert "range" not in server.peers[0].headers


def test_errors_are_not_hidden_by_starting_over() -> None:
    with HostileServer(answering("404 Not Found"), serving(DATA)) as server:
        with pytest.raises(errors.SourceNotFound):
            http_source().open(asking(server.url(), resume_from=4, etag=ETAG), NEVER)
        assert server.connections == 1


def test_the_total_of_a_range_counts_against_the_limit() -> None:
    with HostileServer(partial("bytes 4-9/10", DATA[4:], f"ETag: {ETAG}")) as server, pytest.raises(errors.TooLarge):
        http_source().open(asking(server.url(), resume_from=4, etag=ETAG, max_bytes=9), NEVER)


def test_a_rest_in_chunks_must_be_as_long_as_its_range() -> None:
    def script(peer: Peer) -> None:
        lines = ["Content-Range: bytes 4-9/10", f"ETag: {ETAG}", "Transfer-Encoding: chunked"]
        peer.send(head("206 x", lines), b"5\r\n45678\r\n0\r\n\r\n")

    with HostileServer(script) as server, pytest.raises(errors.SourceUnreachable, match="byte 9 of 10"):
        fetch(http_source(), asking(server.url(), resume_from=4, etag=ETAG))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    served = tmp_path_factory.mktemp("served")
    (served / "image").write_bytes(os.urandom(300_000))
    without_ranges = f"location /norange/ {{ max_ranges 0; alias {served}/; }}"
    with nginx(served, tmp_path_factory.mktemp("nginx"), without_ranges) as url:
        yield served, url


@pytest.mark.needs_nginx
class TestNginx:
    """The semantics that resume is built on, as a real server has them."""

    def test_every_cut_is_continued_to_the_same_bytes(self, site: tuple[Path, str]) -> None:
        served, url = site
        data, source = (served / "image").read_bytes(), http_source()
        held = b""
        body = source.open(asking(f"{url}/image"), NEVER)
        etag, buffer = body.validator.etag, memoryview(bytearray(70_000))
        while count := body.readinto(buffer):
            held += buffer[:count]
            body.close()
            body = source.open(asking(f"{url}/image", resume_from=len(held), etag=etag), NEVER)
            assert body.offset == len(held)
        assert held == data
        assert body.complete

    def test_without_ranges_everything_comes_again(self, site: tuple[Path, str]) -> None:
        served, url = site
        first = http_source().open(asking(f"{url}/norange/image"), NEVER)
        first.close()
        body = http_source().open(asking(f"{url}/norange/image", resume_from=9, etag=first.validator.etag), NEVER)
        assert body.offset == 0
        assert drain(body) == (served / "image").read_bytes()

    def test_a_file_replaced_while_it_is_read_is_still_one_version(self, site: tuple[Path, str]) -> None:
        served, url = site
        path = served / "replaced"
        path.write_bytes(b"a" * 5_000_000)
        body = http_source().open(asking(f"{url}/replaced"), NEVER)
        (served / "fresh").write_bytes(b"b" * 5_000_000)
        os.utime(served / "fresh", (1, 1))
        (served / "fresh").rename(path)
        assert drain(body) == b"a" * 5_000_000
        again = http_source().open(asking(f"{url}/replaced", resume_from=1_000, etag=body.validator.etag), NEVER)
        assert again.offset == 0
        again.close()
