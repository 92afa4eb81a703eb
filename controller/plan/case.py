"""One image on its way through the decision table, and the endings that every branch shares."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.delivery import Delivery
from controller.model.digest import Digest
from controller.model.image import Content, ImageStatus, MediaType, Progress, Revision
from controller.model.resource import Image
from controller.model.transfer import Broken, Placed, Queued, Running, TransferRequest, TransferTarget
from controller.plan import retry, room, source, status, verified
from controller.plan.effects import Effect, Plan, ReleaseTransfer, StartTransfer
from controller.plan.observed import Limits, Observed, StorageView
from controller.plan.status import Finding
from controller.plan.storages import Choice, choose
from controller.reasons import Reason

SOON = timedelta(seconds=1)
"""How soon to look at a transfer just started: one that ends within this time costs no status write of its own."""
QUEUE_STEP_S = 0.2
"""Seconds per place in the queue until a waiting image looks at its place again."""

BEHIND = "waits for a transfer of the same source that is under way, to ask then whether the bytes may be shared"

MENDED_BY_SECRET = frozenset({Reason.AUTHENTICATION_FAILED, Reason.SIGNATURE_INVALID, Reason.POLICY_DENIED})
"""Why an image may be stalled that a change of a Secret, and of nothing in the image, puts right."""


def mended_by_secret(image: Image) -> bool:
    """Whether an image is stalled for a reason that a change of one of its Secrets may put right."""
    ready = conditions.find(image.status.conditions, ConditionType.READY)
    stalled = conditions.is_true(image.status.conditions, ConditionType.STALLED)
    return bool(image.spec.secrets) and stalled and ready is not None and ready.reason in MENDED_BY_SECRET


def _max_size_bytes(image: Image, limits: Limits) -> int:
    given = image.spec.max_size_bytes
    return limits.default_max_size_bytes if given is None else given


def transfer_keys(image: Image, limits: Limits) -> frozenset[str]:
    """Name the transfers of an image's source that may be under way, whoever started them."""
    status, size = image.status, _max_size_bytes(image, limits)
    known = (status.current, source.remembered(image.spec, status.history))
    pins = {None, *(one.content.sha256 for one in known if one is not None)}
    return frozenset(source.transfer_key(image.meta.key.namespace, image.spec, size, pinned) for pinned in pins)


