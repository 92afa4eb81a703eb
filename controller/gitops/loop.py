"""Standalone mode's loop: manifests into the state, keys into the engine, until all is settled or somebody stops it."""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from controller.engine.engine import Engine
from controller.engine.reconcile import Outcome
from controller.gitops import revisions
from controller.gitops.desired import Guards, HeldBack
from controller.gitops.following import Following
from controller.gitops.git_ports import WorkingCopies
from controller.gitops.loader import Loader
from controller.gitops.state import Applied, State
from controller.gitops.tree import Problem, Tree, Wanted
from controller.gitops.watcher import Watcher
from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.image import State as Enablement
from controller.model.resource import Image, Key, Kind
from controller.model.stored import Verb
from controller.ports import Clock
from controller.reasons import Reason
from controller.settings import StandaloneSettings

log = structlog.get_logger()

BUILT_IN = "built-in"
"""Root of the objects that no manifest declares."""
REQUESTS_EVERY_S = 0.5
"""How often the state is asked for requests of other verbs: one indexed read."""


def default_storage(state_dir: Path) -> Tree:
    """Return the tree of the storage that serves where no manifest declares one: `default`, in the state directory."""
    key = Key(Kind.BACKUP_STORAGE, "", "default")
    spec = {
        "type": "ImageStore",
        "imageStore": {"path": str(state_dir.absolute() / "storage")},
        "state": Enablement.ENABLED.value,
        "reservedCapacity": "1Gi",
    }
    return Tree(BUILT_IN, (Wanted.of(key, spec, {}, {}, BUILT_IN, 0),))


def settled(image: Image) -> bool:
    """Whether nothing more happens to it without a change: Ready, stalled or suspended, for this very spec."""
    status, meta = image.status, image.meta
    if status.observed_generation != meta.generation or status.last_handled_reconcile_at != meta.requested_at:
        return False
    ready = conditions.find(status.conditions, ConditionType.READY)
    if ready is None:
        return False
    stalled = conditions.is_true(status.conditions, ConditionType.STALLED)
    # a resume is in force before the first status says so: a transfer that has just begun is told of after a second
    held = image.spec.suspend if meta.suspend_override is None else meta.suspend_override
    return ready.status or stalled or (held and ready.reason is Reason.SUSPENDED)


