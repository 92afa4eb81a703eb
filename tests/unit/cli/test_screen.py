"""Tables, ages, colours."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from controller.cli import screen

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (600, "10m"), (7199, "119m"), (7200, "2h"),
        (18_720, "5h12m"), (86_399, "23h"), (86_400, "1d"), (90_000, "1d1h"), (864_000 * 3, "30d"),
    ],
)  # fmt: skip
def test_an_age_is_short(seconds: int, text: str) -> None:
    assert screen.age(NOW - timedelta(seconds=seconds), NOW) == text


def test_columns_line_up_and_lines_end_without_blanks() -> None:
    stream = io.StringIO()
    screen.print_table(["NAME", "READY"], [["a", "True"], ["longer", "False"]], stream)
    assert stream.getvalue() == "NAME     READY\na        True\nlonger   False\n"


def test_words_are_coloured_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    screen.print_table(["READY", "NAME"], [["True", "x"]], terminal)
    assert "\x1b[32mTrue " in terminal.getvalue()
    assert "\x1b[" not in terminal.getvalue().splitlines()[0]
    assert not screen.colourful(io.StringIO())


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_color_and_dumb_terminals_are_respected(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    assert not screen.colourful(Terminal())


HOSTILE = "a\x1b]0;owned\x07\x9b2J\u202eb\nc\x7f\udcff"
SPELLED = r"a\x1b]0;owned\x07\x9b2J\u202eb\nc\x7f\udcff"


def test_text_of_others_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show(f"ä {HOSTILE}")
    screen.warn(HOSTILE)
    screen.print_table(["NAME"], [[HOSTILE]])
    said = capsys.readouterr()
    assert said.out == f"ä {SPELLED}\nNAME\n{SPELLED}\n"
    assert said.err == f"{SPELLED}\n"


def test_json_on_a_terminal_holds_no_controls_and_means_the_same() -> None:
    value = {"ä": [HOSTILE, "\U000e0001"]}
    text = screen.json_text(value, indent=1)
    assert json.loads(text) == value
    assert "ä" in text
    assert text.replace("\n", "").isprintable()
