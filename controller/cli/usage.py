"""What the bytes on each storage are for, asked of the storages now."""

from collections.abc import Mapping

from controller import errors, logs, reading, wiring
from controller.engine.usage import Usage, measure
from controller.settings import Settings, StandaloneSettings

Usages = Mapping[str, Usage | None]
"""By name of the storage; None: it could not be asked."""


def of_storages(place: reading.Place) -> Usages | None:
    """Ask every storage, beside a running instance; None for a cluster, whose storages are seldom mounted here."""
    if place.state_dir is None:
        return None
    logs.configure(quiet=True)
    found: dict[str, Usage | None] = {}
    with wiring.beside(Settings(), StandaloneSettings(place.state_dir)) as (state, engine):
        images = state.images()
        for storage in engine.storages.all():
            try:
                found[storage.name] = measure(storage, images)
            except errors.StorageUnavailable:
                found[storage.name] = None
    return found
