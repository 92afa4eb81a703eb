"""`goldmaster get`: objects as tables, or in full."""

from typing import Any

import click

from controller import reading
from controller.adapters.clock import SystemClock
from controller.cli import columns, complete, kinds, options, screen
from controller.model.resource import Kind
from controller.model.stored import Stored, not_found


@click.command(short_help="List images or backupstorages, or show one.")
@click.argument("kind", metavar="KIND", shell_complete=lambda *_: list(complete.KINDS))
@click.argument("name", required=False, shell_complete=complete.objects)
@options.place
@options.namespace_of_place
@options.all_namespaces
@options.output
def get(
    kind: str, name: str | None, place: reading.Place, namespace: str | None, all_namespaces: bool, output: str
) -> None:
    """List images or backupstorages, or show the one called NAME.

    KIND is images or backupstorages (also image, gmi, backupstorage, gmbs). Reads the state beside a running instance.
    `-o wide` asks the storages how many bytes are served, kept as older revisions, and in the trash; with --kube not,
    as they need not be reachable from here.

    \b
    goldmaster get images
    goldmaster get images -A -o wide
    goldmaster get images -o json | jq -r '.items[] | select(.status.phase != "Ready") | .metadata.name'
    """
    wanted = kinds.kind_of(kind)
    with reading.view(place, screen.warn) as view:
        within = None if all_namespaces or wanted is not Kind.IMAGE else namespace or view.namespace
        found = view.stored(wanted, within, name)
        elsewhere = view.elsewhere(wanted) if not found and within else 0
    if name is not None and not found:
        raise not_found(wanted, name, within)
    if output in {"json", "yaml"}:
        _print_full(found, output, single=name is not None and not all_namespaces)
    elif found:
        wide, usages = output == "wide", None
        if wide and wanted is Kind.BACKUP_STORAGE:
            from controller.cli import usage  # asks the storages: more is imported than a reading verb needs

            usages = usage.of_storages(place)
        now = SystemClock().now()
        screen.print_table(*columns.table(wanted, found, now, wide=wide, namespaces=all_namespaces, usages=usages))
    else:
        more = f" ({elsewhere} in others: -A)" if elsewhere else ""
        screen.warn(f"No {wanted.plural} found{f' in namespace {within}{more}' if within else ''}.")


def _print_full(found: list[Stored], output: str, *, single: bool) -> None:
    documents = [stored.document for stored in found]
    listed: dict[str, Any] = {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}}
    value = documents[0] if single else {**listed, "items": documents}
    if output == "json":
        print(screen.json_text(value, indent=4))
        return
    from controller.cli import yaml_writer

    print(yaml_writer.write(value), end="")
