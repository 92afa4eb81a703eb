"""`goldmaster trash`: what deleted images left, how to have it back, and how to let it go now."""

import json
import sys
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click

from controller import errors, logs, reading, wiring
from controller.cli import exits, options, screen, yaml_writer
from controller.engine import trash as bin_
from controller.engine.storages import Storages
from controller.engine.trash import Discarded
from controller.model import image as model
from controller.model import quantity
from controller.model.fields import format_time
from controller.model.resource import Key, Kind
from controller.model.stored import Verb
from controller.plan import rollback
from controller.reading import Place, View

_HEADERS = ["IMAGE", "UUID", "STORAGE", "SIZE", "DELETED", "EXPUNGED IN"]
_command = {"epilog": exits.epilog()}
_IN_THE_POD = "kubectl -n goldmaster-system exec deploy/goldmaster -- goldmaster trash list --kube"


@click.group(short_help="List, recover or expunge what deleted images left.")
def trash() -> None:
    """List, recover or expunge what deleted images left.

    spec.deletionPolicy Delay keeps the bytes of a deleted image for spec.expungeAfter, Never until a person expunges
    them. Applying an Image of the same namespace and name again recovers it without a download.

    The trash lies on the storages. With --kube they are read by this machine all the same: run it where they are
    mounted, as in the operator's Pod (kubectl exec). Elsewhere it says what it cannot reach, and ends with 6.
    """


@trash.command("list", short_help="List what deleted images left.", **_command)
@options.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How to print."
)
@options.place
def list_(output: str, place: reading.Place) -> int:
    """List the deleted images whose bytes are kept, of all namespaces, and until when.

    SIZE is what is claimed: bytes that another image shares stay after they are expunged.
    """
    with _opened(place) as (_, storages):
        found, code = _look(storages, place)
    now = wiring.clock().now()
    if output == "json":
        print(json.dumps([_record(entry) for entry in found], indent=2))
    elif found:
        screen.print_table(_HEADERS, [_row(entry, now) for entry in found])
    else:
        _say_empty(code)
    return code


@trash.command(short_help="Print a manifest that recovers a deleted image.", **_command)
@click.argument("name")
@options.place
@options.namespace_of_place
def recover(name: str, place: reading.Place, namespace: str | None) -> int:
    """Print a manifest that takes the bytes of the deleted image called NAME over, without a download.

    Moves nothing: apply it, or better the manifest that was deleted (`git revert`), as the trash knows no
    description, platform or label. The checksum names the bytes that were served last.
    """
    with _opened(place) as (view, storages):
        found, code = _look(storages, place)
        namespace = namespace or view.namespace
        mine = [entry for entry in found if _is_named(entry, namespace, [name])]
        derived = view.derived_uuid(Key(Kind.IMAGE, namespace, name))
    if not mine:
        raise _not_found(namespace, name, code)
    newest = max(mine, key=lambda entry: entry.record.deleted_at).record
    places = [entry for entry in mine if entry.record.image_uuid == newest.image_uuid]
    claim = rollback.serving(newest, [claim for entry in places for claim in entry.claims])
    if claim is None:
        raise errors.NotFound(f"{namespace}/{name}: no readable claim is left in the trash")
    holding = [entry for entry in places if any(held.content == claim.content for held in entry.claims)]
    print(
        yaml_writer.write(rollback.recovery(newest, claim, [entry.storage.name for entry in holding], derived)), end=""
    )
    if derived is None:
        screen.warn(f"its name brings uuid {newest.image_uuid} back; say spec.uuid only if the deleted manifest did")
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
@options.place
@options.namespace_of_place
def expunge(names: Sequence[str], everything: bool, yes: bool, place: reading.Place, namespace: str | None) -> int:
    """Let the bytes of deleted images go now. There is no way back.

    Works beside a running instance. An image that lives again is refused, and a Disabled storage keeps what it has.
    """
    if bool(names) == everything:
        raise click.UsageError("name the deleted images to expunge, or say --all")
    with _opened(place) as (view, storages):
        found, code = _look(storages, place)
        namespace = namespace or view.namespace
        chosen = [entry for entry in found if everything or _is_named(entry, namespace, names)]
        for name in names:
            if not any(_is_named(entry, namespace, [name]) for entry in chosen):
                raise _not_found(namespace, name, code)
        if not chosen:
            _say_empty(code)
            return code
        _confirm(chosen, yes=yes)
        alive = bin_.owners(view.stored(Kind.IMAGE)).keys()
        codes = [code, *(_expunge(entry, alive) for entry in chosen)]
        _look_again(view, {entry.record.whose for entry in chosen} - alive)
    return max(codes)


def _confirm(chosen: Sequence[Discarded], *, yes: bool) -> None:
    if yes:
        return
    screen.print_table(_HEADERS, [_row(entry, wiring.clock().now()) for entry in chosen], sys.stderr)
    if not screen.is_terminal(sys.stdin):
        raise click.UsageError("nobody is there to ask: say --yes if these are to go")
    click.confirm("Let these go for good?", abort=True, err=True)


def _expunge(entry: Discarded, alive: Set[tuple[str, str]]) -> int:
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


def _look_again(view: View, gone: Set[tuple[str, str]]) -> None:
    """Ask for a look at an image that was applied again in this very moment: its bytes may be gone."""
    back = [key for whose, key in bin_.owners(view.stored(Kind.IMAGE)).items() if whose in gone]
    if back:
        view.ask(back, Verb.RECONCILE)


@contextmanager
def _opened(place: Place) -> Iterator[tuple[View, Storages]]:
    logs.configure(quiet=True)
    with wiring.stores(place, screen.warn) as opened:
        yield opened


def _look(storages: Storages, place: Place) -> tuple[list[Discarded], int]:
    """Return the trash of every storage that answers, and an exit code; say which one does not."""
    found: list[Discarded] = []
    code = exits.OK
    for storage in storages.all():
        try:
            found += bin_.discarded(storage)
        except errors.StorageUnavailable as exc:
            screen.warn(f"{storage.name}: {exc}")
            code = exits.STORAGE
    if code and place.state_dir is None:
        screen.warn(f"run this where the storage is mounted: {_IN_THE_POD}")
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


def _say_empty(code: int) -> None:
    if code == exits.OK:  # else a storage was named that does not answer, and nobody knows
        screen.warn("the trash is empty")


def _not_found(namespace: str, name: str, code: int) -> errors.GoldmasterError:
    if code != exits.OK:
        return errors.StorageUnavailable(f"{namespace}/{name} is not in the trash of the storages that answer")
    return errors.NotFound(f"{namespace}/{name} is not in the trash")
