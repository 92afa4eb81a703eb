"""The inventory record of an Image, as ZStack's image inventory has it.

Keys are sorted as in its documented sample, dates read `Oct 30, 2017 4:32:11 PM` (UTC here), an absent value is left
out except `description`. The inventory knows the status words Creating, Downloading and Ready only: what is not
Ready prints as Downloading. A URL never shows its query, which may hold a secret.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from controller.model.image import Phase, Ref, RefStatus
from controller.model.resource import Image

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TYPE = "zstack"
_READY, _NOT_READY = "Ready", "Downloading"


def reply(images: Iterable[Image]) -> dict[str, Any]:
    """Return the answer to a query, one record per image in the order given."""
    return {"inventories": [record(image) for image in images], "success": True}


def record(image: Image) -> dict[str, Any]:
    """Return the record of one image, keys sorted."""
    spec, status = image.spec, image.status
    content = status.current.content if status.current else None
    declared = spec.format.value if spec.format else None
    created = status.create_date or image.meta.created
    fields: dict[str, Any] = {
        "actualSize": content.size_bytes if content else None,
        "backupStorageRefs": [_ref(ref, status.uuid) for ref in status.refs],
        "createDate": date(created),
        "description": spec.description,
        "format": content.format.value if content else declared,
        "guestOsType": spec.guest_os_type,
        "lastOpDate": date(status.last_op_date or created),
        "md5Sum": content.md5.hex if content else None,
        "mediaType": spec.media_type.value,
        "name": spec.display_name or image.meta.key.name,
        "platform": spec.platform.value,
        "size": content.virtual_size_bytes if content else None,
        "state": spec.state.value,
        "status": _READY if status.phase is Phase.READY else _NOT_READY,
        "system": spec.system,
        "type": _TYPE,
        "url": spec.url.redacted,
        "uuid": status.uuid or spec.uuid,
    }
    return _sorted(fields)


def _ref(ref: Ref, image_uuid: str | None) -> dict[str, Any]:
    return _sorted(
        {
            "backupStorageUuid": ref.storage_uuid,
            "createDate": date(ref.create_date),
            "imageUuid": image_uuid,
            "installPath": ref.install_path,
            "lastOpDate": date(ref.last_op_date),
            "status": _READY if ref.status is RefStatus.READY else _NOT_READY,
        }
    )


def date(value: datetime) -> str:
    """Write an aware time as the inventory does: UTC, day and hour without zero padding, never localised."""
    utc = value.astimezone(UTC)
    half = "AM" if utc.hour < 12 else "PM"
    return f"{_MONTHS[utc.month - 1]} {utc.day}, {utc.year} {utc.hour % 12 or 12}:{utc:%M:%S} {half}"


def _sorted(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in sorted(fields) if fields[name] is not None}
