"""All that a server can do wrong with an answer (security checklist 21-25, 28-30, 33): class of error, bytes, time."""

import resource
import socket
import threading
import time
from datetime import timedelta

import pytest

from controller import errors
from controller.adapters.sources.http_limits import HttpLimits
from tests.fakes.clock import FakeClock
from tests.fakes.fetching import NEVER, asking, drain, fetch, http_source
from tests.fakes.hostile_server import HostileServer, Peer, Script, answering, head, serving

CHUNKED = "Transfer-Encoding: chunked"


def failing(script: Script, error: type[errors.GoldmasterError], match: str | None = None) -> errors.GoldmasterError:
    """Fetch from a server that does `script`; return the error, which must be exactly of this class."""
    with HostileServer(script) as server, pytest.raises(error, match=match) as caught:
        fetch(http_source(), asking(server.url()))
    assert type(caught.value) is error
    assert server.connections == 1, "an error is the engine's to retry"
    return caught.value


def test_a_proper_answer_comes_whole_and_asks_for_plain_bytes() -> None:
    """The yardstick for all that follows, and what every request says."""
    with HostileServer(serving(b"image", 'ETag: "v1"')) as server:
        body = http_source().open(asking(server.url("/a%20b?c=d&e")), NEVER)
        assert (body.offset, body.total_bytes, body.validator.etag) == (0, 5, '"v1"')
        assert drain(body) == b"image"
        assert body.complete
        peer = server.peers[0]
    assert peer.request_line == "GET /a%20b?c=d&e HTTP/1.1"
    assert peer.headers == {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": "goldmaster",
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "close",
    }


def test_a_body_shorter_than_its_length_is_broken() -> None:
    failing(answering("200 OK", "Content-Length: 10", body=b"image"), errors.SourceUnreachable, "5 of 10")


def test_a_reset_in_the_body_is_broken_and_what_came_before_is_delivered() -> None:
    def script(peer: Peer) -> None:
        peer.send(head("200 OK", ["Content-Length: 1000000"]), bytes(1000))
        read.wait(60)
        peer.reset()

    read = threading.Event()
    with HostileServer(script) as server:
        body = http_source().open(asking(server.url()), NEVER)
        view = memoryview(bytearray(1000))
        assert body.readinto(view) == 1000
        read.set()
        with pytest.raises(errors.SourceUnreachable, match="reset"):
            body.readinto(view)


def test_a_reset_is_broken_even_where_the_end_of_the_connection_is_the_end() -> None:
    """The kernel tells of a reset once; asking again would look like a proper end."""

    def script(peer: Peer) -> None:
        peer.send(head(), b"ima")
        read.wait(60)
        peer.reset()

    read = threading.Event()
    with HostileServer(script) as server:
        body = http_source().open(asking(server.url()), NEVER)
        view = memoryview(bytearray(3))
        assert body.readinto(view) == 3
        read.set()
        with pytest.raises(errors.SourceUnreachable, match="reset"):
            body.readinto(view)
        assert not body.complete


@pytest.mark.parametrize(
    "stream",
    [
        b"5\r\nima",
        b"5\r\nimage\r\n",
        b"zz\r\nimage\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nimage",
        b"5\r\nimages\r\n0\r\n\r\n",
    ],
    ids=["cut", "no final chunk", "no hex", "2^64-1", "longer than its size"],
)
def test_bad_chunks_are_broken(stream: bytes) -> None:
    failing(answering("200 OK", CHUNKED, body=stream), errors.SourceUnreachable)


def test_chunks_are_joined_and_their_end_is_proof() -> None:
    with HostileServer(answering("200 OK", CHUNKED, body=b"3\r\nima\r\n2;x\r\nge\r\n0\r\nA: b\r\n\r\n")) as server:
        body = http_source().open(asking(server.url()), NEVER)
        assert body.total_bytes is None
        assert drain(body) == b"image"
        assert body.complete


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_a_body_without_length_ends_with_the_connection_and_proves_nothing(version: str) -> None:
    with HostileServer(lambda peer: peer.send(f"{version} 200 OK\r\n\r\nimage".encode())) as server:
        body = http_source().open(asking(server.url()), NEVER)
        assert body.total_bytes is None
        assert drain(body) == b"image"
        assert not body.complete


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5", "Content-Length: 5"],
        ["Content-Length: -5"],
        ["Content-Length: 99999999999999999999"],
        ["Content-Length: five"],
        ["Content-Length: 5", CHUNKED],
        ["Transfer-Encoding: gzip, chunked"],
        ["Content-Length: 5", "no colon here", 'ETag: "x"'],
        ["Content-Encoding: gzip", "Content-Length: 5"],
        ["Content-Encoding: br", "Content-Length: 5"],
        ["Content-Encoding: zstd", CHUNKED],
    ],
    ids="; ".join,
)
def test_headers_that_contradict_or_change_the_bytes_are_refused(lines: list[str]) -> None:
    failing(answering("200 OK", *lines, body=b"image"), errors.ProtocolError)


