"""The loop over a watch that lies, lags or dies, in a time that the test moves."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from controller.engine.queue import KeyedQueue
from controller.kube import loop
from controller.kube.client import Client
from controller.kube.feed import Deliver, Feed, Tell
from controller.kube.loop import Alone, Operator, Running
from controller.model.resource import Key, Kind
from controller.ports import Resources
from controller.settings import OperatorSettings
from tests.fakes.clock import FakeClock
from tests.unit.kube import api as fake
from tests.unit.kube import documents
from tests.unit.kube.api import Api

IMAGES = "/apis/goldmaster.dev/v1alpha1/images"
STORAGES = "/apis/goldmaster.dev/v1alpha1/backupstorages"
NAMESPACES = "/api/v1/namespaces"
EVERY = timedelta(seconds=60)


class Watch:
    """Stands for a Feed: says what a test says."""

    def __init__(self, deliver: Deliver, tell: Tell, readable: Callable[[], bool]) -> None:
        self.deliver = deliver
        self.tell = tell
        self.readable = readable
        self.starts = 0
        self.restarts = 0
        self.closed = False
        self.is_watching = True

    def start(self) -> None:
        self.starts = 1

    def restart(self) -> None:
        self.restarts += 1

    def watching(self) -> bool:
        return self.is_watching

    def close(self) -> None:
        self.closed = True


class World:
    """An API server, a watch, and an engine that only collects keys. `at` says what happens when."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.clock = FakeClock()
        self.queue: KeyedQueue[Key] = KeyedQueue(self.clock)
        self.watch: Watch | None = None
        self.resources: Resources | None = None
        self.ended = False
        self.script: list[tuple[float, Callable[[], object]]] = []
        self.began = self.clock.monotonic()
        self.listed(IMAGES)
        self.listed(STORAGES)
        self.listed(NAMESPACES)

    def listed(self, path: str, *items: object, version: int = 10) -> None:
        self.api.lists[path] = {"items": list(items), "metadata": {"resourceVersion": str(version)}}

    def at(self, second: float, do: Callable[[], object]) -> None:
        self.script.append((second, do))

    def run(self, seconds: float) -> Operator:
        """Run the operator for so long; every wait moves the clock."""
        stop = _Moving(self)
        self.at(seconds, stop.set)
        self.script.sort(key=lambda step: step[0])
        client = Client(self.api.access(), self.clock)
        built = SimpleNamespace(engine=SimpleNamespace(queue=self.queue, start=lambda: None), close=self._close)

        def build(resources: Resources) -> Running:
            self.resources = resources
            return cast(Running, built)

        def watch(deliver: Deliver, tell: Tell, readable: Callable[[], bool]) -> Feed:
            self.watch = Watch(deliver, tell, readable)
            return cast(Feed, self.watch)

        settings = OperatorSettings(list_interval=EVERY)
        operator = Operator(client, build, settings, self.clock, Alone(), watch=watch)
        operator.run(stop)
        client.close()
        return operator

    def _close(self) -> bool:
        self.ended = True
        return True

    def tell(self, change: str | None, document: dict[str, Any]) -> None:
        assert self.watch is not None
        self.watch.deliver(Kind(document["kind"]), change, document)

    def queued(self) -> set[str]:
        """Take all keys that wait."""
        names = set()
        while (key := self.queue.get(0)) is not None:
            names.add(key.name)
            self.queue.done(key)
        return names


