"""A scrub from and to documents: the status of a BackupStorage, and the file beside the bytes."""

from typing import Any

from controller.model.fields import Fields, format_time
from controller.model.scrub import Scrub, ScrubState


def scrub_to_dict(scrub: Scrub) -> dict[str, Any]:
    """Write it as the CRD has it. `scrub_from_fields` undoes it."""
    written: dict[str, Any] = {"state": scrub.state.value, "startedAt": format_time(scrub.started_at)}
    if scrub.finished_at is not None:
        written["finishedAt"] = format_time(scrub.finished_at)
    written |= {"copies": scrub.copies, "bytes": scrub.bytes, "damaged": scrub.damaged}
    if scrub.message:
        written["message"] = scrub.message
    return written


def scrub_from_fields(fields: Fields | None) -> Scrub | None:
    """Read what `scrub_to_dict` wrote, None where there is none. Raises InvalidSpec, which names the field."""
    if fields is None:
        return None
    return Scrub(
        state=fields.need("state", fields.choice("state", ScrubState)),
        started_at=fields.need("startedAt", fields.time("startedAt")),
        finished_at=fields.time("finishedAt"),
        copies=fields.integer("copies") or 0,
        bytes=fields.integer("bytes") or 0,
        damaged=fields.integer("damaged") or 0,
        message=fields.text("message") or "",
    )
