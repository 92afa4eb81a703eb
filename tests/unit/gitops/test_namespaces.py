"""Namespace manifests: their labels are taken, kept over a restart, and nothing else of them matters."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from controller.gitops import desired
from controller.gitops.loader import Loader
from controller.gitops.state import State
from controller.gitops.tree import Problem
from controller.model.selector import NAME_LABEL
from tests.fakes.clock import FakeClock
from tests.unit.gitops.manifests import ADMISSION, image_key, tree, wanted

GUARDS = desired.Guards()
CLOCK = FakeClock(datetime(2026, 1, 1, tzinfo=UTC))


def load(path: Path, *documents: object) -> tuple[list[tuple[str, Mapping[str, str]]], tuple[Problem, ...], bool]:
    (path / "n.yaml").write_text(yaml.safe_dump_all(documents))
    found = Loader(ADMISSION, CLOCK).load(path)
    return [(one.name, one.labels) for one in found.namespaces], found.problems, found.torn


def namespace(**metadata: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def test_name_and_labels_are_taken_and_the_rest_is_others(tmp_path: Path) -> None:
    full = namespace(name="a", labels={"tier": "gold"}, annotations={"x": "y"}) | {"spec": {"finalizers": ["k"]}}
    listed = {"apiVersion": "v1", "kind": "List", "items": [namespace(name="b")]}
    other = {"apiVersion": "example.org/v1", "kind": "Namespace", "metadata": {"name": "c"}}
    found, problems, torn = load(tmp_path, full, listed, other)
    assert (found, problems, torn) == ([("a", {"tier": "gold"}), ("b", {})], (), False)


@pytest.mark.parametrize(
    ("metadata", "path"),
    [
        ({}, "metadata.name"),
        ({"name": "A"}, "metadata.name"),
        ({"name": 5}, "metadata.name"),
        ({"name": "a", "labels": {"tier": 5}}, "metadata.labels"),
        ({"name": "a", "labels": {"-": "x"}}, "metadata.labels"),
        ({"name": "a", "labels": ["x"]}, "metadata.labels"),
    ],
)
def test_one_that_no_server_would_take_is_a_problem(tmp_path: Path, metadata: dict[str, object], path: str) -> None:
    found, problems, _ = load(tmp_path, namespace(**metadata))
    assert found == []
    assert [problem.path for problem in problems] == [path]


def test_a_file_of_others_that_is_torn_may_have_held_one(tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text("kind: Namespace\n{{ if }}: [\n")
    found = Loader(ADMISSION, CLOCK).load(tmp_path)
    assert (found.problems, found.torn) == ((), True)


def test_two_manifests_of_one_namespace_must_agree() -> None:
    same = [tree(root="/a", namespaces={"n": {"x": "1"}}), tree(root="/b", namespaces={"n": {"x": "1"}})]
    assert desired.decide({}, same, GUARDS, transition=lambda *_: (), exists=lambda _: False).problems == []
    other = [same[0], tree(root="/b", namespaces={"n": {"x": "2"}})]
    (problem,) = desired.decide({}, other, GUARDS, transition=lambda *_: (), exists=lambda _: False).problems
    assert str(problem) == (
        "/b/namespaces.yaml:1: metadata.labels: has other labels in /a/namespaces.yaml:1; "
        "keep one of the two (Namespace n)"
    )


def test_labels_outlive_a_restart_that_sees_other_trees(tmp_path: Path) -> None:
    with State.open(tmp_path, CLOCK) as state:
        state.apply([tree(wanted(), namespaces={"default": {"tier": "gold"}})], GUARDS)
        assert state.namespace_labels("default") == {"tier": "gold", NAME_LABEL: "default"}
    with State.open(tmp_path, CLOCK) as state:
        state.apply([tree(root="/other")], GUARDS)
        assert state.namespace_labels("default")["tier"] == "gold"
        assert state.namespace_labels("unwritten") == {NAME_LABEL: "unwritten"}


def test_a_change_of_labels_asks_for_a_look_at_the_images_there(tmp_path: Path) -> None:
    with State.open(tmp_path, CLOCK) as state:
        state.apply([tree(wanted())], GUARDS)
        assert state.apply([tree(wanted())], GUARDS).keys == ()
        changed = tree(wanted(), namespaces={"default": {"tier": "gold"}, "elsewhere": {}})
        assert state.apply([changed], GUARDS).keys == (image_key(),)
        assert state.apply([changed], GUARDS).keys == ()
        assert state.apply([tree(wanted())], GUARDS).keys == (image_key(),)
        assert state.namespace_labels("default") == {NAME_LABEL: "default"}


@pytest.mark.parametrize("trouble", ["problem", "unreadable", "torn"])
def test_nothing_is_forgotten_of_a_tree_with_anything_wrong(tmp_path: Path, trouble: str) -> None:
    """As with deletions: what is missing may be the very thing that is broken."""
    with State.open(tmp_path, CLOCK) as state:
        state.apply([tree(wanted(), namespaces={"a": {"x": "1"}, "b": {"x": "1"}})], GUARDS)
        problems = (Problem("/tree/a.yaml", 1, "", "broken"),) if trouble == "problem" else ()
        now = tree(
            wanted(),
            namespaces={"b": {"x": "2"}},
            problems=problems,
            unreadable=trouble == "unreadable",
            torn=trouble == "torn",
        )
        state.apply([now], GUARDS)
        assert state.namespace_labels("a")["x"] == "1"
        assert state.namespace_labels("b")["x"] == "2"
