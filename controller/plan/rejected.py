"""What the status says of a spec that passed the server's schema and cannot be read here: a CRD of another version."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from controller.model import conditions
from controller.model.backup_storage import BackupStorageStatus
from controller.model.conditions import Condition, ConditionType
from controller.model.image import ImageStatus, Phase
from controller.model.resource import BackupStorage, Image, Meta
from controller.reasons import Reason


def reject_image(image: Image, why: str, now: datetime) -> ImageStatus:
    """Return a status that is Stalled and keeps what is served. Nothing of `image.spec` counts."""
    old = image.status
    kept = [
        condition for condition in old.conditions if condition.type in {ConditionType.AVAILABLE, ConditionType.VERIFIED}
    ]
    status = replace(
        old,
        uuid=old.uuid or image.spec.uuid or image.meta.uid.replace("-", ""),
        phase=Phase.READY if old.phase is Phase.READY else Phase.FAILED,
        observed_generation=image.meta.generation,
        progress=None,
        queue_position=None,
        next_retry_at=None,
        last_handled_reconcile_at=image.meta.requested_at,
        create_date=old.create_date or image.meta.created,
        conditions=conditions.merge(old.conditions, [*kept, *_stalled(image.meta, why, now)]),
    )
    return old if status == old else replace(status, last_op_date=now)


def reject_storage(storage: BackupStorage, why: str, now: datetime) -> BackupStorageStatus:
    """Return a status that is Stalled and keeps what was known."""
    old, meta = storage.status, storage.meta
    return replace(
        old,
        observed_generation=meta.generation,
        last_handled_reconcile_at=meta.requested_at,
        conditions=conditions.merge(old.conditions, _stalled(meta, why, now)),
    )


def _stalled(meta: Meta, why: str, now: datetime) -> Iterable[Condition]:
    yield Condition(ConditionType.READY, False, Reason.INVALID_SPEC, why, meta.generation, now)
    yield Condition(ConditionType.STALLED, True, Reason.INVALID_SPEC, why, meta.generation, now)
