"""`goldmaster quarantine`: damaged copies that are out of service, what is known of them, and letting them go."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click

from controller import errors, logs, reading, wiring
from controller.cli import complete, exits, options, screen
from controller.engine.storages import OpenStorage
from controller.model import image as model
from controller.model import quantity
from controller.model.fields import format_time
from controller.model.quarantine import Quarantined

_HEADERS = ["STORAGE", "NAME", "SIZE", "SINCE", "WHY"]
_SHORTEST = 8
"""Characters of a name that are enough to mean it."""
_command = {"epilog": exits.epilog()}
_storage = options.option(
    "--storage", metavar="NAME", help="Only that BackupStorage.", shell_complete=complete.storages
)


@dataclass(frozen=True, slots=True)
class _Entry:
    storage: OpenStorage
    held: Quarantined


@click.group(short_help="List damaged copies that are out of service, or let them go.")
def quarantine() -> None:
    """List damaged copies that are out of service, or let them go.

    A copy that a scrub or `verify --quarantine` found damaged is not served any more and was rebuilt from elsewhere, if
    that was possible. Its bytes are kept, and take room, until a person has looked at them: nothing expires here.

    With --kube the storages are those of a cluster; run it where they are mounted, as in the operator's Pod.
    """


@quarantine.command("list", short_help="List damaged copies that are out of service.", **_command)
@_storage
@options.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How to print."
)
@options.place
def list_(storage: str | None, output: str, place: reading.Place) -> int:
    """List what lies in the quarantine of each storage, since when, and why.

    NAME is the sha256 that the bytes should have had, and a number; it is the name of the file in quarantine/.
    """
    with _looked(place, storage) as (found, code):
        if output == "json":
            print(json.dumps([_record(entry) for entry in found], indent=2))
        elif found:
            screen.print_table(_HEADERS, [_row(entry) for entry in found])
        else:
            screen.warn("nothing is in quarantine")
    return code


@quarantine.command(short_help="Let damaged copies go for good.", **_command)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@options.option("--all", "everything", is_flag=True, help="Let everything in quarantine go.")
@_storage
@options.option("-y", "--yes", is_flag=True, help="Do not ask.")
@options.place
def expunge(names: Sequence[str], everything: bool, storage: str | None, yes: bool, place: reading.Place) -> int:
    """Let damaged copies go for good, by NAME (the first 8 characters are enough) or all of them.

    Touches no copy that serves. Works beside a running instance. A Disabled storage keeps what it has.
    """
    if bool(names) == everything:
        raise click.UsageError("name what is to go, or say --all")
    with _looked(place, storage) as (found, code):
        chosen = [entry for entry in found if everything or any(_is_named(entry, name) for name in names)]
        for name in names:
            if not any(_is_named(entry, name) for entry in chosen):
                raise errors.NotFound(f"{name} is not in quarantine")
        if not chosen:
            screen.warn("nothing is in quarantine")
            return code
        _confirm(chosen, yes=yes)
        ended = max([code, *map(_let_go, chosen)])
    if place.state_dir is not None:
        wiring.note_copies(place.state_dir, ())
    return ended


@contextmanager
def _looked(place: reading.Place, only: str | None) -> Iterator[tuple[list[_Entry], int]]:
    """Yield what the storages that answer have, and an exit code; say which one does not. Raises NotFound."""
    logs.configure(quiet=True)
    found: list[_Entry] = []
    code = exits.OK
    with wiring.stores(place, screen.warn) as (_, storages):
        asked = [storage for storage in storages.all() if only in {None, storage.name}]
        if only is not None and not asked:
            raise errors.NotFound(f"there is no BackupStorage {only}")
        for storage in asked:
            try:
                found += [_Entry(storage, held) for held in storage.adapter.in_quarantine()]
            except errors.StorageUnavailable as exc:
                screen.warn(f"{storage.name}: {exc}")
                code = exits.STORAGE
        yield found, code


def _confirm(chosen: Sequence[_Entry], *, yes: bool) -> None:
    if yes:
        return
    screen.print_table(_HEADERS, [_row(entry) for entry in chosen], sys.stderr)
    if not screen.is_terminal(sys.stdin):
        raise click.UsageError("nobody is there to ask: say --yes if these are to go")
    click.confirm("Let these go for good?", abort=True, err=True)


def _let_go(entry: _Entry) -> int:
    storage, held = entry.storage, entry.held
    if storage.resource.spec.state is not model.State.ENABLED:
        screen.warn(f"{storage.name} is Disabled: {held.name} stays")
        return exits.STORAGE
    try:
        storage.adapter.let_go(held.name)
    except errors.StorageUnavailable as exc:
        screen.warn(f"{storage.name}: {exc}")
        return exits.STORAGE
    screen.show(f"{storage.name}: {held.name} is gone, {quantity.format_bytes(held.size_bytes)}")
    return exits.OK


def _is_named(entry: _Entry, name: str) -> bool:
    return len(name) >= _SHORTEST and entry.held.name.startswith(name)


def _row(entry: _Entry) -> list[str]:
    held = entry.held
    since = f"{screen.age(held.since, wiring.clock().now())} ago"
    return [entry.storage.name, held.name, quantity.format_bytes(held.size_bytes), since, held.why or "-"]


def _record(entry: _Entry) -> dict[str, Any]:
    held = entry.held
    return {
        "storage": entry.storage.name,
        "name": held.name,
        "sha256": held.sha256.hex,
        "bytes": held.size_bytes,
        "since": format_time(held.since),
        "why": held.why,
    }
