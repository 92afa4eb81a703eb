"""`goldmaster get`: objects as tables, or in full."""

from pathlib import Path
from typing import Any

import click

from controller.adapters.clock import SystemClock
from controller.cli import columns, complete, kinds, options, screen
from controller.gitops.rows import Stored
from controller.gitops.state import State
from controller.model.resource import Kind


@click.command(short_help="List images or backupstorages, or show one.")
@click.argument("kind", metavar="KIND", shell_complete=lambda *_: list(complete.KINDS))
@click.argument("name", required=False, shell_complete=complete.objects)
@options.state
@options.namespace
@options.all_namespaces
@options.output
def get(kind: str, name: str | None, state_dir: Path, namespace: str, all_namespaces: bool, output: str) -> None:
    """List images or backupstorages, or show the one called NAME.

    KIND is images or backupstorages (also image, gmi, backupstorage, gmbs). Reads the state beside a running instance.
    `-o wide` asks the storages how many bytes are served, kept as older revisions, and in the trash.

    \b
    goldmaster get images
    goldmaster get images -A -o wide
    goldmaster get images -o json | jq -r '.items[] | select(.status.phase != "Ready") | .metadata.name'
    """
    wanted, clock = kinds.kind_of(kind), SystemClock()
    place = None if all_namespaces or wanted is not Kind.IMAGE else namespace
    with State.open_reading(state_dir, clock) as state:
        found = state.stored(wanted, place, name)
        elsewhere = len(state.keys(wanted)) if not found and place else 0
    if name is not None and not found:
        raise kinds.not_found(wanted, name, place)
    if output in {"json", "yaml"}:
        _print_full(found, output, single=name is not None and not all_namespaces)
    elif found:
        wide, usages = output == "wide", None
        if wide and wanted is Kind.BACKUP_STORAGE:
            from controller.cli import usage  # asks the storages: more is imported than a reading verb needs

            usages = usage.of_storages(state_dir)
        now = clock.now()
        screen.print_table(*columns.table(wanted, found, now, wide=wide, namespaces=all_namespaces, usages=usages))
    else:
        more = f" ({elsewhere} in others: -A)" if elsewhere else ""
        screen.warn(f"No {wanted.plural} found{f' in namespace {place}{more}' if place else ''}.")


def _print_full(found: list[Stored], output: str, *, single: bool) -> None:
    documents = [stored.document for stored in found]
    listed: dict[str, Any] = {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}}
    value = documents[0] if single else {**listed, "items": documents}
    if output == "json":
        print(screen.json_text(value, indent=4))
        return
    from controller.cli import yaml_writer

    print(yaml_writer.write(value), end="")