@pytest.mark.parametrize("kind", ["multipart/mixed", "multipart/mixed; boundary=x", "multipart/x", "message/rfc822"])
def test_what_the_parser_of_mail_misses_in_a_body_to_come_is_no_defect_of_the_headers(kind: str) -> None:
    lines = [f"Content-Type: {kind}", "Content-Transfer-Encoding: base64", "Content-Length: 5"]
    with HostileServer(answering("200 OK", *lines, body=b"image")) as server:
        assert fetch(http_source(), asking(server.url())) == b"image"
    failing(answering("200 OK", *lines, "no colon here", 'ETag: "x"', body=b"image"), errors.ProtocolError)


def test_more_bytes_than_promised_are_refused() -> None:
    failing(answering("200 OK", "Content-Length: 3", body=b"image"), errors.ProtocolError, "more than the 3")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"<html>\r\n\r\n",
        b"\0" * 100,
    ],
)
def test_what_is_no_http_is_refused(answer: bytes) -> None:
    failing(lambda peer: peer.send(answer), errors.SourceUnreachable if answer == b"" else errors.ProtocolError)


def test_too_large_is_known_before_the_first_byte() -> None:
    def script(peer: Peer) -> None:
        peer.send(head("200 OK", ["Content-Length: 1000000000"]))
        peer.hold()

    with HostileServer(script) as server, pytest.raises(errors.TooLarge, match="1000000000 bytes"):
        http_source().open(asking(server.url(), max_bytes=10**6), NEVER)


def test_too_large_without_a_length_stops_at_the_limit() -> None:
    def script(peer: Peer) -> None:
        peer.send(head())
        peer.send_zeros(2**40)

    with HostileServer(script) as server:
        body = http_source().open(asking(server.url(), max_bytes=2**20), NEVER)
        with pytest.raises(errors.TooLarge):
            drain(body)
        body.close()
    assert server.peers[0].sent_bytes < 2**26, "what is beyond the limit is not read"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *[(status, errors.AuthenticationFailed) for status in ("401 Unauthorized", "403 Forbidden", "407 Proxy")],
        *[(status, errors.SourceNotFound) for status in ("404 Not Found", "410 Gone")],
        *[
            (status, errors.SourceUnreachable)
            for status in ("408 x", "425 x", "429 x", "500 x", "502 x", "503 x", "504 x")
        ],
        *[
            (status, errors.ProtocolError)
            for status in ("204 x", "304 x", "206 x", "400 x", "416 x", "451 x", "300 x", "101 x")
        ],
    ],
)
def test_each_status_has_its_class(status: str, error: type[errors.GoldmasterError]) -> None:
    failing(answering(status, "Content-Range: bytes 0-4/5", "Content-Length: 5", body=b"image"), error)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("1", timedelta(seconds=1)),
        ("9999999", timedelta(hours=1)),
        ("Thu, 01 Jan 2026 00:10:00 GMT", timedelta(minutes=10)),
    ],
)
@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_a_busy_server_says_when_to_come_back(status: str, value: str, wait: timedelta) -> None:
    script = answering(status, f"Retry-After: {value}")
    with HostileServer(script) as server, pytest.raises(errors.SourceUnreachable) as caught:
        http_source(FakeClock()).open(asking(server.url()), NEVER)
    assert caught.value.retry_after == wait


