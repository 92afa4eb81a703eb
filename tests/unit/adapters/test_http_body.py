"""Bodies out of a socket: any split gives the same bytes, and an end that is not proven is an error."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import errors
from controller.adapters.sources import http_body
from controller.adapters.sources.http_answer import Framing
from controller.adapters.sources.http_body import HttpBody
from controller.adapters.sources.http_limits import HttpLimits
from controller.adapters.sources.wire import Patience, Wire
from controller.model.delivery import Peer
from controller.model.transfer import Validator
from tests.fakes.clock import FakeClock

CHUNKED = Framing(None, chunked=True)
UNTIL_CLOSE = Framing(None, chunked=False)
LIMITS = HttpLimits(tick_s=0.01, max_chunk_line_bytes=64, max_header_bytes=256)


@contextmanager
def wire_with(*pieces: bytes) -> Iterator[Wire]:
    """Yield a wire that delivers the pieces one by one and then ends."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def send() -> None:
        # a body that has its last chunk hangs up, whatever the peer would still say
        with theirs, suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                theirs.sendall(piece)

    sender = threading.Thread(target=send)
    sender.start()
    patience = Patience(FakeClock(), threading.Event(), LIMITS)
    patience.begin_body("reading", 60)
    wire = Wire(ours, patience)
    try:
        yield wire
    finally:
        sender.join()
        wire.close()


def body_of(wire: Wire, framing: Framing, *, max_bytes: int | None = None, total: int | None = None) -> HttpBody:
    held = ExitStack()
    held.callback(wire.close)
    return HttpBody(
        held,
        http_body.frame_of(framing, wire, LIMITS),
        offset=0,
        total_bytes=framing.length if total is None else total,
        validator=Validator(),
        served_by="http://h.example/",
        peer=Peer("192.0.2.1"),
        max_bytes=max_bytes,
    )


def read(body: HttpBody, buffer_bytes: int = 64) -> bytes:
    buffer = memoryview(bytearray(buffer_bytes))
    data = b""
    while count := body.readinto(buffer):
        data += buffer[:count]
    return data


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailers + b"\r\n"


@given(st.lists(st.binary(min_size=1, max_size=100), max_size=5), st.integers(1, 200), st.data())
def test_chunks_split_anywhere_are_the_same_bytes(chunks: list[bytes], buffer_bytes: int, data: st.DataObject) -> None:
    stream = chunked(*chunks)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=4)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    with wire_with(*pieces) as wire:
        body = body_of(wire, CHUNKED)
        assert read(body, buffer_bytes) == b"".join(chunks)
        assert body.complete


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=3), st.data())
def test_a_cut_anywhere_in_a_chunked_body_is_seen(chunks: list[bytes], data: st.DataObject) -> None:
    stream = chunked(*chunks)
    cut = data.draw(st.integers(0, len(stream) - 1))
    with wire_with(stream[:cut]) as wire:
        body = body_of(wire, CHUNKED)
        with pytest.raises(errors.SourceUnreachable):
            read(body)
        assert not body.complete


@given(st.binary(max_size=300))
def test_any_bytes_in_place_of_chunks_are_refused_or_a_body(noise: bytes) -> None:
    with wire_with(noise) as wire:
        body = body_of(wire, CHUNKED)
        try:
            assert len(read(body)) < len(noise)
        except (errors.SourceUnreachable, errors.ProtocolError):
            assert not body.complete


@pytest.mark.parametrize(
    "stream",
    [
        b"zz\r\nab\r\n0\r\n\r\n",
        b"-2\r\nab\r\n0\r\n\r\n",
        b"+2\r\nab\r\n0\r\n\r\n",
        b"0x2\r\nab\r\n0\r\n\r\n",
        b"2_0\r\nab\r\n0\r\n\r\n",
        b" 2\r\nab\r\n0\r\n\r\n",
        b"2\nab\r\n0\r\n\r\n",
        b"\r\nab\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nab",
        b"2\r\nabc\r\n0\r\n\r\n",
        b"3\r\nab\r\n0\r\n\r\n",
        b"2\r\nab\r\n0\r\n" + b"X: y\r\n" * 100 + b"\r\n",
        b"2;" + b"e" * 100 + b"\r\nab\r\n0\r\n\r\n",
        b"2\r\nab\r\n0\r\n",
        b"2\r\nab\r\n",
        b"",
    ],
)
def test_bad_chunks_are_a_broken_download(stream: bytes) -> None:
    with wire_with(stream) as wire, pytest.raises(errors.SourceUnreachable):
        read(body_of(wire, CHUNKED))


def test_chunk_extensions_and_trailers_are_skipped() -> None:
    with wire_with(b'2 ;a="b"\r\nab\r\n' + chunked(b"cd", trailers=b"X: y\r\nZ: w\r\n")) as wire:
        body = body_of(wire, CHUNKED)
        assert read(body) == b"abcd"
        assert body.complete


def test_bytes_after_the_end_are_refused() -> None:
    for framing, stream in ((Framing(2, chunked=False), b"abc"), (CHUNKED, chunked(b"ab") + b"c")):
        with wire_with(stream) as wire:
            body = body_of(wire, framing)
            with pytest.raises(errors.ProtocolError):
                read(body)
            assert not body.complete


def test_a_body_shorter_than_promised_is_unreachable_and_its_bytes_are_kept() -> None:
    """What came before the cut is delivered; only the next call says that it was cut, and so does every later one."""
    with wire_with(b"abc") as wire:
        body = body_of(wire, Framing(5, chunked=False))
        buffer = memoryview(bytearray(64))
        assert body.readinto(buffer) == 3
        assert bytes(buffer[:3]) == b"abc"
        for _ in range(2):
            with pytest.raises(errors.SourceUnreachable, match="3 of 5"):
                body.readinto(buffer)


def test_the_end_of_a_connection_proves_nothing() -> None:
    with wire_with(b"abc") as wire:
        body = body_of(wire, UNTIL_CLOSE)
        assert read(body) == b"abc"
        assert not body.complete


@pytest.mark.parametrize(("framing", "stream"), [(UNTIL_CLOSE, b"abcdef"), (CHUNKED, chunked(b"abc", b"def"))])
def test_a_body_of_unknown_length_is_cut_at_the_limit(framing: Framing, stream: bytes) -> None:
    with wire_with(stream) as wire:
        body = body_of(wire, framing, max_bytes=4)
        buffer = memoryview(bytearray(64))
        assert body.readinto(buffer) == 4
        with pytest.raises(errors.TooLarge):
            body.readinto(buffer)
    with wire_with(stream) as wire:
        assert read(body_of(wire, framing, max_bytes=6)) == b"abcdef"


@pytest.mark.parametrize(("total", "error"), [(5, errors.ProtocolError), (7, errors.SourceUnreachable)])
def test_chunks_must_add_up_to_the_range_that_was_promised(total: int, error: type[errors.GoldmasterError]) -> None:
    with wire_with(chunked(b"abcdef")) as wire:
        body = body_of(wire, CHUNKED, total=total)
        with pytest.raises(error):
            read(body)
