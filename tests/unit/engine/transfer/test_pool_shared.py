"""The pool where transfers share: who takes a slot, what is told of those who wait, and that nobody waits for ever."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import structlog

from controller import errors
from controller.engine.figures import Saving
from controller.engine.transfer.pool import STUCK_S, UNANSWERED_S, EmbeddedTransfers
from controller.model.image import ChecksumFrom
from controller.model.resource import Key, Kind
from controller.model.transfer import Broken, Placed, Queued, Running, TransferRequest, Validator
from controller.model.url import SourceUrl
from controller.plan import source
from controller.ports import FetchRequest, StopToken
from tests.fakes import images
from tests.fakes.clock import FakeClock
from tests.fakes.source import FakeBody, FakeSource
from tests.fakes.stored_bytes import content_of, ref_of
from tests.unit.engine.test_holdings import Rig
from tests.unit.engine.transfer import world
from tests.unit.engine.transfer.test_pool import SOON_S, Changes, ended
from tests.unit.engine.transfer.world import KIB

URL = SourceUrl.parse("https://images.example/golden.raw")
OTHER = SourceUrl.parse("https://images.example/other.raw")
IMAGE = images.raw(100 * KIB, seed=1)


class Held(FakeSource):
    """Holds whole bodies of one url back until it is told to give them."""

    def __init__(self, url: SourceUrl = URL) -> None:
        super().__init__()
        self.url = url
        self.give = threading.Event()
        self.arrived = threading.Semaphore(0)

    def open(self, request: FetchRequest, stop: StopToken) -> FakeBody:
        body = super().open(request, stop)
        if body.offset == 0 and request.url == self.url:
            self.arrived.release()
            while not self.give.wait(0.01) and not stop.is_set():
                pass
        return body


class Stalling(Held):
    """Answers at once, and then holds the bytes back."""

    def open(self, request: FetchRequest, stop: StopToken) -> FakeBody:
        body = FakeSource.open(self, request, stop)
        return StallingBody(self, request, body.data, body.offset, body.validator, stop)


class StallingBody(FakeBody):
    def readinto(self, buffer: memoryview) -> int:
        assert isinstance(self.source, Held)
        self.source.arrived.release()
        while not self.source.give.wait(0.01) and not self.stop.is_set():
            pass
        return super().readinto(buffer)


class OneByOne(Held):
    """Answers each whole body when `answer` says so, by the key of the transfer (which its maxSize tells)."""

    def __init__(self) -> None:
        super().__init__()
        self.changed: dict[int | None, bytes] = {}
        """What the source has by the time that it answers that one."""
        self._news = threading.Condition()
        self._asking = Counter[int | None]()
        self._answers = Counter[int | None]()
        self._refused: set[int | None] = set()

    def open(self, request: FetchRequest, stop: StopToken) -> FakeBody:
        who, body = request.max_bytes, FakeSource.open(self, request, stop)
        if body.offset == 0:
            with self._news:
                self._asking[who] += 1
                self._news.notify_all()
                while not self._answers[who] and not stop.is_set():
                    self._news.wait(0.01)
                self._answers[who] -= 1
            if who in self._refused:
                body.close()
                raise errors.SourceUnreachable("broken off before the answer")
            if (newer := self.changed.get(who)) is not None:
                body.data, body.validator = newer, Validator('"newer"')
        return body

    def wait_for(self, key: str) -> None:
        """Wait until it asks for everything; each time counts once."""
        who = max_size(key)
        with self._news:
            assert self._news.wait_for(lambda: self._asking[who], SOON_S)
            self._asking[who] -= 1

    def answer(self, key: str, *, badly: bool = False) -> None:
        with self._news:
            if badly:
                self._refused.add(max_size(key))
            self._answers[max_size(key)] += 1
            self._news.notify_all()


def max_size(key: str) -> int:
    return 2**30 + int.from_bytes(key.encode())


class Pool:
    def __init__(self, concurrency: int, source: Held | None = None) -> None:
        self.rig = Rig()
        self.clock = FakeClock()
        self.source = source or Held()
        self.source.put(URL, IMAGE)
        self.source.put(OTHER, images.raw(100 * KIB, seed=2))
        self.figures = self.rig.figures
        self.changes = Changes()
        self.transfers = EmbeddedTransfers(
            self.source,
            self.rig.factory,
            self.clock,
            self.changes,
            concurrency=concurrency,
            pace=world.PACE,
            figures=self.figures,
            holdings=self.rig.holdings,
        )

    def request(self, key: str, url: SourceUrl = URL) -> TransferRequest:
        storage = self.rig.storages.all()[0]
        target = replace(world.target("x"), uuid=storage.uuid, name=storage.name, spec=storage.resource.spec)
        made = world.request(key=key, namespace=f"ns-{key}", max_size_bytes=max_size(key))
        return replace(made, url=url, targets=(target,))

    def start(self, key: str, url: SourceUrl = URL) -> None:
        self.transfers.start(self.request(key, url), key)

    def until_behind(self, key: str) -> None:
        for _ in range(SOON_S * 100):
            if self.transfers.state(key) == Queued(0, behind=True):
                return
            threading.Event().wait(0.01)
        raise AssertionError(self.transfers.state(key))


@contextmanager
def pool(concurrency: int = 3, source: Held | None = None) -> Iterator[Pool]:
    made = Pool(concurrency, source)
    try:
        yield made
    finally:
        made.source.give.set()
        assert made.transfers.close(SOON_S)


def test_those_who_could_share_wait_without_a_slot_and_fetch_nothing() -> None:
    with pool() as it:
        it.start("one")
        assert it.source.arrived.acquire(timeout=SOON_S)
        for key in ("two", "three", "four"):
            it.start(key)
            it.until_behind(key)
        assert it.transfers.load() == (0, 1)
        it.start("other", OTHER)
        it.changes.until(ended(it.transfers, "other"))
        assert isinstance(it.transfers.state("one"), Running)
        it.source.give.set()
        for key in ("one", "two", "three", "four"):
            it.changes.until(ended(it.transfers, key))
        states = [it.transfers.state(key) for key in ("one", "two", "three", "four")]
        assert [state.fetched_bytes for state in states if isinstance(state, Placed)] == [len(IMAGE), 0, 0, 0]
        assert it.figures.saved()[Saving.DEDUPE] == 3 * len(IMAGE)
        assert it.source.given_bytes == 2 * len(IMAGE)


def both_ask_before_either_is_answered(it: Pool, source: OneByOne, requests: dict[str, TransferRequest]) -> None:
    """Of three, `one` fails; `two` and `three` ask, as nobody has the bytes, and wait for their answers."""
    it.transfers.start(requests["one"], "one")
    source.wait_for("one")
    for key in ("two", "three"):
        it.transfers.start(requests[key], key)
        it.until_behind(key)
    source.answer("one", badly=True)
    for key in ("two", "three"):
        source.wait_for(key)


def test_who_asked_before_the_bytes_came_and_is_answered_after_shares_them() -> None:
    source = OneByOne()
    with pool(source=source) as it:
        both_ask_before_either_is_answered(it, source, {key: it.request(key) for key in ("one", "two", "three")})
        for key in ("two", "three"):
            source.answer(key)
            it.changes.until(ended(it.transfers, key))
        states = [it.transfers.state(key) for key in ("two", "three")]
        assert [state.fetched_bytes for state in states if isinstance(state, Placed)] == [len(IMAGE), 0]
        assert source.given_bytes == len(IMAGE)
        assert len(source.asked) == 3, "the answer that is there proves it: nothing more is asked"
        assert source.open_bodies == 0
        assert it.figures.saved()[Saving.DEDUPE] == len(IMAGE)


def test_the_same_within_a_namespace_by_the_digest_alone() -> None:
    source = OneByOne()
    with pool(source=source) as it:
        source.put(OTHER, IMAGE)
        urls = {"one": URL, "two": URL, "three": OTHER}
        both_ask_before_either_is_answered(
            it,
            source,
            {
                key: replace(it.request(key, url), namespace="a", checksum=content_of(IMAGE).sha256)
                for key, url in urls.items()
            },
        )
        for key in ("two", "three"):
            source.answer(key)
            it.changes.until(ended(it.transfers, key))
        states = [it.transfers.state(key) for key in ("two", "three")]
        assert [state.fetched_bytes for state in states if isinstance(state, Placed)] == [len(IMAGE), 0]
        assert source.given_bytes == len(IMAGE)


def test_the_same_where_an_older_version_is_known() -> None:
    """Each asks for the last byte of that version, is given the new one, and asks for all of it."""
    source = OneByOne()
    with pool(source=source) as it:
        it.start("zero")
        source.wait_for("zero")
        source.answer("zero")
        it.changes.until(ended(it.transfers, "zero"))
        newer = images.raw(100 * KIB, seed=3)
        source.put(URL, newer)
        it.start("one")
        source.wait_for("one")
        for key in ("two", "three"):
            it.start(key)
            it.until_behind(key)
        source.answer("one", badly=True)
        for key in ("two", "three"):
            source.wait_for(key)
            source.answer(key)
            source.wait_for(key)
        for key in ("two", "three"):
            source.answer(key)
            it.changes.until(ended(it.transfers, key))
        states = [it.transfers.state(key) for key in ("two", "three")]
        assert [state.fetched_bytes for state in states if isinstance(state, Placed)] == [len(newer), 0]
        assert source.given_bytes == len(IMAGE) + len(newer)


def test_another_answer_than_the_one_that_brought_the_bytes_is_fetched() -> None:
    """The source changed between the two answers: the later one is no proof of the earlier bytes."""
    source = OneByOne()
    source.changed[max_size("three")] = images.raw(100 * KIB, seed=3)
    with pool(source=source) as it:
        both_ask_before_either_is_answered(it, source, {key: it.request(key) for key in ("one", "two", "three")})
        for key in ("two", "three"):
            source.answer(key)
            it.changes.until(ended(it.transfers, key))
        states = [it.transfers.state(key) for key in ("two", "three")]
        assert [state.fetched_bytes for state in states if isinstance(state, Placed)] == [100 * KIB] * 2


def test_who_is_not_wanted_any_more_is_not_waited_for() -> None:
    with pool() as it:
        it.start("one")
        assert it.source.arrived.acquire(timeout=SOON_S)
        for key in ("two", "three"):
            it.start(key)
            it.until_behind(key)
        it.transfers.release("two", "two")
        assert it.transfers.state("two") is None
        it.transfers.release("one", "one")
        assert it.source.arrived.acquire(timeout=SOON_S), "the one that waited took over"
        it.source.give.set()
        it.changes.until(ended(it.transfers, "three"))
        assert isinstance(it.transfers.state("three"), Placed)


def test_one_that_gets_no_further_keeps_nobody_waiting() -> None:
    """Its source has answered, and then no byte comes, or a storage takes none."""
    with structlog.testing.capture_logs() as logged, pool(source=Stalling()) as it:
        it.start("one")
        assert it.source.arrived.acquire(timeout=SOON_S)
        it.start("two")
        it.until_behind("two")
        it.clock.advance(STUCK_S - 1)
        assert it.transfers.state("two") == Queued(0, behind=True)
        it.clock.advance(2)
        it.transfers.state("two")
        assert it.source.arrived.acquire(timeout=SOON_S), "it fetches by itself"
        it.source.give.set()
        it.changes.until(ended(it.transfers, "two"))
    assert [line["key"] for line in logged if line["event"] == "transfer.stuck"] == ["one"]


def test_one_that_waits_for_a_checksum_list_of_its_own_soon_keeps_nobody_waiting() -> None:
    """Who makes the list drip could else hold up every image of a url, one after the other."""
    sums = SourceUrl.parse("https://evil.example/SUMS")
    with structlog.testing.capture_logs() as logged, pool(source=Held(sums)) as it:
        it.source.put(sums, b"")
        it.transfers.start(replace(it.request("one"), checksum_from=ChecksumFrom(sums)), "one")
        assert it.source.arrived.acquire(timeout=SOON_S)
        it.start("two")
        it.until_behind("two")
        it.clock.advance(UNANSWERED_S - 1)
        assert it.transfers.state("two") == Queued(0, behind=True)
        it.clock.advance(2)
        it.transfers.state("two")
        it.changes.until(ended(it.transfers, "two"))
        assert isinstance(it.transfers.state("two"), Placed)
        assert isinstance(it.transfers.state("one"), Running)
    assert [line["key"] for line in logged if line["event"] == "transfer.stuck"] == ["one"]


def test_closing_leaves_nobody_behind() -> None:
    with pool() as it:
        it.start("one")
        assert it.source.arrived.acquire(timeout=SOON_S)
        it.start("two")
        it.until_behind("two")
    assert it.source.open_bodies == 0


def test_a_download_that_only_proves_writes_nothing_and_can_be_gone_on_with_once_it_broke() -> None:
    with pool() as it:
        it.source.give.set()
        it.start("one")
        it.changes.until(ended(it.transfers, "one"))
        first = it.transfers.state("one")
        assert isinstance(first, Placed)
        it.rig.image("ns-one/x", first.content)
        image = it.rig.resources.image(Key(Kind.IMAGE, "ns-one", "x"))
        assert image is not None
        storage = it.rig.adapter()
        claim = replace(ref_of(first.content), owner="ns-one/x")
        storage.link(source.image_uuid(image), claim)
        mirror = SourceUrl.parse("https://mirror.example/golden.raw")
        it.source.put(mirror, IMAGE)
        it.source.break_at = [50 * KIB, 70 * KIB]
        request = replace(it.request("proof", mirror), checksum=first.content.sha256)
        written = storage.counts.written_bytes
        for durable, tries in ((False, 1), (True, 2)):
            it.transfers.start(request, "somebody")
            it.changes.until(ended(it.transfers, "proof"))
            assert isinstance(it.transfers.state("proof"), Broken), tries
            assert bool(storage.partials) is durable
            assert (storage.counts.written_bytes > written) is durable
            it.transfers.release("proof", "somebody")
        it.transfers.start(request, "somebody")
        it.changes.until(ended(it.transfers, "proof"))
        last = it.transfers.state("proof")
        assert isinstance(last, Placed)
        assert last.resumed_bytes > 0
        assert last.stored == {storage.uuid}
