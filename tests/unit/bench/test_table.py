"""The table says what was measured, and whether it is good enough."""

from pathlib import Path

from tests.bench import machine, table
from tests.bench.cost import Cost


def test_a_row_shows_median_and_spread() -> None:
    report = table.Report()
    report.add("a", {"curl": [Cost(seconds, 0.5, 3 << 20) for seconds in (4.0, 1.0, 2.0)]}, {"curl": "fast"})
    line = table.render(report, "machine").splitlines()[-1]
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "a",
        "curl",
        "3",
        "2.00",
        "1.00-4.00",
        "0.50",
        "3",
        "fast",
    ]


def test_goals_are_limits_from_above_or_below() -> None:
    assert table.Goal("a", "ratio", 1.0, 1.0).met
    assert not table.Goal("a", "ratio", 1.01, 1.0).met
    assert table.Goal("e", "rate", 50, 50, at_least=True).met
    assert not table.Goal("e", "rate", 49.9, 50, at_least=True).met
    assert "MISSED" in table.render(table.Report(goals=[table.Goal("a", "ratio", 1.5, 1.0)]), "machine")


def test_keeping_replaces_only_the_table(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    table.keep(readme, "new")
    assert readme.read_text() == f"before\n{table.BEGIN}\nnew\n{table.END}\nafter\n"


def test_the_readme_has_a_place_for_the_table() -> None:
    text = Path(table.__file__).with_name("README.md").read_text()
    assert text.index(table.BEGIN) < text.index(table.END)


def test_the_machine_is_named(tmp_path: Path) -> None:
    told = machine.describe(tmp_path, 0.5, 120, 3.0)
    for part in ("cores", "Linux", "CPython", "commit", "scale 0.5", "2 minutes", "busy"):
        assert part in told
    assert machine.file_system(Path("/proc/self")) == "proc"
