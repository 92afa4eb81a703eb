"""How a decision reads as a status: phase, conditions, refs. Pure; the only place that builds an ImageStatus."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from controller.model import conditions
from controller.model.conditions import Condition, ConditionType
from controller.model.image import ImageStatus, Phase, Progress, Ref, RefStatus, Revision
from controller.model.resource import Image
from controller.plan import sighting, verified
from controller.plan.observed import StorageView
from controller.reasons import Reason


@dataclass(frozen=True, slots=True)
class Finding:
    """What a plan found out. Exactly one of ready, `reconciling` and `stalled` is meant, or none when suspended.

    `reason` and `message` explain `Ready`; `reconciling` is the reason of that condition where work goes on.
    """

    reason: Reason
    message: str
    ready: bool = False
    stalled: bool = False
    reconciling: Reason | None = None
    downloading: bool = False
    progress: Progress | None = None
    queue_position: int | None = None
    attempts: int = 0
    next_retry_at: datetime | None = None
    unserved: Reason | None = None
    """Why the known revision is not served, where that is another reason than `reason`."""


def build(
    image: Image,
    finding: Finding,
    *,
    current: Revision | None,
    history: tuple[Revision, ...] | None = None,
    available: bool,
    verified_at: datetime | None,
    refs: tuple[Ref, ...],
    uuid: str,
    now: datetime,
) -> ImageStatus:
    """Return the next status; `history` None keeps what there is.

    `last_op_date` moves only where something but progress changed.
    """
    old = image.status
    watch = sighting.kept(image, current)
    status = ImageStatus(
        uuid=uuid,
        phase=_phase(finding, available=available),
        observed_generation=image.meta.generation,
        observed_revision=image.meta.revision,
        current=current,
        history=old.history if history is None else history,
        refs=refs,
        progress=finding.progress,
        queue_position=finding.queue_position,
        attempts=finding.attempts,
        next_retry_at=finding.next_retry_at,
        last_handled_reconcile_at=image.meta.requested_at,
        create_date=old.create_date or image.meta.created,
        last_op_date=old.last_op_date,
        verified_at=verified_at,
        watch=watch,
        paravirtualized=image.spec.paravirtualized,
        conditions=conditions.merge(
            old.conditions,
            (
                *_conditions(image, finding, current=current, available=available, verified_at=verified_at, now=now),
                *sighting.condition(image, current, watch, now),
            ),
        ),
    )
    if old.last_op_date is None or _without_progress(status) != _without_progress(old):
        status = replace(status, last_op_date=now)
    return status


def _without_progress(status: ImageStatus) -> ImageStatus:
    return replace(status, progress=None, queue_position=None)


def _phase(finding: Finding, *, available: bool) -> Phase:
    if available:
        return Phase.READY
    if finding.stalled:
        return Phase.FAILED
    return Phase.DOWNLOADING if finding.downloading else Phase.PENDING


def _conditions(
    image: Image,
    finding: Finding,
    *,
    current: Revision | None,
    available: bool,
    verified_at: datetime | None,
    now: datetime,
) -> Iterable[Condition]:
    def condition(kind: ConditionType, status: bool, reason: Reason, message: str) -> Condition:
        return Condition(kind, status, reason, message, image.meta.generation, now)

    yield condition(ConditionType.READY, finding.ready, finding.reason, finding.message)
    if available and current is not None:
        text = f"serves {current.content.sha256}"
        yield condition(ConditionType.AVAILABLE, True, Reason.SUCCEEDED, text)
    else:
        text = "no verified revision is served"
        yield condition(ConditionType.AVAILABLE, False, finding.unserved or finding.reason, text)
    if finding.stalled:
        yield condition(ConditionType.STALLED, True, finding.reason, finding.message)
    elif finding.reconciling is not None:
        yield condition(ConditionType.RECONCILING, True, finding.reconciling, finding.message)
    if current is not None:
        lost = not available and finding.unserved is Reason.STORAGE_DAMAGED
        text = "its copies are damaged or gone; it was " * lost + verified.told(current, verified_at)
        yield condition(ConditionType.VERIFIED, not lost, Reason.STORAGE_DAMAGED if lost else Reason.SUCCEEDED, text)


def ref(
    image: Image,
    storage: StorageView,
    revision: Revision | None,
    trouble: Reason | None,
    *,
    moving: bool,
    now: datetime,
) -> Ref | None:
    """Return the ref of one storage as it was seen just now; None where nothing is there and nothing is on its way.

    `moving`: a transfer runs that brings what is missing to where it may go.
    """
    old = next((ref for ref in image.status.refs if ref.storage_uuid == storage.uuid), None)
    path, status, reason = "", RefStatus.FAILED, trouble
    claim = storage.claim(revision.content.sha256) if revision else None
    if not storage.reachable:
        if old is None:
            return None
        path, status, reason = old.install_path, RefStatus.UNKNOWN, Reason.STORAGE_UNAVAILABLE
    elif claim is not None and claim.intact:
        path, status, reason = claim.install_path, RefStatus.READY, None
    elif trouble is None and moving and storage.takes:
        status = RefStatus.DOWNLOADING
    elif trouble is None and _had(image, old, revision):
        reason = Reason.STORAGE_DAMAGED
    elif trouble is None:
        return None
    built = Ref(
        storage_uuid=storage.uuid,
        storage_name=storage.name,
        install_path=path,
        status=status,
        create_date=old.create_date if old else now,
        last_op_date=now,
        reason=reason,
    )
    return old if old is not None and replace(built, last_op_date=old.last_op_date) == old else built


def _had(image: Image, old: Ref | None, revision: Revision | None) -> bool:
    """Whether a storage had a copy of this very revision that was never dropped: it is damaged or gone."""
    current = image.status.current
    same = current is not None and revision is not None and current.content == revision.content
    return (
        same
        and not image.meta.deleting
        and old is not None
        and (old.install_path != "" or old.reason is Reason.STORAGE_DAMAGED)
    )


def refs(
    image: Image,
    storages: Iterable[StorageView],
    revision: Revision | None,
    trouble: dict[str, Reason],
    *,
    moving: bool,
    now: datetime,
) -> tuple[Ref, ...]:
    """Return the refs of the given storages; `trouble` names what keeps a copy from them, by storage uuid."""
    built = (ref(image, storage, revision, trouble.get(storage.uuid), moving=moving, now=now) for storage in storages)
    return tuple(sorted((found for found in built if found is not None), key=lambda found: found.storage_name))
