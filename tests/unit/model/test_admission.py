"""The verdict on a whole document, and what later stages add to the schema's."""

from typing import Any

import pytest

from controller.model.backup_storage import BackupStorageSpec
from controller.model.image import ImageSpec
from controller.model.resource import Key, Kind
from tests.unit.model.documents import ADMISSION, image, storage


def test_a_good_image_comes_back_complete_and_parsed() -> None:
    verdict = ADMISSION.review(image(checksum="md5:D41D8CD98F00B204E9800998ECF8427E"))
    assert verdict.problems == ()
    assert verdict.document["spec"]["state"] == "Enabled"
    assert verdict.manifest is not None
    assert verdict.manifest.key == Key(Kind.IMAGE, "default", "case")
    assert isinstance(verdict.manifest.spec, ImageSpec)


def test_a_storage_has_no_namespace() -> None:
    """An API server clears one that a tool has put there."""
    document = storage()
    document["metadata"]["namespace"] = "team-a"
    verdict = ADMISSION.review(document)
    assert verdict.manifest is not None
    assert verdict.manifest.key == Key(Kind.BACKUP_STORAGE, "", "case")
    assert isinstance(verdict.manifest.spec, BackupStorageSpec)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"kind": "Imag"}, "kind"),
        ({"kind": None}, "kind"),
        ({"kind": ["Image"]}, "kind"),
        ({"apiVersion": "goldmaster.dev/v1"}, "apiVersion"),
        ({"apiVersion": 1}, "apiVersion"),
        ({"metadata": None}, "metadata"),
        ({"metadata": {}}, "metadata.name"),
        ({"metadata": []}, "metadata"),
    ],
)
def test_an_odd_envelope_is_a_problem_not_a_crash(change: dict[str, Any], path: str) -> None:
    verdict = ADMISSION.review({**image(), **change})
    assert [problem.path for problem in verdict.problems] == [path]
    assert verdict.manifest is None


@pytest.mark.parametrize(
    ("document", "ours"),
    [
        (image(), True),
        ({"apiVersion": "goldmaster.dev/v9", "kind": "Thing"}, True),
        ({"apiVersion": "v1", "kind": "Secret"}, False),
        ({"apiVersion": "goldmaster.dev.evil/v1alpha1"}, False),
        ({"apiVersion": None}, False),
        ([], False),
        (None, False),
    ],
)
def test_only_documents_of_our_group_are_ours_to_judge(document: object, ours: bool) -> None:
    assert ADMISSION.concerns(document) is ours


def test_the_type_of_a_storage_never_changes() -> None:
    """Only one type is built, so no case of the table can show it."""
    old = ADMISSION.review(storage()).document
    old["spec"]["type"] = "SFTP"
    (problem,) = ADMISSION.review(storage(), old).problems
    assert str(problem) == "spec.type: type is never changed after creation"


def test_a_rule_is_not_asked_about_a_broken_schema() -> None:
    """As on an API server: one cause, one message."""
    (problem,) = ADMISSION.review(image(format="iso", retry={"initialBackoff": "soon"})).problems
    assert problem.path == "spec.retry.initialBackoff"


def test_annotations_and_label_values_have_the_sizes_of_an_api_server() -> None:
    document = image()
    document["metadata"] |= {"annotations": {"a": "ä" * 131_071, "b": ""}, "labels": {"a": "x" * 63}}
    assert ADMISSION.review(document).problems == ()
    document["metadata"]["annotations"]["b"] = "x"
    (problem,) = ADMISSION.review(document).problems
    assert str(problem) == "metadata.annotations: must have at most 262144 bytes in total, got 262145"
    document["metadata"] |= {"annotations": {}, "labels": {"a": "x" * 64}}
    (problem,) = ADMISSION.review(document).problems
    assert problem.steps == ("metadata", "labels", "a")
