"""`goldmaster verify`: hash what is stored."""

from collections.abc import Sequence
from pathlib import Path

import click

from controller import logs, wiring
from controller.adapters.clock import SystemClock
from controller.cli import complete, exits, options, screen
from controller.engine.verify import Verdict, verify_image
from controller.gitops import instance_lock
from controller.gitops.state import State
from controller.model import quantity
from controller.model.resource import Image, Key, Kind
from controller.model.stored import Verb, not_found
from controller.settings import Settings, StandaloneSettings


@click.command(short_help="Hash stored bytes again and compare.")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.images)
@options.option("--all", "everything", is_flag=True, help="Verify every image of every namespace.")
@options.option(
    "--quarantine",
    is_flag=True,
    help="Take damaged copies out of service and ask for them to be rebuilt from another copy or the source.",
)
@options.state
@options.namespace
def verify(names: Sequence[str], everything: bool, quarantine: bool, state_dir: Path, namespace: str) -> int:
    """Read every stored byte of images again and compare its sha256 with the one that was proven.

    Reads all copies, from the disk; works beside a running instance. When a copy was right is noted beside its bytes;
    without --quarantine nothing else is changed. Exit code 0 only if every copy is right.
    """
    logs.configure(quiet=True)
    if bool(names) == everything:
        raise click.UsageError("name the images to verify, or say --all")
    keys = [Key(Kind.IMAGE, namespace, name) for name in names]
    with wiring.beside(Settings(), StandaloneSettings(state_dir)) as (state, engine):
        images = state.images() if everything else [_image(state, key) for key in keys]
        rows, codes, damaged = [], set(), []
        for image in images:
            name = image.meta.key.shown
            verdicts = list(verify_image(image, engine.storages, SystemClock(), quarantine=quarantine))
            if not verdicts:
                rows.append([name, "-", "nothing stored", "-"])
                codes.add(exits.NOT_READY)
            for verdict in verdicts:
                rows.append([name, verdict.storage, _told(verdict), quantity.format_bytes(verdict.size_bytes)])
                codes |= {exits.STORAGE} if verdict.problem else set()
            if any(verdict.damaged for verdict in verdicts):
                damaged.append(image.meta.key)
    if rows:
        screen.print_table(["IMAGE", "STORAGE", "RESULT", "READ"], rows)
    else:
        screen.warn("there are no images")
    if damaged:
        _follow_up(state_dir, damaged, quarantine=quarantine)
    return max(codes, default=exits.OK)


def _follow_up(state_dir: Path, damaged: Sequence[Key], *, quarantine: bool) -> None:
    """Ask for what went out of service to be fetched again, and say who does it; or say how to have that done."""
    if not quarantine:
        screen.warn(
            "damaged copies were left as they are: with --quarantine they go out of service and are fetched again"
        )
        return
    with State.open(state_dir, SystemClock()) as writable:
        writable.ask_all(damaged, Verb.RECONCILE)
    process = instance_lock.holder(state_dir)
    taker = f"the instance that runs (process {process}) fetches" if process else "the next apply or run fetches"
    names = ", ".join(key.shown for key in damaged)
    screen.warn(f"{taker} again what is damaged of {names}")


def _image(state: State, key: Key) -> Image:
    found = state.image(key)
    if found is None:
        raise not_found(key.kind, key.name, key.namespace)
    return found


def _told(verdict: Verdict) -> str:
    return f"{'damaged: ' * verdict.damaged}{verdict.problem}" if verdict.problem else f"right: {verdict.got}"
