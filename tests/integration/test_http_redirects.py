"""Redirects are followed by hand: ten hops, each checked, no body read, nothing carried over (checklist 31, 32)."""

import os
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from controller import errors
from tests.fakes.fetching import NEVER, asking, drain, fetch, http_source
from tests.fakes.hostile_server import HostileServer, Peer, head, redirecting, serving


@pytest.mark.parametrize("status", ["301 x", "302 x", "303 x", "307 x", "308 x"])
def test_a_redirect_is_followed_and_the_last_hop_is_named(status: str) -> None:
    with HostileServer(serving(b"image")) as last, HostileServer(redirecting(last.url("/x?sig=s"), status)) as first:
        body = http_source().open(asking(first.url()), NEVER)
        assert body.served_by == last.url("/x")
        assert drain(body) == b"image"
        assert last.peers[0].request_line == "GET /x?sig=s HTTP/1.1"


def test_a_relative_location_stays_on_its_origin() -> None:
    with HostileServer(redirecting("../b"), serving(b"image")) as server:
        assert fetch(http_source(), asking(server.url("/x/a"))) == b"image"
        assert server.peers[1].request_line == "GET /b HTTP/1.1"


def test_the_tenth_redirect_is_followed_the_eleventh_not() -> None:
    ten = [redirecting("/next")] * 10
    with HostileServer(*ten, serving(b"image")) as server:
        assert fetch(http_source(), asking(server.url())) == b"image"
    with HostileServer(*ten, redirecting("/next"), serving(b"image")) as server:
        with pytest.raises(errors.ProtocolError, match="more than 10 redirects"):
            http_source().open(asking(server.url()), NEVER)
        assert server.connections == 11


def test_a_loop_ends() -> None:
    with HostileServer(redirecting("/image")) as server, pytest.raises(errors.ProtocolError, match="redirects"):
        http_source().open(asking(server.url()), NEVER)


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/hostname",
        "ftp://127.0.0.1/a",
        "gopher://127.0.0.1/a",
        "data:,a",
        "javascript:a",
        "unix:///run/docker.sock",
    ],
)
def test_no_redirect_leaves_http(location: str) -> None:
    with (
        HostileServer(redirecting(location)) as server,
        pytest.raises(errors.PolicyDenied, match="only http and https"),
    ):
        http_source().open(asking(server.url()), NEVER)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "http://2130706433:{port}/",
        "http://0x7f.1:{port}/",
        "http://user:pw@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}\\@h/",
    ],
)
def test_a_location_that_readers_disagree_on_goes_nowhere(location: str) -> None:
    with (
        HostileServer(serving(b"secret")) as target,
        HostileServer(redirecting(location.format(port=target.port))) as server,
    ):
        with pytest.raises(errors.ProtocolError):
            http_source().open(asking(server.url()), NEVER)
        assert target.connections == 0


@pytest.mark.parametrize("tail", [b"Location: /a\r\nLocation: /b\r\n\r\n", b"Location: /a\r\n evil\r\n\r\n", b"\r\n"])
def test_an_odd_location_header_goes_nowhere(tail: bytes) -> None:
    """Twice, folded over two lines, absent."""
    with HostileServer(lambda peer: peer.send(b"HTTP/1.1 302 Found\r\n", tail)) as server:
        with pytest.raises(errors.ProtocolError):
            http_source().open(asking(server.url()), NEVER)
        assert server.connections == 1


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://10.0.0.1/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://168.63.129.16/",
        "http://[fd00:ec2::254]/",
    ],
)
def test_a_redirect_into_a_closed_network_is_denied(target: str) -> None:
    """The test's sandbox would report a connect that was only tried."""
    with HostileServer(redirecting(target)) as server, pytest.raises(errors.PolicyDenied, match="--allow-network"):
        http_source().open(asking(server.url()), NEVER)


def test_a_redirect_body_is_not_read() -> None:
    """3 GB behind a redirect: a few buffers of the kernel's are sent, memory stays flat, the connection is dropped."""

    def script(peer: Peer) -> None:
        peer.send(head("302 Found", [f"Location: {last.url()}", f"Content-Length: {3 * 10**9}"]))
        try:
            peer.send_zeros(3 * 10**9)
        finally:
            hung_up.set()

    hung_up = threading.Event()
    with HostileServer(serving(b"image")) as last, HostileServer(script) as first:
        before = resident_bytes()
        assert fetch(http_source(), asking(first.url())) == b"image"
        assert hung_up.wait(60)
        assert resident_bytes() - before < 10 * 2**20
        assert first.peers[0].sent_bytes < 64 * 2**20


def test_each_hop_is_told_what_its_own_url_says_and_no_more() -> None:
    """Range and validator go along, Host is the hop's own; a query of the first hop reaches nobody else."""
    with ExitStack() as stack:
        last = stack.enter_context(HostileServer(serving(b"image")))
        first = stack.enter_context(HostileServer(redirecting(last.url())))
        body = http_source().open(asking(first.url("/a?token=hunter2"), resume_from=3, etag='"v1"'), NEVER)
        assert drain(body) == b"image"
        told = last.peers[0].headers
    assert told["host"] == f"127.0.0.1:{last.port}"
    assert told["range"] == "bytes=3-"
    assert told["if-range"] == '"v1"'
    assert set(told) == {"host", "user-agent", "accept", "accept-encoding", "connection", "range", "if-range"}
    assert b"hunter2" not in last.peers[0].request


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
