"""The line before the slots: order, fairness, and the place that is told."""

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from controller.engine.transfer.fair_queue import FairQueue

NAMESPACES = st.sampled_from(["a", "b", "c"])
ARRIVALS = st.lists(NAMESPACES, max_size=30)


def _filled(arrivals: list[str], slots: int = 4) -> FairQueue:
    queue = FairQueue(slots)
    for number, namespace in enumerate(arrivals):
        queue.put(namespace, f"{namespace}-{number}")
    return queue


def _drain(queue: FairQueue) -> list[str]:
    taken = []
    while (key := queue.take()) is not None:
        taken.append(key)
        queue.give_back(key.split("-")[0])
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
        if (key := queue.take()) is not None:
            queue.give_back(key.split("-")[0])
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
    queue = FairQueue(1)
    assert queue.position("a") is None
    assert not queue.remove("a")
    assert queue.take() is None


@given(slots=st.integers(1, 6), steps=st.lists(st.tuples(st.booleans(), NAMESPACES), max_size=80))
def test_one_namespace_never_has_the_last_of_several_slots(slots: int, steps: list[tuple[bool, str]]) -> None:
    """Whoever comes and goes: it holds one less at most, and who holds none gets the one it left as soon as it is free.

    A step is an arrival in the namespace, or the end of one of its transfers; free slots are filled at once.
    """
    queue, bound = FairQueue(slots), max(1, slots - 1)
    waiting, held, served = Counter[str](), Counter[str](), dict.fromkeys("abc", 0)
    for number, (arrives, namespace) in enumerate(steps):
        if arrives:
            queue.put(namespace, f"{namespace}-{number}")
            served[namespace] *= waiting[namespace] > 0
            waiting[namespace] += 1
        elif held[namespace]:
            queue.give_back(namespace)
            held[namespace] -= 1
        while held.total() < slots and (key := queue.take()) is not None:
            taken = key.split("-")[0]
            waiting[taken] -= 1
            held[taken] += 1
            for name in "abc":
                served[name] = 0 if name == taken else served[name] + 1
        assert max(held.values(), default=0) <= bound
        for name in "abc":
            if waiting[name] and held[name] < bound:
                assert held.total() == slots, "a slot is free, and somebody waits who may have it"
                assert served[name] <= 2, "the others were each served once in between"
        assert len(queue) == waiting.total()


@given(arrivals=ARRIVALS, slots=st.integers(2, 6))
def test_slots_that_are_never_given_back_hold_up_nobody_else(arrivals: list[str], slots: int) -> None:
    """The stuck namespace has all it may have; the others come out by the last slot, no later than they were told."""
    queue = _filled(["stuck"] * 20, slots)
    assert [queue.take() for _ in range(slots)] == [f"stuck-{number}" for number in range(slots - 1)] + [None]
    for number, namespace in enumerate(arrivals):
        queue.put(namespace, f"{namespace}-{number}")
    told = [queue.position(f"{namespace}-{number}") or 0 for number, namespace in enumerate(arrivals)]
    taken = _drain(queue)
    assert len(taken) == len(arrivals)
    places = [taken.index(f"{namespace}-{number}") + 1 for number, namespace in enumerate(arrivals)]
    assert all(place <= expected for place, expected in zip(places, told, strict=True))


def test_who_is_passed_over_keeps_its_turn() -> None:
    queue = _filled(["a", "a", "b", "b"], 2)
    assert [queue.take(), queue.take(), queue.take()] == ["a-0", "b-2", None]
    queue.give_back("b")
    assert queue.take() == "b-3"
    queue.give_back("a")
    assert queue.take() == "a-1"


def test_clearing_forgets_those_who_wait_also_those_that_could_not_be_taken() -> None:
    queue = _filled(["a", "a"], 2)
    queue.take()
    queue.clear()
    assert (len(queue), queue.position("a-1"), "a-1" in queue) == (0, None, False)
    queue.give_back("a")
    assert queue.take() is None


def test_who_waits_for_a_busy_origin_keeps_nobody_waiting() -> None:
    """Of one namespace too: the first whose origin is free comes out, and the busy one's keep their order."""
    queue = FairQueue(per_origin=1)
    for number, origin in enumerate(["x", "x", "y", "x", ""]):
        queue.put("a", f"a-{number}", origin)
    queue.put("b", "b-5", "x")
    assert [queue.take() for _ in range(4)] == ["a-0", "a-2", "a-4", None]
    queue.give_back("a", "y")
    assert queue.take() is None
    queue.give_back("a", "x")
    assert queue.take() == "b-5", "the namespaces go on taking turns"
    queue.give_back("b", "x")
    assert [queue.take(), queue.take()] == ["a-1", None]
    assert queue.remove("a-3")
    queue.give_back("a", "x")
    assert (queue.take(), len(queue)) == (None, 0)


def test_one_namespace_never_has_the_last_of_several_slots_of_an_origin() -> None:
    queue = FairQueue(8, per_origin=3)
    for number in range(4):
        queue.put("a", f"a-{number}", "x")
    queue.put("a", "a-y", "y")
    assert [queue.take() for _ in range(4)] == ["a-0", "a-1", "a-y", None]
    queue.put("b", "b-0", "x")
    queue.put("c", "c-0", "x")
    assert [queue.take(), queue.take()] == ["b-0", None]
    queue.give_back("b", "x")
    assert queue.take() == "c-0", "also while the first could have had it"
    queue.give_back("a", "x")
    assert queue.take() == "a-2"


def test_entries_that_ask_nobody_are_not_bounded_by_origin() -> None:
    queue = FairQueue(per_origin=1)
    for number in range(5):
        queue.put("a", f"a-{number}")
    assert [queue.take() for _ in range(6)] == ["a-0", "a-1", "a-2", "a-3", "a-4", None]


@given(
    arrivals=st.lists(st.tuples(NAMESPACES, st.sampled_from(["", "x", "y"])), max_size=30),
    slots=st.integers(2, 5),
    per_origin=st.integers(1, 3),
)
def test_everybody_comes_out_and_no_origin_has_more_than_its_share(
    arrivals: list[tuple[str, str]], slots: int, per_origin: int
) -> None:
    queue = FairQueue(slots, per_origin)
    wants = {f"{number}": both for number, both in enumerate(arrivals)}
    for name, (namespace, origin) in wants.items():
        queue.put(namespace, name, origin)
    running: list[str] = []
    done: list[str] = []
    while len(done) < len(arrivals):
        while len(running) < slots and (key := queue.take()) is not None:
            running.append(key)
        held = Counter(wants[key][1] for key in running)
        assert all(count <= per_origin for origin, count in held.items() if origin)
        of_one = Counter(wants[key] for key in running)
        assert all(count <= max(per_origin - 1, 1) for (_, origin), count in of_one.items() if origin)
        assert running, "somebody waits and nobody runs"
        done.append(running.pop(0))
        queue.give_back(*wants[done[-1]])
    assert sorted(done) == sorted(wants)


def test_ten_thousand_who_wait_for_a_busy_origin_are_passed_over_in_one_step() -> None:
    """Every transfer that ends wakes a thread, which may look in vain."""
    looks = 0

    class Counting(FairQueue):
        def _may_ask(self, namespace: str, origin: str) -> bool:
            nonlocal looks
            looks += 1
            return super()._may_ask(namespace, origin)

    queue = Counting(64, per_origin=1)
    for number in range(10_000):
        queue.put("a", f"a-{number}", "x")
    queue.put("a", "behind", "y")
    assert (queue.take(), queue.take(), queue.take()) == ("a-0", "behind", None)
    assert looks <= 6
