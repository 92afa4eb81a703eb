"""Rows of the one table that `make bench` prints and keeps."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.cost import Cost

BEGIN, END = "<!-- table -->", "<!-- end of table -->"


@dataclass(frozen=True, slots=True)
class Row:
    """One measured thing: `seconds` of each run, in order; `ratio` and `note` as they shall be read."""

    part: str
    what: str
    costs: Sequence[Cost]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Goal:
    """What was asked of a measured figure, `limit` being the most (or, `at_least`, the least) that is good."""

    part: str
    what: str
    measured: float
    limit: float
    unit: str = "x"
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure is on the good side."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


@dataclass(slots=True)
class Report:
    """Everything measured in one go."""

    rows: list[Row] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    def add(self, part: str, costs: dict[str, list[Cost]], notes: dict[str, str] | None = None) -> None:
        """Add a row for each variant, in order."""
        for what, several in costs.items():
            self.rows.append(Row(part, what, several, (notes or {}).get(what, "")))


def render(report: Report, machine: str) -> str:
    """Return the table as Markdown that is readable as plain text too."""
    measured = [["", "what", "runs", "median s", "min-max s", "CPU s", "peak MiB", "note"]]
    for row in report.rows:
        seconds = sorted(cost.seconds for cost in row.costs)
        measured.append(
            [
                row.part,
                row.what,
                str(len(seconds)),
                f"{statistics.median(seconds):.2f}",
                f"{seconds[0]:.2f}-{seconds[-1]:.2f}",
                f"{statistics.median(cost.cpu_s for cost in row.costs):.2f}",
                f"{max(cost.peak_bytes for cost in row.costs) / 2**20:.0f}",
                row.note,
            ]
        )
    asked = [["", "goal", "asked", "measured", ""]]
    for goal in report.goals:
        sign = "≥" if goal.at_least else "≤"
        asked.append(
            [
                goal.part,
                goal.what,
                f"{sign} {goal.limit:g} {goal.unit}",
                f"{goal.measured:.2f} {goal.unit}",
                "met" if goal.met else "MISSED",
            ]
        )
    return "\n\n".join([machine, *(_markdown(rows) for rows in (measured, asked) if len(rows) > 1)])


def _markdown(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def keep(readme: Path, text: str) -> None:
    """Replace what stands between the markers of `readme`."""
    before, _, rest = readme.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
