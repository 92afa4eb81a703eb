"""The content is known: see to it that every storage of the image has it, then let go of what it replaces."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from controller.model.delivery import Delivery
from controller.model.digest import Digest
from controller.model.image import Content, Revision
from controller.model.transfer import Broken, Placed, Queued, Running, StoredRef, TransferRequest
from controller.plan import receipts, source
from controller.plan.case import Case, revision_of
from controller.plan.effects import Effect, Link, Plan, ReleaseTransfer, Unlink
from controller.plan.observed import StorageView
from controller.plan.status import Finding
from controller.plan.storages import NOT_FOR_US, UNKNOWN_LABELS
from controller.reasons import Reason


def known_revision(case: Case) -> Revision | None:
    """Return the verified revision that satisfies the spec, where one is known.

    Known is what the status says, what a claim on a storage says (a crash between placing and writing the status, or a
    wiped state), what the transfer of this very spec just placed, what another image of the namespace has, and what the
    history remembers although the bytes are gone.
    """
    spec = case.image.spec
    source_id = source.source_id(spec.url, spec.checksum_from)
    current = case.image.status.current
    if current is not None and source.satisfies(spec, current.content, current.source_id):
        proof = source.proof(spec, current.proof)
        delivery = _delivery_of(case, current, source_id)
        return replace(current, source_id=source_id, url=spec.url.redacted, proof=proof, delivery=delivery)
    claims = [
        claim
        for storage in case.observed.storages
        for claim in storage.refs or ()
        if claim.intact and source.satisfies(spec, claim.content, claim.source_id)
    ]
    if claims:
        best = max(claims, key=lambda claim: (claim.imported_at, claim.content.sha256.hex))
        proof = source.proof(spec, best.proof)
        claimed = Revision(best.content, best.source_id, best.url, best.imported_at, proof, best.delivery)
        delivery = _delivery_of(case, claimed, source_id)
        return replace(claimed, source_id=source_id, url=spec.url.redacted, delivery=delivery)
    placed = case.observed.transfers.get(case.key())
    if isinstance(placed, Placed) and _held(case, placed.content):
        return revision_of(placed, case)
    shared = case.observed.shared
    if shared is not None and source.satisfies(spec, shared.content, "") and _held(case, shared.content):
        proof, delivery = source.proof(spec, None), Delivery(shared.by, length=shared.length, fetched_bytes=0)
        return Revision(shared.content, source_id, spec.url.redacted, case.now, proof, delivery)
    return source.remembered(spec, case.image.status.history)


def _held(case: Case, content: Content) -> bool:
    return any(content.sha256 in storage.holds for storage in case.observed.storages)


def _delivery_of(case: Case, current: Revision, source_id: str) -> Delivery | None:
    """Return what is known of where the bytes came from; what a source called a version says nothing of another one."""
    fetched, known = _fetched(case, current.content), current.delivery
    if fetched is not None or known is None or source_id == current.source_id:
        return fetched or known
    return Delivery(known.served_by)


def _fetched(case: Case, content: Content) -> Delivery | None:
    """Return what the source said of a content that was fetched just now, in whichever way."""
    if not case.observed.transfers:
        return None
    ended = (case.observed.transfers.get(key) for key in (case.key(), case.key(content.sha256)))
    deliveries = (state.delivery for state in ended if isinstance(state, Placed) and state.content == content)
    return next((delivery for delivery in deliveries if delivery is not None), None)


@dataclass(frozen=True, slots=True)
class Spread:
    """Where the wanted content stands on the targets."""

    present: tuple[StorageView, ...]
    unreachable: tuple[StorageView, ...]
    closed: tuple[StorageView, ...]
    """Those that lack it and may take nothing now: Disabled, or not for the image's namespace."""
    missing: tuple[StorageView, ...]
    links: tuple[Link, ...]
    """Claims that can be made at once: the bytes are there."""
    renewals: tuple[Link, ...]
    """Claims that stand but name another source or proof than the spec does now."""

    @classmethod
    def of(cls, case: Case, wanted: Revision) -> "Spread":
        """Sort the targets."""
        present, unreachable, closed, missing = [], [], [], []
        links, renewals = [], []
        sha256 = wanted.content.sha256
        for storage in case.choice.targets:
            claim = storage.claim(sha256)
            there = claim is not None and claim.intact
            if not storage.reachable:
                unreachable.append(storage)
            elif there and (not storage.takes or _same_claim(case, claim, wanted)):
                present.append(storage)
            elif not storage.takes:
                closed.append(storage)
            elif there:
                present.append(storage)
                renewals.append(Link(storage.uuid, _claim(case, wanted)))
            elif sha256 in storage.holds and _entitled(case, sha256):
                links.append(Link(storage.uuid, _claim(case, wanted)))
            else:
                missing.append(storage)
        return cls(tuple(present), tuple(unreachable), tuple(closed), tuple(missing), tuple(links), tuple(renewals))


