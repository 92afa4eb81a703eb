"""What people see: tables, colours, ages. Plain text wherever it does not go to a terminal."""

import json
import os
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TextIO

import click

from controller.model import foreign_text

_COLOURS = {
    "Ready": "green", "True": "green", "Connected": "green", "Succeeded": "green",
    "Failed": "red", "False": "red", "Disconnected": "red", "Stalled": "red",
    "Downloading": "yellow", "Pending": "yellow", "Connecting": "yellow", "Suspended": "yellow",
}  # fmt: skip
_NOT_PLAIN = re.compile(r"[^ -~\n]")
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))


def is_terminal(stream: TextIO) -> bool:
    """Whether a person may be watching this stream."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def colourful(stream: TextIO) -> bool:
    """Whether to colour what goes there: a terminal, and NO_COLOR (https://no-color.org) not set."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def from_here(path: str) -> str:
    """Return a path as a person standing here would write it: relative where it lies below. A URL stays one."""
    if "://" in path:
        return path
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO | None = None) -> None:
    """Print columns as kubectl does; words that say how things stand are coloured on a terminal."""
    stream = stream or sys.stdout
    colours = colourful(stream)
    rows = [[foreign_text.printable(cell) for cell in row] for row in rows]
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


def show(text: str) -> None:
    """Print one line, which may hold text of others, on standard output."""
    print(foreign_text.printable(text))


def json_text(value: object, indent: int) -> str:
    """Write JSON with letters as they are and what is not printable as JSON escapes: the same value."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _NOT_PLAIN.sub(lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], text)


def warn(text: str) -> None:
    """Tell a person something, one line, on standard error."""
    click.echo(foreign_text.printable(text), err=True)
