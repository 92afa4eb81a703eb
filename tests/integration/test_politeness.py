"""An origin is asked no more often than it bears, by all images of an instance together."""

import hashlib
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_network
from pathlib import Path

import pytest

from controller import errors, wiring
from controller.adapters.clock import SystemClock
from controller.adapters.sources.politeness import Politeness
from controller.engine.transfer.checksum_lists import ChecksumLists
from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.image import ChecksumFrom, ImageStatus
from controller.model.url import SourceUrl
from controller.reasons import Reason
from controller.settings import (
    EngineSettings,
    PolitenessSettings,
    Settings,
    SourceSettings,
    StandaloneSettings,
    TransferSettings,
)
from tests.fakes.clock import FakeClock
from tests.fakes.fetching import NEVER, asking, drain, fetch, http_source
from tests.fakes.hostile_server import HostileServer, Peer, answering, head, redirecting, serving
from tests.unit.engine.transfer import world

RAW = bytes(range(256)) * 4096
BUSY = "429 Too Many Requests"


@pytest.mark.parametrize("status", [BUSY, "503 Service Unavailable"])
def test_nothing_is_sent_before_the_time_that_the_origin_asked_for(status: str) -> None:
    """Neither for the same path nor another, nor where a redirect leads there; another origin is asked at once."""
    clock = FakeClock()
    source = http_source(clock)
    with (
        HostileServer(answering(status, "Retry-After: 120"), serving(b"image")) as busy,
        HostileServer(redirecting(busy.url("/x")), serving(b"other")) as free,
    ):
        with pytest.raises(errors.SourceUnreachable):
            source.open(asking(busy.url("/a")), NEVER)
        for url in (busy.url("/b"), free.url("/redirects")):
            with pytest.raises(errors.OriginBusy, match="asks for nothing before 2026-01-01T00:02:00Z") as caught:
                source.open(asking(url), NEVER)
            assert caught.value.retry_after == timedelta(minutes=2)
        assert busy.connections == 1
        assert fetch(source, asking(free.url())) == b"other"
        clock.advance(120)
        assert fetch(source, asking(busy.url("/b"))) == b"image"


def test_a_date_counts_as_seconds_do() -> None:
    clock = FakeClock()
    at = format_datetime(datetime(2026, 1, 1, 0, 1, tzinfo=UTC), usegmt=True)
    with HostileServer(answering(BUSY, f"Retry-After: {at}")) as busy:
        source = http_source(clock)
        for error in (errors.SourceUnreachable, errors.OriginBusy):
            with pytest.raises(error) as caught:
                source.open(asking(busy.url()), NEVER)
            assert caught.value.retry_after == timedelta(minutes=1)


@pytest.mark.parametrize("said", [[], ["Retry-After: 0"], ["Retry-After: soon"], ["Retry-After: 5", "Retry-After: 5"]])
def test_who_names_no_time_is_asked_again(said: list[str]) -> None:
    with HostileServer(answering(BUSY, *said)) as busy:
        source = http_source(FakeClock())
        for _ in range(2):
            with pytest.raises(errors.SourceUnreachable):
                source.open(asking(busy.url()), NEVER)
        assert busy.connections == 2


def test_a_checksum_list_waits_as_images_do() -> None:
    source = http_source(FakeClock())
    with HostileServer(answering(BUSY, "Retry-After: 60")) as busy:
        with pytest.raises(errors.SourceUnreachable):
            source.open(asking(busy.url()), NEVER)
        listed = ChecksumFrom(SourceUrl.parse(busy.url("/SHA256SUMS")))
        with pytest.raises(errors.OriginBusy, match=r"the checksum list .* asks for nothing before") as caught:
            ChecksumLists(source, NEVER).ask(listed, world.request())
        assert caught.value.retry_after == timedelta(minutes=1)
        assert busy.connections == 1


