"""What is known of a source, to and from a status document."""

from typing import Any

from controller.model.delivery import Delivery, Sighting, Skipped, Validator, Watch
from controller.model.digest import Digest
from controller.model.fields import Fields, format_time
from controller.reasons import Reason


def delivery_to_dict(delivery: Delivery) -> dict[str, Any]:
    """Write a delivery as the CRD has it; what is absent is left out."""
    return _present(
        servedBy=delivery.served_by or None,
        etag=delivery.validator.etag,
        lastModified=delivery.validator.last_modified,
        length=delivery.length,
        mirror=delivery.mirror,
        skipped=[{"url": one.url, "reason": one.reason.value, "message": one.message} for one in delivery.skipped]
        or None,
        fetchedBytes=delivery.fetched_bytes,
    )


def read_delivery(fields: Fields | None) -> Delivery | None:
    """Read a delivery that `delivery_to_dict` wrote; None where there is none. Raises InvalidSpec."""
    if fields is None:
        return None
    delivery = Delivery(
        served_by=fields.text("servedBy") or "",
        validator=Validator(fields.text("etag"), fields.text("lastModified")),
        length=fields.integer("length"),
        mirror=fields.text("mirror"),
        skipped=tuple(_skipped(one) for one in fields.children("skipped")),
        fetched_bytes=fields.integer("fetchedBytes"),
    )
    return None if delivery == Delivery("") else delivery


def watch_to_dict(watch: Watch) -> dict[str, Any]:
    """Write a watch, as it stands beside the delivery; what is absent is left out."""
    seen = None
    if watch.seen is not None:
        seen = _present(
            etag=watch.seen.validator.etag,
            lastModified=watch.seen.validator.last_modified,
            length=watch.seen.length,
            digest=None if watch.seen.digest is None else str(watch.seen.digest),
        )
    checked_at = None if watch.checked_at is None else format_time(watch.checked_at)
    return _present(checkedAt=checked_at, checkError=watch.error or None, seen=seen)


def read_watch(fields: Fields | None) -> Watch:
    """Read a watch that `watch_to_dict` wrote. Raises InvalidSpec."""
    if fields is None:
        return Watch()
    seen = fields.child("seen")
    return Watch(
        checked_at=fields.time("checkedAt"),
        error=fields.text("checkError") or "",
        seen=None if seen is None else _sighting(seen),
    )


def _sighting(fields: Fields) -> Sighting:
    validator = Validator(fields.text("etag"), fields.text("lastModified"))
    return Sighting(validator, fields.integer("length"), fields.parsed("digest", Digest.parse))


def _present(**fields: object) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _skipped(fields: Fields) -> Skipped:
    return Skipped(
        url=fields.need("url", fields.text("url")),
        reason=fields.need("reason", fields.choice("reason", Reason)),
        message=fields.text("message") or "",
    )
