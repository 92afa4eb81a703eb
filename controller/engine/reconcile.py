"""One pass over one image: observe, plan, execute, write the status. Why it was called says nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from controller import errors
from controller.engine.census import images
from controller.engine.execute import execute
from controller.engine.holders import Holders
from controller.engine.holdings import Holdings
from controller.engine.observe import observe
from controller.engine.predecessors import Predecessors
from controller.engine.rotations import Rotations
from controller.engine.storages import Storages
from controller.engine.usage import Measured
from controller.model.resource import Image, Key
from controller.model.transfer import Broken, Placed, TransferState
from controller.plan import source
from controller.plan.effects import Discard, LetGo, Link, Plan, Restore, StartTransfer, Unlink
from controller.plan.image import plan_image
from controller.plan.observed import Limits, Observed, StorageView
from controller.plan.status import seen_again
from controller.plan.storages import choose
from controller.ports import Clock, Resources, Secrets, Transfers
from controller.reasons import Reason

log = structlog.get_logger()

MAX_STEPS = 8
"""Plans in one pass: link, then settle, is two; more than a few means that an effect does not do what it says."""
CONFLICT_SOON = timedelta(seconds=0.2)
TROUBLE_SOON = timedelta(seconds=10)
"""How soon to look again after a storage failed in the middle of a pass."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`requeue` None: nothing until an event. `image` None: it is gone, or the pass broke off.

    `unanswered`: storages that did not answer although they should.
    """

    requeue: timedelta | None
    unanswered: tuple[str, ...] = ()
    image: Image | None = None
    gone: bool = False
    looking: bool = False
    """Whether its source is being looked at."""


def trouble_soon(error: errors.GoldmasterError) -> timedelta:
    """Return when to look again after an error in the middle of a pass; never before the other side said."""
    asked = error.retry_after if isinstance(error, errors.TransientError) else None
    return max(TROUBLE_SOON, asked or TROUBLE_SOON)


class ImageReconciler:
    """Reconciles images by key. Thread-safe as long as one thread has a key at a time."""

    def __init__(
        self,
        resources: Resources,
        storages: Storages,
        transfers: Transfers,
        clock: Clock,
        limits: Limits,
        holdings: Holdings,
        secrets: Secrets | None = None,
    ) -> None:
        self._resources = resources
        self._storages = storages
        self._transfers = transfers
        self._clock = clock
        self._limits = limits
        self._holdings = holdings
        self.rotations = Rotations(secrets)
        self._predecessors = Predecessors(storages, clock)
        self._measured = Measured(clock, lambda: images(resources))
        self.holders = Holders()

    def look(
        self, key: Key, hindered: Mapping[str, str] | None = None, image: Image | None = None
    ) -> tuple[Image, Observed, Plan] | None:
        """Observe and plan, changing nothing; None where the object is gone.

        `hindered`: storages, by uuid, that let nothing of a deleted image go a moment ago, and why. `image`: as it was
        read just now; None: it has to be read.
        """
        image = image or self._resources.image(key)
        if image is None:
            return None
        self._holdings.saw(image)
        observed = observe(image, self._storages, self._transfers, self._limits, self._holdings)
        if hindered:
            observed = replace(observed, storages=tuple(_hinder(view, hindered) for view in observed.storages))
        if self.rotations.since(image):
            observed = replace(observed, secrets_changed=True)
        if any(_is_full(state) for state in observed.transfers.values()):
            targets = {storage.uuid for storage in choose(image, observed).targets}
            full = [storage for storage in self._storages.all() if storage.connected and storage.uuid in targets]
            observed = replace(observed, held=self._measured.held(full))
        uuid = self._predecessors.uuid(image)
        if uuid and self._holder(key, uuid) == key:
            observed = replace(observed, predecessor=uuid)
        if observed.foreign:
            self.holders.forget(key)  # a storage shows it, which it could not when the image was looked at last
        elif (holder := self._holder(key, source.image_uuid(image))) != key:
            observed = replace(
                observed, foreign=f"spec.uuid is that of {holder.owner}: choose another, or leave it out"
            )
        return image, observed, plan_image(image, observed, self._clock.now(), self._limits)

    def _holder(self, key: Key, uuid: str) -> Key:
        """Return which living image has this uuid: the one with the best right to it of those that were looked at."""
        holder = self.holders.of(uuid, key)
        if holder == key:
            return key
        image, other = self._resources.image(key), self._resources.image(holder)
        has_it = other is not None and uuid in {other.spec.uuid, other.status.uuid, other.meta.uid.replace("-", "")}
        if has_it and (image is None or other is None or _right(other) <= _right(image)):
            return holder
        self.holders.give(uuid, key)
        return key

    def reconcile(self, key: Key, image: Image | None = None) -> Outcome:
        """Bring one image closer to its spec. Raises nothing that `controller.errors` calls transient.

        `image`: as it was read just now; None: it has to be read.
        """
        unanswered: tuple[str, ...] = ()
        hindered: dict[str, str] = {}
        try:
            for _ in range(MAX_STEPS):
                looked = self.look(key, hindered, image)
                if looked is None:
                    return Outcome(None, gone=True)
                image, observed, plan = looked
                unanswered = tuple(view.name for view in observed.storages if view.connected and view.refs is None)
                image = self._carry_out(image, plan, hindered)
                self._count(image, observed, plan)
                if not plan.again:
                    gone = LetGo() in plan.after
                    return Outcome(plan.requeue, unanswered, image, gone=gone, looking=plan.looking)
                image = None
        except errors.Conflict:
            return Outcome(CONFLICT_SOON, unanswered)
        except (errors.TransientError, errors.StorageDamaged) as exc:
            log.warning("image.pass_broken", image=str(key), reason=exc.reason, message=str(exc))
            return Outcome(trouble_soon(exc), unanswered)
        log.error("image.does_not_settle", image=str(key), steps=MAX_STEPS)
        return Outcome(TROUBLE_SOON, unanswered)

    def note(self, key: Key) -> None:
        """Write down how an image's copies look now, and start nothing: for who takes bytes away and goes.

        Raises Conflict, ClusterUnavailable.
        """
        image = self._resources.image(key)
        if image is None:
            return
        observed = observe(image, self._storages, self._transfers, self._limits, self._holdings)
        status = seen_again(image, observed.storages, now=self._clock.now())
        if status != image.status:
            self._resources.write_image_status(image, status)
            log.info("image.copies_noted", image=str(key), phase=status.phase.value)

    def _count(self, image: Image, observed: Observed, plan: Plan) -> None:
        """Count what was not fetched, as another image of the namespace has it."""
        shared = observed.shared
        brought = [state.content for state in observed.transfers.values() if isinstance(state, Placed)]
        claimed = [effect.ref.content for effect in plan.effects if isinstance(effect, Link)]
        if shared is not None and shared.content in claimed and shared.content not in brought:
            self._holdings.spared(image.spec.url.redacted, shared.content, shared.length)

    def _carry_out(self, image: Image, plan: Plan, hindered: dict[str, str]) -> Image:
        if plan.effects and not image.meta.finalized and not image.meta.deleting:
            image = self._resources.hold(image)
        uuid = source.image_uuid(image)
        if any(isinstance(effect, StartTransfer) for effect in plan.effects):
            self.rotations.tries(image)
        for effect in plan.effects:
            try:
                execute(effect, image, uuid, self._storages, self._transfers, self._resources)
            except (errors.TransientError, errors.StorageDamaged) as exc:
                if not (image.meta.deleting and isinstance(effect, Unlink | Discard | Restore)):
                    raise
                hindered[effect.storage_uuid] = str(exc)
        if any(isinstance(effect, Discard) for effect in plan.effects):
            self._predecessors.forget()
        if plan.status != image.status:
            before, image = image, self._resources.write_image_status(image, plan.status)
            self._holdings.saw(image)
            _say(before, image, plan)
        for effect in plan.after:
            execute(effect, image, uuid, self._storages, self._transfers, self._resources)
        return image


def _say(before: Image, after: Image, plan: Plan) -> None:
    """One canonical line where an image changed; progress is for debugging."""
    moved = before.status.phase is not after.status.phase or [
        (condition.type, condition.status, condition.reason) for condition in before.status.conditions
    ] != [(condition.type, condition.status, condition.reason) for condition in after.status.conditions]
    say = log.info if moved else log.debug
    say("image.status", image=str(after.meta.key), phase=after.status.phase.value, message=plan.summary)


def _hinder(view: StorageView, hindered: Mapping[str, str]) -> StorageView:
    """Return a storage as one that does not answer where it does not do what a deletion needs."""
    why = hindered.get(view.uuid)
    return view if why is None else replace(view, connected=False, trouble=why, trash=None)


def _right(image: Image) -> tuple[bool, datetime, Key]:
    """Order images of one uuid, the best right first: anybody can write one into a spec, nobody gets it otherwise."""
    return image.spec.uuid is not None, image.meta.created, image.meta.key


def _is_full(state: TransferState) -> bool:
    return isinstance(state, Broken) and state.failure.reason is Reason.NO_SPACE
