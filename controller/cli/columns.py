"""The columns of `get`: the printer columns of the CRDs, in the same order."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from controller.cli import screen
from controller.model import git, quantity
from controller.model.resource import Kind
from controller.model.stored import Stored

if TYPE_CHECKING:
    from controller.cli.usage import Usages

NONE = "-"
Cell = Callable[[Stored, datetime], str]


def ready(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the Ready condition, empty where there is none."""
    conditions = document["status"].get("conditions", ())
    return next((condition for condition in conditions if condition["type"] == "Ready"), {})


def _spec(name: str) -> Cell:
    return lambda stored, _: str(stored.document["spec"].get(name, NONE))


def _status(name: str, absent: str = NONE) -> Cell:
    return lambda stored, _: str(stored.document["status"].get(name, absent))


def _ready(name: str, absent: str = NONE) -> Cell:
    return lambda stored, _: str(ready(stored.document).get(name) or absent)


def _bytes(name: str) -> Cell:
    def cell(stored: Stored, _: datetime) -> str:
        size = stored.document["status"].get(name)
        return NONE if size is None else quantity.format_bytes(size)

    return cell


def _age(stored: Stored, now: datetime) -> str:
    return screen.age(datetime.fromisoformat(stored.document["metadata"]["creationTimestamp"]), now)


def _percent(stored: Stored, _: datetime) -> str:
    percent = stored.document["status"].get("progress", {}).get("percent")
    return NONE if percent is None else f"{percent}%"


def _storages(stored: Stored, _: datetime) -> str:
    refs = stored.document["status"].get("backupStorageRefs", ())
    return ",".join(ref["backupStorageName"] for ref in refs if ref["status"] == "Ready") or NONE


def _revision(stored: Stored, _: datetime) -> str:
    revision = stored.document["status"].get("observedRevision")
    return NONE if revision is None else git.short(revision)


def _scrubbed(stored: Stored, now: datetime) -> str:
    finished = stored.document["status"].get("lastScrub", {}).get("finishedAt")
    return NONE if finished is None else screen.age(datetime.fromisoformat(finished), now)


def _quarantine(stored: Stored, _: datetime) -> str:
    held = stored.document["status"].get("quarantine")
    return NONE if held is None else quantity.format_bytes(held["bytes"])


_IMAGE: tuple[tuple[str, Cell], ...] = (
    ("NAME", lambda stored, _: stored.key.name),
    ("PHASE", _status("phase", "Pending")),
    ("READY", _ready("status", "False")),
    ("REASON", _ready("reason")),
    ("FORMAT", _status("format")),
    ("SIZE", _bytes("size")),
    ("AGE", _age),
)
_IMAGE_WIDE: tuple[tuple[str, Cell], ...] = (
    ("STORED", _bytes("actualSize")),
    ("PERCENT", _percent),
    ("ATTEMPTS", _status("attempts", "0")),
    ("STORAGES", _storages),
    ("REVISION", _revision),
    ("UUID", _status("uuid")),
    ("MESSAGE", _ready("message")),
)
_STORAGE: tuple[tuple[str, Cell], ...] = (
    ("NAME", lambda stored, _: stored.key.name),
    ("TYPE", _spec("type")),
    ("STATUS", _status("status", "Connecting")),
    ("READY", _ready("status", "False")),
    ("REASON", _ready("reason")),
    ("AVAILABLE", _bytes("availableCapacity")),
    ("IMAGES", _status("images", "0")),
    ("AGE", _age),
)
_STORAGE_WIDE: tuple[tuple[str, Cell], ...] = (
    ("STATE", _spec("state")),
    ("TOTAL", _bytes("totalCapacity")),
    ("PATH", lambda stored, _: stored.document["spec"].get("imageStore", {}).get("path", NONE)),
    ("SCRUBBED", _scrubbed),
    ("QUARANTINE", _quarantine),
    ("UUID", _status("uuid")),
    ("MESSAGE", _ready("message")),
)
_USED = ("CURRENT", "HISTORY", "TRASH")
_NAMESPACE: tuple[tuple[str, Cell], ...] = (("NAMESPACE", lambda stored, _: stored.key.namespace),)


def table(
    kind: Kind,
    found: Sequence[Stored],
    now: datetime,
    *,
    wide: bool = False,
    namespaces: bool = False,
    usages: "Usages | None" = None,
) -> tuple[list[str], list[list[str]]]:
    """Return headers and rows. A deleted object says so in place of its phase.

    `usages`: what the bytes on each storage are for, shown before its message.
    """
    columns = _IMAGE if kind is Kind.IMAGE else _STORAGE
    if wide:
        columns += _IMAGE_WIDE if kind is Kind.IMAGE else _STORAGE_WIDE
    if namespaces and kind is Kind.IMAGE:
        columns = _NAMESPACE + columns
    rows = [[cell(stored, now) for _, cell in columns] for stored in found]
    headers = [header for header, _ in columns]
    for place in (headers.index(name) for name in ("PHASE", "STATUS") if name in headers):
        for row, stored in zip(rows, found, strict=True):
            if "deletionTimestamp" in stored.document["metadata"]:
                row[place] = "Deleting"
    if usages is not None:
        headers[-1:-1] = _USED
        for row, stored in zip(rows, found, strict=True):
            row[-1:-1] = _used(usages, stored.key.name)
    return headers, rows


def _used(usages: "Usages", name: str) -> list[str]:
    usage = usages.get(name)
    if usage is None:
        return [NONE] * len(_USED)
    return [quantity.format_bytes(size) for size in (usage.total.current, usage.total.history, usage.total.trash)]
