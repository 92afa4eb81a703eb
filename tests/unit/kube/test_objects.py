"""Documents of an API server become objects of the engine, whatever is in them."""

import pytest

from controller.kube import objects
from controller.model.image import ImageStatus, Phase
from controller.model.resource import Key, Kind
from tests.unit.kube import documents


def test_an_image_is_read() -> None:
    found = objects.parse(
        Kind.IMAGE, documents.image(version=42, annotations={"goldmaster.dev/requestedAt": "t"}, labels={"a": "b"})
    )
    meta = found.resource.meta
    assert (meta.key, meta.version, found.version) == (Key(Kind.IMAGE, "default", "debian"), "42", 42)
    assert (meta.requested_at, meta.labels["a"], meta.deleting, meta.finalized) == ("t", "b", False, False)
    assert found.unreadable == ""


def test_deletion_and_our_finalizer_are_seen_among_others() -> None:
    found = objects.parse(
        Kind.IMAGE,
        documents.image(finalizers=["other", "goldmaster.dev/image"], deletionTimestamp="2026-01-01T00:00:00Z"),
    )
    assert found.resource.meta.deleting
    assert found.resource.meta.finalized
    assert found.finalizers == ("other", "goldmaster.dev/image")


def test_a_storage_has_no_namespace_and_its_own_finalizer() -> None:
    found = objects.parse(Kind.BACKUP_STORAGE, documents.storage(finalizers=["goldmaster.dev/backupstorage"]))
    assert found.key == Key(Kind.BACKUP_STORAGE, "", "main")
    assert found.resource.meta.finalized


@pytest.mark.parametrize("spec", [{"url": "gopher://a"}, {"url": 5}, {"url": "https://h/a", "invented": 1}, "text"])
def test_a_spec_that_cannot_be_read_says_why(spec: object) -> None:
    document = documents.image() | {"spec": spec}
    found = objects.parse(Kind.IMAGE, document)
    assert "spec" in found.unreadable
    assert found.key.name == "debian"


def test_an_unreadable_image_keeps_what_its_deletion_needs() -> None:
    uuid = "0" * 12 + "4" + "0" * 3 + "8" + "0" * 15
    document = documents.image(spec={"url": "x:", "uuid": uuid}) | {"status": {"phase": "Ready", "uuid": uuid}}
    found = objects.parse(Kind.IMAGE, document)
    assert found.resource.status.uuid == uuid
    assert isinstance(found.resource.status, ImageStatus)
    assert found.resource.status.phase is Phase.READY


def test_a_status_of_another_version_counts_as_none_but_for_the_uuid() -> None:
    found = objects.parse(Kind.IMAGE, documents.image() | {"status": {"phase": "Transmogrified", "uuid": "u"}})
    assert found.resource.status == ImageStatus(uuid="u")
    assert found.unreadable == ""


def test_a_status_write_is_bound_to_what_was_seen() -> None:
    found = objects.parse(Kind.IMAGE, documents.image(version=7))
    body = objects.status_document(found.resource, ImageStatus(uuid="u"))
    assert body["metadata"] == {
        "name": "debian", "namespace": "default", "uid": "uid-of-debian", "resourceVersion": "7",
    }  # fmt: skip
    assert "spec" not in body
    assert body["status"]["uuid"] == "u"


def test_paths_follow_the_scope() -> None:
    assert objects.path(Key(Kind.IMAGE, "prod", "a")) == "/apis/goldmaster.dev/v1alpha1/namespaces/prod/images/a"
    assert objects.path(Key(Kind.BACKUP_STORAGE, "", "a")) == "/apis/goldmaster.dev/v1alpha1/backupstorages/a"
    assert objects.collection(Kind.IMAGE) == "/apis/goldmaster.dev/v1alpha1/images"
