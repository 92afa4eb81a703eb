"""The line before the slots: order, fairness, and the place that is told."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from controller.engine.fair_queue import FairQueue

NAMESPACES = st.sampled_from(["a", "b", "c"])
ARRIVALS = st.lists(NAMESPACES, max_size=30)


def _filled(arrivals: list[str]) -> FairQueue:
    queue = FairQueue()
    for number, namespace in enumerate(arrivals):
        queue.put(namespace, f"{namespace}-{number}")
    return queue


def _drain(queue: FairQueue) -> list[str]:
    taken = []
    while (key := queue.take()) is not None:
        taken.append(key)
    return taken


def test_nobody_waits_behind_another_namespaces_500_images() -> None:
    """The second namespace's only entry is the second to come out."""
    queue = _filled(["big"] * 500 + ["small"])
    assert queue.position("small-500") == 2
    assert _drain(queue)[1] == "small-500"


@given(arrivals=ARRIVALS)
def test_within_a_namespace_it_is_first_come_first_served(arrivals: list[str]) -> None:
    taken = _drain(_filled(arrivals))
    for namespace in set(arrivals):
        numbers = [int(key.split("-")[1]) for key in taken if key.startswith(namespace)]
        assert numbers == sorted(numbers)


@given(arrivals=ARRIVALS)
def test_everybody_comes_out_once(arrivals: list[str]) -> None:
    assert sorted(_drain(_filled(arrivals))) == sorted(f"{name}-{number}" for number, name in enumerate(arrivals))


@given(arrivals=ARRIVALS)
def test_while_a_namespace_waits_no_other_is_served_twice(arrivals: list[str]) -> None:
    taken = _drain(_filled(arrivals))
    for namespace in set(arrivals):
        places = [place for place, key in enumerate(taken) if key.startswith(namespace)]
        for before, after in itertools.pairwise(places):
            between = [key[0] for key in taken[before + 1 : after]]
            assert len(between) == len(set(between))


@given(arrivals=ARRIVALS, takes=st.integers(0, 10), removals=st.lists(st.integers(0, 29), max_size=10))
def test_the_told_position_is_the_order_in_which_keys_come_out(
    arrivals: list[str], takes: int, removals: list[int]
) -> None:
    """Whatever left before, in whatever way."""
    queue = _filled(arrivals)
    for _ in range(takes):
        queue.take()
    for number in removals:
        if number < len(arrivals):
            queue.remove(f"{arrivals[number]}-{number}")
    waiting = [key for number, name in enumerate(arrivals) if (key := f"{name}-{number}") in queue]
    told = {key: queue.position(key) for key in waiting}
    assert len(queue) == len(waiting)
    assert told == {key: place for place, key in enumerate(_drain(queue), start=1)}


def test_a_key_waits_once_and_keeps_its_place() -> None:
    queue = _filled(["a", "a"])
    queue.put("a", "a-0")
    assert _drain(queue) == ["a-0", "a-1"]


def test_what_does_not_wait_has_no_position_and_cannot_be_removed() -> None:
    queue = FairQueue()
    assert queue.position("a") is None
    assert not queue.remove("a")
    assert queue.take() is None