def test_a_header_flood_is_refused_early_and_not_kept_in_memory() -> None:
    """20,000 headers, one of 10 MB, 5,000 interim answers."""

    def many(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\n", *(b"X-%d: y\r\n" % number for number in range(20_000)), b"\r\n")

    def long(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nX: ")
        peer.send_zeros(10**7)

    def interim(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for script in (many, long, interim):
        failing(script, errors.ProtocolError)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10 * 1024, "KiB"


def test_an_interim_answer_is_skipped() -> None:
    with HostileServer(
        lambda peer: peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 2, head("200 OK", ["Content-Length: 2"]), b"ok")
    ) as server:
        assert fetch(http_source(), asking(server.url())) == b"ok"


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nX:",
        head("200 OK", ["Content-Length: 5"]),
        head("200 OK", ["Content-Length: 5"]) + b"imag",
    ],
)
def test_silence_at_any_place_ends_by_the_stall_timeout(before: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.send(before)
        peer.hold()

    with HostileServer(script) as server:
        started = time.monotonic()
        with pytest.raises(errors.SourceUnreachable, match=r"waited for 0\.3 s in vain"):
            fetch(http_source(), asking(server.url(), stall_s=0.3))
        assert time.monotonic() - started > 0.2


def test_headers_that_come_a_byte_at_a_time_end_by_the_stall_timeout() -> None:
    """Each byte would reset a timeout per read; the time of the whole head is bounded instead."""

    def script(peer: Peer) -> None:
        for byte in head("200 OK", [f"X: {'y' * 1000}"]):
            peer.send(bytes([byte]))
            if gone.wait(0.01):
                return

    gone = threading.Event()
    with HostileServer(script) as server:
        with pytest.raises(errors.SourceUnreachable, match="waiting for the answer"):
            http_source().open(asking(server.url(), stall_s=0.3), NEVER)
        gone.set()


def test_a_drip_ends_by_the_throughput_floor() -> None:
    """Two bytes a tick never stall; within the window they are too few."""

    def script(peer: Peer) -> None:
        peer.send(head("200 OK", ["Content-Length: 1000000"]))
        while not gone.wait(0.02):
            peer.send(b"xx")

    gone = threading.Event()
    limits = HttpLimits(tick_s=0.05, floor_window_s=0.5)
    with HostileServer(script) as server:
        body = http_source(limits=limits).open(asking(server.url()), NEVER)
        with pytest.raises(errors.SourceUnreachable, match="below 1024 bytes/s"):
            drain(body)
        gone.set()


@pytest.mark.parametrize("before", [b"", head("200 OK", ["Content-Length: 5"])], ids=["before the head", "in the body"])
def test_a_stop_ends_a_silent_wait_soon(before: bytes) -> None:
    """Within a second on a quiet machine, as it is looked for so often; long before the wait would end by itself."""
    assert HttpLimits().tick_s <= 0.5

    def script(peer: Peer) -> None:
        peer.send(before)
        waiting.set()
        peer.hold()

    waiting, stop = threading.Event(), threading.Event()
    stopped: list[float] = []

    def stop_it() -> None:
        waiting.wait(60)
        stopped.append(time.monotonic())
        stop.set()

    with HostileServer(script) as server:
        stopper = threading.Thread(target=stop_it)
        stopper.start()
        with pytest.raises(errors.Interrupted):
            drain(http_source(limits=HttpLimits()).open(asking(server.url(), stall_s=3600), stop))
        stopper.join()
        assert time.monotonic() - stopped[0] < 60


def test_a_refused_connection_is_unreachable() -> None:
    with socket.socket() as bound:  # nobody else gets its port, and it does not listen
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(errors.SourceUnreachable, match="Connection refused"):
            http_source().open(asking(f"http://127.0.0.1:{bound.getsockname()[1]}/image"), NEVER)


def test_a_message_never_shows_the_query() -> None:
    scripts = [
        answering("403 Forbidden"),
        answering("500 x"),
        answering("200 OK", "Content-Length: x"),
        answering("200 OK", "bad header"),
    ]
    for script in scripts:
        with HostileServer(script) as server, pytest.raises(errors.GoldmasterError) as caught:
            http_source().open(asking(server.url("/a?X-Amz-Signature=hunter2")), NEVER)
        assert "hunter2" not in str(caught.value)


def test_close_hangs_up_at_once() -> None:
    def script(peer: Peer) -> None:
        peer.send(head("200 OK", ["Content-Length: 1000"]), b"x")
        peer.hold()
        hung_up.set()

    hung_up = threading.Event()
    with HostileServer(script) as server:
        body = http_source().open(asking(server.url()), NEVER)
        body.close()
        assert hung_up.wait(60)
