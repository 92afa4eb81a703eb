"""Options that several verbs share. Every flag has a variable: --allow-path is GOLDMASTER_ALLOW_PATH."""

import functools
from collections.abc import Callable, Sequence
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from click.core import ParameterSource

from controller import errors
from controller.cli import complete
from controller.model import quantity
from controller.reading import Place

Command = TypeVar("Command", bound=Callable[..., Any])
Flag = Callable[[Any], Any]
"""A decorator that click.option returns."""
Value = Any
"""What click hands to a type: text, or a value that is converted already."""
PREFIX = "GOLDMASTER"


def option(*flags: str, **attributes: Value) -> Callable[[Command], Command]:
    """Return click.option with the variable of its long flag, shown in the help."""
    long = next(flag for flag in flags if flag.startswith("--"))
    name = long.split("/")[0].removeprefix("--").replace("-", "_").upper()
    return click.option(*flags, envvar=f"{PREFIX}_{name}", show_envvar=True, **attributes)


def added(command: Command, flags: Sequence[Flag]) -> Command:
    """Return the command with these flags; `--help` shows them in their order."""
    return functools.reduce(lambda built, flag: flag(built), reversed(flags), command)


class Network(click.ParamType[IPv4Network | IPv6Network]):
    """A CIDR, `10.0.0.0/8`, or one address."""

    name = "cidr"

    def convert(
        self, value: Value, param: click.Parameter | None, ctx: click.Context | None
    ) -> IPv4Network | IPv6Network:
        """Read it; host bits must be zero, so that a slip does not open more than was meant."""
        if isinstance(value, IPv4Network | IPv6Network):
            return value
        try:
            return ip_network(value)
        except ValueError as exc:
            self.fail(f"{exc}; a network is written like 10.0.0.0/8 or fd00::/8", param, ctx)


class Duration(click.ParamType[timedelta]):
    """`90s`, `10m`, `1h30m`."""

    name = "duration"

    def convert(self, value: Value, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read it."""
        if isinstance(value, timedelta):
            return value
        try:
            return quantity.parse_duration(str(value))
        except errors.InvalidSpec as exc:
            self.fail(str(exc), param, ctx)


class Size(click.ParamType[int]):
    """A number of bytes, also as `10Gi`; no fewer than `least`."""

    name = "size"

    def __init__(self, least: int = 0) -> None:
        self._least = least

    def convert(self, value: Value, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        try:
            size = quantity.parse_bytes(value)
        except errors.InvalidSpec as exc:
            self.fail(str(exc), param, ctx)
        if size < self._least:
            self.fail(f"{value} is less than {quantity.format_bytes(self._least)}", param, ctx)
        return size


class Address(click.ParamType[tuple[str, int]]):
    """`HOST:PORT`, or `:PORT` for every address of this machine."""

    name = "address"

    def convert(self, value: Value, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Read it; an IPv6 host stands in brackets."""
        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":")
        if not colon or not port.isdigit() or int(port) > 65535:
            self.fail(f"{value!r} is not HOST:PORT", param, ctx)
        return host.strip("[]"), int(port)


state = option(
    "--state",
    "state_dir",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Directory that holds what is known of the images, and the storage `default`.",
)
namespace = option(
    "-n",
    "--namespace",
    default="default",
    show_default=True,
    metavar="NS",
    help="Look in this namespace.",
    shell_complete=complete.namespaces,
)
namespace_of_place = option(
    "-n",
    "--namespace",
    metavar="NS",
    help="Look in this namespace. Default: `default`, or with --kube that of the context.",
    shell_complete=complete.namespaces,
)
_PLACE_NAMES = {"state_dir", "kube", "context", "kubeconfig"}
_PLACES: tuple[Flag, ...] = (
    option(
        "--state",
        "state_dir",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Directory that holds what is known of the images.",
    ),
    option("--kube", is_flag=True, help="Ask a cluster in place of a state directory, with the rights of its user."),
    option(
        "--context",
        metavar="NAME",
        help="With --kube: this context of the kubeconfig, in place of its current one.",
    ),
    option(
        "--kubeconfig",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="With --kube: this file. Default: KUBECONFIG, the Pod's service account, ~/.kube/config, in this order.",
    ),
)


def place(command: Command) -> Command:
    """Let a verb choose between a state directory and a cluster; it is given a `reading.Place` as `place`."""
    return _placed(command, _PLACES, _place)


