"""`goldmaster inventory`: the records other systems read."""

import click

from controller import reading
from controller.cli import complete, options, screen
from controller.model import inventory as records
from controller.model.resource import Kind
from controller.model.stored import not_found


@click.command(short_help="Print the image inventory records as JSON.")
@click.argument("name", required=False, shell_complete=complete.images)
@options.place
@options.namespace_of_place
@options.all_namespaces
def inventory(name: str | None, place: reading.Place, namespace: str | None, all_namespaces: bool) -> None:
    """Print the inventory records of the images, or of the one called NAME, as JSON.

    The form is that of the image inventory of the ZStack API: {"inventories": [...], "success": true}. Dates are UTC.
    """
    with reading.view(place, screen.warn) as view:
        within = None if all_namespaces else namespace or view.namespace
        images = view.images(within, name)
    if name is not None and not images:
        raise not_found(Kind.IMAGE, name, within)
    print(screen.json_text(records.reply(images), indent=2))
