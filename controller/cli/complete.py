"""What the shell can complete: kinds, names and namespaces of the state that the command line names."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from controller.gitops.rows import Stored
    from controller.model.resource import Kind

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
    namespace = ctx.params.get("namespace") or "default"
    everywhere = ctx.params.get("all_namespaces") or kind is not type(kind).IMAGE
    return sorted(
        stored.key.name
        for stored in _stored(ctx, kind)
        if stored.key.name.startswith(incomplete) and (everywhere or stored.key.namespace == namespace)
    )


def _stored(ctx: click.Context, kind: "Kind") -> "list[Stored]":
    """Return what the state holds; nothing where there is none to read: a completion never complains."""
    from controller import errors
    from controller.adapters.clock import SystemClock
    from controller.gitops.state import State

    place = ctx.params.get("state_dir") or os.environ.get("GOLDMASTER_STATE")
    if not place:
        return []
    try:
        with State.open_reading(Path(place), SystemClock()) as state:
            return state.stored(kind)
    except errors.GoldmasterError:
        return []
