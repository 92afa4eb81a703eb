"""What the bytes on each storage are for, asked of the storages now."""

from collections.abc import Mapping
from pathlib import Path

from controller import errors, logs, wiring
from controller.engine.usage import Usage, measure
from controller.settings import Settings, StandaloneSettings

Usages = Mapping[str, Usage | None]
"""By name of the storage; None: it could not be asked."""


def of_storages(state_dir: Path) -> Usages:
    """Ask every storage, beside a running instance."""
    logs.configure(quiet=True)
    found: dict[str, Usage | None] = {}
    with wiring.beside(Settings(), StandaloneSettings(state_dir)) as (state, engine):
        images = state.images()
        for storage in engine.storages.all():
            try:
                found[storage.name] = measure(storage, images)
            except errors.StorageUnavailable:
                found[storage.name] = None
    return found