class Progress:
    """Which images are settled, as the passes of this process saw them. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pending: set[Key] = set()

    def expect(self, keys: Sequence[Key]) -> None:
        """Wait for a pass over each of these."""
        with self._changed:
            self._pending.update(keys)

    def saw(self, key: Key, outcome: Outcome) -> None:
        """Take note of a pass."""
        with self._changed:
            if outcome.gone or (outcome.image is not None and settled(outcome.image) and not outcome.looking):
                self._pending.discard(key)
            elif outcome.image is not None:
                self._pending.add(key)
            if not self._pending:
                self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Return whether all are settled, waiting at most so long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, timeout_s)

    @property
    def pending(self) -> int:
        """How many are not settled."""
        with self._changed:
            return len(self._pending)


@dataclass(frozen=True, slots=True)
class Converged:
    """How `apply` ended: `ended` False means that the time was up or somebody said stop."""

    ended: bool
    interrupted: bool


@dataclass(slots=True)
class Pulse:
    """What the loop says of itself to a probe; monotonic seconds. `synced_at` None: no look at the manifests yet."""

    term_began: float
    synced_at: float | None = None
    leading: bool = True


class Standalone:
    """One reconciling instance over a state directory. The caller holds the instance lock."""

    def __init__(
        self,
        state: State,
        engine: Engine,
        progress: Progress,
        loader: Loader,
        working_copies: WorkingCopies,
        settings: StandaloneSettings,
        clock: Clock,
        following: Following | None = None,
    ) -> None:
        self.following = following
        """The repository that is followed, if one is."""
        self.state = state
        self.engine = engine
        self.progress = progress
        self._loader = loader
        self._working_copies = working_copies
        self._settings = settings
        self._clock = clock
        self._guards = Guards(settings.max_deletions_percent, settings.confirm_deletions)
        self.pulse = Pulse(clock.monotonic())
        self._reported: tuple[Problem, ...] = ()
        self._held_back: tuple[HeldBack, ...] = ()

    def load(self, paths: Sequence[Path]) -> tuple[Tree, ...]:
        """Read the trees, that of the repository included; adds the built-in storage where nothing declares one."""
        trees = self._loader.load_all(paths)
        # asked after reading: what is compared are the bytes that were read, so that no edit slips in between
        known = tuple(revisions.revised(tree, self._working_copies.look(Path(tree.root))) for tree in trees)
        if self.following is not None:
            followed = self.following.accept(known, self._guards)
            if not followed and not known:
                return ()  # what it declares is not known yet, storages among it
            known += followed
        elif self.state.followed() is not None:
            self.state.write_followed(None)
        return with_default_storage(known, self.state, self._settings.state_dir)

    def take(self, trees: Sequence[Tree]) -> Applied:
        """Take the trees as what is wanted."""
        return self.state.apply(trees, self._guards)

    def try_again(self, only: Collection[Reason] = frozenset(Reason)) -> None:
        """Ask for a look at the images that are stalled, or wait for their next try, for one of these reasons."""
        waiting = [image for image in self.state.waiting() if _reason(image) in only]
        self.state.ask_all([image.meta.key for image in waiting], Verb.RECONCILE)

    def converge(
        self, timeout_s: float, stop: threading.Event, tick: Callable[[], None] = lambda: None, tick_s: float = 0.1
    ) -> Converged:
        """Run the engine until every image is settled, then end it. `tick` is called about every `tick_s` seconds."""
        self.progress.expect(self.state.keys(Kind.IMAGE))
        deadline = self._clock.monotonic() + timeout_s
        self.engine.start(scrub=False)
        while not stop.is_set():
            tick()
            if self.progress.wait(tick_s):
                # what the storages hold by now, in their statuses; nobody else looks at them any more
                self.engine.stop()
                self.engine.probe_storages()
                return Converged(ended=True, interrupted=False)
            if self._clock.monotonic() >= deadline:
                return Converged(ended=False, interrupted=False)
            self._take_requests()
        return Converged(ended=False, interrupted=True)

    def keep(self, paths: Sequence[Path], stop: threading.Event, report: Callable[[Sequence[Problem]], None]) -> None:
        """Watch the trees and reconcile until told to stop. `report` is told of problems when they change."""
        changed = threading.Event()
        changed.set()
        watcher = Watcher(
            paths,
            changed.set,
            scan_interval_s=self._settings.scan_interval.total_seconds(),
            ignore=self._settings.state_dir,
        )
        # the policy is a setting, and settings may have changed since the last start; nothing is fetched if not
        self.try_again(only={Reason.POLICY_DENIED})
        watcher.start()
        if self.following is not None:
            self.following.start(changed.set)
        try:
            self.engine.start()
            while not stop.wait(REQUESTS_EVERY_S):
                self._take_requests()
                if changed.is_set():
                    changed.clear()
                    self._look_again(paths, report)
                self.pulse.synced_at = self._clock.monotonic()
        finally:
            if self.following is not None:
                self.following.stop()
            watcher.stop()

    def _look_again(self, paths: Sequence[Path], report: Callable[[Sequence[Problem]], None]) -> None:
        trees = self.load(paths)
        applied = self.take(trees)
        refused = self.following.problems if self.following is not None else ()
        problems = (*(problem for tree in trees for problem in tree.problems), *refused, *applied.problems)
        if problems != self._reported:
            self._reported = problems
            report(problems)
        if applied.held_back != self._held_back:
            self._held_back = applied.held_back
            for held in applied.held_back:
                log.warning("manifests.deletions_held_back", path=held.root, message=held.why)
        # storages first: an image that names a new one finds it
        for key in sorted(applied.keys, key=lambda key: key.kind is Kind.IMAGE):
            self.engine.queue.add(key)
        if applied.keys:
            log.info("manifests.changed", path=", ".join(tree.root for tree in trees), message=_count(applied))

    def _take_requests(self) -> None:
        for request in self.state.take_requests():
            log.info("request.taken", key=str(request.key), message=request.verb.value)
            self.engine.queue.add(request.key)
            if self.following is not None and request.verb is Verb.RECONCILE:
                self.following.wake()


def _reason(image: Image) -> Reason | None:
    ready = conditions.find(image.status.conditions, ConditionType.READY)
    return ready.reason if ready else None


def with_default_storage(trees: Sequence[Tree], state: State, state_dir: Path) -> tuple[Tree, ...]:
    """Add the built-in storage where neither the manifests nor the state know another one."""
    declared = any(wanted.key.kind is Kind.BACKUP_STORAGE for tree in trees for wanted in tree.objects)
    known = any(key.name != "default" for key in state.keys(Kind.BACKUP_STORAGE))
    return tuple(trees) if declared or known else (*trees, default_storage(state_dir))


def _count(applied: Applied) -> str:
    return f"{len(applied.created)} new, {len(applied.updated)} changed, {len(applied.deleted)} to delete"
