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
    if old.last_op_date is not None:
        moved = status.progress != old.progress or status.queue_position != old.queue_position
        still = replace(status, progress=old.progress, queue_position=old.queue_position) if moved else status
        if still == old:
            return status
    return replace(status, last_op_date=now)


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
        last_op_date=old.last_op_date if old else now,
        reason=reason,
    )
    if old is None:
        return built
    return old if built == old else replace(built, last_op_date=now)


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


def seen_again(image: Image, storages: Iterable[StorageView], *, now: datetime) -> ImageStatus:
    """Return the status with what it says of copies as they were seen just now, by somebody who starts nothing.

    What was wanted and tried, and why that failed, stays. Where it says Ready and a copy is not there, it does not any
    more.
    """
    old, current = image.status, image.status.current
    if current is None or image.meta.deleting or conditions.find(old.conditions, ConditionType.READY) is None:
        return old
    views = {storage.uuid: storage for storage in storages}
    seen = (_seen(image, views.get(one.storage_uuid), one, current, now) for one in old.refs)
    told = tuple(one for one in seen if one is not None)
    lacking = [one for one in told if one.status is not RefStatus.READY]
    served = any(view.serves(current.content.sha256) for view in views.values())
    before = _before(old)
    if before.ready and lacking:
        lost = [one for one in lacking if one.reason is Reason.STORAGE_DAMAGED]
        reason = Reason.STORAGE_DAMAGED if lost else Reason.STORAGE_UNAVAILABLE
        names = ", ".join(one.storage_name for one in lost or lacking)
        text = f"the copy on {names} {'is damaged or gone' if lost else 'could not be looked at'}"
        before = Finding(reason, text, reconciling=Reason.PROGRESSING)
    unknown = any(one.status is RefStatus.UNKNOWN for one in told)
    finding = replace(before, unserved=Reason.STORAGE_UNAVAILABLE if unknown else Reason.STORAGE_DAMAGED)
    at = verified.verified_at(old, current, views.values())
    fresh = _conditions(image, finding, current=current, available=served, verified_at=at, now=now)
    kept = [one for one in old.conditions if one.type is ConditionType.UPSTREAM_CHANGED]
    found = replace(
        old,
        phase=_phase(finding, available=served),
        refs=told,
        verified_at=at,
        conditions=conditions.merge(
            old.conditions, (*(replace(one, observed_generation=old.observed_generation) for one in fresh), *kept)
        ),
    )
    return found if found == old else replace(found, last_op_date=now)


def _seen(image: Image, storage: StorageView | None, old: Ref, current: Revision, now: datetime) -> Ref | None:
    """Return what became of a ref; of a storage that does not exist any more nobody can say anything."""
    if storage is None:
        gone = replace(old, status=RefStatus.UNKNOWN, reason=Reason.STORAGE_UNAVAILABLE)
        return old if gone == old else replace(gone, last_op_date=now)
    known = old.reason if old.status is RefStatus.FAILED else None
    return ref(image, storage, current, known, moving=old.status is RefStatus.DOWNLOADING, now=now)


def _before(old: ImageStatus) -> Finding:
    """Return what the conditions of a status say was found."""
    by_type = {condition.type: condition for condition in old.conditions}
    ready, reconciling = by_type[ConditionType.READY], by_type.get(ConditionType.RECONCILING)
    return Finding(
        ready.reason,
        ready.message,
        ready=ready.status,
        stalled=conditions.is_true(old.conditions, ConditionType.STALLED),
        reconciling=reconciling.reason if reconciling is not None else None,
        downloading=old.phase is Phase.DOWNLOADING,
    )
