"""`goldmaster trash`: what deleted images left, how to have it back, and how to let it go now."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from controller import errors, logs, wiring
from controller.adapters.clock import SystemClock
from controller.cli import exits, options, screen, yaml_writer
from controller.engine import trash as bin_
from controller.engine.engine import Engine
from controller.engine.trash import Discarded
from controller.gitops.state import State
from controller.model import image as model
from controller.model import quantity
from controller.model.fields import format_time
from controller.model.resource import Key, Kind
from controller.model.stored import Verb
from controller.plan import rollback, source
from controller.settings import Settings, StandaloneSettings

_HEADERS = ["IMAGE", "UUID", "STORAGE", "SIZE", "DELETED", "EXPUNGED IN"]
_command = {"epilog": exits.epilog()}


@click.group(short_help="List, recover or expunge what deleted images left.")
def trash() -> None:
    """List, recover or expunge what deleted images left.

    spec.deletionPolicy Delay keeps the bytes of a deleted image for spec.expungeAfter, Never until a person expunges
    them. Applying an Image of the same namespace and name again recovers it without a download.
    """


@trash.command("list", short_help="List what deleted images left.", **_command)
@options.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How to print."
)
@options.state
def list_(output: str, state_dir: Path) -> int:
    """List the deleted images whose bytes are kept, of all namespaces, and until when.

    SIZE is what is claimed: bytes that another image shares stay after they are expunged.
    """
    with _opened(state_dir) as (_, engine):
        found, code = _look(engine)
    now = wiring.clock().now()
    if output == "json":
        print(json.dumps([_record(entry) for entry in found], indent=2))
    elif found:
        screen.print_table(_HEADERS, [_row(entry, now) for entry in found])
    else:
        screen.warn("the trash is empty")
    return code


@trash.command(short_help="Print a manifest that recovers a deleted image.", **_command)
@click.argument("name")
@options.state
@options.namespace
def recover(name: str, state_dir: Path, namespace: str) -> int:
    """Print a manifest that takes the bytes of the deleted image called NAME over, without a download.

    Moves nothing: apply it, or better the manifest that was deleted (`git revert`), as the trash knows no
    description, platform or label. The checksum names the bytes that were served last.
    """
    with _opened(state_dir) as (state, engine):
        found, code = _look(engine)
        mine = [entry for entry in found if (entry.record.namespace, entry.record.name) == (namespace, name)]
        derived = source.derive_uuid(state.instance_id, Key(Kind.IMAGE, namespace, name))
    if not mine:
        raise _not_found(namespace, name)
    newest = max(mine, key=lambda entry: entry.record.deleted_at).record
    places = [entry for entry in mine if entry.record.image_uuid == newest.image_uuid]
    claim = rollback.serving(newest, [claim for entry in places for claim in entry.claims])
    if claim is None:
        raise errors.NotFound(f"{namespace}/{name}: no readable claim is left in the trash")
    holding = [entry for entry in places if any(held.content == claim.content for held in entry.claims)]
    print(
        yaml_writer.write(rollback.recovery(newest, claim, [entry.storage.name for entry in holding], derived)), end=""
    )
    if rollback.may_lack_query(claim):
        screen.warn("its url may have had a query, which is not shown: without it a rebuild from the source can fail")
    if others := {entry.record.image_uuid for entry in mine} - {newest.image_uuid}:
        screen.warn(f"this is the one deleted last; older ones of that name: {', '.join(sorted(others))}")
    screen.warn("nothing was moved: apply this, or the manifest that was deleted")
    return code


@trash.command(short_help="Let what deleted images left go now.", **_command)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@options.option("--all", "everything", is_flag=True, help="Expunge the whole trash, of all namespaces.")
@options.option("-y", "--yes", is_flag=True, help="Do not ask.")
@options.state
@options.namespace
def expunge(names: Sequence[str], everything: bool, yes: bool, state_dir: Path, namespace: str) -> int:
    """Let the bytes of deleted images go now. There is no way back.

    Works beside a running instance. An image that lives again is refused, and a Disabled storage keeps what it has.
    """
    if bool(names) == everything:
        raise click.UsageError("name the deleted images to expunge, or say --all")
    with _opened(state_dir) as (state, engine):
        found, code = _look(engine)
        chosen = [entry for entry in found if everything or _is_named(entry, namespace, names)]
        for name in names:
            if not any(_is_named(entry, namespace, [name]) for entry in chosen):
                raise _not_found(namespace, name)
        if not chosen:
            screen.warn("the trash is empty")
            return code
        _confirm(chosen, yes=yes)
        alive = bin_.living(state.images())
        codes = [code, *(_expunge(entry, alive) for entry in chosen)]
        _look_again(state, state_dir, {entry.record.whose for entry in chosen} - alive)
    return max(codes)


def _confirm(chosen: Sequence[Discarded], *, yes: bool) -> None:
    if yes:
        return
    screen.print_table(_HEADERS, [_row(entry, wiring.clock().now()) for entry in chosen], sys.stderr)
    if not screen.is_terminal(sys.stdin):
        raise click.UsageError("nobody is there to ask: say --yes if these are to go")
    click.confirm("Let these go for good?", abort=True, err=True)


def _expunge(entry: Discarded, alive: frozenset[tuple[str, str]]) -> int:
    record, name = entry.record, _name(entry)
    if record.whose in alive:
        screen.warn(f"{name}: an image of uuid {record.image_uuid} lives; nothing of it was expunged")
        return exits.NOT_READY
    if entry.storage.resource.spec.state is not model.State.ENABLED:
        screen.warn(f"{name}: {entry.storage.name} is Disabled; nothing on it was expunged")
        return exits.STORAGE
    try:
        bin_.expunge(entry.storage, record.image_uuid)
    except errors.StorageUnavailable as exc:
        screen.warn(f"{name}: {entry.storage.name}: {exc}")
        return exits.STORAGE
    screen.show(f"{name}: expunged from {entry.storage.name}, {quantity.format_bytes(entry.size_bytes)} claimed")
    return exits.OK


def _look_again(state: State, state_dir: Path, gone: set[tuple[str, str]]) -> None:
    """Ask for a look at an image that was applied again in this very moment: its bytes may be gone."""
    back = [image.meta.key for image in state.images() if bin_.living([image]) & gone]
    if back:
        with State.open(state_dir, SystemClock()) as writable:
            writable.ask_all(back, Verb.RECONCILE)


@contextmanager
def _opened(state_dir: Path) -> Iterator[tuple[State, Engine]]:
    logs.configure(quiet=True)
    with wiring.beside(Settings(), StandaloneSettings(state_dir)) as opened:
        yield opened


def _look(engine: Engine) -> tuple[list[Discarded], int]:
    """Return the trash of every storage that answers, and an exit code; say which one does not."""
    found: list[Discarded] = []
    code = exits.OK
    for storage in engine.storages.all():
        try:
            found += bin_.discarded(storage)
        except errors.StorageUnavailable as exc:
            screen.warn(f"{storage.name}: {exc}")
            code = exits.STORAGE
    return sorted(found, key=lambda entry: (entry.record.deleted_at, _name(entry), entry.storage.name)), code


def _row(entry: Discarded, now: datetime) -> list[str]:
    record = entry.record
    left = "never" if record.expunge_at is None else screen.age(now, record.expunge_at)
    return [
        _name(entry),
        record.image_uuid,
        entry.storage.name,
        quantity.format_bytes(entry.size_bytes),
        f"{screen.age(record.deleted_at, now)} ago",
        left,
    ]


def _record(entry: Discarded) -> dict[str, Any]:
    record = entry.record
    return {
        "namespace": record.namespace,
        "name": record.name,
        "uuid": record.image_uuid,
        "storage": entry.storage.name,
        "bytes": entry.size_bytes,
        "deletedAt": format_time(record.deleted_at),
        "expungeAt": None if record.expunge_at is None else format_time(record.expunge_at),
        "contents": sorted({claim.content.sha256.hex for claim in entry.claims}),
    }


def _is_named(entry: Discarded, namespace: str, names: Sequence[str]) -> bool:
    return entry.record.namespace == namespace and entry.record.name in names


def _name(entry: Discarded) -> str:
    return f"{entry.record.namespace}/{entry.record.name}"


def _not_found(namespace: str, name: str) -> errors.NotFound:
    return errors.NotFound(f"{namespace}/{name} is not in the trash")
