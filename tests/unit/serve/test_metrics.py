"""What is exported: counted by whom it should be, named with units, and never by anything a user can make endless."""

from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from controller.engine.figures import ReadFrom, Saving
from controller.model.conditions import Condition, ConditionType
from controller.model.delivery import Watch
from controller.model.scrub import Scrub, ScrubState
from controller.reasons import Reason
from controller.serve.metrics import ClusterReading, Metrics, Reading
from tests.unit.engine.engine_bench import IMAGE, STORE, URL, Bench

BOUNDED = {"phase", "reason", "origin", "by", "kind", "verb", "resource", "storage", "le"}
"""Label names; the values of each come from a closed set, or name a BackupStorage."""


class Scrape:
    """One page of metrics over a bench."""

    def __init__(self, bench: Bench, *, standby: bool = False) -> None:
        self.bench = bench
        self.standby = standby

    def families(self) -> dict[str, Metric]:
        page = Metrics(self.read).render().decode()
        return {family.name: family for family in text_string_to_metric_families(page)}

    def value(self, name: str, **labels: str) -> float:
        samples = [sample for family in self.families().values() for sample in family.samples]
        found = [sample.value for sample in samples if (sample.name, sample.labels) == (name, labels)]
        assert len(found) == 1, (name, labels, sorted({sample.name for sample in samples}))
        return found[0]

    def read(self) -> Reading:
        engine = self.bench.engine
        return Reading(
            leading=not self.standby,
            resources=None if self.standby else self.bench.resources,
            now=self.bench.clock.now(),
            done=engine.figures,
            queue_depth=len(engine.queue),
            transfers=engine.transfers.load(),
            cluster=ClusterReading(
                {("update", "images/status"): 2}, resyncs=3, missed=4, feed_starts=1, synced_age_s=5.0
            ),
        )


@pytest.fixture
def scrape() -> Scrape:
    return Scrape(Bench())


def test_an_image_is_counted_by_phase_and_reason(scrape: Scrape) -> None:
    scrape.bench.converge()
    assert scrape.value("goldmaster_images", phase="Ready", reason="Succeeded") == 1
    assert scrape.value("goldmaster_queue_wait_seconds_count") >= 2


def test_running_transfers_are_shown_while_they_run(scrape: Scrape) -> None:
    scrape.bench.engine.probe_storages()
    scrape.bench.engine.enqueue([IMAGE])
    scrape.bench.work()
    assert scrape.value("goldmaster_transfers", phase="running") == 1
    scrape.bench.transfers.finish()
    assert scrape.value("goldmaster_transfers", phase="running") == 0


def test_the_age_of_the_oldest_proof_grows_until_it_is_renewed(scrape: Scrape) -> None:
    assert "goldmaster_oldest_verification_age_seconds" not in scrape.families(), "nothing is served yet"
    scrape.bench.converge()
    scrape.bench.clock.advance(timedelta(days=2))
    assert scrape.value("goldmaster_oldest_verification_age_seconds") == 2 * 86400


def test_sources_that_changed_or_told_nothing_are_counted(scrape: Scrape) -> None:
    bench = scrape.bench
    bench.converge()
    assert (scrape.value("goldmaster_sources_changed"), scrape.value("goldmaster_sources_unknown")) == (0, 0)
    image, now = bench.image(), bench.clock.now()
    told = Condition(ConditionType.UPSTREAM_CHANGED, True, Reason.SOURCE_CHANGED, "ETag", 1, now)
    status = replace(image.status, conditions=(*image.status.conditions, told), watch=Watch(now, "503"))
    bench.resources.write_image_status(image, status)
    assert (scrape.value("goldmaster_sources_changed"), scrape.value("goldmaster_sources_unknown")) == (1, 1)


def test_a_scrub_renews_the_proof_and_tells_what_it_found(scrape: Scrape) -> None:
    bench = scrape.bench
    spec = {"type": "ImageStore", "imageStore": {"path": "/s1"}, "reservedCapacity": "0", "scrubInterval": "24h"}
    bench.resources.put(STORE, spec)
    bench.converge()
    storage = bench.resources.storage(STORE)
    assert storage is not None
    began = bench.clock.now()
    scrub = Scrub(ScrubState.RUNNING, began, damaged=1)
    bench.resources.write_storage_status(storage, replace(storage.status, last_scrub=scrub))
    image = bench.image()
    bench.resources.write_image_status(image, replace(image.status, verified_at=began + timedelta(hours=1)))
    bench.clock.advance(timedelta(hours=3))
    assert scrape.value("goldmaster_scrub_interval_seconds", storage="s1") == 24 * 3600
    assert scrape.value("goldmaster_scrub_age_seconds", storage="s1") == 3 * 3600
    assert scrape.value("goldmaster_scrub_damaged_copies", storage="s1") == 1
    assert scrape.value("goldmaster_oldest_verification_age_seconds") == 2 * 3600


def test_what_was_not_fetched_is_shown_by_why(scrape: Scrape) -> None:
    scrape.bench.engine.figures.save(Saving.DEDUPE, 600)
    assert scrape.value("goldmaster_saved_bytes_total", by="dedupe") == 600
    assert scrape.value("goldmaster_saved_bytes_total", by="resume") == 0


def test_outcomes_are_counted_by_reason(scrape: Scrape) -> None:
    scrape.bench.engine.figures.end(ReadFrom.SOURCE, Reason.CHECKSUM_MISMATCH)
    assert scrape.value("goldmaster_transfers_ended_total", origin="source", reason="ChecksumMismatch") == 1


def test_labels_come_from_closed_sets(scrape: Scrape) -> None:
    """No label holds the name, the namespace or the URL of an image: series must not grow with what users make."""
    scrape.bench.converge()
    ours = [family for name, family in scrape.families().items() if name.startswith("goldmaster_")]
    assert len(ours) >= 19
    for family in ours:
        for sample in family.samples:
            assert set(sample.labels) <= BOUNDED, sample
            assert not {"img", "default", URL} & set(sample.labels.values()), sample


def test_names_say_their_unit(scrape: Scrape) -> None:
    for name, family in scrape.families().items():
        if "age" in name.split("_") or "wait" in name.split("_") or family.type == "histogram":
            assert name.endswith("_seconds"), name
        assert family.documentation


def test_a_standby_shows_no_objects(scrape: Scrape) -> None:
    scrape.standby = True
    assert scrape.value("goldmaster_leader") == 0
    assert "goldmaster_images" not in scrape.families()
