"""Alert rules and dashboard are valid, fire when they should, and ask only for what is exported."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from controller.model.scrub import Scrub, ScrubState
from controller.reasons import Reason
from controller.serve.metrics import Metrics
from tests.unit.engine.engine_bench import STORE, Bench
from tests.unit.serve.test_metrics import Scrape

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "manifests" / "monitoring"
RULES = MONITORING / "rules.yaml"
_SELECTOR = re.compile(r"\b((?:goldmaster|process)_[a-z_]+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'([a-z_]+)(=~|!~|!=|=)"([^"]*)"')
ATTACHED = {"job", "instance", "namespace"}
"""Labels that Prometheus itself adds."""
GOOD = {Reason.SUCCEEDED, Reason.PROGRESSING, Reason.QUEUED, Reason.SUSPENDED}
"""Reasons that nobody need be woken for."""


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def exported() -> dict[str, Metric]:
    """All families of a controller that has done something, by the names of their samples."""
    bench = Bench()
    spec = {"type": "ImageStore", "imageStore": {"path": "/s1"}, "reservedCapacity": "0", "scrubInterval": "24h"}
    bench.resources.put(STORE, spec)
    bench.converge()
    storage = bench.resources.storage(STORE)
    assert storage is not None
    scrub = Scrub(ScrubState.FINISHED, bench.clock.now(), bench.clock.now())
    bench.resources.write_storage_status(storage, replace(storage.status, last_scrub=scrub))
    page = Metrics(Scrape(bench).read).render().decode()
    return {sample.name: family for family in text_string_to_metric_families(page) for sample in family.samples}


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard_expressions() -> Iterator[str]:
    for panel in json.loads((MONITORING / "dashboard.json").read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


@pytest.mark.needs_promtool
def test_the_rules_are_valid() -> None:
    promtool("check", "rules", str(RULES))


@pytest.mark.needs_promtool
def test_each_alert_fires_when_it_should_and_not_before() -> None:
    table = ROOT / "tests" / "data" / "monitoring" / "rules.test.yaml"
    promtool("test", "rules", str(table))
    tried = {
        (case["alertname"], bool(case["exp_alerts"]))
        for test in yaml.safe_load(table.read_text())["tests"]
        for case in test["alert_rule_test"]
    }
    assert tried == {(rule["alert"], fires) for rule in alerts() for fires in (True, False)}


@pytest.mark.needs_promtool
def test_every_question_of_the_dashboard_is_valid(tmp_path: Path) -> None:
    """Parsed as recording rules; Grafana fills its own variables in."""
    filled = [
        expression.replace("$__rate_interval", "5m").replace("$__range", "1h").replace("$job", ".+")
        for expression in dashboard_expressions()
    ]
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(filled)]
    file = tmp_path / "dashboard.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(file))


def test_the_prometheus_operator_gets_the_same_rules() -> None:
    text = (MONITORING / "prometheusrule.yaml").read_text()
    below = re.sub(r"(?m)^(?=.)", "  ", RULES.read_text())
    assert text.split("\nspec:\n")[1] == below
    assert yaml.safe_load(text)["spec"] == yaml.safe_load(RULES.read_text())


@pytest.mark.parametrize("expression", [rule["expr"] for rule in alerts()] + list(dashboard_expressions()))
def test_a_question_is_about_what_is_exported(exported: dict[str, Metric], expression: str) -> None:
    """A name or a label that nobody exports would make a rule that never fires, and a panel that stays empty."""
    found = _SELECTOR.findall(expression)
    assert found
    for name, selector in found:
        assert name in exported, name
        labels = {label for sample in exported[name].samples for label in sample.labels} | ATTACHED
        for label, _, value in _MATCHER.findall(selector):
            assert label in labels, (name, label)
            if label == "reason":
                assert set(value.split("|")) <= {reason.value for reason in Reason}, value
    for by in re.findall(r"\bby \(([^)]*)\)", expression):
        known = {label for name, _ in found for sample in exported[name].samples for label in sample.labels} | ATTACHED
        assert {label.strip() for label in by.split(",")} <= known, by


def test_every_reason_that_is_not_good_raises_one_alert() -> None:
    """A reason that is added later must be given to one of the alerts."""
    asked = [
        reason
        for rule in alerts()
        if rule["alert"].startswith("GoldmasterImages")
        for _, selector in _SELECTOR.findall(rule["expr"])
        for reason in _MATCHER.findall(selector)[0][2].split("|")
    ]
    assert len(asked) == len(set(asked))
    assert set(asked) == {reason.value for reason in Reason} - {reason.value for reason in GOOD}


def test_the_paper_lists_every_metric_and_every_alert(exported: dict[str, Metric]) -> None:
    text = (MONITORING / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(goldmaster_[a-z_]+)(\{[a-z,]*\})?`", text, re.MULTILINE))
    ours = {
        f"{family.name}_total" if family.type == "counter" else family.name: family
        for family in exported.values()
        if family.name.startswith("goldmaster_")
    }
    assert set(rows) == set(ours)
    for name, labels in rows.items():
        has = {label for sample in ours[name].samples for label in sample.labels} - {"le"}
        assert {label for label in labels.strip("{}").split(",") if label} == has, name
    assert re.findall(r"^\| `(Goldmaster[A-Za-z]+)`", text, re.MULTILINE) == [rule["alert"] for rule in alerts()]