@dataclass(frozen=True, slots=True)
class Case:
    """The arguments of `plan_image`, and what follows from them at once."""

    image: Image
    observed: Observed
    now: datetime
    limits: Limits
    choice: Choice

    @classmethod
    def of(cls, image: Image, observed: Observed, now: datetime, limits: Limits) -> "Case":
        """Choose the storages and bundle."""
        return cls(image, observed, now, limits, choose(image, observed))

    @property
    def uuid(self) -> str:
        """The image's uuid: given, or known already, or the object's uid without dashes."""
        return source.image_uuid(self.image)

    @property
    def max_size_bytes(self) -> int:
        """The bound on downloaded, stored and virtual size."""
        return _max_size_bytes(self.image, self.limits)

    def closed(self, into: frozenset[str]) -> list[str]:
        """Name the storages of this image, of those that a transfer writes to, which answer and may take nothing."""
        named = set(self.image.spec.backup_storages) | {storage.name for storage in self.choice.targets}
        return [
            storage.name
            for storage in self.observed.storages
            if storage.uuid in into and storage.name in named and storage.reachable and not storage.takes
        ]

    @property
    def suspended(self) -> bool:
        """Whether nothing may start; a request in the state wins over the manifest."""
        override = self.image.meta.suspend_override
        return self.image.spec.suspend if override is None else override

    @property
    def afresh(self) -> bool:
        """Whether the spec changed, or somebody asked to look again, since the status was written."""
        old, meta = self.image.status, self.image.meta
        asked = meta.requested_at is not None and meta.requested_at != old.last_handled_reconcile_at
        return asked or old.observed_generation != meta.generation

    @property
    def stalled_before(self) -> bool:
        """Whether the status says that trying again is pointless, and nothing changed since."""
        changed = self.afresh or self.observed.secrets_changed
        return not changed and conditions.is_true(self.image.status.conditions, ConditionType.STALLED)

    @property
    def retry_at(self) -> datetime | None:
        """When the next try is due; None: now."""
        due = None if self.afresh else self.image.status.next_retry_at
        return due if due is not None and due > self.now else None

    @property
    def attempts(self) -> int:
        """Failed tries so far."""
        return 0 if self.afresh else self.image.status.attempts

    @property
    def _mismatched_before(self) -> bool:
        ready = conditions.find(self.image.status.conditions, ConditionType.READY)
        return not self.afresh and ready is not None and ready.reason is Reason.CHECKSUM_MISMATCH

    def key(self, pinned: Digest | None = None) -> str:
        """Name the transfer that would fetch the source."""
        return source.transfer_key(self.image.meta.key.namespace, self.image.spec, self.max_size_bytes, pinned)

    def request(
        self,
        key: str,
        targets: tuple[TransferTarget, ...],
        *,
        expected: Content | None = None,
        copy_from: TransferTarget | None = None,
    ) -> TransferRequest:
        """Return the transfer of the spec's source, or of `expected` from `copy_from`, to `targets`."""
        spec = self.image.spec
        return TransferRequest(
            key=key,
            namespace=self.image.meta.key.namespace,
            url=spec.url,
            source_id=source.fingerprint(spec.url.text, str(spec.checksum or "")),
            targets=targets,
            checksum=spec.checksum,
            format=spec.format,
            iso_expected=spec.media_type is MediaType.ISO,
            max_size_bytes=self.max_size_bytes,
            timeouts=spec.timeouts,
            copy_from=copy_from,
            expected_content=expected,
            checksum_from=spec.checksum_from if expected is None else None,
            secret_ref=spec.secret_ref,
            mirrors=spec.mirrors if copy_from is None else (),
            known=self._known() if expected is None and spec.checksum_from is not None else (),
        )

    def _known(self) -> tuple[Content, ...]:
        """Return the contents that this image has a good claim on."""
        claims = (claim for storage in self.observed.storages for claim in storage.refs or () if claim.intact)
        return tuple({claim.content.sha256: claim.content for claim in claims}.values())

    # --- endings ------------------------------------------------------------------------------------------------

    def ending(
        self,
        finding: Finding,
        *,
        current: Revision | None = None,
        history: tuple[Revision, ...] | None = None,
        trouble: dict[str, Reason] | None = None,
        after: tuple[Effect, ...] = (),
        effects: tuple[Effect, ...] = (),
        requeue: timedelta | None = None,
    ) -> Plan:
        """Turn a finding into a plan. `current` and `history` None keep what the status has."""
        image = self.image
        current = current or image.status.current
        served = current is not None and any(
            storage.serves(current.content.sha256) for storage in self.observed.storages
        )
        if current is not None and not served:
            finding = replace(finding, unserved=self._lost())
        if finding.stalled or finding.reconciling is Reason.PROGRESSING_WITH_RETRY:
            trouble = dict.fromkeys((storage.uuid for storage in self.choice.targets), finding.reason) | (trouble or {})
        moving = finding.downloading
        refs = status.refs(image, self._told_of, current, trouble or {}, moving=moving, now=self.now)
        built = status.build(
            image,
            finding,
            current=current,
            history=history,
            available=served,
            verified_at=verified.verified_at(image.status, current, self.observed.storages),
            refs=refs,
            uuid=self.uuid,
            now=self.now,
        )
        return Plan(built, finding.message, effects=effects, after=after, requeue=requeue)

    @property
    def _told_of(self) -> tuple[StorageView, ...]:
        """The storages that have a ref: where the image belongs, and where nobody can ask whether its copy is gone.

        Who deletes such a storage gives up what lies there.
        """
        copied = {ref.storage_uuid for ref in self.image.status.refs if ref.install_path}
        left = (storage for storage in self.observed.storages if storage not in self.choice.targets)
        unknown = (one for one in left if one.uuid in copied and not one.reachable and not one.deleting)
        return (*self.choice.targets, *unknown)

    def _lost(self) -> Reason:
        """Say why nobody shows a copy of a revision that was verified once: damaged or gone, or not known."""
        away = any(not storage.reachable for storage in self.choice.targets)
        return Reason.STORAGE_UNAVAILABLE if away else Reason.STORAGE_DAMAGED

    def stalled(self, reason: Reason, message: str, *, after: tuple[Effect, ...] = ()) -> Plan:
        """End until the spec changes or somebody asks; resyncs go on, so that what is served stays watched."""
        finding = Finding(reason, message, stalled=True, attempts=self.attempts)
        return self.ending(finding, after=after + self.release_all(), requeue=self.resync)

    def waiting(self, reason: Reason, message: str, *, requeue: timedelta | None = None) -> Plan:
        """Wait for another object: no attempt is counted."""
        finding = Finding(reason, message, reconciling=Reason.PROGRESSING, attempts=self.attempts)
        return self.ending(finding, requeue=requeue or self.resync, trouble=self._unreachable())

    def suspended_plan(self) -> Plan:
        """Start nothing, stop what runs (resumable). What is served stays served."""
        finding = Finding(Reason.SUSPENDED, "suspended: nothing is started", attempts=self.attempts)
        return self.ending(finding, effects=self.release_all(), requeue=self.resync)

    def broken(
        self, key: str, state: Broken, *, current: Revision | None = None, trouble: dict[str, Reason] | None = None
    ) -> Plan:
        """A try failed: again later, or never."""
        failure, advice = state.failure, ""
        if failure.reason is Reason.NO_SPACE:
            targets = {storage.uuid for storage in self.choice.targets}
            held = (one for one in self.observed.held if one.storage_uuid in targets)
            advice = room.advice(held, self.image.meta.key.namespace)
        decision = retry.after_failure(
            failure,
            advanced=state.advanced,
            attempts=self.attempts,
            mismatched_before=self._mismatched_before,
            waiting_since=self._not_ready_since,
            policy=self.image.spec.retry,
            seed=self.image.meta.uid,
            now=self.now,
        )
        release = (ReleaseTransfer(key),)
        if decision.next_retry_at is None:
            limit = "" if failure.terminal else f" (gave up after {decision.attempts} tries)"
            message = failure.message + limit + advice
            finding = Finding(failure.reason, message, stalled=True, attempts=decision.attempts)
            requeue = self._until_secrets(failure.reason)
            return self.ending(finding, current=current, after=release, requeue=requeue, trouble=trouble)
        finding = Finding(
            failure.reason,
            failure.message + advice,
            reconciling=Reason.PROGRESSING_WITH_RETRY,
            attempts=decision.attempts,
            next_retry_at=decision.next_retry_at,
        )
        wait = decision.next_retry_at - self.now
        return self.ending(finding, current=current, after=release, requeue=wait, trouble=trouble)

    def retry_later(self) -> Plan:
        """The next try is not due yet: what the status says of it still holds."""
        due = self.retry_at or self.now
        return Plan(self._same_but_copies, "waits for the next try", requeue=due - self.now)

    def still_stalled(self) -> Plan:
        """Nothing changed since the status said that trying again is pointless."""
        text = "stalled until the spec changes or a reconcile is asked for"
        ready = conditions.find(self.image.status.conditions, ConditionType.READY)
        return Plan(self._same_but_copies, text, requeue=self._until_secrets(ready.reason if ready else None))

    @property
    def _same_but_copies(self) -> ImageStatus:
        """What was tried still holds, but copies are where they are; the commit may be another with the same spec."""
        seen = status.seen_again(self.image, self.observed.storages, now=self.now)
        return replace(seen, observed_revision=self.image.meta.revision)

    def brought(self, sha256: Digest) -> frozenset[str]:
        """Name the ended transfers that brought a content, or proved the right to it: until it is claimed, they alone
        say so.
        """
        states = self.observed.transfers.items()
        return frozenset(key for key, one in states if isinstance(one, Placed) and one.content.sha256 == sha256)

    def under_way(
        self,
        request: TransferRequest,
        state: Queued | Running,
        *,
        current: Revision | None = None,
        keep: frozenset[str] = frozenset(),
    ) -> Plan:
        """Report on a transfer that waits or runs; join it where another image started it."""
        effects = self.release_all(but=frozenset({request.key}) | keep)
        if request.key not in self.observed.owned:
            effects += (StartTransfer(request),)
        if isinstance(state, Queued):
            finding = Finding(
                Reason.QUEUED,
                BEHIND if state.behind else "waits for a transfer slot",
                reconciling=Reason.QUEUED,
                queue_position=None if state.behind else state.position,
                attempts=self.attempts,
            )
            wait = max(self.limits.progress_interval_s, QUEUE_STEP_S * state.position)
        else:
            finding = Finding(
                Reason.PROGRESSING,
                "the transfer is running",
                reconciling=Reason.PROGRESSING,
                downloading=True,
                progress=Progress(state.bytes, state.total_bytes),
                attempts=self.attempts,
            )
            wait = self.limits.progress_interval_s
        return self.ending(finding, current=current, effects=effects, requeue=timedelta(seconds=wait))

    def start(self, requests: tuple[TransferRequest, ...], summary: str, *, keep: frozenset[str] = frozenset()) -> Plan:
        """Begin transfers; the status waits until it is clear that they do not end at once."""
        stale = self.release_all(but=frozenset(request.key for request in requests) | keep)
        return self.not_ready_yet(summary, stale + tuple(StartTransfer(request) for request in requests))

    def not_ready_yet(self, summary: str, effects: tuple[Effect, ...], *, again: bool = False) -> Plan:
        """Do something soon over and leave the status as it is, unless it says Ready for this very spec: it is not."""
        old = self.image.status
        ready = conditions.is_true(old.conditions, ConditionType.READY)
        if not ready or old.observed_generation != self.image.meta.generation:
            return Plan(old, summary, effects=effects, again=again, requeue=SOON)
        finding = Finding(Reason.PROGRESSING, summary, reconciling=Reason.PROGRESSING, downloading=True)
        return replace(self.ending(finding, effects=effects, requeue=SOON), again=again)

    def release_all(self, *, but: frozenset[str] = frozenset()) -> tuple[Effect, ...]:
        """Let go of every transfer of this image, save those named; looks at the source are no part of it."""
        owned = sorted(key for key in self.observed.owned - but if not key.startswith(source.LOOK))
        return tuple(ReleaseTransfer(key) for key in owned)

    @property
    def resync(self) -> timedelta:
        """Until the copies are looked at again; jittered by object, so that 10,000 do not come at once."""
        seconds = self.limits.resync_interval_s * retry.jitter(self.image.meta.uid)
        return timedelta(seconds=seconds)

    def _until_secrets(self, reason: Reason | None) -> timedelta:
        """Until a stalled image is looked at again: soon, and ever more seldom, where a changed Secret may mend it."""
        if reason not in MENDED_BY_SECRET or not self.image.spec.secrets:
            return self.resync
        return retry.waiting(self._not_ready_since, self.image.spec.retry, self.image.meta.uid, self.now)

    @property
    def _not_ready_since(self) -> datetime | None:
        ready = conditions.find(self.image.status.conditions, ConditionType.READY)
        return None if ready is None or ready.status else ready.last_transition_time

    def _unreachable(self) -> dict[str, Reason]:
        return {storage.uuid: Reason.STORAGE_UNAVAILABLE for storage in self.choice.targets if not storage.reachable}


def revision_of(placed: Placed, case: Case) -> Revision:
    """Return the revision that a finished transfer brought."""
    spec = case.image.spec
    proof = source.proof(spec, placed.proof)
    source_id = source.source_id(spec.url, spec.checksum_from)
    delivery, current = placed.delivery, case.image.status.current
    if delivery is None and current is not None and current.delivery is not None and current.content == placed.content:
        delivery = Delivery(current.delivery.served_by)
    return Revision(placed.content, source_id, spec.url.redacted, case.now, proof, delivery)
