"""`goldmaster inventory`: the records other systems read."""

from pathlib import Path

import click

from controller.adapters.clock import SystemClock
from controller.cli import complete, kinds, options, screen
from controller.gitops.state import State
from controller.model import inventory as records
from controller.model.resource import Kind


@click.command(short_help="Print the image inventory records as JSON.")
@click.argument("name", required=False, shell_complete=complete.images)
@options.state
@options.namespace
@options.all_namespaces
def inventory(name: str | None, state_dir: Path, namespace: str, all_namespaces: bool) -> None:
    """Print the inventory records of the images, or of the one called NAME, as JSON.

    The form is that of the image inventory of the ZStack API: {"inventories": [...], "success": true}. Dates are UTC.
    """
    place = None if all_namespaces else namespace
    with State.open_reading(state_dir, SystemClock()) as state:
        images = state.images(place, name)
    if name is not None and not images:
        raise kinds.not_found(Kind.IMAGE, name, place)
    print(screen.json_text(records.reply(images), indent=2))
