"""An object for people: the whole document, wherever it lies, and what people ask to be done to it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from controller import errors
from controller.model.resource import Key, Kind


class Verb(StrEnum):
    """What a person can ask for."""

    RECONCILE = "reconcile"
    SUSPEND = "suspend"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Stored:
    """The full Kubernetes document, and what only the state of standalone mode knows of it."""

    key: Key
    document: dict[str, Any]
    """With `metadata`, `spec` and `status`, of which the last two may be empty."""
    root: str = ""
    source: str = ""
    """`file:line` of the manifest; empty in a cluster, which does not know."""
    suspend_override: bool | None = None
    requested_at: str | None = None
    keeper: str | None = None
    """The GitOps tool that syncs the object in a cluster."""


def not_found(kind: Kind, name: str, namespace: str | None) -> errors.NotFound:
    """Return the error of a name that is not there."""
    place = f" in namespace {namespace}" if namespace and kind is Kind.IMAGE else ""
    return errors.NotFound(f"{kind.plural} {name!r} not found{place}")
