"""Import receipts, read beside the bytes on the storages of an image."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from controller import errors
from controller.adapters.backup.factory import BackupStorages
from controller.adapters.clock import SystemClock
from controller.cli import screen
from controller.model import quantity
from controller.model.digest import Algorithm, Digest
from controller.model.receipt import PREDICATE_TYPE, How
from controller.model.resource import BackupStorage
from controller.plan import source

Receipts = Sequence[tuple[str, Mapping[str, Any]]]
"""Name of the storage, and the statement of the claim there."""
_ORDER = tuple(how.value for how in How)


def of_image(status: Mapping[str, Any], storages: Sequence[BackupStorage]) -> Receipts:
    """Return the receipts of the copies that are served; of those that have one, on storages that can be asked."""
    current, uuid = status.get("current"), status.get("uuid")
    if current is None or uuid is None:
        return []
    sha256, build, found = Digest(Algorithm.SHA256, current["sha256"]), BackupStorages(SystemClock()), []
    by_uuid = {source.storage_uuid(storage): storage for storage in storages}
    for ref in status.get("backupStorageRefs", ()):
        storage = by_uuid.get(ref["backupStorageUuid"])
        if storage is None:
            continue
        try:
            receipt = build(ref["backupStorageUuid"], storage.spec).receipt(uuid, sha256)
        except errors.StorageUnavailable:
            continue
        if receipt is not None and receipt.get("predicateType") == PREDICATE_TYPE:
            found.append((ref["backupStorageName"], receipt))
    return found


def best(receipts: Receipts) -> str:
    """Return, as JSON, the receipt that says most: of the download where there is one.

    Raises:
        NotFound: there is none.

    """
    if not receipts:
        raise errors.NotFound(
            "no receipt lies beside a copy that is served: an older version imported it, or no storage answers"
        )
    told = {receipt["predicate"].get("how"): receipt for _, receipt in receipts}
    statement = next(told[how] for how in (*_ORDER, *told) if how in told)
    fields = ("_type", "subject", "predicateType", "predicate")
    return json.dumps({name: statement.get(name) for name in fields}, indent=2)


def lines(receipts: Receipts, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield (storage, what was done for the copy there)."""
    for storage, receipt in receipts:
        predicate = receipt["predicate"]
        age = screen.age(datetime.fromisoformat(predicate["finishedAt"]), now)
        done = f"{predicate['how']} {age} ago by {predicate['tool']['name']} {predicate['tool']['version']}"
        yield storage, done + _more(predicate)


def _more(predicate: Mapping[str, Any]) -> str:
    if "copiedFrom" in predicate:
        return f", from storage {predicate['copiedFrom']['storage']}"
    fetched = predicate.get("source")
    if fetched is None:
        asked = predicate.get("confirmedBy")
        named = "" if asked is None else f", which {asked['servedBy']} named"
        return f", from bytes that lay there already{named}"
    address = f" at {fetched['address']}" if "address" in fetched else ""
    proxy = f" (proxy {fetched['proxy']})" if "proxy" in fetched else ""
    size = quantity.format_bytes(fetched["fetchedBytes"])
    resumed = f" and {quantity.format_bytes(fetched['resumedBytes'])} resumed" if fetched["resumedBytes"] else ""
    # what was fetched in vain counts too: of sources that were skipped, or begun anew
    in_all = " in all" if fetched["fetchedBytes"] > fetched.get("bytes", 2**63) else ""
    return f", from {fetched['servedBy']}{address}{proxy}: {size} fetched{in_all}{resumed}"
