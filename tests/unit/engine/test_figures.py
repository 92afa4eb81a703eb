"""What was done is counted once, while it happens, by its cause."""

from controller.engine.figures import Durations, Figures, Meter, ReadFrom, Saving
from controller.engine.queue import KeyedQueue
from controller.model.transfer import Running
from tests.fakes.clock import FakeClock


def test_durations_are_counted_into_every_bound_that_holds_them() -> None:
    durations = Durations((1.0, 10.0))
    for seconds in (0.5, 1.0, 3.0, 100.0):
        durations.saw(seconds)
    taken = durations.taken()
    assert taken.at_most == ((1.0, 2), (10.0, 3))
    assert (taken.count, taken.sum_s) == (4, 104.5)


def test_a_running_transfer_counts_what_came_and_what_was_kept() -> None:
    figures = Figures()
    meter = Meter(figures, ReadFrom.SOURCE)
    for position in (0, 30, 40, 100):  # 40 bytes are read back from the partial, 60 come anew
        meter.saw(Running(position, 100, resumed_bytes=40))
    assert figures.received() == {ReadFrom.SOURCE: 60, ReadFrom.STORAGE: 0}
    assert figures.saved() == {Saving.RESUME: 40, Saving.DEDUPE: 0}


def test_a_transfer_that_starts_over_counts_all_that_came() -> None:
    """The figure is the bytes on the wire, not the size of the image."""
    figures = Figures()
    meter = Meter(figures, ReadFrom.SOURCE)
    for position in (0, 70, 0, 100):
        meter.saw(Running(position, 100))
    assert figures.received()[ReadFrom.SOURCE] == 170


def test_bytes_of_another_storage_are_not_bytes_of_a_source() -> None:
    figures = Figures()
    Meter(figures, ReadFrom.STORAGE).saw(Running(100, 100))
    assert figures.received() == {ReadFrom.SOURCE: 0, ReadFrom.STORAGE: 100}


def test_the_wait_of_a_key_begins_when_it_is_due() -> None:
    clock, waits = FakeClock(), list[float]()
    keys: KeyedQueue[str] = KeyedQueue(clock, waits.append)
    keys.add_after("a", 10)
    clock.advance(10)
    assert keys.get(0) == "a"
    keys.add("a")  # while a worker has it
    clock.advance(2)
    keys.done("a")
    assert keys.get(0) == "a"
    assert waits == [0.0, 2.0]
