"""What becomes of a source that changes by itself: when it is looked at, what a look says, and what follows from it.

A look is a transfer without targets. It never touches what is served: a look that fails says nothing of the image, and
a change that it finds is either told (Notify) or imported beside what is served (Import). The bytes of a revision stay
pinned: a lost copy is rebuilt from the very same bytes or not at all.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.delivery import Validator, Watch
from controller.model.image import ImageStatus, Revision, UpdatePolicy
from controller.model.transfer import Broken, Looked, Placed, StoredRef, TransferRequest
from controller.plan import retry, sighting, source
from controller.plan.case import Case, revision_of
from controller.plan.effects import Effect, Plan, ReleaseTransfer, StartTransfer
from controller.reasons import Reason


def _subject(case: Case, status: ImageStatus | None = None) -> Revision | None:
    """Return the revision whose source is looked at: the one that is served, if the spec still asks for it."""
    current, spec = (status or case.image.status).current, case.image.spec
    if current is None or case.suspended or not sighting.watched(spec):
        return None
    return current if source.satisfies(spec, current.content, current.source_id) else None


# --- when to look ---------------------------------------------------------------------------------------------------


def watch(case: Case, plan: Plan) -> Plan:
    """Add to a plan the look that is due, or when it will be; let go of looks at what is no longer served."""
    subject = _subject(case, plan.status)
    request = None if subject is None else _request(case, subject)
    stale = tuple(ReleaseTransfer(key) for key in _looks(case) if request is None or key != request.key)
    if stale:
        plan = replace(plan, effects=plan.effects + stale)
    if subject is None or request is None or plan.again:
        return plan
    if request.key in case.observed.owned:
        wait = _told_to_wait(case, request.key)
        return replace(plan, looking=True) if wait is None else _comes_again(plan, request.key, wait)
    wait = _due(case, subject, plan.status.watch.checked_at) - case.now
    if wait > timedelta(0):
        return replace(plan, requeue=wait if plan.requeue is None else min(plan.requeue, wait))
    effects: tuple[Effect, ...] = (*plan.effects, StartTransfer(request))
    return replace(plan, effects=effects, looking=True, summary=f"{plan.summary}; look at the source")


def _told_to_wait(case: Case, key: str) -> timedelta | None:
    """Return how long a look has to wait until its origin may be asked; None: it was not told to."""
    state = case.observed.transfers.get(key)
    if not isinstance(state, Broken) or state.failure.reason is not Reason.QUEUED:
        return None
    return state.failure.retry_after or timedelta(seconds=case.limits.progress_interval_s)


def _comes_again(plan: Plan, key: str, wait: timedelta) -> Plan:
    """Let go of a look that has to wait. It holds up nothing else: the plan is what it would be without it."""
    effects: tuple[Effect, ...] = (*plan.effects, ReleaseTransfer(key))
    requeue = wait if plan.requeue is None else min(plan.requeue, wait)
    return replace(plan, effects=effects, requeue=requeue, summary=f"{plan.summary}; the look at the source waits")


def _due(case: Case, subject: Revision, checked_at: datetime | None) -> datetime:
    """Return when the next look is due: counted from the last one, or the import, with 0 to 20 % on top.

    A time that is still to come, by a clock that was set back, counts for nothing.
    """
    meta, status = case.image.meta, case.image.status
    if meta.requested_at is not None and meta.requested_at != status.last_handled_reconcile_at:
        return case.now
    seconds = (case.image.spec.interval or timedelta(0)).total_seconds() * retry.jitter(meta.uid)
    past = [time for time in (subject.imported_at, checked_at) if time is not None and time <= case.now]
    return max(past) + timedelta(seconds=seconds) if past else case.now


def _looks(case: Case) -> list[str]:
    return sorted(key for key in case.observed.owned if key.startswith(source.LOOK))


def _request(case: Case, subject: Revision) -> TransferRequest:
    """Ask whoever served the bytes: another mirror calls the same bytes by another name."""
    mirror = None if subject.delivery is None else subject.delivery.mirror
    asked = tuple(one for one in case.image.spec.mirrors if one.redacted == mirror)[:1]
    base = case.request(case.key(), ())
    key = source.LOOK + source.fingerprint(base.key, *(one.text for one in asked))
    return replace(base, key=key, look=True, mirrors=asked, known=())


# --- what a look says -----------------------------------------------------------------------------------------------


def note(case: Case) -> Plan | None:
    """Write down what a look said; None: none has ended."""
    for key in _looks(case):
        state = case.observed.transfers.get(key)
        if isinstance(state, Looked | Broken) and (_told_to_wait(case, key) is None or not _is_current(case, key)):
            return _noted(case, key, state)
    return None


def _is_current(case: Case, key: str) -> bool:
    """Whether it is the look at what is served now, not at what was before."""
    subject = _subject(case)
    return subject is not None and key == _request(case, subject).key


def _noted(case: Case, key: str, state: Looked | Broken) -> Plan:
    release, old = (ReleaseTransfer(key),), case.image.status
    subject = _subject(case)
    if subject is None or not _is_current(case, key):
        return Plan(old, "forget a look at another source", effects=release, again=True)
    if isinstance(state, Broken):
        told = f"{state.failure.reason}: {state.failure.message}"
        return _write(case, replace(old.watch, checked_at=case.now, error=told), release)
    said = state.sighting
    differs = sighting.differs(subject, said)
    if not differs and sighting.nameless(subject) and said.validator != Validator():
        subject, differs = replace(subject, delivery=sighting.named(subject.delivery, said)), False
    if differs is None:
        return _write(case, replace(old.watch, checked_at=case.now, error=sighting.NAMELESS), release)
    return _write(case, Watch(case.now, "", said if differs else None), release, subject)


def _write(case: Case, watch: Watch, after: tuple[Effect, ...], current: Revision | None = None) -> Plan:
    """Put a look into the status. Readiness is not its business, save that an import is tried again at each look."""
    image = case.image
    status = replace(image.status, watch=watch, current=current or image.status.current)
    kept = [one for one in status.conditions if one.type is not ConditionType.UPSTREAM_CHANGED]
    changed = watch.seen is not None or image.status.watch.seen is not None
    if image.spec.update_policy is UpdatePolicy.IMPORT and changed and not watch.error:
        kept = [one for one in kept if one.type is not ConditionType.STALLED]
    told = sighting.condition(replace(image, status=status), status.current, watch, case.now)
    status = replace(status, conditions=conditions.merge(image.status.conditions, [*kept, *told]))
    return Plan(status, "the source was looked at", after=after, again=True)


# --- what follows, under Import -------------------------------------------------------------------------------------


def pending(case: Case) -> bool:
    """Whether the source has something that the image should have and has not."""
    importing = case.image.spec.update_policy is UpdatePolicy.IMPORT
    return importing and _subject(case) is not None and case.image.status.watch.seen is not None


def newer(case: Case) -> Revision | None:
    """Return the revision that was imported because the source changed; None: it is not there yet.

    It is what the transfer placed, or what was claimed after the look by an instance that was stopped before it wrote
    the status.
    """
    placed = case.observed.transfers.get(case.key())
    if isinstance(placed, Placed) and any(placed.content.sha256 in storage.holds for storage in case.observed.storages):
        return revision_of(placed, case)
    found = list(_claims_since(case))
    if not found:
        return None
    best = max(found, key=lambda claim: (claim.imported_at, claim.content.sha256.hex))
    spec = case.image.spec
    proof = source.proof(spec, best.proof)
    return Revision(best.content, best.source_id, spec.url.redacted, best.imported_at, proof)


def _claims_since(case: Case) -> Iterator[StoredRef]:
    status, spec = case.image.status, case.image.spec
    since, current = status.watch.checked_at, status.current
    if since is None or current is None:
        return
    for storage in case.observed.storages:
        for claim in storage.refs or ():
            other = claim.intact and claim.content != current.content and claim.imported_at > since
            if other and source.satisfies(spec, claim.content, claim.source_id):
                yield claim


def caught_up(case: Case, found: Revision) -> Plan | None:
    """Take down that what was fetched is what is served: the version has another name, or the list changed back."""
    status = case.image.status
    if status.current is None or found.content.sha256 != status.current.content.sha256:
        return None
    current = replace(status.current, delivery=found.delivery or status.current.delivery)
    plan = _write(case, Watch(status.watch.checked_at), case.release_all(), current)
    return replace(plan, summary="the source has what is served, under another name")
