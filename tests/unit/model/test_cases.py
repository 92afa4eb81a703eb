"""The table of good and bad manifests and changes, judged without an API server."""

from typing import Any

import pytest
import yaml

from tests.unit.model.documents import ADMISSION, ROOT

TABLE = yaml.safe_load((ROOT / "tests/data/manifests/cases.yaml").read_text())
CASES: list[dict[str, Any]] = TABLE["cases"]
BOTH_MODES = [case for case in CASES if not case.get("standaloneOnly")]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_verdict_and_the_field_are_those_of_the_table(case: dict[str, Any]) -> None:
    if "old" in case:
        before = ADMISSION.review(case["old"])
        assert not before.problems
        verdict = ADMISSION.review(case["new"], before.document)
    else:
        verdict = ADMISSION.review(case["manifest"])
    paths = [problem.path for problem in verdict.problems]
    assert not paths if case["valid"] else paths
    assert all(case["field"] in path for path in paths)
    assert (verdict.manifest is None) is bool(paths)


def test_the_table_is_well_formed() -> None:
    """At least 60 cases, each with a name of its own; a bad one names its field, a standalone one its reason."""
    assert len(CASES) >= 60
    assert len({case["name"] for case in CASES}) == len(CASES)
    for case in CASES:
        assert ("manifest" in case) is not ("old" in case and "new" in case), case["name"]
        assert ("field" in case) is not case["valid"], case["name"]
        assert case.keys() <= {"name", "valid", "field", "manifest", "old", "new", "standaloneOnly", "why"}
        assert ("why" in case) is ("standaloneOnly" in case), case["name"]


def test_hardly_a_case_is_for_one_mode_only() -> None:
    """A manifest that passes here passes a cluster: the exceptions can be counted on one hand."""
    assert len(CASES) - len(BOTH_MODES) <= 5