def _entitled(case: Case, sha256: Digest) -> bool:
    """Whether the image may have bytes that lie on a storage: it has a claim on them somewhere, a transfer of its own
    brought them or proved it, or another image of the namespace has them.

    A status is no right: whoever can write one could name what others stored.
    """
    claimed = any(storage.claim(sha256) is not None for storage in case.observed.storages)
    shared = case.observed.shared
    return claimed or bool(case.brought(sha256)) or (shared is not None and shared.content.sha256 == sha256)


def _same_claim(case: Case, claim: StoredRef | None, wanted: Revision) -> bool:
    if claim is None or claim.owner != case.image.meta.key.owner:
        return False
    return claim.source_id == wanted.source_id and claim.proof == wanted.proof


def _claim(case: Case, wanted: Revision) -> StoredRef:
    return StoredRef(
        content=wanted.content,
        source_id=wanted.source_id,
        install_path="",
        intact=True,
        imported_at=wanted.imported_at,
        proof=wanted.proof,
        url=wanted.url,
        owner=case.image.meta.key.owner,
        delivery=wanted.delivery,
    )


def settle(case: Case, wanted: Revision) -> Plan:
    """Bring `wanted` to every target, serve it, drop what it replaces; report what keeps it from being everywhere."""
    spread = Spread.of(case, wanted)
    if spread.links:
        names = ", ".join(_names(case, [link.storage_uuid for link in spread.links]))
        links = receipts.attached(case, spread.links, wanted)
        return case.not_ready_yet(f"claim {wanted.content.sha256} on {names}", links, again=True)
    if spread.missing:
        return _fill(case, wanted, spread)
    if not spread.present and not (case.choice.targets and spread.unreachable):
        if spread.closed:
            return case.waiting(*why_not(spread.closed))
        return case.waiting(Reason.DEPENDENCY_NOT_READY, case.choice.why)
    return _serve(case, wanted, spread)


def _serve(case: Case, wanted: Revision, spread: Spread) -> Plan:
    """Every reachable, enabled target has it."""
    current = wanted if spread.present else case.image.status.current
    history = _history(case, wanted) if spread.present else None
    after = case.release_all() + (() if history is None else _superseded(case, (wanted, *history)))
    held_back = (*spread.unreachable, *spread.closed)
    if case.choice.missing:
        finding = Finding(Reason.DEPENDENCY_NOT_READY, case.choice.why, reconciling=Reason.PROGRESSING)
    elif held_back:
        reason, message = why_not(held_back)
        finding = Finding(reason, message, reconciling=Reason.PROGRESSING)
    else:
        places = ", ".join(storage.name for storage in spread.present)
        more = _kept(spread.present) + _other_bytes(wanted)
        finding = Finding(Reason.SUCCEEDED, f"stored and verified on {places}{more}", ready=True)
    return case.ending(
        finding, current=current, history=history, effects=spread.renewals, after=after, requeue=case.resync
    )


def _other_bytes(wanted: Revision) -> str:
    """Name the sources that had something else under the same name: somebody should look at them."""
    skipped = wanted.delivery.skipped if wanted.delivery is not None else ()
    return "".join(f"; {one.url} was skipped: {one.message}" for one in skipped if one.reason in source.OTHER_BYTES)


def _kept(present: Iterable[StorageView]) -> str:
    """Say which copies stand where none would be placed any more."""
    names = [storage.name for storage in present if storage.permitted is False]
    return f"; kept on {', '.join(names)}, {NOT_FOR_US}: nothing new goes there" if names else ""


def _history(case: Case, wanted: Revision) -> tuple[Revision, ...]:
    """Return what stays beside `wanted`: what was served before it, then what stood before that.

    What only claims know of comes last, the newest import first: of an image out of the trash, after a lost state, or
    of a storage that could not be asked when the status was written.
    """
    status = case.image.status
    older = (status.current, *status.history) if status.current is not None else status.history
    known: dict[Digest, Revision] = {}
    for revision in (*older, *_claimed(case)):
        known.setdefault(revision.content.sha256, revision)
    known.pop(wanted.content.sha256, None)
    kept = [revision for revision in known.values() if _may_have(case, revision)]
    return tuple(kept)[: case.image.spec.revision_history_limit]


def _may_have(case: Case, revision: Revision) -> bool:
    """Whether a storage of the image has the bytes, or could not be asked: what is gone everywhere is no way back.

    Older revisions are not moved: those on a storage that the image no longer names go with it.
    """
    claims = (storage.claim(revision.content.sha256) for storage in case.choice.targets if storage.reachable)
    return any(not storage.reachable for storage in case.choice.targets) or any(
        claim is not None and claim.intact for claim in claims
    )


