"""`goldmaster reconcile`, `suspend`, `resume`: what a person asks of the instance that runs, or of the next."""

from collections.abc import Sequence

import click

from controller import reading
from controller.cli import complete, kinds, options, screen
from controller.model.resource import Kind
from controller.model.stored import Verb

_names = click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete.images)


@click.command(short_help="Ask for a look at images now.")
@_names
@options.place
@options.namespace_of_place
def reconcile(names: Sequence[str], place: reading.Place, namespace: str | None) -> None:
    """Ask for a look at images now: a wait for a retry ends, and what is stalled is tried again.

    NAME is an Image, or KIND/NAME: backupstorage/default. With --kube this sets the annotation
    goldmaster.dev/requestedAt.
    """
    _ask(place, names, namespace, Verb.RECONCILE)


@click.command(short_help="Stop and start nothing for images, until resume.")
@_names
@options.place
@options.namespace_of_place
def suspend(names: Sequence[str], place: reading.Place, namespace: str | None) -> None:
    """Stop what runs for images (resumable) and start nothing, until `goldmaster resume`.

    What is stored stays and is served. The manifest is not changed: `describe` shows the override. A later change of
    spec.suspend in the manifest wins over it. With --kube this sets spec.suspend of the object, and says so where Flux
    or Argo CD may undo it.
    """
    _ask(place, names, namespace, Verb.SUSPEND)


@click.command(short_help="Let suspended images go on.")
@_names
@options.place
@options.namespace_of_place
def resume(names: Sequence[str], place: reading.Place, namespace: str | None) -> None:
    """Let suspended images go on, whether `goldmaster suspend` or the manifest suspended them."""
    _ask(place, names, namespace, Verb.RESUME)


def _ask(place: reading.Place, names: Sequence[str], namespace: str | None, verb: Verb) -> None:
    for key in (kinds.key_of(name, namespace or "") for name in names):
        if verb is not Verb.RECONCILE and key.kind is not Kind.IMAGE:
            raise click.UsageError(f"{key.shown}: only images can be suspended")
    with reading.view(place, screen.warn) as view:
        keys = [kinds.key_of(name, namespace or view.namespace) for name in names]
        told = view.ask(list(dict.fromkeys(keys)), verb)
    for line in told:
        screen.show(line)
