"""What a person reads about a wrong manifest: everything, where, what is allowed, and no secret."""

import copy
import subprocess
import sys
from typing import Any

import pytest

from controller.model.schema import Problem, Schema, path_text
from tests.unit.model.documents import ADMISSION, CRDS, SCHEMAS, image, storage


def messages(document: dict[str, Any]) -> dict[str, str]:
    return {problem.path: problem.message for problem in ADMISSION.review(document).problems}


def test_all_problems_are_reported_at_once_in_the_order_of_their_paths() -> None:
    document = image(format="qcow", system="no", retry={"limit": -1}, mirror=[])
    del document["spec"]["url"]
    document["metadata"] = {"name": "Case"}
    assert list(messages(document)) == [
        "metadata.name",
        "spec.format",
        "spec.mirror",
        "spec.retry.limit",
        "spec.system",
        "spec.url",
    ]


@pytest.mark.parametrize(
    ("spec", "path", "text"),
    [
        ({"urll": "x"}, "spec.urll", "unknown field (did you mean url?); known: url, mirrors, interval,"),
        ({"format": "qcow"}, "spec.format", "must be one of qcow2, raw, iso, vmdk; got 'qcow' (did you mean qcow2?)"),
        ({"format": 5}, "spec.format", "must be a string, got 5"),
        ({"system": "no"}, "spec.system", "must be true or false, got 'no'"),
        ({"retry": []}, "spec.retry", "must be a mapping, got []"),
        ({"backupStorages": "a"}, "spec.backupStorages", "must be a list, got 'a'"),
        ({"backupStorages": ["a", "b", "a"]}, "spec.backupStorages", "'a' stands there twice"),
        ({"backupStorages": ["x"] * 17}, "spec.backupStorages", "must have at most 16 entries, got 17"),
        ({"retry": {"limit": True}}, "spec.retry.limit", "must be a whole number, got true"),
        ({"retry": {"limit": 1001}}, "spec.retry.limit", "must be at most 1000, got 1001"),
        ({"retry": {"limit": -1}}, "spec.retry.limit", "must be at least 0, got -1"),
        ({"maxSize": True}, "spec.maxSize", "must be a whole number or a string, got true"),
        ({"displayName": ""}, "spec.displayName", "must have at least 1 characters, got 0"),
        ({"description": "x" * 2049}, "spec.description", "must have at most 2048 characters, got 2049"),
        ({"checksum": "sha256:" + "0" * 63 + "g"}, "spec.checksum", "written algorithm:hex with md5 (32 digits)"),
        (
            {"displayName": "\x1b[31m"},
            "spec.displayName",
            r"'\x1b[31m' is not allowed; expected: name in the inventory",
        ),
        ({"format": "iso"}, "spec.format", "format iso goes with mediaType ISO, and neither goes without the other"),
    ],
)
def test_a_message_says_what_is_wrong_and_what_is_allowed(spec: dict[str, Any], path: str, text: str) -> None:
    assert text in messages(image(**spec))[path]


def test_a_missing_field_is_named_and_explained() -> None:
    document = image()
    document["spec"] = {}
    assert messages(document)["spec.url"].startswith("required; expected: where the bytes come from: an absolute http,")


def test_envelope_problems_are_explained() -> None:
    document = image()
    document["metadata"] = {"name": "a_b", "labels": {"a/b/c": "x", "ok": "two words"}, "annotations": {"a": 1}}
    found = messages(document)
    assert "'a_b' is not allowed; expected: a DNS subdomain" in found["metadata.name"]
    assert "'a/b/c' is no key that is allowed; expected: an optional DNS prefix" in found['metadata.labels["a/b/c"]']
    assert "'two words' is not allowed; expected: up to 63 letters" in found["metadata.labels.ok"]
    assert found["metadata.annotations.a"] == "must be a string, got 1"


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@h.example/a",
        "https://user:a?hunter2@h.example/a",
        "https://h.example/a b?X-Amz-Signature=hunter2",
        "https://user:hunter2@h.example/a b?sig=hunter2@x",
    ],
)
def test_a_refused_url_is_shown_without_its_secrets(url: str) -> None:
    (problem,) = ADMISSION.review(image(url=url)).problems
    assert "hunter2" not in str(problem)
    assert "https://" in str(problem)
    assert "…" in str(problem)


def test_a_long_value_is_cut() -> None:
    assert len(messages(image(platform="x" * 100_000))["spec.platform"]) < 300


def test_reviewing_changes_nothing() -> None:
    """Neither the document nor the defaults of the schema are written to."""
    document = image(retry={"limit": 3}, checksum=None)
    before = copy.deepcopy(document)
    first = ADMISSION.review(document)
    first.document["spec"]["timeouts"]["connect"] = "9s"
    assert document == before
    assert ADMISSION.review(document).document["spec"]["timeouts"]["connect"] == "10s"


def test_defaults_fill_what_is_absent_or_null() -> None:
    spec = SCHEMAS["Image"].defaulted(image(state=None, checksum=None, retry={"maxBackoff": "1h"}))["spec"]
    assert spec["state"] == "Enabled"
    assert "checksum" not in spec
    assert spec["retry"] == {"initialBackoff": "5s", "maxBackoff": "1h"}


def test_a_schema_keyword_that_is_not_understood_is_an_error() -> None:
    """Nothing that a CRD demands goes silently unchecked."""
    crd = copy.deepcopy(CRDS["Image"])
    url = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["url"]
    url["not"] = {"enum": ["x"]}
    with pytest.raises(ValueError, match="not understood: not"):
        Schema(crd)


def test_paths_read_as_people_write_them() -> None:
    assert path_text(("spec", "backupStorages", 2)) == "spec.backupStorages[2]"
    assert path_text(("metadata", "labels", "example.com/team")) == 'metadata.labels["example.com/team"]'
    assert str(Problem.at((), "odd")) == "odd"


@pytest.mark.parametrize("document", [image(), storage()])
def test_valid_manifests_cost_no_import_of_jsonschema(document: dict[str, Any]) -> None:
    """jsonschema takes 0.1 s to import: only those who made a mistake wait for it."""
    code = (
        "import sys; from tests.unit.model.documents import ADMISSION;"
        f"assert not ADMISSION.review({document!r}).problems; assert 'jsonschema' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
