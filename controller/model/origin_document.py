"""What is known of a source, to and from a status document."""

from typing import Any

from controller.model.fields import Fields
from controller.model.origin import Origin, Skipped, Validator
from controller.reasons import Reason


def origin_to_dict(origin: Origin) -> dict[str, Any]:
    """Write an origin as the CRD has it; what is absent is left out."""
    written = {
        "servedBy": origin.served_by,
        "etag": origin.validator.etag,
        "lastModified": origin.validator.last_modified,
        "length": origin.length,
        "mirror": origin.mirror,
        "skipped": [{"url": one.url, "reason": one.reason.value, "message": one.message} for one in origin.skipped]
        or None,
        "fetchedBytes": origin.fetched_bytes,
    }
    return {name: value for name, value in written.items() if value is not None}


def read_origin(fields: Fields | None) -> Origin | None:
    """Read an origin that `origin_to_dict` wrote; None where there is none. Raises InvalidSpec."""
    served_by = None if fields is None else fields.text("servedBy")
    if fields is None or served_by is None:
        return None
    validator = Validator(fields.text("etag"), fields.text("lastModified"))
    skipped = tuple(_skipped(one) for one in fields.children("skipped"))
    return Origin(
        served_by, validator, fields.integer("length"), fields.text("mirror"), skipped, fields.integer("fetchedBytes")
    )


def _skipped(fields: Fields) -> Skipped:
    return Skipped(
        url=fields.need("url", fields.text("url")),
        reason=fields.need("reason", fields.choice("reason", Reason)),
        message=fields.text("message") or "",
    )
