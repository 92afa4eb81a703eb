"""A scrub: every stored copy of a storage is read again, on a schedule, to find what a disk lost."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from controller.model.digest import Digest

MAX_MESSAGE = 1024
"""Characters of `Scrub.message`."""


class ScrubState(StrEnum):
    """Whether somebody reads, nobody does although it is not through, or it came to the end."""

    RUNNING = "Running"
    INTERRUPTED = "Interrupted"
    FINISHED = "Finished"


@dataclass(frozen=True, slots=True)
class Scrub:
    """The scrub that was begun last. `copies`, `bytes` and `damaged` count what it has read so far.

    `finished_at` is when one last came to the end: the one before, while this one has not. A content is one copy,
    however many images claim it. `message` says why it was interrupted.
    """

    state: ScrubState
    started_at: datetime
    finished_at: datetime | None = None
    copies: int = 0
    bytes: int = 0
    damaged: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class ScrubRecord:
    """What lies beside the bytes, so that a scrub goes on after a restart: every content up to `position` was read."""

    scrub: Scrub
    position: Digest | None = None
