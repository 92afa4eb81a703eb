"""What could be freed on a full storage, and how to say so. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from controller.model import quantity

NAMED = 3
"""How many holders a message names: the largest; more is for `describe`."""


class Use(IntEnum):
    """For what bytes are kept; of several the first counts."""

    CURRENT = 0
    HISTORY = 1
    TRASH = 2


@dataclass(frozen=True, slots=True, order=True)
class Holder:
    """An image whose older revisions, or trash, alone want some bytes."""

    use: Use
    namespace: str
    name: str
    size_bytes: int

    @property
    def remedy(self) -> str:
        """What frees them."""
        if self.use is Use.TRASH:
            return f"goldmaster trash expunge {self.name} -n {self.namespace}"
        return f"spec.revisionHistoryLimit: 0 of {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Held:
    """What could be freed on one storage, the largest first."""

    storage_uuid: str
    storage: str
    holders: tuple[Holder, ...]
    quarantine_bytes: int = 0


def let_go(storage: str) -> str:
    """Say what frees the damaged bytes that a storage keeps for a person."""
    return f"goldmaster quarantine expunge --all --storage {storage}"


def advice(held: Iterable[Held], namespace: str) -> str:
    """Say what could be freed to an image of `namespace`; "" where nothing was measured.

    Of other namespaces only a sum is said: who may read this status may not be one who may know their images.
    """
    told = [f"{one.storage}: {_of_storage(one, namespace)}" for one in held]
    return f"; could be freed on {'; on '.join(told)}" if told else ""


def _of_storage(held: Held, namespace: str) -> str:
    holders = held.holders
    own = [one for one in holders if one.namespace == namespace]
    parts = [f"{quantity.format_bytes(one.size_bytes)} by {one.remedy}" for one in own[:NAMED]]
    if rest := sum(one.size_bytes for one in own[NAMED:]):
        parts.append(f"{quantity.format_bytes(rest)} of {len(own) - NAMED} more images")
    if others := sum(one.size_bytes for one in holders if one.namespace != namespace):
        parts.append(f"{quantity.format_bytes(others)} in other namespaces")
    if held.quarantine_bytes:
        parts.append(f"{quantity.format_bytes(held.quarantine_bytes)} by {let_go(held.storage)}")
    return ", ".join(parts) or "nothing, as all of it is served"
