"""What is known of a cluster's namespaces, from lists and events in any order."""

from typing import Any

import pytest

from controller import errors
from controller.kube.client import Client
from controller.kube.namespaces import TRIES, Namespaces
from tests.unit.kube.api import Api


def space(name: str, version: int, uid: str = "u1", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": uid, "resourceVersion": str(version), "labels": labels}}


def page(*items: object, version: int = 10, token: str = "") -> dict[str, object]:
    return {"items": list(items), "metadata": {"resourceVersion": str(version), "continue": token}}


def tier(namespaces: Namespaces, name: str) -> str | None:
    labels = namespaces.labels(name)
    return None if labels is None else labels.get("tier", "")


def test_a_list_of_several_pages_is_known_and_asked_for_without_contents(api: Api, client: Client) -> None:
    namespaces = Namespaces()
    api.answer(200, page(space("a", 1, tier="gold"), token="more"))
    api.answer(200, page(space("b", 2)))
    assert namespaces.resync(client) == {"a", "b"}
    assert (tier(namespaces, "a"), tier(namespaces, "b"), tier(namespaces, "c")) == ("gold", "", None)
    assert namespaces.labels("b") == {"kubernetes.io/metadata.name": "b"}
    assert all("PartialObjectMetadataList" in accepted for accepted in api.accepted)


def test_only_a_change_of_labels_is_news() -> None:
    namespaces = Namespaces()
    assert namespaces.learn("ADDED", space("a", 1, tier="gold")) == {"a"}
    assert namespaces.learn(None, space("a", 1, tier="gold")) == frozenset()
    assert namespaces.learn("MODIFIED", space("a", 3, tier="gold")) == frozenset()
    assert namespaces.learn("MODIFIED", space("a", 2, tier="tin")) == frozenset(), "late"
    assert namespaces.learn("MODIFIED", space("a", 4, tier="tin")) == {"a"}
    assert tier(namespaces, "a") == "tin"


def test_a_namespace_that_is_gone_is_not_known_and_its_successor_is() -> None:
    namespaces = Namespaces()
    namespaces.learn("ADDED", space("a", 1, tier="gold"))
    namespaces.learn("DELETED", space("a", 5, tier="gold"))
    assert tier(namespaces, "a") is None
    assert namespaces.learn("ADDED", space("a", 7, uid="u2")) == {"a"}
    namespaces.learn("DELETED", space("a", 8, uid="u1"))
    assert tier(namespaces, "a") == ""


def test_a_list_heals_what_the_watch_lost_and_takes_nothing_newer_back(api: Api, client: Client) -> None:
    namespaces = Namespaces()
    namespaces.learn("ADDED", space("ghost", 1))
    namespaces.learn("ADDED", space("missed", 2, tier="tin"))
    api.answer(200, page(space("missed", 5, tier="gold"), space("newer", 6), version=8))
    assert namespaces.resync(client) == {"ghost", "missed", "newer"}
    assert (tier(namespaces, "ghost"), tier(namespaces, "missed")) == (None, "gold")
    namespaces.learn("MODIFIED", space("missed", 9, tier="lead"))
    namespaces.learn("ADDED", space("late", 10))
    api.answer(200, page(space("missed", 5, tier="gold"), space("newer", 6), version=12))
    namespaces.resync(client)
    assert tier(namespaces, "missed") == "gold", "the list is of a later time than the event: it went back by itself"


def test_a_server_that_was_restored_from_a_backup_is_believed(api: Api, client: Client) -> None:
    namespaces = Namespaces()
    namespaces.learn("ADDED", space("a", 900, tier="gold"))
    api.answer(200, page(space("a", 3, tier="tin"), version=8))
    assert namespaces.resync(client) == {"a"}
    assert tier(namespaces, "a") == "tin"


def test_who_may_not_list_them_knows_none(api: Api, client: Client) -> None:
    namespaces = Namespaces()
    namespaces.learn("ADDED", space("a", 1, tier="gold"))
    api.answer(403, {"message": "namespaces is forbidden"})
    assert namespaces.resync(client) == {"a"}
    assert (namespaces.readable, tier(namespaces, "a")) == (False, None)
    api.answer(200, page(space("a", 1, tier="gold")))
    assert namespaces.resync(client) == {"a"}
    assert namespaces.readable


def test_a_server_that_does_not_answer_takes_nothing_away(api: Api, client: Client) -> None:
    namespaces = Namespaces()
    namespaces.learn("ADDED", space("a", 1, tier="gold"))
    api.answer(503)
    with pytest.raises(errors.ClusterUnavailable):
        namespaces.resync(client)
    assert tier(namespaces, "a") == "gold"


def test_a_list_that_expires_between_pages_begins_anew(api: Api, client: Client) -> None:
    namespaces = Namespaces()
    api.answer(200, page(space("a", 1), token="more"))
    api.answer(410, {"message": "expired"})
    api.answer(200, page(space("b", 2)))
    assert namespaces.resync(client) == {"b"}


def test_a_list_that_never_comes_to_its_end_is_given_up_for_now(api: Api, client: Client) -> None:
    namespaces = Namespaces()
    namespaces.learn("ADDED", space("a", 1, tier="gold"))
    for _ in range(TRIES):
        api.answer(200, page(space("b", 2), token="more"))
        api.answer(410, {"message": "expired"})
    with pytest.raises(errors.ClusterUnavailable, match="a list of namespaces expires before it is read"):
        namespaces.resync(client)
    assert (tier(namespaces, "a"), tier(namespaces, "b")) == ("gold", None)
