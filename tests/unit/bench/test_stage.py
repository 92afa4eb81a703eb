"""What the benchmark of operator mode reads of the operator."""

import json
from pathlib import Path

import pytest

from tests.bench_kube.stage import Told, summed

PAGE = """\
# HELP goldmaster_api_writes_total Requests
goldmaster_api_writes_total{resource="images",verb="PATCH"} 3.0
goldmaster_api_writes_total{resource="images/status",verb="PUT"} 4.0
goldmaster_api_writes_total{resource="events",verb="POST"} 5.0
goldmaster_queue_depth 2.0
"""


@pytest.mark.parametrize(
    ("name", "labels", "found"),
    [
        ("goldmaster_api_writes_total", {}, 12),
        ("goldmaster_api_writes_total", {"resource": "images"}, 3),
        ("goldmaster_api_writes_total", {"resource": "images/status", "verb": "PUT"}, 4),
        ("goldmaster_queue_depth", {}, 2),
        ("goldmaster_queue", {}, 0),
    ],
)
def test_a_metric_is_summed_over_the_labels_not_given(name: str, labels: dict[str, str], found: float) -> None:
    assert summed(PAGE, name, labels) == found


def test_images_are_counted_once_and_half_a_line_not_at_all(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(_line("before", "Ready"))
    ready = Told(log, "image.status", "image", phase="Ready")
    with log.open("a") as file:
        print(_line("one", "Ready") + _line("one", "Ready") + _line("two", "Downloading"), end="", file=file)
        file.write(_line("three", "Ready")[:20])
        file.flush()
        assert ready.count() == 1
        file.write(_line("three", "Ready")[20:])
        file.flush()
    assert ready.count() == 2


def _line(name: str, phase: str) -> str:
    return json.dumps({"event": "image.status", "image": name, "phase": phase}) + "\n"
