"""What is known of a source, to and from a status document."""

from typing import Any

from controller.model.fields import Fields
from controller.model.origin import Origin, Validator


def origin_to_dict(origin: Origin) -> dict[str, Any]:
    """Write an origin as the CRD has it; what is absent is left out."""
    written = {
        "servedBy": origin.served_by,
        "etag": origin.validator.etag,
        "lastModified": origin.validator.last_modified,
        "length": origin.length,
    }
    return {name: value for name, value in written.items() if value is not None}


def read_origin(fields: Fields | None) -> Origin | None:
    """Read an origin that `origin_to_dict` wrote; None where there is none. Raises InvalidSpec."""
    served_by = None if fields is None else fields.text("servedBy")
    if fields is None or served_by is None:
        return None
    validator = Validator(fields.text("etag"), fields.text("lastModified"))
    return Origin(served_by, validator, fields.integer("length"))
