"""The table of good and bad manifests and changes, judged without an API server."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.unit.model.documents import ADMISSION, ROOT, openapi
from tests.unit.model.test_crds import nodes

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


def used(value: object, path: str = "") -> Iterator[str]:
    """Yield the path of every field in a document, entries of lists as `[]`."""
    yield path
    if isinstance(value, dict):
        for name, child in value.items():
            yield from used(child, f"{path}.{name}".removeprefix("."))
    if isinstance(value, list):
        for child in value:
            yield from used(child, f"{path}[]")


@pytest.mark.parametrize("kind", ["Image", "BackupStorage"])
def test_every_field_of_a_spec_is_good_in_some_case_and_bad_in_another(kind: str) -> None:
    """A field that enters the CRD enters the table, which a real API server is run through too."""
    documents = [(case, case.get("manifest") or case["new"]) for case in CASES]
    ours = [(case, document) for case, document in documents if document.get("kind") == kind]
    good = {path for case, document in ours if case["valid"] for path in used(document)}
    bad = {re.sub(r"\[\d+\]", "[]", case["field"]) for case, _ in ours if not case["valid"]}
    fields = {".".join(path) for path, _ in nodes(openapi(kind)) if path[:1] == ("spec",)}
    assert fields <= good, f"in no good case: {fields - good}"
    unjudged = {field for field in fields if not any(field.startswith(one) or one.startswith(field) for one in bad)}
    assert not unjudged, f"in no bad case: {unjudged}"
