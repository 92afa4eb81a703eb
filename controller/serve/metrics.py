"""What Prometheus scrapes. Names carry units; labels come from closed sets, or are names of storages."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controller.model import conditions
from controller.model.backup_storage import StorageStatus
from controller.model.conditions import ConditionType
from controller.model.resource import Kind
from controller.ports import Resources


@dataclass(frozen=True, slots=True)
class Figures:
    """What the loop counts. `resources` None: it is the standby and knows nothing."""

    leading: bool
    resources: Resources | None
    queue_depth: int
    api_writes: int
    resyncs: int
    missed: int
    feed_starts: int
    synced_age_s: float | None


class Metrics(Collector):
    """Collects at the time of the scrape; nothing is counted twice."""

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self) -> bytes:
        """Return the page."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Yield all families; called by the registry."""
        figures = self._figures()
        yield _gauge("goldmaster_leader", "Whether this replica reconciles", float(figures.leading))
        yield _gauge("goldmaster_queue_depth", "Objects that wait for a worker", figures.queue_depth)
        yield _counter("goldmaster_api_writes", "Requests that changed something on the API server", figures.api_writes)
        yield _counter("goldmaster_resyncs", "Complete lists of all objects", figures.resyncs)
        yield _counter("goldmaster_watch_missed", "Changes that a list told before the watch", figures.missed)
        yield _counter("goldmaster_watch_starts", "Starts of the watch in this term", figures.feed_starts)
        if figures.synced_age_s is not None:
            help_text = "Time since all objects were listed"
            yield _gauge("goldmaster_last_resync_age_seconds", help_text, figures.synced_age_s)
        if figures.resources is not None:
            yield _images(figures.resources)
            yield from _storages(figures.resources)


def _images(resources: Resources) -> Metric:
    counts: Counter[tuple[str, str]] = Counter()
    for key in resources.keys(Kind.IMAGE):
        image = resources.image(key)
        if image is not None:
            ready = conditions.find(image.status.conditions, ConditionType.READY)
            counts[image.status.phase.value, ready.reason.value if ready else ""] += 1
    family = GaugeMetricFamily(
        "goldmaster_images", "Images by phase and by the reason of their Ready condition", labels=["phase", "reason"]
    )
    for labels, count in sorted(counts.items()):
        family.add_metric(labels, count)
    return family


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


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=value)


def _counter(name: str, help_text: str, value: float) -> Metric:
    return CounterMetricFamily(name, help_text, value=value)
