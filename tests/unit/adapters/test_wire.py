"""Waiting ends by data, by a limit, or by the stop token; only waiting counts."""

import select
import socket
import threading
from collections.abc import Iterator

import pytest

from controller import errors
from controller.adapters.sources.http_limits import HttpLimits
from controller.adapters.sources.wire import Patience, Wire
from tests.fakes.clock import FakeClock

LIMITS = HttpLimits(tick_s=0.001, floor_bytes_per_s=1024, floor_window_s=60)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def buffer(size: int = 64) -> memoryview:
    return memoryview(bytearray(size))


def test_silence_ends_after_the_stall_timeout(pair: tuple[socket.socket, socket.socket]) -> None:
    """Each look at the clock takes 5 s: a peer that says nothing for 60 s is given up."""
    clock = FakeClock(tick=5)
    patience = Patience(clock, threading.Event(), LIMITS)
    patience.begin_body("reading", 60)
    before = clock.monotonic()
    with pytest.raises(errors.SourceUnreachable, match="60 s"):
        Wire(pair[0], patience).readinto(buffer())
    assert 60 <= clock.monotonic() - before <= 140


def test_a_stop_ends_silence(pair: tuple[socket.socket, socket.socket]) -> None:
    stop = threading.Event()
    patience = Patience(FakeClock(), stop, LIMITS)
    patience.begin_body("reading", 60)
    timer = threading.Timer(0.05, stop.set)
    timer.start()
    with pytest.raises(errors.Interrupted):
        Wire(pair[0], patience).readinto(buffer())
    timer.join()


def test_a_stop_ends_a_flood(pair: tuple[socket.socket, socket.socket]) -> None:
    """Where data never lets us wait, the token is looked at every MiB."""
    ours, theirs = pair
    stop = threading.Event()
    stop.set()
    patience = Patience(FakeClock(), stop, LIMITS)
    patience.begin_body("reading", 60)
    wire, view = Wire(ours, patience), buffer(2**16)
    taken = 0

    def flood() -> None:
        nonlocal taken
        while taken < 2**22:
            theirs.sendall(bytes(2**16))
            taken += wire.readinto(view)

    with pytest.raises(errors.Interrupted):
        flood()
    assert taken <= 2**20


def drip(patience: Patience, clock: FakeClock, bytes_per_s: int, seconds: int) -> None:
    """Let one piece arrive each second of waiting."""
    never = select.poll()
    for _ in range(seconds):
        patience.wait(never)
        patience.received(bytes_per_s)
        assert clock.monotonic() > 0


def test_a_drip_below_the_floor_is_dropped_although_it_never_stalls() -> None:
    clock = FakeClock(tick=1)
    patience = Patience(clock, threading.Event(), LIMITS)
    patience.begin_body("reading", 60)
    with pytest.raises(errors.SourceUnreachable, match="below 1024 bytes/s"):
        drip(patience, clock, 1000, 61)


def test_a_slow_line_above_the_floor_is_kept() -> None:
    clock = FakeClock(tick=1)
    patience = Patience(clock, threading.Event(), LIMITS)
    patience.begin_body("reading", 60)
    drip(patience, clock, 1100, 600)


def test_time_that_our_own_side_takes_is_not_held_against_the_peer(pair: tuple[socket.socket, socket.socket]) -> None:
    """A full disk queue for ten minutes, and the connection is still good."""
    clock = FakeClock()
    ours, theirs = pair
    patience = Patience(clock, threading.Event(), LIMITS)
    patience.begin_body("reading", 60)
    wire = Wire(ours, patience)
    for _ in range(10):
        theirs.sendall(b"x")
        assert wire.readinto(buffer()) == 1
        clock.advance(600)


def test_a_line_is_cut_at_its_limit_and_the_rest_stays(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"one\r\ntwo three\nrest")
    theirs.shutdown(socket.SHUT_WR)
    patience = Patience(FakeClock(), threading.Event(), LIMITS)
    patience.begin("reading lines", 60)
    wire = Wire(ours, patience)
    assert [wire.readline(100), wire.readline(4), wire.readline(100)] == [b"one\r\n", b"two ", b"three\n"]
    view = buffer()
    assert bytes(view[: wire.readinto(view)]) == b"rest"
    assert wire.readline(10) == b""


def test_a_reset_is_a_broken_connection(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.send(b"unread data makes close() a reset")
    theirs.close()
    patience = Patience(FakeClock(), threading.Event(), LIMITS)
    patience.begin("reading from h.example", 60)
    with pytest.raises(errors.SourceUnreachable, match=r"reading from h\.example failed: Connection reset"):
        Wire(ours, patience).readinto(buffer())


def test_a_peer_that_takes_nothing_does_not_block_a_send(pair: tuple[socket.socket, socket.socket]) -> None:
    patience = Patience(FakeClock(tick=5), threading.Event(), LIMITS)
    patience.begin("sending", 10)
    with pytest.raises(errors.SourceUnreachable, match="sending"):
        Wire(pair[0], patience).send(bytes(2**24))
