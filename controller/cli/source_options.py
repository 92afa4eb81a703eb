"""Options on how http(s) sources are asked. They are many, so a verb gets them as one value."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import click

from controller.cli import options
from controller.settings import PolitenessSettings

_FLAGS = (
    options.option(
        "--origin-connections",
        type=click.IntRange(1, 64),
        default=4,
        show_default=True,
        metavar="N",
        help="Connections at once to one origin (scheme://host:port).",
    ),
    options.option(
        "--origin-requests",
        type=click.IntRange(10, 1_000_000),
        default=1200,
        show_default=True,
        metavar="N",
        help="Requests a minute to one origin, redirects and checksum lists counted.",
    ),
)


@dataclass(frozen=True, slots=True)
class Asking:
    """How sources are asked."""

    politeness: PolitenessSettings = field(default_factory=PolitenessSettings)


def asking(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags; the command gets them as `asking`."""

    @functools.wraps(command)
    def with_value(*, origin_connections: int, origin_requests: int, **rest: options.Value) -> options.Value:
        return command(asking=Asking(PolitenessSettings(origin_connections, origin_requests)), **rest)

    return functools.reduce(lambda built, flag: flag(built), reversed(_FLAGS), with_value)
