"""The decision of a BackupStorage: what the last probe means."""

from dataclasses import dataclass, replace
from datetime import datetime

from controller.model import conditions
from controller.model.backup_storage import BackupStorageStatus, Capacity, StorageStatus
from controller.model.conditions import Condition, ConditionType
from controller.model.quarantine import Quarantine
from controller.model.resource import BackupStorage
from controller.model.scrub import Scrub
from controller.model.transfer import Failure
from controller.plan import scrub, source
from controller.reasons import Reason


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe found: a capacity, or why it has none."""

    capacity: Capacity | None
    failure: Failure | None = None
    images: int | None = None
    """How many images have a copy on it; None: not counted."""
    quarantine: Quarantine | None = None
    """What lies in quarantine; None: not counted."""
    scrub: Scrub | None = None
    """What is known of the last scrub; None: nothing, or it could not be read."""
    scrubbing: bool = False
    """Whether this instance knows that of itself, not from what lies beside the bytes."""


def plan_storage(storage: BackupStorage, probed: Probed, now: datetime) -> BackupStorageStatus:
    """Return the next status. A storage that does not answer keeps its last known capacity."""
    old, generation = storage.status, storage.meta.generation
    going = "; is being deleted, which waits for the images that have a copy here" if storage.meta.deleting else ""

    def condition(kind: ConditionType, status: bool, reason: Reason, message: str) -> Condition:
        return Condition(kind, status, reason, message, generation, now)

    if probed.failure is None:
        new = [condition(ConditionType.READY, True, Reason.SUCCEEDED, f"answers, can be read and written{going}")]
    else:
        message = f"{probed.failure.message}{going}"
        new = [
            condition(ConditionType.READY, False, probed.failure.reason, message),
            condition(ConditionType.RECONCILING, True, Reason.PROGRESSING_WITH_RETRY, message),
        ]
    status = BackupStorageStatus(
        uuid=source.storage_uuid(storage),
        status=StorageStatus.CONNECTED if probed.failure is None else StorageStatus.DISCONNECTED,
        observed_generation=generation,
        capacity=probed.capacity or old.capacity,
        images=old.images if probed.images is None else probed.images,
        quarantine=old.quarantine if probed.quarantine is None else probed.quarantine,
        last_scrub=scrub.told(probed.scrub or old.last_scrub, running=probed.scrubbing),
        create_date=old.create_date or storage.meta.created,
        last_op_date=old.last_op_date,
        last_handled_reconcile_at=storage.meta.requested_at,
        conditions=conditions.merge(old.conditions, new),
    )
    if old.last_op_date is None or replace(status, capacity=old.capacity, last_scrub=old.last_scrub) != old:
        status = replace(status, last_op_date=now)
    return status