def _claimed(case: Case) -> list[Revision]:
    """Return the revisions that the image's good claims on its storages speak of, the newest import first."""
    claims = [claim for storage in case.choice.targets for claim in storage.refs or () if claim.intact]
    claims.sort(key=lambda claim: (claim.imported_at, claim.content.sha256.hex), reverse=True)
    return [
        Revision(claim.content, claim.source_id, claim.url, claim.imported_at, claim.proof, claim.delivery)
        for claim in claims
    ]


def _superseded(case: Case, kept: tuple[Revision, ...]) -> tuple[Effect, ...]:
    """Name the claims on other contents, and on storages no longer named: only now that the new one is there."""
    targets = {storage.uuid for storage in case.choice.targets}
    contents = {revision.content.sha256 for revision in kept}
    return tuple(
        Unlink(storage.uuid, claim.content.sha256)
        for storage in case.observed.storages
        if storage.reachable and storage.enabled and (storage.permitted is True or storage.uuid not in targets)
        for claim in storage.refs or ()
        if storage.uuid not in targets or claim.content.sha256 not in contents
    )


def _fill(case: Case, wanted: Revision, spread: Spread) -> Plan:
    """Some targets lack the content: copy it from a storage that has it, else fetch the source again, pinned."""
    if case.suspended:
        return case.suspended_plan()
    copy_from = _copied_from(case, wanted.content.sha256)
    current = wanted if copy_from is not None and _nothing_older(case) else None
    requests = _requests(case, wanted, spread, copy_from)
    states = {request: case.observed.transfers.get(request.key) for request in requests}
    for request, state in states.items():
        if isinstance(state, Placed):
            return case.not_ready_yet("forget a copy whose bytes are gone", (ReleaseTransfer(request.key),))
        if isinstance(state, Broken):
            trouble = {target.uuid: state.failure.reason for target in request.targets}
            broken, trouble = _not_healed(case, wanted, state, trouble) if copy_from is None else (state, trouble)
            return case.broken(request.key, broken, current=current, trouble=trouble)
    keep = case.brought(wanted.content.sha256)
    for request, state in states.items():
        if isinstance(state, Queued | Running):
            return case.under_way(request, state, current=current, keep=keep)
    if case.stalled_before:
        return case.still_stalled()
    if case.retry_at is not None:
        return case.retry_later()
    whence = copy_from.name if copy_from is not None else wanted.url
    places = ", ".join(storage.name for storage in spread.missing)
    return case.start(requests, f"copy {wanted.content.sha256} from {whence} to {places}", keep=keep)


def _not_healed(
    case: Case, wanted: Revision, broken: Broken, trouble: dict[str, Reason]
) -> tuple[Broken, dict[str, Reason]]:
    """Say that the bytes were there and are lost: why they are fetched is not why fetching them fails."""
    current = case.image.status.current
    if current is None or current.content.sha256 != wanted.content.sha256:
        return broken, trouble
    message = f"the stored copies are damaged or gone, and they could not be fetched again: {broken.failure.message}"
    failure = replace(broken.failure, message=message)
    return replace(broken, failure=failure), dict.fromkeys(trouble, Reason.STORAGE_DAMAGED)


def _requests(
    case: Case, wanted: Revision, spread: Spread, copy_from: StorageView | None
) -> tuple[TransferRequest, ...]:
    """One copy per missing target, or one pinned fetch for all of them."""
    content = wanted.content
    if copy_from is None:
        targets = tuple(storage.target for storage in spread.missing)
        return (case.request(case.key(content.sha256), targets, expected=content),)
    return tuple(
        case.request(
            source.copy_key(content, storage.uuid), (storage.target,), expected=content, copy_from=copy_from.target
        )
        for storage in spread.missing
    )


def _copied_from(case: Case, sha256: Digest) -> StorageView | None:
    if not _entitled(case, sha256):
        return None
    have = [storage for storage in case.observed.storages if storage.reachable and sha256 in storage.holds]
    have += [storage for storage in case.observed.storages if storage.serves(sha256)]
    return have[0] if have else None


def _nothing_older(case: Case) -> bool:
    current = case.image.status.current
    return current is None or not any(storage.serves(current.content.sha256) for storage in case.observed.storages)


def _names(case: Case, uuids: Iterable[str]) -> list[str]:
    by_uuid = {storage.uuid: storage.name for storage in case.observed.storages}
    return [by_uuid[uuid] for uuid in uuids]


def why_not(storages: Iterable[StorageView]) -> tuple[Reason, str]:
    """Say why storages cannot take or show bytes now."""
    parts = []
    reason = Reason.DEPENDENCY_NOT_READY
    for storage in storages:
        if not storage.reachable:
            reason = Reason.STORAGE_UNAVAILABLE
            parts.append(f"{storage.name} could not be asked: {storage.trouble or 'no answer'}")
        elif storage.permitted is not True:
            parts.append(f"may not use {storage.name}, {NOT_FOR_US if storage.permitted is False else UNKNOWN_LABELS}")
        else:
            parts.append(f"{storage.name} is Disabled")
    return reason, "; ".join(parts)
