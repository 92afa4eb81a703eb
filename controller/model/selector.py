"""Label selectors, with exactly the meaning of metav1.LabelSelector (k8s.io/apimachinery/pkg/labels)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

NAME_LABEL = "kubernetes.io/metadata.name"
"""Label that an API server puts on every namespace, with its name as the value, whatever a manifest says."""


class SelectorOperator(StrEnum):
    """How a requirement compares. An absent label satisfies NotIn and DoesNotExist."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One entry of matchExpressions."""

    key: str
    operator: SelectorOperator
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether labels satisfy it."""
        match self.operator:
            case SelectorOperator.IN:
                return self.key in labels and labels[self.key] in self.values
            case SelectorOperator.NOT_IN:
                return self.key not in labels or labels[self.key] not in self.values
            case SelectorOperator.EXISTS:
                return self.key in labels
            case SelectorOperator.DOES_NOT_EXIST:
                return self.key not in labels
            case other:
                assert_never(other)


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All of it must hold; an empty one selects everything."""

    match_labels: tuple[tuple[str, str], ...] = ()
    match_expressions: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels are selected."""
        return all(labels.get(key) == value for key, value in self.match_labels) and all(
            requirement.holds(labels) for requirement in self.match_expressions
        )


def namespace_labels(name: str, written: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that a namespace has on an API server: those written, and its name."""
    return {**written, NAME_LABEL: name}
