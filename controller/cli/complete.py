"""What the shell can complete: kinds, names and namespaces of the state or the cluster that the command line names."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from controller.model.resource import Kind
    from controller.model.stored import Stored

KINDS = ("images", "backupstorages")


def namespaces(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Complete a namespace."""
    from controller.model.resource import Kind

    found = {stored.key.namespace for stored in _stored(ctx, Kind.IMAGE)}
    return sorted(name for name in found if name.startswith(incomplete))


def images(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of an Image in the namespace given so far."""
    from controller.model.resource import Kind

    return _names(ctx, Kind.IMAGE, incomplete)


def storages(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a BackupStorage."""
    from controller.model.resource import Kind

    return _names(ctx, Kind.BACKUP_STORAGE, incomplete)


def objects(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of an object of the kind given before it."""
    from controller.cli.kinds import kind_of
    from controller.model.resource import Kind

    try:
        kind = kind_of(str(ctx.params.get("kind") or ""))
    except click.BadParameter:
        kind = Kind.IMAGE
    return _names(ctx, kind, incomplete)


def _names(ctx: click.Context, kind: "Kind", incomplete: str) -> list[str]:
    everywhere = ctx.params.get("all_namespaces") or kind is not type(kind).IMAGE
    found = _stored(ctx, kind, everywhere=everywhere)
    return sorted(stored.key.name for stored in found if stored.key.name.startswith(incomplete))


def _stored(ctx: click.Context, kind: "Kind", *, everywhere: bool = True) -> "list[Stored]":
    """Return what there is; nothing where nobody can be asked: a completion never complains."""
    from controller import errors, reading

    state_dir = ctx.params.get("state_dir") or os.environ.get("GOLDMASTER_STATE")
    if ctx.params.get("kube") or (os.environ.get("GOLDMASTER_KUBE") and not ctx.params.get("state_dir")):
        place = reading.Place(None, ctx.params.get("kubeconfig"), ctx.params.get("context"))
    elif state_dir:
        place = reading.Place(Path(state_dir))
    else:
        return []
    try:
        with reading.view(place, lambda _: None) as view:
            return view.stored(kind, None if everywhere else ctx.params.get("namespace") or view.namespace)
    except errors.GoldmasterError:
        return []
