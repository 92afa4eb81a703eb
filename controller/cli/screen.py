"""What people see: tables, colours, ages. Plain text wherever it does not go to a terminal."""

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TextIO

import click

_COLOURS = {
    "Ready": "green", "True": "green", "Connected": "green", "Succeeded": "green",
    "Failed": "red", "False": "red", "Disconnected": "red", "Stalled": "red",
    "Downloading": "yellow", "Pending": "yellow", "Connecting": "yellow", "Suspended": "yellow",
}  # fmt: skip
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))


def is_terminal(stream: TextIO) -> bool:
    """Whether a person may be watching this stream."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def colourful(stream: TextIO) -> bool:
    """Whether to colour what goes there: a terminal, and NO_COLOR (https://no-color.org) not set."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def from_here(path: str) -> str:
    """Return a path as a person standing here would write it: relative where it lies below."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO | None = None) -> None:
    """Print columns as kubectl does; words that say how things stand are coloured on a terminal."""
    stream = stream or sys.stdout
    colours = colourful(stream)
    widths = [max(len(cell) for cell in column) for column in zip(headers, *rows, strict=True)]
    for row in (headers, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if colours and row is not headers:
            cells = [_coloured(cell) for cell in cells]
        print("   ".join(cells).rstrip(), file=stream)


def _coloured(cell: str) -> str:
    colour = _COLOURS.get(cell.strip())
    return click.style(cell, fg=colour) if colour else cell


def age(since: datetime, now: datetime) -> str:
    """Write a span as kubectl does: `45s`, `10m`, `5h12m`, `3d`."""
    seconds = max(int((now - since).total_seconds()), 0)
    for size, unit in _UNITS:
        if seconds >= size * 2 or (unit == "d" and seconds >= size):
            whole, rest = divmod(seconds, size)
            finer = {"d": (3_600, "h"), "h": (60, "m"), "m": (1, "s")}[unit]
            detail = rest // finer[0]
            return f"{whole}{unit}" + (f"{detail}{finer[1]}" if detail and whole < 10 else "")
    return f"{seconds}s"


def warn(text: str) -> None:
    """Tell a person something on standard error."""
    click.echo(text, err=True)
