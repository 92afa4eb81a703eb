"""Where a storage may lie is the operator owner's to say."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from controller import errors, ports
from controller.adapters.backup.confined import ConfinedStorages
from controller.model.backup_storage import BackupStorageSpec
from controller.model.manifest import parse_storage_spec

INSIDE = object()


def factory(uuid: str, spec: BackupStorageSpec) -> ports.AuditedStorage:
    return cast(ports.AuditedStorage, INSIDE)


def at(path: str, *roots: str) -> object:
    spec = parse_storage_spec({"type": "ImageStore", "imageStore": {"path": "/x"}})
    spec = replace(spec, image_store=replace(spec.image_store, path=path))
    return ConfinedStorages(factory, [Path(root) for root in roots])("u", spec)


@pytest.mark.parametrize("path", ["/srv/images", "/srv/deep/er", "/mnt/nfs/a"])
def test_below_a_root_is_allowed(path: str) -> None:
    assert at(path, "/srv", "/mnt/nfs") is INSIDE


@pytest.mark.parametrize("path", ["/srv", "/srvx/images", "/etc", "/mnt/nfs"])
def test_elsewhere_and_the_root_itself_are_refused(path: str) -> None:
    denied = cast(ports.AuditedStorage, at(path, "/srv", "/mnt/nfs"))
    for call in (denied.probe, denied.claims, lambda: denied.refs("u"), lambda: denied.sweep((), None)):  # type: ignore[arg-type]
        with pytest.raises(errors.PolicyDenied, match="--storage-root"):
            call()


def test_without_a_root_nothing_is_allowed() -> None:
    denied = cast(ports.AuditedStorage, at("/srv/images"))
    with pytest.raises(errors.PolicyDenied, match="none is given"):
        denied.probe()
