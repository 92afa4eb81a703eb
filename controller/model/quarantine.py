"""Damaged bytes that were taken out of service, and wait for a person to look at them."""

from dataclasses import dataclass
from datetime import datetime

from controller.model.digest import Digest


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One damaged copy. `name` is that of its file; `sha256` what it should have been; `why` empty: nobody noted it."""

    name: str
    sha256: Digest
    size_bytes: int
    since: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Quarantine:
    """What all of them on one storage take."""

    copies: int = 0
    bytes: int = 0


EMPTY = Quarantine()