class _Moving(threading.Event):
    """Waiting takes no time but the clock's; what is due happens."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def wait(self, timeout: float | None = None) -> bool:
        self._world.clock.advance(timeout or 0)
        passed = self._world.clock.monotonic() - self._world.began
        while self._world.script and self._world.script[0][0] <= passed:
            self._world.script.pop(0)[1]()
        return self.is_set()


@pytest.fixture
def world() -> Iterator[World]:
    with fake.serving() as api:
        yield World(api)


def test_nothing_starts_before_everything_was_listed_once(world: World) -> None:
    for _ in range(3):
        world.api.answer(503)
    operator = world.run(20)
    assert operator.health.resyncs >= 1
    assert world.watch is not None
    assert world.watch.starts == 1
    assert world.watch.closed
    assert world.ended


def test_a_stop_ends_an_operator_that_never_began(world: World) -> None:
    for _ in range(1000):
        world.api.answer(503)
    world.run(30)
    assert world.watch is None


def test_events_become_keys_and_echoes_do_not(world: World) -> None:
    seen: list[set[str]] = []
    world.listed(IMAGES, documents.image("old", 1))
    world.at(1, lambda: world.tell(None, documents.image("old", 1)))
    world.at(1, lambda: world.tell("ADDED", documents.image("new", 11)))
    world.at(2, lambda: seen.append(world.queued()))
    world.at(3, lambda: world.tell("MODIFIED", documents.image("new", 11)))
    world.at(3, lambda: world.tell("DELETED", documents.image("old", 12)))
    world.at(4, lambda: seen.append(world.queued()))
    world.run(4.5)
    assert seen == [{"new"}, {"old"}]


def test_it_lists_once_more_soon_after_the_watch_began(world: World) -> None:
    """What went between the first list and the watch is told by neither."""
    found: list[set[str]] = []
    world.listed(IMAGES, documents.image("ghost", 1))
    world.at(1, lambda: world.listed(IMAGES))
    world.at(2, world.queued)
    world.at(loop.SETTLE_S + 2, lambda: found.append(world.queued()))
    operator = world.run(10)
    assert found == [{"ghost"}]
    assert operator.health.resyncs == 2


def test_a_watch_that_tells_nothing_is_started_anew(world: World) -> None:
    """A list finds a change, the watch has its time to tell, and does not."""
    world.at(10, lambda: world.listed(IMAGES, documents.image("unheard", 50), version=60))
    world.run(60 + 5 + loop.DELIVERY_S + 5)
    assert world.watch is not None
    assert world.watch.restarts == 1
    assert world.queued() == {"unheard"}


def test_a_watch_that_is_only_late_is_left_alone(world: World) -> None:
    document = documents.image("late", 50)
    world.at(10, lambda: world.listed(IMAGES, document, version=60))
    world.at(70, lambda: world.tell("ADDED", document))
    operator = world.run(60 + 5 + loop.DELIVERY_S + 5)
    assert world.watch is not None
    assert world.watch.restarts == 0
    assert operator.health.missed == 1


def test_no_watch_at_all_is_started_anew_after_a_while(world: World) -> None:
    def die() -> None:
        assert world.watch is not None
        world.watch.is_watching = False

    world.at(10, die)
    world.run(10 + loop.UNWATCHED_S + 5)
    assert world.watch is not None
    assert world.watch.restarts == 1


def test_lists_that_fail_leave_everything_as_it_is(world: World) -> None:
    """An outage is not a deletion."""
    world.listed(IMAGES, documents.image("kept", 1))
    kept: list[list[Key]] = []

    def fail() -> None:
        for _ in range(100):
            world.api.answer(500)

    def look() -> None:
        assert world.resources is not None
        kept.append(world.resources.keys(Kind.IMAGE))
        world.api.answers.clear()

    world.at(10, fail)
    world.at(200, look)
    operator = world.run(300)
    assert [key.name for key in kept[0]] == ["kept"]
    assert operator.health.synced_at is not None


def test_a_deleted_image_wakes_the_storages_that_wait_for_it(world: World) -> None:
    leaving = documents.storage(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["goldmaster.dev/backupstorage"])
    world.listed(STORAGES, leaving, documents.storage("staying", 2))
    world.listed(IMAGES, documents.image("last", 3))
    seen: list[set[str]] = []
    world.at(1, world.queued)
    world.at(2, lambda: world.tell("DELETED", documents.image("last", 20)))
    world.at(3, lambda: seen.append(world.queued()))
    world.run(4)
    assert seen == [{"last", "main"}]


def test_what_cannot_be_read_is_told_in_its_status_and_kept_from_the_engine(world: World) -> None:
    broken = documents.image("newer", 5, spec={"url": "https://h/a", "invented": True})
    world.listed(IMAGES, broken)
    path = "/apis/goldmaster.dev/v1alpha1/namespaces/default/images/newer/status"
    world.api.lists[path] = documents.image("newer", 20, spec={"url": "https://h/a", "invented": True})
    world.run(2)
    writes = [(path.partition("?")[0], body) for method, path, _, body in world.api.asked if method == "PUT"]
    assert writes[0][0].endswith("/images/newer/status")
    conditions = {entry["type"]: entry for entry in writes[0][1]["status"]["conditions"]}
    assert conditions["Stalled"]["reason"] == conditions["Ready"]["reason"] == "InvalidSpec"
    assert "spec.invented" in conditions["Ready"]["message"]
    assert world.resources is not None
    assert world.resources.image(Key(Kind.IMAGE, "default", "newer")) is None


def test_an_outage_of_ten_minutes_is_asked_about_seldom_and_ends_with_one_list(world: World) -> None:
    """Time is the test's: what is counted is what the server gets to hear of us."""
    asked: dict[str, int] = {}

    def down() -> None:
        asked["before"] = len(world.api.asked)
        world.api.down = True

    def up() -> None:
        world.api.down = False
        asked["during"] = len(world.api.asked) - asked["before"]
        world.listed(IMAGES, documents.image("debian", 50), version=60)

    world.at(100, down)
    world.at(700, up)
    operator = world.run(760)
    assert world.resources is not None
    assert world.resources.image(Key(Kind.IMAGE, "default", "debian")) is not None
    assert world.queued() == {"debian"}
    assert 15 <= asked["during"] <= 30, "after the first tries, one question in 30 s"
    assert operator.health.resyncs >= 3
