"""The decision table of an Image: `plan_image(image, observed, now, limits)`.

The order is the life of an image: deletion, then the content where it is known (settle it on each storage), then the
import where it is not. Properties that hold always (tests/unit/plan): never stuck; no effect once settled; at most one
transfer per source; nothing old goes before the new is verified; *could not ask* is never *is not there*.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from controller.model.resource import Image
from controller.model.transfer import Broken, Placed, Queued, Running
from controller.plan import deletion, settle, source, upstream
from controller.plan.case import Case
from controller.plan.effects import Plan, ReleaseTransfer, Restore
from controller.plan.observed import Limits, Observed
from controller.reasons import Reason

PROBE_SOON = timedelta(seconds=1)
"""How soon to look again where a storage was not probed yet."""


def plan_image(image: Image, observed: Observed, now: datetime, limits: Limits) -> Plan:
    """Decide the next step of an image. Same arguments, same plan; no I/O and no clock."""
    if image.meta.deleting:
        return deletion.plan_deletion(image, observed, now)
    case = Case.of(image, observed, now, limits)
    if observed.foreign:
        return case.stalled(Reason.INVALID_SPEC, observed.foreign)
    if _succeeds(case):
        status = replace(image.status, uuid=observed.predecessor)
        return Plan(status, f"take over from the deleted image {observed.predecessor} of this name", again=True)
    if back := tuple(Restore(storage.uuid) for storage in observed.storages if storage.trash is not None):
        return Plan(image.status, "take the image out of the trash", effects=back, again=True)
    waiting = [storage.name for storage in case.choice.targets if storage.connected is None]
    if waiting:
        return Plan(image.status, f"waits for the first probe of {', '.join(waiting)}", requeue=PROBE_SOON)
    noted = upstream.note(case)
    return noted if noted is not None else upstream.watch(case, _decide(case))


def _decide(case: Case) -> Plan:
    """Settle the content that satisfies the spec, or fetch it."""
    known = settle.known_revision(case)
    if known is None:
        return _import(case)
    if upstream.pending(case):
        newer = upstream.newer(case)
        if newer is None:
            return _import(case)
        caught_up = upstream.caught_up(case, newer)
        if caught_up is not None:
            return caught_up
        known = newer
    ruled_out = source.contradiction(case.image.spec, known.content, case.max_size_bytes)
    if ruled_out is not None:
        return case.stalled(*ruled_out)
    return settle.settle(case, known)


def _succeeds(case: Case) -> bool:
    """Whether the image takes the uuid of its deleted predecessor over: nothing is known under the one it has."""
    own = any(storage.refs or storage.trash is not None for storage in case.observed.storages)
    return case.observed.predecessor not in {"", case.uuid} and not own


def _import(case: Case) -> Plan:
    """Nothing that satisfies the spec is known: fetch it."""
    if case.suspended:
        return case.suspended_plan()
    ready = [storage for storage in case.choice.targets if storage.reachable and storage.takes]
    request = case.request(case.key(), tuple(storage.target for storage in ready))
    match case.observed.transfers.get(request.key):
        case Broken() as state:
            return case.broken(request.key, state)
        case Queued() | Running() as state:
            if closed := case.closed(state.into):
                stop = (ReleaseTransfer(request.key),)
                return case.not_ready_yet(f"stop the transfer into {', '.join(closed)}", stop, again=True)
            return case.under_way(request, state)
        case Placed() as state:
            return _placed_but_gone(case, request.key, state)
        case None:
            pass
    if case.stalled_before:
        return case.still_stalled()
    if not case.choice.targets:
        return case.waiting(Reason.DEPENDENCY_NOT_READY, case.choice.why)
    if case.retry_at is not None:
        return case.retry_later()
    if not ready:
        return case.waiting(*settle.why_not(case.choice.targets))
    places = ", ".join(storage.name for storage in ready)
    return case.start((request,), f"fetch {case.image.spec.url.redacted} to {places}")


def _placed_but_gone(case: Case, key: str, placed: Placed) -> Plan:
    """Placed, yet no storage that could be asked shows it: fetch again, unless a storage that got it is away."""
    away = [storage for storage in case.observed.storages if storage.uuid in placed.stored and not storage.reachable]
    if away:
        return case.waiting(*settle.why_not(away), requeue=PROBE_SOON)
    return case.not_ready_yet("forget a transfer whose bytes are gone", (ReleaseTransfer(key),))
