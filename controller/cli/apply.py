"""`goldmaster apply`: converge once."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import click

from controller import logs, wiring
from controller.cli import columns, exits, git_options, options, progress, running, screen, source_options
from controller.cli.source_options import Asking
from controller.cli.validate import problems_of
from controller.gitops.loop import Converged, Standalone
from controller.gitops.tree import Problem
from controller.model import quantity
from controller.model.resource import Kind
from controller.model.stored import Stored
from controller.reasons import Reason
from controller.settings import GitSettings, Settings, StandaloneSettings


@click.command(short_help="Bring the images of PATH... to Ready, once.")
@options.some_paths
@git_options.repository
@options.state
@options.allow_network
@options.allow_path
@source_options.asking
@options.secrets
@options.timeout
@options.parallel
@options.max_size
@options.max_deletions
@options.confirm_deletions
@options.verbose
def apply(
    paths: Sequence[Path],
    git: GitSettings | None,
    state_dir: Path,
    networks: running.Networks,
    allowed_paths: Sequence[Path],
    asking: Asking,
    secrets_dir: Path | None,
    timeout: timedelta,
    parallel: int,
    max_size: int,
    max_deletions: int,
    confirm_deletions: bool,
    verbose: bool,
) -> int:
    """Bring every image of PATH... to Ready, once, and print how they stand.

    Each PATH is a file or a directory of manifests. Ends when every image is Ready or cannot become so without a change
    (or after --timeout), with exit code 0 only if all are Ready. What failed before is tried again. Nothing starts
    while a manifest is wrong. An image whose manifest is gone from a PATH is deleted. With no BackupStorage manifest, a
    storage named `default` under the state directory serves.

    With --git the manifests are those of the newest commit of a repository, beside any PATH. Where that is wrong, or
    the server cannot be asked, the last good one stays in force and is brought to Ready; the exit code says so.

    \b
    goldmaster apply manifests/ --state /var/lib/goldmaster
    goldmaster apply image.yaml --state ./state --allow-network 10.0.0.0/8
    """
    mode = StandaloneSettings(
        state_dir,
        max_deletions_percent=max_deletions,
        confirm_deletions=confirm_deletions,
        secrets_dir=secrets_dir,
        git=git,
    )
    settings = running.settings(networks, allowed_paths, asking=asking, parallel=parallel, max_size=max_size)
    return _apply(paths, settings, mode, timeout, verbose=verbose)


def _apply(
    paths: Sequence[Path], settings: Settings, mode: StandaloneSettings, timeout: timedelta, *, verbose: bool
) -> int:
    logs.configure(quiet=True)
    with running.interrupts() as stop, wiring.standalone(settings, mode, paths) as instance:
        if instance.following is not None:
            instance.following.look(stop)
        trees = instance.load(paths)
        if problems := problems_of(trees):
            return _refuse(problems)
        applied = instance.take(trees)
        if applied.problems:
            return _refuse(applied.problems)
        instance.try_again()
        with progress.shown(instance, verbose=verbose) as tick:
            converged = instance.converge(timeout.total_seconds(), stop, tick)
        code = _report(instance, converged, timeout)
        wrong = running.tell_followed(instance)
        code = code or wrong
    if applied.held_back:
        for held in applied.held_back:
            screen.warn(f"not deleted ({len(held.keys)}): {held.why}")
        return code or exits.NOT_READY
    return code


def _refuse(problems: Iterable[Problem]) -> int:
    for problem in problems:
        screen.warn(str(problem))
    screen.warn("nothing was started")
    return exits.INVALID


def _report(instance: Standalone, converged: Converged, timeout: timedelta) -> int:
    found = instance.state.stored(Kind.IMAGE)
    show(found, wiring.clock().now())
    waiting = [stored for stored in found if not is_ready(stored)]
    for stored in waiting:
        condition = columns.ready(stored.document)
        screen.warn(f"{stored.key.namespace}/{stored.key.name}: {condition.get('reason', 'Pending')}: {_why(stored)}")
    screen.warn(f"{len(found) - len(waiting)} of {len(found)} images are Ready")
    if converged.interrupted:
        screen.warn("interrupted; what was fetched is kept for the next time")
        return exits.INTERRUPTED
    if not converged.ended:
        screen.warn(f"time is up after {quantity.format_duration(timeout)} (--timeout)")
        return exits.NOT_READY
    return exits.of_reasons(_reason(stored) for stored in waiting)


def show(found: Sequence[Stored], now: datetime) -> None:
    """Print the table of images; with namespaces where there are several."""
    if found:
        several = len({stored.key.namespace for stored in found}) > 1
        screen.print_table(*columns.table(Kind.IMAGE, found, now, namespaces=several))


def is_ready(stored: Stored) -> bool:
    """Whether this generation is there, on every storage it names."""
    condition = columns.ready(stored.document)
    return condition.get("status") == "True" and "deletionTimestamp" not in stored.document["metadata"]


def _why(stored: Stored) -> str:
    condition = columns.ready(stored.document)
    if "deletionTimestamp" in stored.document["metadata"] and condition.get("status") != "False":
        return "is being deleted"
    return str(condition.get("message", "nobody looked at it yet"))


def _reason(stored: Stored) -> Reason | None:
    reason = columns.ready(stored.document).get("reason")
    return Reason(reason) if reason else None
