"""One producer, several consumers, a fixed number of buffers: every byte is read once and copied never.

The arena is one anonymous mapping, so buffers are page-aligned (storages write them with O_DIRECT) and cost memory
only once touched. Each consumer has a thread of its own: hashing and file writes release the GIL. A stream that fits
into one buffer is consumed in the producer's thread, and no thread is started.
"""

import mmap
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Protocol


class Sink(Protocol):
    """Consumes a stream. One thread uses it at a time."""

    def consume(self, data: memoryview) -> None:
        """Take the next piece, whole; `data` is only valid during the call. An error ends the stream for everybody."""
        ...

    def finish(self) -> None:
        """The stream ended well: do what is left."""
        ...


class Slot:
    """One buffer of the arena. Whoever acquired it owns `view` until it is submitted."""

    __slots__ = ("readers", "view")

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.readers = 0


class Ring:
    """`acquire` a buffer, fill it, `submit` it; then `finish` or `abandon`. The producer is one thread.

    Errors of a sink are raised to the producer, by `acquire`, `submit` or `finish`; `on_broken` is called at once, in
    the sink's thread, so that a producer that waits for something else can be woken.
    """

    def __init__(self, *, buffers: int, buffer_bytes: int, name: str, on_broken: Callable[[], None]) -> None:
        self._name = name
        self._buffers = buffers
        self._on_broken = on_broken
        self._sinks: Sequence[Sink] = ()
        self._inboxes: list[queue.SimpleQueue[tuple[Slot, int] | None]] = []
        self._lanes: list[futures.Future[None]] = []
        self._threads: futures.ThreadPoolExecutor | None = None
        self._held: tuple[Slot, int] | None = None
        self._good = False
        self._counting = threading.Lock()
        self._free: queue.SimpleQueue[Slot | None] = queue.SimpleQueue()
        arena = memoryview(mmap.mmap(-1, buffers * buffer_bytes))
        for start in range(0, len(arena), buffer_bytes):
            self._free.put(Slot(arena[start : start + buffer_bytes]))

    def attach(self, sinks: Sequence[Sink]) -> None:
        """Say who consumes; before the first `submit`."""
        self._sinks = sinks

    def shrink(self, buffers: int) -> None:
        """Do with fewer buffers; before the first `submit`. Those that were never filled cost nothing anyhow."""
        while self._buffers > buffers:
            self._free.get()
            self._buffers -= 1

    def acquire(self) -> Slot:
        """Return a buffer that nobody uses; waits for the slowest consumer."""
        self.raise_failure()
        slot = self._free.get()
        if slot is None:
            self._free.put(None)
            self.raise_failure()
            raise AssertionError("a lane ended before the stream did")
        return slot

    def submit(self, slot: Slot, length: int) -> None:
        """Hand the first `length` bytes of a buffer to every sink, in order."""
        if length == 0:
            self._free.put(slot)
        elif self._threads is None and self._held is None:
            self._held = (slot, length)
        else:
            self._start()
            self._dispatch(slot, length)

    def finish(self) -> None:
        """Wait until every sink consumed everything and finished."""
        if self._threads is None:
            self._consume_held(self._sinks)
            for sink in self._sinks:
                sink.finish()
            return
        self._good = True
        self._end_lanes()
        self.raise_failure()

    def abandon(self, flush: Sink | None = None) -> None:
        """End early: no sink is finished, errors no longer matter. Sinks with a thread consume what was submitted.

        `flush` is a sink that gets it in any case.
        """
        if self._threads is not None:
            self._end_lanes()
        elif flush is not None:
            self._consume_held([flush])

    def release(self) -> None:
        """Give the memory back now, not when the garbage collector comes by. After `finish` or `abandon`."""
        self._sinks, self._held = (), None
        self._inboxes.clear()
        self._free = queue.SimpleQueue()

    def _consume_held(self, sinks: Sequence[Sink]) -> None:
        held, self._held = self._held, None
        if held is not None:
            slot, length = held
            for sink in sinks:
                sink.consume(slot.view[:length])
            self._free.put(slot)

    def _start(self) -> None:
        if self._threads is not None:
            return
        self._threads = futures.ThreadPoolExecutor(max_workers=len(self._sinks), thread_name_prefix=self._name)
        for sink in self._sinks:
            inbox: queue.SimpleQueue[tuple[Slot, int] | None] = queue.SimpleQueue()
            self._inboxes.append(inbox)
            lane = self._threads.submit(self._serve, sink, inbox)
            self._lanes.append(lane)
            lane.add_done_callback(self._lane_ended)
        if self._held is not None:
            slot, length = self._held
            self._held = None
            self._dispatch(slot, length)

    def _dispatch(self, slot: Slot, length: int) -> None:
        slot.readers = len(self._inboxes)
        for inbox in self._inboxes:
            inbox.put((slot, length))

    def _serve(self, sink: Sink, inbox: queue.SimpleQueue[tuple[Slot, int] | None]) -> None:
        while (item := inbox.get()) is not None:
            slot, length = item
            sink.consume(slot.view[:length])
            with self._counting:
                slot.readers -= 1
                unused = slot.readers == 0
            if unused:
                self._free.put(slot)
        if self._good:
            sink.finish()

    def _lane_ended(self, lane: futures.Future[None]) -> None:
        if lane.exception() is not None:
            self._on_broken()
        self._free.put(None)

    def _end_lanes(self) -> None:
        for inbox in self._inboxes:
            inbox.put(None)
        if self._threads is not None:
            self._threads.shutdown(wait=True)

    def raise_failure(self) -> None:
        """Raise what ended a sink, if anything did."""
        for lane in self._lanes:
            if lane.done():
                lane.result()
