"""The machine's clocks: the only file that reads them."""

import time
from datetime import UTC, datetime


class SystemClock:
    """Implements `ports.Clock`."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, UTC."""
        return datetime.now(UTC)  # noqa: TID251  this is the clock that everybody else takes

    def monotonic(self) -> float:
        """Return seconds that never go back; they stand still while the machine sleeps."""
        return time.monotonic()  # noqa: TID251  this is the clock that everybody else takes
