"""Properties that hold always, whatever happens to the image, its source and its storages."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.image import ChecksumFrom, DeletionPolicy, ImageSpec, Phase, State, UpdatePolicy
from controller.model.transfer import Failure, Running, TransferRequest
from controller.model.url import SourceUrl
from controller.plan.effects import Plan, StartTransfer
from controller.reasons import Reason
from tests.fakes.world import World, content, spec

URLS = ["http://images.example/a", "http://images.example/b"]
LISTS = ["http://images.example/SUMS", "http://images.example/NONE"]
PROMISES: list[dict[str, object]] = [
    {},
    {"checksum": content(1).sha256},
    {"checksum": content(2).sha256},
    {"checksum_from": ChecksumFrom(SourceUrl.parse(LISTS[0]))},
    {"checksum_from": ChecksumFrom(SourceUrl.parse(LISTS[1]))},
]
FAILURES = [
    Failure(Reason.SOURCE_UNREACHABLE, "reset", terminal=False),
    Failure(Reason.STORAGE_UNAVAILABLE, "gone", terminal=False),
    Failure(Reason.NO_SPACE, "full", terminal=False),
    Failure(Reason.SOURCE_NOT_FOUND, "404", terminal=True),
    Failure(Reason.CHECKSUM_MISMATCH, "expected and got", terminal=True),
]


def plan_requests(plan: Plan) -> list[TransferRequest]:
    return [effect.request for effect in plan.effects if isinstance(effect, StartTransfer)]


class ImageLife(RuleBasedStateMachine):
    """Random edits, failures, losses and recoveries. `World` itself fails on any effect that breaks a rule."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World.of(spec(URLS[0], backup_storages=("s1", "s2")), "s1", "s2", "s3")
        self.world.sources = {URLS[0]: content(1), URLS[1]: content(2)}

    @rule(
        url=st.sampled_from(URLS),
        names=st.sampled_from([(), ("s1",), ("s1", "s2"), ("s3", "s1"), ("nowhere", "s2")]),
        suspend=st.booleans(),
        promise=st.integers(0, 4),
        limit=st.integers(0, 2),
        policy=st.sampled_from(DeletionPolicy),
        update=st.none() | st.sampled_from(UpdatePolicy),
    )
    def edit(
        self, url: str, names: tuple[str, ...], promise: int, update: UpdatePolicy | None, **fields: object
    ) -> None:
        fields |= PROMISES[promise]
        if update is not None and not (update is UpdatePolicy.IMPORT and "checksum" in fields):
            fields |= {"interval": timedelta(minutes=50), "update_policy": update}
        fields["revision_history_limit"], fields["deletion_policy"] = fields.pop("limit"), fields.pop("policy")
        wanted: ImageSpec = spec(url, backup_storages=names, **fields)
        self.world.edit(wanted)

    @rule(url=st.sampled_from(URLS), seed=st.integers(1, 4))
    def upstream_changes(self, url: str, seed: int) -> None:
        self.world.sources[url] = content(seed)

    @rule(seed=st.integers(1, 4))
    def the_list_changes(self, seed: int) -> None:
        self.world.lists[LISTS[0]] = content(seed).sha256

    @rule(seed=st.integers(1, 4), index=st.integers(0, 2), neighbour=st.booleans())
    def somebody_else_imports(self, seed: int, index: int, neighbour: bool) -> None:
        """An image of this namespace, or only one of another."""
        theirs = self.world.neighbours if neighbour else self.world.strangers
        theirs[content(seed).sha256] = self.world.stores[index].objects[content(seed).sha256] = content(seed)

    @rule(proves=st.booleans())
    def answers_prove_a_right(self, proves: bool) -> None:
        self.world.proves = proves

    @rule()
    def somebody_else_leaves(self) -> None:
        """What this image has no claim on goes with the others."""
        self.world.neighbours.clear()
        self.world.strangers.clear()
        for store in self.world.stores:
            store.objects = {sha256: held for sha256, held in store.objects.items() if sha256 in store.claims}

    @rule()
    def step(self) -> None:
        self._check(self.world.settle())

    @rule()
    def a_quiet_while(self) -> None:
        for _ in range(6):
            plan = self.world.settle()
            self._check(plan)
            self.world.finish()
            self.world.now += plan.requeue or timedelta(0)

    @rule(failure=st.none() | st.sampled_from(FAILURES), advanced=st.booleans())
    def transfer_ends(self, failure: Failure | None, advanced: bool) -> None:
        self.world.finish(failure, advanced=advanced)

    @rule()
    def controller_restarts(self) -> None:
        self.world.states.clear()

    @rule(hours=st.integers(0, 2))
    def time_passes(self, hours: int) -> None:
        self.world.now += timedelta(hours=hours, seconds=1)

    @rule(index=st.integers(0, 2), up=st.booleans())
    def storage_answers(self, index: int, up: bool) -> None:
        self.world.stores[index].up = up

    @rule(index=st.integers(0, 2), state=st.sampled_from(list(State)))
    def storage_state(self, index: int, state: State) -> None:
        self.world.stores[index].state = state

    @rule(index=st.integers(0, 2), permitted=st.sampled_from([True, False, None]))
    def storage_opens_or_closes(self, index: int, permitted: bool | None) -> None:
        self.world.stores[index].permitted = permitted

    @rule(index=st.integers(0, 2))
    def bytes_are_lost(self, index: int) -> None:
        self.world.stores[index].objects.clear()

    @precondition(lambda self: not self.world.image.spec.suspend)
    @rule()
    def deleted_and_applied_again(self) -> None:
        """In the trash or at once; with every storage reachable the object goes, and comes back as a new one."""
        world = self.world
        for store in world.stores:
            store.up, store.state = True, State.ENABLED
        world.image = replace(world.image, meta=replace(world.image.meta, deleting=True))
        world.settle()
        assert world.gone
        kept = world.image.spec.deletion_policy is not DeletionPolicy.DIRECT
        for store in world.stores:
            assert bool(store.claims) <= kept
            assert (store.trash is not None) == bool(store.claims), "claims of a deleted image have a record, no others"
        world.gone = False
        world.image = replace(World.of(world.image.spec).image, spec=world.image.spec)

    @rule()
    def somebody_asks(self) -> None:
        self.world.image = replace(
            self.world.image, meta=replace(self.world.image.meta, requested_at=str(self.world.now))
        )

    @precondition(lambda self: not self.world.gone)
    @invariant()
    def the_status_claims_no_more_than_was_checked(self) -> None:
        status = self.world.image.status
        available = conditions.is_true(status.conditions, ConditionType.AVAILABLE)
        assert (status.phase is Phase.READY) == available

    def _check(self, plan: Plan) -> None:
        if self.world.gone:
            return
        status = self.world.image.status
        found = status.conditions
        is_ready = conditions.is_true(found, ConditionType.READY)
        is_stalled = conditions.is_true(found, ConditionType.STALLED)
        assert plan.requeue is not None, "never stuck: somebody looks again, at the latest at the resync"
        assert plan.requeue >= timedelta(0)
        assert not (is_ready and is_stalled)
        if self.world.shared_here():
            assert not any(request.copy_from is None and not request.look for request in plan_requests(plan)), (
                "no download of what is here"
            )
        fetches = [
            key for key, state in self.world.states.items() if key.startswith("get-") and isinstance(state, Running)
        ]
        assert len(fetches) <= 1, "at most one transfer per source"
        if is_ready and status.observed_generation == self.world.image.meta.generation:
            wanted = self.world.case.choice.targets
            assert status.current is not None
            for view in wanted:
                store = self.world.store(view.name)
                assert store.up
                assert status.current.content.sha256 in store.objects, "Ready means these exact bytes"
        again = self.world.plan()
        # a look that is due, or under way, is about the source
        if (is_ready or is_stalled) and not self.world.case.afresh and not again.looking:
            assert again.effects == (), f"no effect once settled: {again.summary}"
            assert again.status == status, "no write once settled"

    def teardown(self) -> None:
        """Heal everything: the image must become Ready, then be deletable without rest."""
        world = self.world
        if self.world.gone:
            return  # a rule failed half-way: its own message is the one to read
        for store in world.stores:
            store.up, store.state, store.permitted = True, State.ENABLED, True
        names = tuple(name for name in world.image.spec.backup_storages if name != "nowhere")
        world.sources = {URLS[0]: content(1), URLS[1]: content(1)}
        world.states.clear()
        wanted = replace(
            world.image.spec, suspend=False, backup_storages=names, checksum=content(1).sha256, checksum_from=None
        )
        world.edit(
            replace(wanted, deletion_policy=DeletionPolicy.DIRECT, interval=None, update_policy=UpdatePolicy.NOTIFY)
        )
        self.somebody_asks()
        world.run()
        assert conditions.is_true(world.image.status.conditions, ConditionType.READY), world.plan().summary
        world.image = replace(world.image, meta=replace(world.image.meta, deleting=True))
        world.run()
        assert world.gone
        assert not any(store.claims for store in world.stores), "no orphan"


ImageLife.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestImageLife = ImageLife.TestCase
