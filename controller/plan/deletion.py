"""The last steps of an image: nothing of it stays behind, and nothing is claimed to be gone that could not be asked."""

from datetime import datetime, timedelta

from controller.model.resource import Image
from controller.plan import retry, settle, status
from controller.plan.effects import LetGo, Plan, ReleaseTransfer, Unlink
from controller.plan.observed import Observed
from controller.plan.status import Finding
from controller.reasons import Reason

ASK_AGAIN = timedelta(seconds=60)
"""How soon to ask a storage again that holds a deletion up."""


def plan_deletion(image: Image, observed: Observed, now: datetime) -> Plan:
    """Stop transfers, drop every claim, then let go of the object. A storage that cannot be asked holds it."""
    stop = tuple(ReleaseTransfer(key) for key in sorted(observed.owned))
    used = {ref.storage_uuid for ref in image.status.refs}
    blocking = [
        storage
        for storage in observed.storages
        if (storage.uuid in used and not storage.reachable) or (storage.refs and not storage.enabled)
    ]
    unlinks = tuple(
        Unlink(storage.uuid, claim.content.sha256)
        for storage in observed.storages
        if storage.reachable and storage.enabled
        for claim in storage.refs or ()
    )
    if stop or unlinks:
        return Plan(image.status, f"delete: drop {len(unlinks)} copies", effects=stop + unlinks, again=True)
    if not blocking:
        return Plan(image.status, "delete: nothing is left", after=(LetGo(),))
    reason, message = settle.why_not(blocking)
    finding = Finding(reason, f"deletion waits: {message}", reconciling=Reason.PROGRESSING)
    current = image.status.current
    built = status.build(
        image,
        finding,
        current=current,
        available=False,
        refs=status.refs(image, observed.storages, current, {}, now=now),
        uuid=image.status.uuid or image.meta.uid.replace("-", ""),
        now=now,
    )
    return Plan(built, finding.message, requeue=ASK_AGAIN * retry.jitter(image.meta.uid))
