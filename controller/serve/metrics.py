"""What Prometheus scrapes. Names carry units; labels come from closed sets, or are names of storages."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from controller.engine.figures import Distribution, Figures, ReadFrom
from controller.model import conditions
from controller.model.backup_storage import StorageStatus
from controller.model.conditions import ConditionType
from controller.model.resource import Image, Kind
from controller.ports import Resources
from controller.reasons import Reason


@dataclass(frozen=True, slots=True)
class ClusterReading:
    """What operator mode counts beside."""

    api_writes: Mapping[tuple[str, str], int]
    """By verb and resource."""
    resyncs: int
    missed: int
    feed_starts: int
    synced_age_s: float | None


@dataclass(frozen=True, slots=True)
class Reading:
    """All that is shown, at one moment. `resources` None: it is the standby and knows nothing."""

    leading: bool
    resources: Resources | None
    now: datetime
    done: Figures
    queue_depth: int
    transfers: tuple[int, int]
    """How many wait for a slot, and how many have one."""
    cluster: ClusterReading | None = None
    """None in standalone mode."""


class Metrics(Collector):
    """Collects at the time of the scrape; nothing is counted twice."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        self._read = read
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """Return the page."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Yield all families; called by the registry."""
        reading = self._read()
        yield _gauge("goldmaster_leader", "Whether this replica reconciles", float(reading.leading))
        yield from _work(reading)
        yield from _bytes(reading.done)
        if reading.cluster is not None:
            yield from _cluster(reading.cluster)
        if reading.resources is not None:
            yield from _images(reading.resources, reading.now)
            yield from _storages(reading.resources)
            yield from _scrubs(reading.resources, reading.now)


def _work(reading: Reading) -> Iterator[Metric]:
    done = reading.done
    yield _gauge("goldmaster_queue_depth", "Objects that wait for a worker", reading.queue_depth)
    yield _histogram(
        "goldmaster_queue_wait_seconds",
        "From when a look is due to when a worker takes it",
        {"": done.queue_wait.taken()},
    )
    passes = {kind.value: durations.taken() for kind, durations in done.reconcile.items()}
    yield _histogram("goldmaster_reconcile_seconds", "Duration of one look at an object", passes, "kind")
    transfers = GaugeMetricFamily(
        "goldmaster_transfers", "Transfers that are not at their end, by where they stand", labels=["phase"]
    )
    queued, running = reading.transfers
    transfers.add_metric(["queued"], queued)
    transfers.add_metric(["running"], running)
    yield transfers
    yield _histogram(
        "goldmaster_transfer_wait_seconds", "Wait of a transfer for its slot", {"": done.transfer_wait.taken()}
    )
    ended = CounterMetricFamily(
        "goldmaster_transfers_ended",
        "Transfers that ended by themselves, by where they read (source, or another storage) and how it went",
        labels=["origin", "reason"],
    )
    counts = done.ended()
    # also what never happened: increase() needs a zero before
    for read_from, reason in itertools.product(ReadFrom, Reason):
        ended.add_metric([read_from.value, reason.value], counts.get((read_from, reason), 0))
    yield ended


def _bytes(done: Figures) -> Iterator[Metric]:
    received = CounterMetricFamily(
        "goldmaster_received_bytes",
        "Bytes that transfers read, by where: source, or another storage",
        labels=["origin"],
    )
    for read_from, count in sorted(done.received().items()):
        received.add_metric([read_from.value], count)
    saved = CounterMetricFamily(
        "goldmaster_saved_bytes", "Bytes that need not be fetched, thanks to what", labels=["by"]
    )
    for why, count in sorted(done.saved().items()):
        saved.add_metric([why.value], count)
    yield from (received, saved)


def _cluster(reading: ClusterReading) -> Iterator[Metric]:
    writes = CounterMetricFamily(
        "goldmaster_api_writes",
        "Requests that change something on the API server, refused ones included",
        labels=["verb", "resource"],
    )
    for labels, count in sorted(reading.api_writes.items()):
        writes.add_metric(labels, count)
    yield writes
    yield _counter("goldmaster_resyncs", "Complete lists of all objects", reading.resyncs)
    yield _counter("goldmaster_watch_missed", "Changes that a list told before the watch", reading.missed)
    yield _counter("goldmaster_watch_starts", "Starts of the watch in this term", reading.feed_starts)
    if reading.synced_age_s is not None:
        yield _gauge("goldmaster_last_resync_age_seconds", "Time since all objects were listed", reading.synced_age_s)


