"""`goldmaster history` and `rollback`: the revisions of an image that are kept, and the way back to one."""

import json
import shlex
from collections.abc import Iterator
from typing import Any

import click

from controller import reading
from controller.cli import complete, options, screen, yaml_writer
from controller.model import quantity
from controller.model.fields import format_time
from controller.model.image import Revision
from controller.model.resource import Image, Kind
from controller.model.stored import Stored, not_found
from controller.plan import rollback as way_back

_HEADERS = ["REVISION", "FORMAT", "SIZE", "STORED", "IMPORTED", "PROVEN BY", "SHA256", "URL"]
_TO_THE_SECOND = "%Y-%m-%dT%H:%M:%SZ"
_name = click.argument("name", shell_complete=complete.images)


@click.command(short_help="List the revisions of an image that are kept.")
@_name
@options.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How to print."
)
@options.place
@options.namespace_of_place
def history(name: str, output: str, place: reading.Place, namespace: str | None) -> None:
    """List what the image called NAME serves and the older revisions that are kept beside it, newest first.

    spec.revisionHistoryLimit says how many are kept. Going back to one costs no download: `goldmaster rollback`.
    """
    image, _ = _find(place, namespace, name)
    found = list(_numbered(image))
    if output == "json":
        print(json.dumps([_record(number, revision) for number, revision in found], indent=2))
    elif found:
        screen.print_table(_HEADERS, [_row(number, revision) for number, revision in found])
    else:
        screen.warn(f"{image.meta.key.shown} has no verified revision yet")


@click.command(short_help="Print what to commit so that an older revision serves again.")
@_name
@options.option(
    "--to", "number", type=int, default=1, show_default=True, metavar="N", help="The revision, as `history` counts."
)
@options.place
@options.namespace_of_place
def rollback(name: str, number: int, place: reading.Place, namespace: str | None) -> None:
    """Print the change of the manifest that makes an older revision of the image called NAME serve again.

    Edits nothing: the manifest is yours, and the next apply or run takes the change up. The checksum names the bytes,
    which are kept, so that nothing is downloaded. A `git revert` of the change that replaced them does the same.

    \b
    goldmaster history debian
    goldmaster rollback debian --to 2
    """
    image, stored = _find(place, namespace, name)
    revision = way_back.older(image, number)
    change, shown = way_back.change(image.spec, revision), image.meta.key.shown
    if not change:
        screen.warn(f"the manifest of {shown} asks for revision {number} already ({_place(stored)})")
        return
    screen.show(f"# {_place(stored)}: {shown}, back to revision {number}")
    print(yaml_writer.write({"spec": change}), end="")
    if "checksum" in change and "checksumFrom" in stored.document["spec"]:
        print("  # and take checksumFrom out")
    screen.warn(f"revision {number}: {_told(revision)}; its bytes are kept, nothing is downloaded")
    if way_back.may_lack_query(revision, image.spec):
        screen.warn("its url may have had a query, which is not shown: without it a rebuild from the source can fail")
    screen.warn(f"nothing was edited: commit this to {_place(stored)}")
    if not stored.source and not stored.keeper:
        patch = shlex.quote(json.dumps({"spec": change}))
        screen.warn(f"or: kubectl patch image {name} -n {stored.key.namespace} --type=merge -p {patch}")


def _find(place: reading.Place, namespace: str | None, name: str) -> tuple[Image, Stored]:
    with reading.view(place, screen.warn) as view:
        within = namespace or view.namespace
        images, documents = view.images(within, name), view.stored(Kind.IMAGE, within, name)
    if not images or not documents:
        raise not_found(Kind.IMAGE, name, within)
    return images[0], documents[0]


def _numbered(image: Image) -> Iterator[tuple[int, Revision]]:
    """Yield the current revision as 0, then the older ones."""
    if image.status.current is not None:
        yield 0, image.status.current
    yield from enumerate(image.status.history, start=1)


def _row(number: int, revision: Revision) -> list[str]:
    content = revision.content
    return [
        str(number) if number else "current",
        content.format.value,
        quantity.format_bytes(content.virtual_size_bytes),
        quantity.format_bytes(content.size_bytes),
        f"{revision.imported_at:{_TO_THE_SECOND}}",
        revision.proof,
        content.sha256.hex,
        revision.url,
    ]


def _record(number: int, revision: Revision) -> dict[str, Any]:
    content = revision.content
    return {
        "revision": number,
        "current": number == 0,
        "sha256": content.sha256.hex,
        "md5Sum": content.md5.hex,
        "sourceDigest": {digest.algorithm.value: digest.hex for digest in content.source_digests},
        "format": content.format.value,
        "size": content.virtual_size_bytes,
        "actualSize": content.size_bytes,
        "url": revision.url,
        "importedAt": format_time(revision.imported_at),
        "proof": revision.proof,
    }


def _told(revision: Revision) -> str:
    size = quantity.format_bytes(revision.content.size_bytes)
    return f"{revision.content.format.value}, {size}, imported {revision.imported_at:{_TO_THE_SECOND}}"


def _place(stored: Stored) -> str:
    return screen.from_here(stored.source) if stored.source else stored.keeper or "the manifest that made the object"
