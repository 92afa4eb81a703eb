"""The ring: every sink gets every byte in order, nobody overtakes a buffer in use, an error ends it for everybody."""

import ctypes
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.engine.transfer.ring import Ring, Sink

PAGE = 4096


class Collecting:
    def __init__(self, on_piece: Callable[[], None] = lambda: None) -> None:
        self.data = bytearray()
        self.pieces = 0
        self.finished = 0
        self.threads: set[int] = set()
        self._on_piece = on_piece

    def consume(self, data: memoryview) -> None:
        self._on_piece()
        self.threads.add(threading.get_ident())
        self.pieces += 1
        self.data += data

    def finish(self) -> None:
        self.finished += 1


def ring_for(*sinks: Sink, buffers: int = 3, on_broken: Callable[[], None] = lambda: None) -> Ring:
    ring = Ring(buffers=buffers, buffer_bytes=PAGE, name="test", on_broken=on_broken)
    ring.attach(sinks)
    return ring


def submit(ring: Ring, piece: bytes) -> None:
    slot = ring.acquire()
    slot.view[: len(piece)] = piece
    ring.submit(slot, len(piece))


@given(pieces=st.lists(st.binary(max_size=40), max_size=20), buffers=st.integers(2, 4), sinks=st.integers(1, 3))
def test_every_sink_gets_every_byte_in_order(pieces: list[bytes], buffers: int, sinks: int) -> None:
    collected = [Collecting() for _ in range(sinks)]
    ring = ring_for(*collected, buffers=buffers)
    for piece in pieces:
        submit(ring, piece)
    ring.finish()
    assert [bytes(sink.data) for sink in collected] == [b"".join(pieces)] * sinks
    assert [sink.finished for sink in collected] == [1] * sinks


def test_buffers_are_page_aligned() -> None:
    ring = ring_for(buffers=3)
    for _ in range(3):
        view = ring.acquire().view
        assert ctypes.addressof(ctypes.c_char.from_buffer(view)) % PAGE == 0
        assert len(view) == PAGE


def test_what_fits_into_one_buffer_starts_no_thread() -> None:
    sink = Collecting()
    ring = ring_for(sink)
    before = threading.active_count()
    submit(ring, b"small")
    assert threading.active_count() == before
    ring.finish()
    assert sink.threads == {threading.get_ident()}


def test_each_sink_has_a_thread_of_its_own() -> None:
    one, two = Collecting(), Collecting()
    ring = ring_for(one, two)
    for _ in range(5):
        submit(ring, b"piece")
    ring.finish()
    assert len(one.threads) == len(two.threads) == 1
    assert len(one.threads | two.threads | {threading.get_ident()}) == 3


def test_the_producer_waits_for_the_slowest() -> None:
    """With every buffer in the slow sink's hands there is none to acquire; one step of it frees one."""
    steps = threading.Semaphore(0)
    slow, fast = Collecting(lambda: (steps.acquire(timeout=60), None)[1]), Collecting()
    ring = ring_for(slow, fast, buffers=2)
    submit(ring, b"one")
    submit(ring, b"two")
    got: list[object] = []
    waiting = threading.Thread(target=lambda: got.append(ring.acquire()))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    steps.release()
    waiting.join(60)
    assert len(got) == 1
    steps.release(10)
    ring.finish()
    assert slow.data == fast.data == b"onetwo"


def submit_for_ever(ring: Ring) -> None:
    while True:
        submit(ring, b"piece")


class Failing(Collecting):
    def consume(self, data: memoryview) -> None:
        super().consume(data)
        if self.pieces == 3:
            raise ValueError("the third piece")


def test_an_error_reaches_the_producer_and_is_told_at_once() -> None:
    told = threading.Event()
    good = Collecting()
    ring = ring_for(good, Failing(), on_broken=told.set)
    with pytest.raises(ValueError, match="third"):
        submit_for_ever(ring)
    assert told.wait(60)
    ring.abandon()
    assert good.finished == 0
    with pytest.raises(ValueError, match="third"):
        ring.acquire()


def test_an_error_in_the_last_piece_is_raised_by_finish() -> None:
    ring = ring_for(Failing(), Collecting())
    for _ in range(3):
        submit(ring, b"piece")
    with pytest.raises(ValueError, match="third"):
        ring.finish()


def test_an_error_of_finish_is_raised() -> None:
    class Unsyncable(Collecting):
        def finish(self) -> None:
            raise OSError("no sync")

    for pieces in (1, 5):
        ring = ring_for(Unsyncable())
        for _ in range(pieces):
            submit(ring, b"piece")
        with pytest.raises(OSError, match="no sync"):
            ring.finish()


@pytest.mark.parametrize("pieces", [0, 1, 2, 7])
def test_abandoning_flushes_what_was_submitted_and_finishes_nobody(pieces: int) -> None:
    kept, other = Collecting(), Collecting()
    ring = ring_for(other, kept)
    for number in range(pieces):
        submit(ring, b"%d" % number)
    ring.abandon(flush=kept)
    ring.abandon(flush=kept)
    assert bytes(kept.data) == b"".join(b"%d" % number for number in range(pieces))
    assert kept.finished == other.finished == 0


def test_a_failed_neighbour_does_not_keep_the_flushed_sink_from_its_bytes() -> None:
    kept = Collecting()
    ring = ring_for(Failing(), kept, buffers=8)
    for _ in range(6):
        submit(ring, b"piece")
    ring.abandon(flush=kept)
    assert bytes(kept.data) == b"piece" * 6