def _images(resources: Resources, now: datetime) -> Iterator[Metric]:
    counts: Counter[tuple[str, str]] = Counter()
    oldest: datetime | None = None
    changed = unknown = 0
    for key in resources.keys(Kind.IMAGE):
        image = resources.image(key)
        if image is None:
            continue
        ready = conditions.find(image.status.conditions, ConditionType.READY)
        counts[image.status.phase.value, ready.reason.value if ready else ""] += 1
        changed += conditions.is_true(image.status.conditions, ConditionType.UPSTREAM_CHANGED)
        unknown += bool(image.status.watch.error)
        proven = _proven_at(image)
        oldest = proven if oldest is None or (proven is not None and proven < oldest) else oldest
    family = GaugeMetricFamily(
        "goldmaster_images", "Images by phase and by the reason of their Ready condition", labels=["phase", "reason"]
    )
    for labels, count in sorted(counts.items()):
        family.add_metric(labels, count)
    yield family
    yield _gauge("goldmaster_sources_changed", "Images whose source has something else than what was imported", changed)
    yield _gauge("goldmaster_sources_unknown", "Images whose source told nothing when it was last looked at", unknown)
    if oldest is not None:
        age_s = max((now - oldest).total_seconds(), 0.0)
        help_text = "Age of the proof of that served image whose bytes were proven longest ago"
        yield _gauge("goldmaster_oldest_verification_age_seconds", help_text, age_s)


def _proven_at(image: Image) -> datetime | None:
    """Return when all bytes of what is served were last hashed and compared."""
    current = image.status.current
    return None if current is None else image.status.verified_at or current.imported_at


def _storages(resources: Resources) -> Iterator[Metric]:
    connected = GaugeMetricFamily(
        "goldmaster_storage_connected", "Whether the last probe reached it", labels=["storage"]
    )
    total = GaugeMetricFamily("goldmaster_storage_capacity_bytes", "Size of the storage", labels=["storage"])
    free = GaugeMetricFamily("goldmaster_storage_available_bytes", "Room that is left on it", labels=["storage"])
    for key in resources.keys(Kind.BACKUP_STORAGE):
        storage = resources.storage(key)
        if storage is None:
            continue
        connected.add_metric([key.name], float(storage.status.status is StorageStatus.CONNECTED))
        if storage.status.capacity is not None:
            total.add_metric([key.name], storage.status.capacity.total_bytes)
            free.add_metric([key.name], storage.status.capacity.available_bytes)
    yield from (connected, total, free)


def _scrubs(resources: Resources, now: datetime) -> Iterator[Metric]:
    interval = GaugeMetricFamily(
        "goldmaster_scrub_interval_seconds", "How often all copies are to be read again", labels=["storage"]
    )
    age = GaugeMetricFamily(
        "goldmaster_scrub_age_seconds",
        "Time since a scrub last came to its end; before the first end, since it was begun",
        labels=["storage"],
    )
    damaged = GaugeMetricFamily(
        "goldmaster_scrub_damaged_copies", "Damaged copies that the last scrub found", labels=["storage"]
    )
    for key in resources.keys(Kind.BACKUP_STORAGE):
        storage = resources.storage(key)
        if storage is None:
            continue
        if storage.spec.scrub_interval is not None:
            interval.add_metric([key.name], storage.spec.scrub_interval.total_seconds())
        if (scrub := storage.status.last_scrub) is not None:
            since = scrub.finished_at or scrub.started_at
            age.add_metric([key.name], max((now - since).total_seconds(), 0.0))
            damaged.add_metric([key.name], scrub.damaged)
    yield from (interval, age, damaged)


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=value)


def _counter(name: str, help_text: str, value: float) -> Metric:
    return CounterMetricFamily(name, help_text, value=value)


def _histogram(name: str, help_text: str, taken: Mapping[str, Distribution], label: str = "") -> Metric:
    """Return a histogram of one series, or of one per value of `label`."""
    family = HistogramMetricFamily(name, help_text, labels=[label] if label else [])
    for value, distribution in sorted(taken.items()):
        buckets = [(str(bound), float(count)) for bound, count in distribution.at_most]
        buckets.append(("+Inf", float(distribution.count)))
        family.add_metric([value] if label else [], buckets, distribution.sum_s)
    return family
