"""`goldmaster verify`: hash what is stored."""

from collections.abc import Iterator, Sequence

import click

from controller import logs, reading, wiring
from controller.adapters.clock import SystemClock
from controller.cli import complete, exits, options, screen
from controller.engine.census import keeps
from controller.engine.verify import Verdict, verify_image
from controller.model import quantity
from controller.model.resource import Image, Key, Kind
from controller.model.stored import Verb, not_found
from controller.reading import View


@click.command(short_help="Hash stored bytes again and compare.")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.images)
@options.option("--all", "everything", is_flag=True, help="Verify every image of every namespace.")
@options.option(
    "--quarantine",
    is_flag=True,
    help="Take damaged copies out of service and ask for them to be rebuilt from another copy or the source.",
)
@options.place
@options.namespace_of_place
def verify(
    names: Sequence[str], everything: bool, quarantine: bool, place: reading.Place, namespace: str | None
) -> int:
    """Read every stored byte of images again and compare its sha256 with the one that was proven.

    Reads all copies, from the disk; works beside a running instance. When a copy was right is noted beside its bytes;
    without --quarantine nothing else is changed. Exit code 0 only if every copy is right.

    With --kube the bytes are read all the same by this machine: run it where the path of the BackupStorage is mounted,
    as on the node of the operator. Elsewhere it says what it cannot reach, and ends with 6; there spec.scrubInterval
    has the operator read the bytes.
    """
    logs.configure(quiet=True)
    if bool(names) == everything:
        raise click.UsageError("name the images to verify, or say --all")
    with wiring.stores(place, screen.warn) as (view, storages):
        images = view.images() if everything else [_image(view, namespace or view.namespace, name) for name in names]
        rows, codes, damaged, away = [], set(), dict[Key, None](), False
        for image in images:
            name = image.meta.key.shown
            verdicts = list(verify_image(image, storages, SystemClock(), quarantine=quarantine))
            away |= any(verdict.problem and not verdict.damaged for verdict in verdicts)
            if not verdicts:
                rows.append([name, "-", "nothing stored", "-"])
                codes.add(exits.NOT_READY)
            for verdict in verdicts:
                rows.append([name, verdict.storage, _told(verdict), quantity.format_bytes(verdict.size_bytes)])
                codes |= {exits.STORAGE} if verdict.problem else set()
            if any(verdict.damaged for verdict in verdicts):
                damaged |= dict.fromkeys(_sharing(image, view if place.state_dir is not None else None))
        if rows:
            screen.print_table(["IMAGE", "STORAGE", "RESULT", "READ"], rows)
        else:
            screen.warn("there are no images")
        if damaged:
            _follow_up(view, place, list(damaged), quarantine=quarantine)
    if away and place.state_dir is None:
        screen.warn("run this where the storage is mounted, or let the operator read it: spec.scrubInterval")
    return max(codes, default=exits.OK)


def _sharing(image: Image, view: View | None) -> Iterator[Key]:
    """Yield whom the loss of the bytes that an image serves concerns: of the others the operator hears by itself."""
    yield image.meta.key
    if view is not None and image.status.current is not None:
        sha256 = image.status.current.content.sha256
        yield from (other.meta.key for other in view.images() if keeps(other, sha256))


def _follow_up(view: View, place: reading.Place, damaged: Sequence[Key], *, quarantine: bool) -> None:
    """Ask for what went out of service to be fetched again, and say who does it; or say how to have that done."""
    if not quarantine:
        screen.warn(
            "damaged copies were left as they are: with --quarantine they go out of service and are fetched again"
        )
        return
    if place.state_dir is not None:
        wiring.note_copies(place.state_dir, damaged)
    screen.warn("what is damaged is fetched again:")
    for line in view.ask(damaged, Verb.RECONCILE):
        screen.warn(line)


def _image(view: View, namespace: str, name: str) -> Image:
    found = view.images(namespace, name)
    if not found:
        raise not_found(Kind.IMAGE, name, namespace)
    return found[0]


def _told(verdict: Verdict) -> str:
    return f"{'damaged: ' * verdict.damaged}{verdict.problem}" if verdict.problem else f"right: {verdict.got}"
