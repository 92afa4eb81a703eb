"""What a change of the manifests means: the guards on deletion, roots, and what may not change."""

from collections.abc import Sequence
from typing import Any

import pytest

from controller.gitops.desired import Decision, Guards, Known, decide
from controller.gitops.tree import Problem, Tree, Wanted
from controller.model.resource import Key
from tests.unit.gitops.manifests import image_key, tree, wanted

CAREFUL = Guards()
PROBLEM = Problem("/tree/broken.yaml", 3, "spec.url", "required")


def known(manifest: Wanted, root: str = "/tree", *, deleting: bool = False) -> tuple[Key, Known]:
    texts = manifest.spec_json, manifest.labels_json, manifest.annotations_json
    return manifest.key, Known(root, manifest.file, manifest.line, deleting, *texts)


def run(
    before: Sequence[tuple[Key, Known]],
    *trees: Tree,
    guards: Guards = CAREFUL,
    files: Sequence[str] = (),
    forbidden: Sequence[tuple[str, str]] = (),
) -> Decision:
    return decide(
        dict(before), trees, guards, transition=lambda _key, _old, _new: forbidden, exists=lambda file: file in files
    )


def names(count: int) -> list[str]:
    return [f"image-{number}" for number in range(count)]


def test_an_unchanged_manifest_is_nothing_to_do() -> None:
    assert run([known(wanted())], tree(wanted())) == Decision()


def test_a_manifest_that_only_moved_within_its_root_touches_nothing_else() -> None:
    (upsert,) = run([known(wanted())], tree(wanted(file="/tree/moved.yaml", line=7))).upserts
    assert (upsert.touched, upsert.spec_changed, upsert.new) == (False, False, False)


@pytest.mark.parametrize(
    ("change", "spec_changed"),
    [({"url": "http://images.example/b"}, True), ({"labels": {"a": "b"}}, False), ({"annotations": {"a": "b"}}, False)],
)
def test_what_changed_is_told_apart(change: dict[str, Any], spec_changed: bool) -> None:
    (upsert,) = run([known(wanted())], tree(wanted(**change))).upserts
    assert (upsert.touched, upsert.spec_changed, upsert.new) == (True, spec_changed, False)


def test_a_manifest_that_is_gone_is_a_deletion() -> None:
    decision = run([known(wanted("a")), known(wanted("b"))], tree(wanted("a")))
    assert decision.deletions == [image_key("b")]
    assert decision.held_back == []


def test_nothing_is_deleted_while_a_manifest_is_wrong_not_even_if_confirmed() -> None:
    decision = run(
        [known(wanted("a")), known(wanted("b"))],
        tree(wanted("a"), problems=(PROBLEM,)),
        guards=Guards(confirmed=True),
    )
    assert decision.deletions == []
    assert [held.keys for held in decision.held_back] == [(image_key("b"),)]
    assert "while a manifest in /tree is wrong" in decision.held_back[0].why


def test_what_is_right_is_taken_though_another_manifest_is_wrong() -> None:
    assert len(run([], tree(wanted("a"), problems=(PROBLEM,))).upserts) == 1


def test_nothing_is_deleted_when_the_path_cannot_be_read() -> None:
    decision = run([known(wanted())], tree(unreadable=True, problems=(PROBLEM,)), guards=Guards(confirmed=True))
    assert decision.deletions == []
    assert "cannot be read" in decision.held_back[0].why


def test_a_tree_that_is_suddenly_empty_deletes_only_if_confirmed() -> None:
    held = run([known(wanted())], tree())
    assert held.deletions == []
    assert "--confirm-deletions" in held.held_back[0].why
    assert run([known(wanted())], tree(), guards=Guards(confirmed=True)).deletions == [image_key()]


def test_a_file_that_is_still_there_but_says_nothing_deletes_only_if_confirmed() -> None:
    before = [known(wanted("a")), known(wanted("b"))]
    now = tree(wanted("a"), silent=frozenset({"/tree/b.yaml"}))
    held = run(before, now)
    assert held.deletions == []
    assert "/tree/b.yaml is still there" in held.held_back[0].why
    assert run(before, now, guards=Guards(confirmed=True)).deletions == [image_key("b")]


