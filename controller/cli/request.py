"""`goldmaster reconcile`, `suspend`, `resume`: requests in the state for the instance that runs, or the next."""

from collections.abc import Sequence
from pathlib import Path

import click

from controller.adapters.clock import SystemClock
from controller.cli import complete, kinds, options
from controller.gitops import instance_lock
from controller.gitops.state import State, Verb
from controller.model.resource import Key, Kind

_names = click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete.images)


@click.command(short_help="Ask for a look at images now.")
@_names
@options.state
@options.namespace
def reconcile(names: Sequence[str], state_dir: Path, namespace: str) -> None:
    """Ask for a look at images now: a wait for a retry ends, and what is stalled is tried again.

    NAME is an Image, or KIND/NAME: backupstorage/default.
    """
    _ask(state_dir, [kinds.key_of(name, namespace) for name in names], Verb.RECONCILE)


@click.command(short_help="Stop and start nothing for images, until resume.")
@_names
@options.state
@options.namespace
def suspend(names: Sequence[str], state_dir: Path, namespace: str) -> None:
    """Stop what runs for images (resumable) and start nothing, until `goldmaster resume`.

    What is stored stays and is served. The manifest is not changed: `describe` shows the override. A later change of
    spec.suspend in the manifest wins over it.
    """
    _ask(state_dir, _images(names, namespace), Verb.SUSPEND)


@click.command(short_help="Let suspended images go on.")
@_names
@options.state
@options.namespace
def resume(names: Sequence[str], state_dir: Path, namespace: str) -> None:
    """Let suspended images go on, whether `goldmaster suspend` or the manifest suspended them."""
    _ask(state_dir, _images(names, namespace), Verb.RESUME)


def _images(names: Sequence[str], namespace: str) -> list[Key]:
    keys = [kinds.key_of(name, namespace) for name in names]
    for key in keys:
        if key.kind is not Kind.IMAGE:
            raise click.UsageError(f"{kinds.shown(key)}: only images can be suspended")
    return keys


def _ask(state_dir: Path, keys: Sequence[Key], verb: Verb) -> None:
    clock = SystemClock()
    # asking never makes a state, nor migrates one under an older instance that runs
    State.open_reading(state_dir, clock).close()
    with State.open(state_dir, clock) as state:
        known = {kind: set(state.keys(kind)) for kind in Kind}
        for key in keys:
            if key not in known[key.kind]:
                raise kinds.not_found(key.kind, key.name, key.namespace)
        state.ask_all(keys, verb)
    process = instance_lock.holder(state_dir)
    taker = (
        f"the instance that runs (process {process}) takes it up" if process else "the next apply or run takes it up"
    )
    for key in keys:
        click.echo(f"{kinds.shown(key)}: {verb.value} requested; {taker}")
