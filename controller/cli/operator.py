"""`goldmaster operator`: the objects of a Kubernetes API server."""

import gc
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import click

from controller import logs, wiring
from controller.cli import exits, options, running, source_options
from controller.cli.source_options import Asking
from controller.settings import OperatorSettings

_CLUSTER = (
    options.option(
        "--kubeconfig",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Which API server. Default: KUBECONFIG, the Pod's service account, ~/.kube/config, in this order.",
    ),
    options.option(
        "--storage-root",
        "storage_roots",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        multiple=True,
        metavar="DIR",
        help="An ImageStore must lie below this directory. May be repeated; in the variable, separated by colons.",
    ),
    options.option(
        "--list-interval",
        type=options.Duration(),
        default="5m",
        show_default=True,
        metavar="DURATION",
        help="List all objects anew so often, in case the watch lost something.",
    ),
    options.option(
        "--leader-election/--no-leader-election",
        default=False,
        show_default=True,
        help="Wait for the Lease `goldmaster` in our namespace, so that of several replicas one reconciles.",
    ),
    options.option(
        "--lease-duration",
        type=options.Duration(),
        default="15s",
        show_default=True,
        metavar="DURATION",
        help="Take the lease over from a replica that was silent for so long.",
    ),
    options.serve,
)
"""What operator mode has beyond the other modes."""


def _cluster(command: options.Command) -> options.Command:
    """Add the options of _CLUSTER in their order."""
    return options.added(command, _CLUSTER)


@click.command(short_help="Reconcile the Images of a Kubernetes API server.")
@_cluster
@options.allow_network
@options.allow_path
@source_options.asking
@options.parallel
@options.max_size
@options.resync_interval
@options.scrub_rate
@options.verbose
def operator(
    kubeconfig: Path | None,
    storage_roots: Sequence[Path],
    list_interval: timedelta,
    leader_election: bool,
    lease_duration: timedelta,
    serve: tuple[str, int] | None,
    networks: running.Networks,
    allowed_paths: Sequence[Path],
    asking: Asking,
    parallel: int,
    max_size: int,
    resync_interval: timedelta,
    scrub_rate: int,
    verbose: bool,
) -> int:
    """Reconcile the Images and BackupStorages of a Kubernetes API server, until SIGINT or SIGTERM.

    The CRDs must be installed: `kubectl apply -k manifests/` does that and runs this command in the cluster. Needs the
    rights of manifests/controller/rbac.yaml and no more. Logs go to standard error, as JSON unless that is a terminal.
    Exit code 0 when asked to stop; running transfers are cut off resumably.
    """
    logs.configure(verbose=verbose)
    # what is known of the cluster is kept for long and holds no cycles: to look for them after every 700 objects, as
    # Python does, takes half of what reading a list costs
    gc.set_threshold(20_000)
    settings = running.settings(
        networks,
        allowed_paths,
        asking=asking,
        parallel=parallel,
        max_size=max_size,
        resync_interval=resync_interval,
        scrub_rate=scrub_rate,
    )
    mode = OperatorSettings(
        kubeconfig,
        tuple(root.absolute() for root in storage_roots),
        list_interval,
        leader_election,
        lease_duration,
        serve,
    )
    with running.interrupts() as stop, wiring.operator(settings, mode) as instance:
        instance.run(stop)
    return exits.OK