def test_connections_are_counted_until_their_bodies_are_done() -> None:
    """Read to the end, given up, broken, refused: each gives its place back."""

    def broken(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nimage")

    scripts = [serving(b"image"), serving(b"image"), broken, answering("404 Not Found"), redirecting("/next")]
    with HostileServer(*scripts, serving(b"image")) as server:
        clock = FakeClock(tick=0.05)
        source = http_source(clock, politeness=Politeness(clock, PolitenessSettings(1), tick_s=0.001))
        assert fetch(source, asking(server.url())) == b"image"
        source.open(asking(server.url()), NEVER).close()
        with pytest.raises(errors.SourceUnreachable):
            fetch(source, asking(server.url()))
        with pytest.raises(errors.SourceNotFound):
            fetch(source, asking(server.url()))
        body = source.open(asking(server.url()), NEVER)
        with pytest.raises(errors.OriginBusy, match="has 1 connections of ours already"):
            source.open(asking(server.url()), NEVER)
        assert server.connections == 6
        assert drain(body) == b"image"
        assert fetch(source, asking(server.url())) == b"image"


def test_redirects_are_requests_too() -> None:
    with HostileServer(redirecting("/next")) as server:
        clock = FakeClock()
        source = http_source(clock, politeness=Politeness(clock, PolitenessSettings(4, 10), tick_s=0.001))
        with pytest.raises(errors.OriginBusy, match="was asked 10 times in a minute already"):
            source.open(asking(server.url()), NEVER)
        assert server.connections == 10


def test_a_namespace_leaves_the_next_request_to_another_that_waits() -> None:
    with HostileServer(serving(b"image")) as server:
        clock = FakeClock()
        source = http_source(clock, politeness=Politeness(clock, PolitenessSettings(4, 10), tick_s=0.001))
        for _ in range(10):
            fetch(source, asking(server.url(), namespace="a"))
        for namespace in ("b", "a"):
            with pytest.raises(errors.OriginBusy, match="was asked 10 times in a minute already"):
                source.open(asking(server.url(), namespace=namespace), NEVER)
        clock.advance(6)
        with pytest.raises(errors.OriginBusy):
            source.open(asking(server.url(), namespace="a"), NEVER)
        assert fetch(source, asking(server.url(), namespace="b")) == b"image"
        clock.advance(6)
        assert fetch(source, asking(server.url(), namespace="a")) == b"image"


def test_all_images_of_an_instance_wait_for_the_origin_and_no_try_is_counted(tmp_path: Path) -> None:
    """Two images with `retry.limit: 1`: whoever is second is told to wait, sends nothing, and gives up nothing."""
    arrivals: list[float] = []
    clock = SystemClock()

    def busy_once(peer: Peer) -> None:
        arrivals.append(clock.monotonic())
        answering(BUSY, "Retry-After: 3")(peer)

    def ready_then(peer: Peer) -> None:
        arrivals.append(clock.monotonic())
        serving(RAW)(peer)

    with HostileServer(busy_once, ready_then) as server:
        manifests = tmp_path / "manifests"
        manifests.mkdir()
        for name in ("a", "b"):
            (manifests / f"{name}.yaml").write_text(
                f"apiVersion: goldmaster.dev/v1alpha1\nkind: Image\nmetadata: {{name: {name}}}\n"
                f"spec: {{url: '{server.url(f'/{name}.raw')}', retry: {{limit: 1, initialBackoff: 1s}}}}\n"
            )
        settings = Settings(
            source=SourceSettings(allowed_networks=(ip_network("127.0.0.0/8"),)),
            transfer=TransferSettings(concurrency=1),
            engine=EngineSettings(probe_interval=timedelta(seconds=1)),
        )
        seen: dict[str, list[ImageStatus]] = {"a": [], "b": []}
        with wiring.standalone(settings, StandaloneSettings(tmp_path / "state")) as instance:
            instance.take(instance.load([manifests]))

            def look() -> None:
                for image in instance.state.images():
                    seen[image.meta.key.name].append(image.status)

            assert instance.converge(60, threading.Event(), look).ended
            look()
        assert min(later - arrivals[0] for later in arrivals[1:]) >= 3
        assert len(arrivals) == 3
    reasons = {name: [conditions.find(one.conditions, ConditionType.READY) for one in seen[name]] for name in seen}
    assert all(found[-1] and found[-1].reason is Reason.SUCCEEDED for found in reasons.values())
    queued = [name for name in seen if any(found and found.reason is Reason.QUEUED for found in reasons[name])]
    assert len(queued) == 1
    assert {one.attempts for one in seen[queued[0]]} == {0}


class _Fussy:
    """Serves images, counts those it owes an answer, and asks every seventh request for a pause of two seconds."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._clock = SystemClock()
        self._owed = 0
        self.most_owed = 0
        self.arrivals: list[float] = []
        self.pauses: list[tuple[float, float]] = []
        """When each was asked for, and when the client had surely heard of it: it had hung up."""

    def __call__(self, peer: Peer) -> None:
        with self._lock:
            self._owed += 1
            self.most_owed = max(self.most_owed, self._owed)
            self.arrivals.append(self._clock.monotonic())
            self._lock.notify_all()
            busy = len(self.arrivals) % 7 == 0
            self._lock.wait_for(lambda: self._owed > 2, 0.1)  # whoever comes in spite of the bound is waited for
        data = hashlib.sha256(peer.request_line.split()[1].encode()).digest() * 4096
        if not busy:
            peer.send(head(headers=[f"Content-Length: {len(data)}"]), data[:-1])
        with self._lock:  # before the last byte: with it the client may be back sooner than this thread goes on
            self._owed -= 1
        if busy:
            asked = self._clock.monotonic()
            peer.send(head(BUSY, ["Retry-After: 2"]))
            peer.hold()
            self.pauses.append((asked, self._clock.monotonic()))
        else:
            peer.send(data[-1:])


def test_many_images_of_a_fussy_server_all_come_and_none_comes_too_early(tmp_path: Path) -> None:
    """Twenty at once, eight slots, two connections.

    Of the two, the one that heard of a pause is closed by then; the request on the other may have been on its way.
    """
    fussy = _Fussy()
    with HostileServer(fussy) as server:
        manifests = tmp_path / "manifests"
        manifests.mkdir()
        for number in range(20):
            (manifests / f"{number}.yaml").write_text(
                f"apiVersion: goldmaster.dev/v1alpha1\nkind: Image\nmetadata: {{name: i{number}, namespace: "
                f"n{number % 3}}}\nspec: {{url: '{server.url(f'/{number}.raw')}', retry: {{initialBackoff: 1s}}}}\n"
            )
        settings = Settings(
            source=SourceSettings((ip_network("127.0.0.0/8"),), politeness=PolitenessSettings(2, 10_000)),
            transfer=TransferSettings(concurrency=8),
            engine=EngineSettings(probe_interval=timedelta(seconds=1)),
        )
        with wiring.standalone(settings, StandaloneSettings(tmp_path / "state")) as instance:
            instance.take(instance.load([manifests]))
            assert instance.converge(90, threading.Event()).ended
            images = instance.state.images()
    assert all(conditions.is_true(image.status.conditions, ConditionType.READY) for image in images)
    assert len({image.status.current.content.sha256 for image in images if image.status.current}) == 20
    assert fussy.most_owed <= 2
    assert len(fussy.pauses) >= 3
    early = [[at for at in fussy.arrivals if heard < at < asked + 2] for asked, heard in fussy.pauses]
    assert max(map(len, early)) <= 1
