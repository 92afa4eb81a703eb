"""`goldmaster run`: watch and keep."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import click
import structlog

from controller import logs, wiring
from controller.cli import exits, git_options, options, running, source_options
from controller.cli.source_options import Asking
from controller.gitops.tree import Problem
from controller.settings import GitSettings, StandaloneSettings


@click.command(short_help="Watch PATH... and keep its images as they are asked for.")
@options.some_paths
@git_options.repository
@options.state
@options.allow_network
@options.allow_path
@source_options.asking
@options.secrets
@options.parallel
@options.max_size
@options.scan_interval
@options.resync_interval
@options.scrub_rate
@options.max_deletions
@options.confirm_deletions
@options.serve
@options.verbose
def run(
    paths: Sequence[Path],
    git: GitSettings | None,
    state_dir: Path,
    networks: running.Networks,
    allowed_paths: Sequence[Path],
    asking: Asking,
    secrets_dir: Path | None,
    parallel: int,
    max_size: int,
    scan_interval: timedelta,
    resync_interval: timedelta,
    scrub_rate: int,
    max_deletions: int,
    confirm_deletions: bool,
    serve: tuple[str, int] | None,
    verbose: bool,
) -> int:
    """Watch PATH... and keep its images as they are asked for, until SIGINT or SIGTERM.

    A changed manifest is taken up within a second. A wrong one is reported and what was in force before stays; nothing
    is deleted while any manifest of that PATH is wrong. The other verbs work beside it on the same state directory.
    Logs go to standard error, as JSON unless that is a terminal. Exit code 0 when asked to stop.

    With --git it clones a repository and follows it, instead of PATH or beside it. A commit is in force as a whole: one
    with anything wrong in it is reported, here and by get and describe, and the last good one stays in force, as it
    does while the server cannot be asked. `goldmaster reconcile` asks the server at once.

    \b
    goldmaster run manifests/ --state /var/lib/goldmaster
    goldmaster run --git https://git.example/images.git --path golden --state /var/lib/goldmaster
    """
    logs.configure(verbose=verbose)
    rates = {"parallel": parallel, "max_size": max_size, "scrub_rate": scrub_rate}
    settings = running.settings(networks, allowed_paths, asking=asking, resync_interval=resync_interval, **rates)
    mode = StandaloneSettings(state_dir, scan_interval, max_deletions, confirm_deletions, secrets_dir, git)
    with (
        running.interrupts() as stop,
        wiring.standalone(settings, mode, paths) as instance,
        wiring.served(instance, serve, scan_interval),
    ):
        instance.keep(paths, stop, _report)
    return exits.OK


def _report(problems: Sequence[Problem]) -> None:
    log = structlog.get_logger()
    for problem in problems:
        log.error("manifest.wrong", path=f"{problem.file}:{problem.line}", message=str(problem))
    if not problems:
        log.info("manifests.right")
