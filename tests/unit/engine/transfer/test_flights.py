"""Who waits for whom: one fetches, nobody waits for nobody, and nobody is forgotten."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controller.engine.transfer.flights import Flight, Flights, flights_of
from controller.model.digest import Digest
from controller.model.transfer import TransferRequest
from controller.model.url import SourceUrl
from tests.unit.engine.transfer import world

URL = Flight("url", named=True)
DIGEST = Flight("digest", named=False)
SHA256 = Digest.parse("sha256:" + "ab" * 32)
MD5 = Digest.parse("md5:" + "ab" * 16)


def asks(url: str, namespace: str = "a", checksum: Digest | None = None) -> TransferRequest:
    return replace(world.request(namespace=namespace, checksum=checksum), url=SourceUrl.parse(url))


def common(one: TransferRequest, other: TransferRequest) -> bool:
    return bool(set(flights_of(one)) & set(flights_of(other)))


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (asks("https://h/a", "a"), asks("https://h/a", "b"), True),
        (asks("https://h/a"), asks("https://h/a?v=2"), False),
        (asks("http://h/a", "a"), asks("http://h/a", "a", MD5), True),
        (asks("http://h/a", "a"), asks("http://h/a", "b"), False),
        (asks("http://h/a", "a", MD5), asks("http://h/a", "b", MD5), False),
        (asks("http://h/a", "a", SHA256), asks("http://h/a", "b", SHA256), True),
        (asks("http://h/a", "a", SHA256), asks("http://h/a", "a"), True),
        (asks("https://h/a", "a", SHA256), asks("file:///a", "a", SHA256), True),
        (asks("https://h/a", "a", SHA256), asks("https://h/b", "b", SHA256), False),
        (asks("file:///a"), asks("file:///a"), False),
    ],
)
def test_only_those_wait_for_each_other_who_can_share(
    one: TransferRequest, other: TransferRequest, together: bool
) -> None:
    assert common(one, other) is together


def test_a_copy_from_a_storage_and_a_look_at_a_source_wait_for_nobody() -> None:
    assert flights_of(world.request(copy_from="b", checksum=SHA256)) == ()
    assert flights_of(replace(asks("https://h/a", "a", SHA256), look=True)) == ()


def test_the_second_waits_and_goes_on_when_the_first_has_ended() -> None:
    flights = Flights()
    assert flights.board("one", (URL,))
    assert not flights.board("two", (URL,))
    assert not flights.board("three", (URL,))
    assert "two" in flights
    assert flights.fetching("one", named=True) == (True, [])
    assert flights.land("one") == ["two", "three"]
    assert len(flights) == 0
    assert flights.board("two", (URL,))
    assert flights.board("three", (URL,)), "those who only ask do not wait for each other"


def test_of_several_that_must_fetch_after_all_one_does() -> None:
    """The source changed meanwhile, or the first failed."""
    flights = Flights()
    flights.board("one", (URL,))
    for key in ("two", "three", "four"):
        flights.board(key, (URL,))
    flights.land("one")
    assert flights.board("two", (URL,))
    assert flights.board("three", (URL,))
    assert flights.fetching("two", named=True) == (True, [])
    assert flights.fetching("three", named=True) == (False, [])
    assert flights.stand_back("three") == (True, [])
    assert not flights.board("four", (URL,)), "its pass is void: somebody fetches"
    assert flights.land("two") == ["three", "four"]


def test_who_is_answered_first_leads_in_place_of_one_that_was_only_taken() -> None:
    """The first failed, and is taken again while those who waited for it are asking: they asked for nothing else."""
    flights = Flights()
    flights.board("one", (URL, DIGEST))
    for key in ("two", "three"):
        flights.board(key, (URL,))
    assert flights.land("one") == ["two", "three"]
    assert flights.board("two", (URL,))
    assert flights.board("one", (URL, DIGEST))
    assert not flights.board("four", (DIGEST,))
    assert flights.fetching("two", named=True) == (True, [])
    assert not flights.board("three", (URL,))
    assert flights.leader("three") == "two"
    assert flights.fetching("one", named=True) == (False, [])
    assert flights.stand_back("one") == (True, ["four"])
    assert flights.land("two") == ["three", "one"]


def test_a_source_that_names_no_version_keeps_nobody_waiting() -> None:
    flights = Flights()
    flights.board("one", (DIGEST, URL))
    flights.board("same url", (URL,))
    flights.board("same digest", (DIGEST,))
    assert flights.fetching("one", named=False) == (True, ["same url"])
    assert flights.board("same url", (URL,))
    assert "same digest" in flights
    assert flights.land("one") == ["same digest"]


def test_who_stands_back_lets_go_of_whoever_waited_for_it() -> None:
    flights = Flights()
    flights.board("one", (DIGEST,))
    flights.board("two", (DIGEST,))
    flights.land("one")
    flights.board("two", (DIGEST, URL))
    flights.board("three", (URL,))
    flights.board("four", (DIGEST,))
    assert flights.fetching("three", named=True) == (True, [])
    assert flights.fetching("two", named=True) == (False, [])
    assert flights.stand_back("two") == (True, [])
    assert flights.land("four") == ["two"]


def test_who_leaves_is_not_called_any_more() -> None:
    flights = Flights()
    flights.board("one", (URL,))
    flights.board("two", (URL,))
    flights.board("three", (URL,))
    flights.leave("two")
    assert flights.land("one") == ["three"]
    flights.leave("three")
    assert flights.board("four", (URL,))
    assert not flights.board("three", (URL,)), "a pass does not outlive who had it"


def test_nobody_waits_longer_for_one_that_is_given_up_on() -> None:
    flights = Flights()
    flights.board("one", (URL,))
    flights.fetching("one", named=True)
    flights.board("two", (URL,))
    flights.board("three", (URL,))
    assert flights.leader("two") == "one"
    assert flights.let_go("one") == ["two", "three"]
    assert flights.leader("two") is None
    assert flights.board("two", (URL,))
    assert flights.fetching("two", named=True) == (True, [])
    assert not flights.board("three", (URL,)), "it waits for the one that took over"
    assert flights.land("one") == []
    assert flights.land("two") == ["three"]


KEYS = [f"transfer-{number}" for number in range(6)]
SETS = [(), (URL,), (DIGEST,), (URL, DIGEST), (Flight("other", named=True), DIGEST)]


class Pool(RuleBasedStateMachine):
    """What `EmbeddedTransfers` does with it, in any order. `queue`: who waits for a slot."""

    def __init__(self) -> None:
        super().__init__()
        self.flights = Flights()
        self.of: dict[str, tuple[Flight, ...]] = {}
        self.queue: list[str] = []
        self.running: set[str] = set()
        self.fetching: dict[str, set[str]] = {}

    def go_on(self, keys: Iterable[str]) -> None:
        for key in keys:
            assert key in self.of
            assert key not in self.queue
            assert key not in self.running
            self.queue.append(key)

    @rule(key=st.sampled_from(KEYS), flights=st.sampled_from(SETS))
    def starts(self, key: str, flights: tuple[Flight, ...]) -> None:
        if key not in self.of and key not in self.running:
            self.of[key] = flights
            self.queue.append(key)

    @precondition(lambda self: self.queue)
    @rule()
    def a_slot_is_free(self) -> None:
        key = self.queue.pop(0)
        if self.flights.board(key, self.of[key]):
            self.running.add(key)

    @precondition(lambda self: self.running - set(self.fetching))
    @rule(data=st.data(), named=st.booleans())
    def the_source_answers(self, data: st.DataObject, named: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.running - set(self.fetching))))
        may, freed = self.flights.fetching(key, named=named)
        self.go_on(freed)
        if may:
            self.fetching[key] = {flight.name for flight in self.of.get(key, ()) if named or not flight.named}
            return
        self.running.discard(key)
        waits, freed = self.flights.stand_back(key)
        self.go_on(freed)
        if not waits:
            self.queue.append(key)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), forever=st.booleans())
    def ends(self, data: st.DataObject, forever: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        self.running.discard(key)
        self.fetching.pop(key, None)
        self.go_on(self.flights.land(key))
        if forever:
            del self.of[key]
        else:
            self.queue.append(key)

    @precondition(lambda self: set(self.of) - self.running)
    @rule(data=st.data())
    def is_not_wanted_any_more(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(set(self.of) - self.running)))
        self.flights.leave(key)
        del self.of[key]
        if key in self.queue:
            self.queue.remove(key)

    @invariant()
    def nobody_waits_for_nobody_and_nobody_is_forgotten(self) -> None:
        for key in self.of:
            places = [key in self.queue, key in self.running, key in self.flights]
            assert places.count(True) == 1, (key, places)
        if len(self.flights):
            assert self.running, "somebody ends, and lets them go"

    @invariant()
    def no_two_fetch_what_they_could_share(self) -> None:
        busy = [name for names in self.fetching.values() for name in names]
        assert len(busy) == len(set(busy)), self.fetching

    def teardown(self) -> None:
        """Whatever happened: in the end everybody had a turn."""
        for _ in range(100):
            while self.queue:
                self.a_slot_is_free()
            if not self.running:
                break
            key = min(self.running)
            self.running.discard(key)
            del self.of[key]
            self.go_on(self.flights.land(key))
        assert not self.queue
        assert not len(self.flights)
        assert not self.of


Pool.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestPool = Pool.TestCase