def cluster(command: Command) -> Command:
    """Let a verb that needs no state ask a cluster too; it is given a `reading.Place`, or None, as `place`."""
    return _placed(command, _PLACES[1:], lambda ctx, **where: _place(ctx, None, **where) if where["kube"] else None)


def _placed(command: Command, flags: Sequence[Flag], choose: Callable[..., Place | None]) -> Command:
    @functools.wraps(command)
    def placed(*arguments: Value, **values: Value) -> Value:
        where = {name: values.pop(name) for name in _PLACE_NAMES & values.keys()}
        return command(*arguments, place=choose(click.get_current_context(), **where), **values)

    return cast(Command, added(placed, flags))


def _place(
    ctx: click.Context, state_dir: Path | None, *, kube: bool, context: str | None, kubeconfig: Path | None
) -> Place:
    """Decide which is meant: what is said on the command line goes before what a variable says."""
    said = {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    if {"state_dir", "kube"} <= said:
        raise click.UsageError("--state and --kube: objects are in one or in the other")
    if not kube or "state_dir" in said:
        for name in sorted({"context", "kubeconfig"} & said):
            raise click.UsageError(f"--{name} goes with --kube")
        if state_dir is None:
            raise click.UsageError("Missing option '--state' (or --kube).")
        return Place(state_dir)
    return Place(None, kubeconfig, context)


serve = option(
    "--serve",
    type=Address(),
    metavar="HOST:PORT",
    help="Answer /healthz, /readyz and /metrics there; `:8080` is every address.",
)
all_namespaces = option("-A", "--all-namespaces", is_flag=True, help="Look in all namespaces.")
verbose = option("-v", "--verbose", is_flag=True, help="Log every pass, not only changes.")
output = option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "yaml", "json"]),
    default="table",
    show_default=True,
    help="yaml and json are the full objects, as kubectl prints them.",
)
paths = click.argument(
    "paths", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="PATH...", envvar=f"{PREFIX}_PATHS"
)
some_paths = click.argument(
    "paths", type=click.Path(path_type=Path), nargs=-1, metavar="[PATH...]", envvar=f"{PREFIX}_PATHS"
)
"""Where manifests may come from a repository too; the verb refuses to have neither."""
allow_network = option(
    "--allow-network",
    "networks",
    type=Network(),
    multiple=True,
    metavar="CIDR",
    help="Let http(s) sources live in this network, which the policy else refuses (loopback, private, link-local ...). "
    "May be repeated; in the variable, separated by blanks.",
)
allow_path = option(
    "--allow-path",
    "allowed_paths",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    multiple=True,
    metavar="DIR",
    help="Let file:// sources be read below this directory. May be repeated; in the variable, separated by colons.",
)
secrets = option(
    "--secrets",
    "secrets_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Directory of Kubernetes Secret manifests for sources: outside of every PATH, its files readable by their "
    "owner only.",
)
max_deletions = option(
    "--max-deletions",
    type=click.IntRange(0, 100),
    default=30,
    show_default=True,
    metavar="PERCENT",
    help="At most this share of a PATH's objects (but always 5) may disappear within 10 minutes.",
)
confirm_deletions = option(
    "--confirm-deletions", is_flag=True, help="A larger disappearance, or an empty PATH, is meant."
)
parallel = option(
    "--parallel",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    metavar="N",
    help="Transfers at once.",
)
max_size = option(
    "--max-size",
    type=Size(),
    default="1Ti",
    show_default=True,
    metavar="SIZE",
    help="What an Image without spec.maxSize may weigh at most, downloaded and virtual.",
)
scan_interval = option(
    "--scan-interval",
    type=Duration(),
    default="30s",
    show_default=True,
    metavar="DURATION",
    help="Read every PATH again at least so often, in case a file event was lost.",
)
resync_interval = option(
    "--resync-interval",
    type=Duration(),
    default="10m",
    show_default=True,
    metavar="DURATION",
    help="Look at each image's copies again about so often.",
)
scrub_rate = option(
    "--scrub-rate",
    type=Size(least=2**20),
    default="32Mi",
    show_default=True,
    metavar="SIZE",
    help="Read so many bytes per second and storage at the most where spec.scrubInterval asks for it, an eighth "
    "of them while a transfer runs. At least 1Mi.",
)
timeout = option(
    "--timeout",
    type=Duration(),
    default="30m",
    show_default=True,
    metavar="DURATION",
    help="Give up waiting after so long; what was fetched is kept for the next time.",
)
