"""The last steps of an image: nothing stays behind unasked, and nothing is called gone that could not be asked."""

from datetime import datetime, timedelta

from controller.model.image import DeletionPolicy
from controller.model.resource import FORCE_DELETE, Image
from controller.model.transfer import TrashRecord
from controller.plan import retry, settle, source, status
from controller.plan.effects import Discard, Effect, LetGo, Plan, ReleaseTransfer, Restore, Unlink
from controller.plan.observed import Observed, StorageView
from controller.plan.status import Finding
from controller.reasons import Reason

ASK_AGAIN = timedelta(seconds=60)
"""How soon to ask a storage again that holds a deletion up."""


def plan_deletion(image: Image, observed: Observed, now: datetime) -> Plan:
    """Stop transfers; drop every claim, or note in the trash until when it stays; then let go of the object.

    A storage that cannot be asked holds the object, unless the user says that it is given up.
    """
    direct = image.spec.deletion_policy is DeletionPolicy.DIRECT
    used = {ref.storage_uuid for ref in image.status.refs}
    forced = image.meta.annotations.get(FORCE_DELETE) == "true"
    blocking = [
        storage
        for storage in observed.storages
        if (not storage.reachable and (storage.uuid in used or storage.refs))
        or (direct and storage.refs and not storage.enabled)
    ]
    stop = tuple(ReleaseTransfer(key) for key in sorted(observed.owned))
    claimed = [storage for storage in observed.storages if storage.reachable and storage.refs]
    stale = tuple(
        Restore(storage.uuid)
        for storage in observed.storages
        if storage.trash is not None and (direct or not storage.refs)
    )
    effects = stop + stale + (_drop(claimed) if direct else _discard(image, claimed, now))
    if effects:
        what = "drop the bytes" if direct else "keep the bytes in the trash"
        return Plan(image.status, f"delete: {what}", effects=effects, again=True)
    if not blocking or forced:
        given_up = f"; given up: {settle.why_not(blocking)[1]}" if blocking else ""
        return Plan(image.status, f"delete: done{given_up}", after=(LetGo(),))
    return _wait(image, observed, *settle.why_not(blocking), now)


def _drop(claimed: list[StorageView]) -> tuple[Effect, ...]:
    return tuple(
        Unlink(storage.uuid, claim.content.sha256)
        for storage in claimed
        if storage.enabled
        for claim in storage.refs or ()
    )


def _discard(image: Image, claimed: list[StorageView], now: datetime) -> tuple[Effect, ...]:
    delay = image.spec.deletion_policy is DeletionPolicy.DELAY
    record = TrashRecord(
        image_uuid=source.image_uuid(image),
        namespace=image.meta.key.namespace,
        name=image.meta.key.name,
        deleted_at=now,
        expunge_at=now + image.spec.expunge_after if delay else None,
        serving=image.status.current.content.sha256 if image.status.current else None,
    )
    return tuple(
        Discard(storage.uuid, record)
        for storage in claimed
        if storage.trash is None or (storage.trash.expunge_at is None) != (record.expunge_at is None)
    )


def due(record: TrashRecord, living: frozenset[tuple[str, str]], now: datetime) -> bool:
    """Whether the bytes of a deleted image go now: its time is up, and the image does not live again."""
    return record.expunge_at is not None and record.expunge_at <= now and record.whose not in living


def _wait(image: Image, observed: Observed, reason: Reason, message: str, now: datetime) -> Plan:
    finding = Finding(reason, f"deletion waits: {message}", reconciling=Reason.PROGRESSING)
    current = image.status.current
    built = status.build(
        image,
        finding,
        current=current,
        available=False,
        verified_at=image.status.verified_at,
        refs=status.refs(image, observed.storages, current, {}, moving=False, now=now),
        uuid=source.image_uuid(image),
        now=now,
    )
    return Plan(built, finding.message, requeue=ASK_AGAIN * retry.jitter(image.meta.uid))
