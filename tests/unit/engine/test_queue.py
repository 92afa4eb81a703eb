"""The keyed queue: each key once, one worker per key, delays merge to the earliest."""

import threading
from datetime import timedelta

from controller.engine.queue import KeyedQueue
from tests.fakes.clock import FakeClock


def queue() -> tuple[KeyedQueue[str], FakeClock]:
    clock = FakeClock()
    return KeyedQueue(clock), clock


def test_a_key_added_twice_is_given_out_once() -> None:
    keys, _ = queue()
    keys.add("a")
    keys.add("a")
    assert keys.get(0) == "a"
    assert keys.get(0) is None


def test_a_key_added_while_a_worker_has_it_comes_again_after_done() -> None:
    keys, _ = queue()
    keys.add("a")
    assert keys.get(0) == "a"
    keys.add("a")
    assert keys.get(0) is None, "never to a second worker"
    keys.done("a")
    assert keys.get(0) == "a"
    keys.done("a")
    assert keys.idle


def test_a_delayed_key_comes_when_it_is_due_and_the_earliest_wins() -> None:
    keys, clock = queue()
    keys.add_after("a", 10)
    keys.add_after("a", 5)
    keys.add_after("a", 20)
    clock.advance(timedelta(seconds=4))
    assert keys.get(0) is None
    clock.advance(timedelta(seconds=1))
    assert keys.get(0) == "a"
    keys.done("a")
    clock.advance(timedelta(seconds=100))
    assert keys.get(0) is None, "the later requests are one with the earliest"


def test_adding_at_once_overtakes_a_delay() -> None:
    keys, clock = queue()
    keys.add_after("a", 10)
    keys.add("a")
    assert keys.get(0) == "a"
    keys.done("a")
    clock.advance(timedelta(seconds=20))
    assert keys.get(0) is None


def test_a_delay_of_nothing_is_now() -> None:
    keys, _ = queue()
    keys.add_after("a", 0)
    assert keys.get(0) == "a"


def test_first_come_first_served() -> None:
    keys, _ = queue()
    for key in "abc":
        keys.add(key)
    assert [keys.get(0) for _ in range(3)] == ["a", "b", "c"]


def test_close_wakes_a_waiting_worker_with_none() -> None:
    keys, _ = queue()
    got: list[str | None] = ["unset"]
    worker = threading.Thread(target=lambda: got.append(keys.get()))
    worker.start()
    keys.close()
    worker.join(60)
    assert not worker.is_alive()
    assert got == ["unset", None]
    keys.add("a")
    assert len(keys) == 0
