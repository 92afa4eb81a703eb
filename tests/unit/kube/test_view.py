"""What a view of a cluster does where a real server does not on demand: pages, other versions, objects that go."""

from collections.abc import Iterator
from typing import Any

import pytest

from controller import errors
from controller.kube.client import Client
from controller.kube.view import ClusterView
from controller.model.resource import Key, Kind
from controller.model.stored import Verb
from tests.fakes.clock import FakeClock
from tests.unit.kube.api import Api

KINDS = {"resources": [{"name": "images"}, {"name": "backupstorages"}]}
SPEC = {"url": "https://images.example/a.qcow2"}


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def view(api: Api, told: list[str]) -> Iterator[ClusterView]:
    client = Client(api.access(), FakeClock(), "goldmaster-cli")
    yield ClusterView(client, FakeClock(), told.append)
    client.close()


def image(name: str, spec: dict[str, Any] | None = None) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "n", "uid": "u", "resourceVersion": "1", "generation": 1}
    metadata["creationTimestamp"] = "2026-01-02T03:04:05Z"
    return {"metadata": metadata, "spec": SPEC if spec is None else spec}


def page(*names: str, more: str = "") -> dict[str, Any]:
    metadata = {"resourceVersion": "9", **({"continue": more} if more else {})}
    return {"apiVersion": "goldmaster.dev/v1alpha1", "metadata": metadata, "items": [image(name) for name in names]}


def test_all_pages_are_read(api: Api, view: ClusterView) -> None:
    api.answer(200, page("b", more="token/1"))
    api.answer(200, page("a"))
    found = view.stored(Kind.IMAGE)
    assert [(stored.key.name, stored.document["kind"], stored.document["status"]) for stored in found] == [
        ("a", "Image", {}),
        ("b", "Image", {}),
    ]
    assert [path.partition("?")[2] for _, path, _, _ in api.asked] == ["limit=500", "limit=500&continue=token%2F1"]


def test_a_list_that_expires_is_begun_anew_and_never_short(api: Api, view: ClusterView) -> None:
    api.answer(200, page("a", more="x"))
    api.answer(410)
    api.answer(200, KINDS)
    api.answer(200, page("a"))
    assert [stored.key.name for stored in view.stored(Kind.IMAGE)] == ["a"]
    for _ in range(3):
        api.answer(410)
        api.answer(200, KINDS)
    with pytest.raises(errors.ClusterUnavailable, match="expires"):
        view.stored(Kind.IMAGE)


def test_what_this_version_cannot_read_is_named_and_left_out(api: Api, view: ClusterView, told: list[str]) -> None:
    api.answer(200, {**page("a"), "items": [image("a"), image("new", {"url": "https://x/", "new": 1})]})
    assert [found.meta.key.name for found in view.images()] == ["a"]
    assert len(told) == 1
    assert "Image/n/new is left out" in told[0]
    assert "new: unknown field" in told[0]


def test_an_object_that_goes_between_look_and_write_is_not_found(api: Api, view: ClusterView) -> None:
    api.answer(200, image("a"))
    api.answer(404, {"message": "gone"})
    with pytest.raises(errors.NotFound, match="went meanwhile"):
        view.ask([Key(Kind.IMAGE, "n", "a")], Verb.RECONCILE)


def test_a_patch_is_one_field_under_a_name_of_its_own(api: Api, view: ClusterView) -> None:
    for verb in (Verb.SUSPEND, Verb.RESUME):
        api.answer(200, image("a", SPEC | {"suspend": verb is Verb.RESUME}))
        api.answer(200)
        view.ask([Key(Kind.IMAGE, "n", "a")], verb)
    writes = [(path, body) for method, path, _, body in api.asked if method == "PATCH"]
    path = "/apis/goldmaster.dev/v1alpha1/namespaces/n/images/a?fieldManager=goldmaster-cli"
    assert writes == [(path, {"spec": {"suspend": True}}), (path, {"spec": {"suspend": None}})]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"kind": {}},
        {"kind": "Image"},
        {"kind": "Image", "metadata": []},
        {"kind": "Disk", "metadata": {"name": "a"}},
    ],
)
def test_what_is_no_object_of_ours_has_no_key(view: ClusterView, document: dict[str, Any]) -> None:
    assert view.key_of(document) is None


def test_a_manifest_without_a_namespace_means_that_of_the_context_or_the_flag(view: ClusterView) -> None:
    document = {"kind": "Image", "metadata": {"name": "a"}}
    assert view.key_of(document) == Key(Kind.IMAGE, "default", "a")
    assert view.key_of(document, "b") == Key(Kind.IMAGE, "b", "a")
    assert view.key_of({"kind": "BackupStorage", "metadata": {"name": "a"}}, "b") == Key(Kind.BACKUP_STORAGE, "", "a")
    assert view.key_of({"kind": "Image", "metadata": {"name": "a", "namespace": "c"}}, "b") == Key(Kind.IMAGE, "c", "a")


def test_names_of_a_person_are_quoted(api: Api, view: ClusterView) -> None:
    api.answer(404)
    api.answer(200, KINDS)
    assert view.stored(Kind.IMAGE, "n", "a/status?x=1") == []
    assert api.asked[0][1] == "/apis/goldmaster.dev/v1alpha1/namespaces/n/images/a%2Fstatus%3Fx%3D1"
