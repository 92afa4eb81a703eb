"""Label selectors mean here what they mean in Kubernetes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.model.selector import NAME_LABEL, LabelSelector, Requirement, SelectorOperator, namespace_labels

IN, NOT_IN = SelectorOperator.IN, SelectorOperator.NOT_IN
EXISTS, DOES_NOT_EXIST = SelectorOperator.EXISTS, SelectorOperator.DOES_NOT_EXIST
LABELS = {"x": "a", "y": "", "z": "b"}


@pytest.mark.parametrize(
    ("requirement", "holds"),
    [
        (Requirement("x", IN, ("a", "c")), True),
        (Requirement("x", IN, ("b",)), False),
        (Requirement("x", IN, ("A",)), False),
        (Requirement("y", IN, ("",)), True),
        (Requirement("absent", IN, ("",)), False),
        (Requirement("x", NOT_IN, ("a",)), False),
        (Requirement("x", NOT_IN, ("b", "c")), True),
        (Requirement("absent", NOT_IN, ("a",)), True),
        (Requirement("absent", NOT_IN, ("",)), True),
        (Requirement("y", NOT_IN, ("",)), False),
        (Requirement("y", EXISTS), True),
        (Requirement("absent", EXISTS), False),
        (Requirement("y", DOES_NOT_EXIST), False),
        (Requirement("absent", DOES_NOT_EXIST), True),
    ],
)
def test_each_operator_is_that_of_apimachinery(requirement: Requirement, holds: bool) -> None:
    """Requirement.Matches of k8s.io/apimachinery/pkg/labels; tests/apiserver asks a real server the same."""
    assert requirement.holds(LABELS) is holds


def test_an_empty_selector_selects_everything() -> None:
    assert LabelSelector().matches({})
    assert LabelSelector().matches(LABELS)


def test_a_label_that_must_be_empty_must_be_there() -> None:
    assert LabelSelector((("y", ""),)).matches(LABELS)
    assert not LabelSelector((("absent", ""),)).matches(LABELS)


def test_a_namespace_has_the_label_of_its_name_whatever_is_written() -> None:
    assert namespace_labels("team-a", {NAME_LABEL: "kube-system", "a": "b"}) == {NAME_LABEL: "team-a", "a": "b"}


KEYS, VALUES = st.sampled_from("xyz"), st.sampled_from(["a", "b", ""])
requirements = st.builds(
    Requirement, KEYS, st.sampled_from(SelectorOperator), st.lists(VALUES, min_size=1, max_size=3).map(tuple)
)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=2).map(tuple), st.lists(requirements, max_size=3), st.data())
def test_all_of_it_must_hold(
    match: tuple[tuple[str, str], ...], wanted: list[Requirement], data: st.DataObject
) -> None:
    labels = data.draw(st.dictionaries(KEYS, VALUES))
    parts = [Requirement(key, IN, (value,)) for key, value in match] + wanted
    assert LabelSelector(match, tuple(wanted)).matches(labels) is all(part.holds(labels) for part in parts)
