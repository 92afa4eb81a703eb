"""The composition root of the verbs that look and ask: a state directory or a cluster, behind one Protocol.

Apart from `wiring`, which imports what an engine needs: these verbs answer within half a second.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from controller.adapters.clock import SystemClock
from controller.model.resource import BackupStorage, Image, Key, Kind
from controller.model.stored import Stored, Verb

if TYPE_CHECKING:
    from controller.kube.view import ClusterView


@dataclass(frozen=True, slots=True)
class Place:
    """Where objects are: a state directory, or, where that is None, the cluster that a kubeconfig names."""

    state_dir: Path | None
    kubeconfig: Path | None = None
    context: str | None = None


class View(Protocol):
    """Objects as a person sees them, and what a person may ask for."""

    @property
    def namespace(self) -> str:
        """The one that is meant where a person names none."""
        ...

    def stored(self, kind: Kind, namespace: str | None = None, name: str | None = None) -> list[Stored]:
        """Return objects as documents, by namespace and name; None means all. Raises ClusterUnavailable."""
        ...

    def images(self, namespace: str | None = None, name: str | None = None) -> list[Image]:
        """Return Images, by namespace and name; None means all. Raises ClusterUnavailable."""
        ...

    def storages(self) -> list[BackupStorage]:
        """Return all BackupStorages, by name. Raises ClusterUnavailable."""
        ...

    def elsewhere(self, kind: Kind) -> int:
        """Return how many there are in all namespaces; 0 where it is not known."""
        ...

    def derived_uuid(self, key: Key) -> str | None:
        """Return the uuid that an object without one of its own has by its name; None where the name says nothing."""
        ...

    def ask(self, keys: Sequence[Key], verb: Verb) -> list[str]:
        """Ask for each, or for none where one does not exist; return what was done, a line each.

        Raises:
            NotFound: one does not exist. ClusterUnavailable, ClusterDenied: those before it in `keys` were asked.

        """
        ...


@contextmanager
def view(place: Place, warn: Callable[[str], None]) -> Iterator[View]:
    """Open what a place holds. `warn` is told what a person should know of a result that is not wrong.

    Raises:
        NotFound: there is no state. Usage: there is no cluster, or its kubeconfig cannot be used.

    """
    if place.state_dir is not None:
        from controller.gitops.state import State
        from controller.gitops.view import StateView

        clock = SystemClock()
        with State.open_reading(place.state_dir, clock) as state:
            followed = state.followed()
            if followed is not None and followed.trouble:
                warn(followed.shown)
            yield StateView(state, place.state_dir, clock)
        return
    with cluster(place, warn) as found:
        yield found


@contextmanager
def cluster(place: Place, warn: Callable[[str], None]) -> Iterator["ClusterView"]:
    """Open a cluster: what a View has, and what only a server can be asked. Raises Usage."""
    from controller.kube import access
    from controller.kube.client import Client
    from controller.kube.view import ClusterView
    from controller.model.ownership import CLI_MANAGER

    clock = SystemClock()
    client = Client(access.find(place.kubeconfig, os.environ, place.context), clock, CLI_MANAGER)
    try:
        yield ClusterView(client, clock, warn)
    finally:
        client.close()
