"""When a storage is scrubbed, and what is told of it."""

from dataclasses import replace
from datetime import datetime, timedelta

from controller.model.digest import Digest
from controller.model.scrub import MAX_MESSAGE, Scrub, ScrubRecord, ScrubState
from controller.plan import retry

NOBODY = "nobody goes on with it at the moment: goldmaster run and the operator do"


def due(interval: timedelta | None, record: ScrubRecord | None, seed: str, now: datetime) -> bool:
    """Whether a scrub should begin or go on: one that is not through always, else `interval` after the last began.

    0..20 % later, by `seed`, so that the storages of one machine drift apart. A start in the future (the clock was set
    back) counts as none.
    """
    if interval is None:
        return False
    if record is None or record.scrub.state is not ScrubState.FINISHED:
        return True
    started = record.scrub.started_at
    return not started <= now < started + interval * retry.jitter(f"scrub/{seed}")


def begin(record: ScrubRecord | None, now: datetime) -> ScrubRecord:
    """Return the record to go on with: of the one that was interrupted, else of a fresh one."""
    if record is None:
        return ScrubRecord(Scrub(ScrubState.RUNNING, now))
    if record.scrub.state is ScrubState.FINISHED:
        return ScrubRecord(Scrub(ScrubState.RUNNING, now, record.scrub.finished_at))
    return replace(record, scrub=replace(record.scrub, state=ScrubState.RUNNING, message=""))


def past(record: ScrubRecord, sha256: Digest, size_bytes: int, *, damaged: bool) -> ScrubRecord:
    """Return the record after one more copy was read to its end."""
    scrub = record.scrub
    counted = replace(
        scrub, copies=scrub.copies + 1, bytes=scrub.bytes + size_bytes, damaged=scrub.damaged + int(damaged)
    )
    return ScrubRecord(counted, sha256)


def interrupted(record: ScrubRecord, why: str) -> ScrubRecord:
    """Return the record of a scrub that nobody goes on with for now: it is not clean, it is not known."""
    return replace(record, scrub=replace(record.scrub, state=ScrubState.INTERRUPTED, message=why[:MAX_MESSAGE]))


def finished(record: ScrubRecord, now: datetime) -> ScrubRecord:
    """Return the record of a scrub that read everything."""
    return ScrubRecord(replace(record.scrub, state=ScrubState.FINISHED, finished_at=now, message=""))


def told(scrub: Scrub | None, *, running: bool) -> Scrub | None:
    """Return what the status says. A record that says Running was left by a process that is gone, unless we run it."""
    if scrub is None or scrub.state is not ScrubState.RUNNING or running:
        return scrub
    return replace(scrub, state=ScrubState.INTERRUPTED, message=NOBODY)
