"""A state directory's objects as the verbs of a person see them."""

from collections.abc import Sequence
from pathlib import Path

from controller.gitops import instance_lock
from controller.gitops.state import State
from controller.model.resource import BackupStorage, Image, Key, Kind
from controller.model.stored import Stored, Verb, not_found
from controller.plan import source
from controller.ports import Clock


class StateView:
    """Reads beside a running instance; leaves requests for it."""

    namespace = "default"

    def __init__(self, state: State, state_dir: Path, clock: Clock) -> None:
        self._state = state
        self._state_dir = state_dir
        self._clock = clock

    def stored(self, kind: Kind, namespace: str | None = None, name: str | None = None) -> list[Stored]:
        """Return objects as documents, by namespace and name; None means all."""
        return self._state.stored(kind, namespace, name)

    def images(self, namespace: str | None = None, name: str | None = None) -> list[Image]:
        """Return Images, by namespace and name; None means all."""
        return self._state.images(namespace, name)

    def storages(self) -> list[BackupStorage]:
        """Return all BackupStorages, by name."""
        return self._state.storages()

    def elsewhere(self, kind: Kind) -> int:
        """Return how many objects of a kind there are in all namespaces."""
        return len(self._state.keys(kind))

    def derived_uuid(self, key: Key) -> str:
        """Return the uuid that an object without one of its own has here, by its name."""
        return source.derive_uuid(self._state.instance_id, key)

    def ask(self, keys: Sequence[Key], verb: Verb) -> list[str]:
        """Leave a request for each, or for none if one does not exist; return what was done, a line each.

        Raises:
            NotFound: one does not exist.

        """
        known = {kind: set(self._state.keys(kind)) for kind in Kind}
        for key in keys:
            if key not in known[key.kind]:
                raise not_found(key.kind, key.name, key.namespace)
        # asking never makes a state, nor migrates one under an older instance that runs: this one is there to read
        with State.open(self._state_dir, self._clock) as state:
            state.ask_all(keys, verb)
        process = instance_lock.holder(self._state_dir)
        taker = f"the instance that runs (process {process}) takes it" if process else "the next apply or run takes it"
        return [f"{key.shown}: {verb.value} requested; {taker} up" for key in keys]
