"""`goldmaster doctor`: what does not agree between state, storages and files."""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import click

from controller import errors, logs, wiring
from controller.cli import exits, options, screen
from controller.engine.doctor import Diagnosis, diagnose
from controller.engine.storages import OpenStorage
from controller.gitops import instance_lock
from controller.model import quantity
from controller.plan import room
from controller.settings import Settings, StandaloneSettings


@click.command(short_help="Find, explain and mend what does not agree.")
@options.option("--repair", is_flag=True, help="Mend what can be mended. Never removes bytes that an image claims.")
@options.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)
@options.state
def doctor(repair: bool, output: str, state_dir: Path) -> int:
    """Compare the state, what the storages claim, and the files on them; explain each difference.

    Reads names and sizes, not bytes (`verify` does that). Works beside a running instance, whose transfers are left
    alone. Exit code 0 if nothing is wrong, or all of it was mended.
    """
    logs.configure(quiet=True)
    process = instance_lock.holder(state_dir)
    with wiring.beside(Settings(), StandaloneSettings(state_dir)) as (state, engine):
        found = list(diagnose(state, engine.storages, repair=repair, running=process is not None))
        storages = engine.storages.all()
        kept = list(_kept(storages))
    if output == "json":
        print(json.dumps([_record(diagnosis) for diagnosis in found], indent=2))
    else:
        who = f"process {process} reconciles it" if process else "no instance reconciles it now"
        screen.warn(f"state {state_dir}: readable, {who}; {len(storages)} storage{'s' * (len(storages) != 1)}")
        for diagnosis in found:
            _tell(diagnosis)
        for line in kept:
            screen.warn(line)
        left = sum(not diagnosis.mended for diagnosis in found)
        screen.warn(f"{len(found)} found, {len(found) - left} mended" if found else "nothing is wrong")
    return exits.OK if all(diagnosis.mended for diagnosis in found) else exits.STORAGE


def _kept(storages: Iterable[OpenStorage]) -> Iterator[str]:
    """Say what takes room although nothing is wrong any more: damaged bytes that wait for a person."""
    for storage in storages:
        with suppress(errors.StorageUnavailable):  # it was told of
            held = storage.adapter.quarantine_use()
            if held.copies:
                count = f"{held.copies} damaged cop{'ies' if held.copies > 1 else 'y'}"
                size, remedy = quantity.format_bytes(held.bytes), room.let_go(storage.name)
                yield f"{storage.name}: {count} ({size}) is kept in quarantine until {remedy}"


def _tell(diagnosis: Diagnosis) -> None:
    finding = diagnosis.finding
    screen.show(f"{diagnosis.storage}: {finding.code} {finding.path}".rstrip())
    screen.show(f"  {finding.explanation}")
    if finding.repair:
        screen.show(f"  {'mended' if diagnosis.mended else '--repair would'}: {finding.repair}")


def _record(diagnosis: Diagnosis) -> dict[str, object]:
    finding = diagnosis.finding
    return {
        "storage": diagnosis.storage,
        "code": finding.code,
        "path": finding.path,
        "explanation": finding.explanation,
        "repair": finding.repair,
        "mended": diagnosis.mended,
    }
