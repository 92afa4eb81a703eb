"""Storages that may only lie below directories which the operator's owner named: who may make a BackupStorage in a
cluster may not thereby write anywhere on this machine.

The path is judged as it is written (the CRD refuses `..`). A symbolic link below a root is the doing of whoever owns
the root, and is followed.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, cast

from controller import errors, ports
from controller.model.backup_storage import BackupStorageSpec


class ConfinedStorages:
    """A StorageFactory (see ports) around another: what lies elsewhere gets an adapter that refuses everything."""

    def __init__(self, factory: ports.StorageFactory, roots: Sequence[Path]) -> None:
        self._factory = factory
        self._roots = tuple(roots)

    def __call__(self, uuid: str, spec: BackupStorageSpec) -> ports.AuditedStorage:
        """Return the adapter; no I/O."""
        path = Path(spec.image_store.path)
        if any(path != root and path.is_relative_to(root) for root in self._roots):
            return self._factory(uuid, spec)
        roots = ", ".join(map(str, self._roots)) or "none is given"
        denied = _Denied(f"{path} does not lie below a --storage-root ({roots})")
        return cast(ports.AuditedStorage, denied)


class _Denied:
    """Stands in for an AuditedStorage: whichever method is called, it raises PolicyDenied."""

    def __init__(self, why: str) -> None:
        self._why = why

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        def deny(*_: object, **__: object) -> NoReturn:
            raise errors.PolicyDenied(self._why)

        return deny