@pytest.mark.parametrize(
    ("total", "gone", "percent", "held"),
    [(6, 5, 30, False), (7, 6, 30, True), (20, 6, 30, False), (20, 7, 30, True), (10, 6, 100, False), (10, 6, 0, True)],
)
def test_at_most_five_or_a_share_goes_at_once(total: int, gone: int, percent: int, held: bool) -> None:
    before = [known(wanted(name)) for name in names(total)]
    after = tree(*[wanted(name) for name in names(total)[gone:]])
    decision = run(before, after, guards=Guards(max_deletions_percent=percent))
    assert len(decision.deletions) == (0 if held else gone)
    assert bool(decision.held_back) is held
    assert len(run(before, after, guards=Guards(percent, confirmed=True)).deletions) == gone


def test_what_is_being_deleted_already_counts_for_nothing() -> None:
    before = [known(wanted(name), deleting=True) for name in names(20)] + [known(wanted("a")), known(wanted("b"))]
    decision = run(before, tree(wanted("a")))
    assert decision.deletions == [image_key("b")]


def test_objects_of_other_roots_stay() -> None:
    assert run([known(wanted("a"), root="/other")], tree(wanted("b"), root="/tree")).deletions == []


def test_an_object_that_moves_between_roots_given_together_is_not_deleted() -> None:
    decision = run([known(wanted("a"), root="/one")], tree(root="/one"), tree(wanted("a"), root="/two"))
    assert decision.deletions == []
    assert decision.problems == []
    assert [upsert.root for upsert in decision.upserts] == ["/two"]


def test_an_object_of_a_root_not_given_is_taken_over_once_its_file_is_gone() -> None:
    before = [known(wanted("a", file="/one/a.yaml"), root="/one")]
    now = tree(wanted("a", file="/two/a.yaml"), root="/two")
    (problem,) = run(before, now, files=["/one/a.yaml"]).problems
    assert "/one/a.yaml:1" in problem.message
    assert problem.file == "/two/a.yaml"
    decision = run(before, now)
    assert decision.problems == []
    assert [upsert.root for upsert in decision.upserts] == ["/two"]


def test_the_same_file_given_as_file_or_by_its_directory_is_the_same_manifest() -> None:
    before = [known(wanted("a"), root="/tree")]
    decision = run(before, tree(wanted("a"), root="/tree/a.yaml"), files=["/tree/a.yaml"])
    assert decision.problems == []


@pytest.mark.parametrize("roots", [("/tree", "/tree"), ("/one", "/two")])
def test_two_manifests_of_one_object_are_refused_and_both_are_named(roots: tuple[str, str]) -> None:
    first, second = wanted(file="/one/a.yaml"), wanted(file="/two/b.yaml", line=9, url="http://images.example/b")
    trees = [tree(first, second)] if roots[0] == roots[1] else [tree(first, root="/one"), tree(second, root="/two")]
    decision = run([known(wanted(file="/one/a.yaml"), root=roots[0])], *trees)
    (problem,) = decision.problems
    assert (problem.file, problem.line) == ("/two/b.yaml", 9)
    assert "/one/a.yaml:1" in problem.message
    assert decision.upserts == []
    assert decision.deletions == []


def test_a_change_that_is_not_allowed_keeps_the_object_as_it_was() -> None:
    decision = run(
        [known(wanted())], tree(wanted(url="http://images.example/b")), forbidden=[("spec.uuid", "never changed")]
    )
    assert [(problem.path, problem.message) for problem in decision.problems] == [("spec.uuid", "never changed")]
    assert decision.upserts == []
    assert decision.deletions == []


def test_what_is_wanted_again_is_recovered() -> None:
    (upsert,) = run([known(wanted(), deleting=True)], tree(wanted())).upserts
    assert upsert.recovered
    assert not upsert.spec_changed
