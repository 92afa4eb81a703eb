"""`python -m tests.apiserver.moved FILE VERB …`: the command, by a clock that is FILE's seconds ahead.

What the other end of a source is given time for goes by the true clock all the same: a test that lets ten minutes pass
in seconds does not make the web server slow.
"""

import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from controller import wiring
from controller.adapters.clock import SystemClock
from controller.adapters.sources.router import SourceRouter
from controller.cli import main
from controller.ports import Clock
from controller.settings import SourceSettings

_sources = wiring.sources


class MovedClock(SystemClock):
    """Both clocks are ahead by what the file says, whenever it says it."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self._ahead())

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead()

    def _ahead(self) -> float:
        return float(self._file.read_text())


def set_to(file: Path, seconds: float) -> None:
    """Move the clock that reads the file; never back."""
    fresh = file.with_suffix(".new")
    fresh.write_text(str(seconds))
    fresh.replace(file)


def sources(settings: SourceSettings, clock: Clock, forbidden: Sequence[Path]) -> SourceRouter:
    """Build them by the true clock."""
    assert isinstance(clock, MovedClock)
    return _sources(settings, SystemClock(), forbidden)


if __name__ == "__main__":
    moved = MovedClock(Path(sys.argv[1]))
    wiring.SystemClock = lambda: moved  # type: ignore[attr-defined,assignment]
    wiring.sources = sources
    raise SystemExit(main.run(sys.argv[2:]))
