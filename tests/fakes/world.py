"""A world in memory for plans: storages, transfers and one image, with effects applied as the real engine would.

It is a model, not a port: it answers what a plan would see, and checks the rules that no effect may break.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from controller.model import conditions
from controller.model.backup_storage import BackupStorageSpec, ImageStoreSpec, StorageType
from controller.model.conditions import ConditionType
from controller.model.delivery import Peer, Sighting
from controller.model.digest import Algorithm, Digest
from controller.model.image import Content, DeletionPolicy, Format, ImageSpec, ImageStatus, State
from controller.model.receipt import Receipt
from controller.model.resource import Image, Key, Kind, Meta, Resource
from controller.model.transfer import (
    Broken,
    Failure,
    Looked,
    Placed,
    Queued,
    Running,
    StoredRef,
    TransferRequest,
    TransferState,
    TrashRecord,
    Validator,
)
from controller.model.url import SourceUrl
from controller.plan.case import Case
from controller.plan.effects import Discard, Effect, LetGo, Link, Plan, ReleaseTransfer, Restore, StartTransfer, Unlink
from controller.plan.image import plan_image
from controller.plan.observed import Limits, Observed, Shared, StorageView
from controller.reasons import Reason

LIMITS = Limits(default_max_size_bytes=2**40, progress_interval_s=5, resync_interval_s=600)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def content(seed: int) -> Content:
    """Return a made-up content; equal seeds are equal contents."""
    sha256 = Digest(Algorithm.SHA256, f"{seed:064x}")
    return Content(sha256, Digest(Algorithm.MD5, f"{seed:032x}"), 1000 + seed, 2000 + seed, Format.QCOW2, (sha256,))


def spec(url: str = "http://images.example/a", **fields: object) -> ImageSpec:
    """Return a spec with defaults, but without history and trash: most plans are about what is there now."""
    plain = ImageSpec(SourceUrl.parse(url), revision_history_limit=0, deletion_policy=DeletionPolicy.DIRECT)
    return replace(plain, **fields)  # type: ignore[arg-type]


@dataclass
class Store:
    """One storage: objects that are there, and this image's claims by sha256."""

    name: str
    up: bool = True
    probed: bool = True
    state: State = State.ENABLED
    default: bool = False
    deleting: bool = False
    permitted: bool | None = True
    room: int = 10**9
    objects: dict[Digest, Content] = field(default_factory=dict)
    claims: dict[Digest, StoredRef] = field(default_factory=dict)
    trash: TrashRecord | None = None
    receipts: dict[Digest, Receipt] = field(default_factory=dict)
    """Of the claims, as they were linked last with one."""

    @property
    def uuid(self) -> str:
        return f"{abs(hash(self.name)) % 10**8:032d}"

    def view(self, interest: set[Digest]) -> StorageView:
        connected = self.up if self.probed else None
        refs = tuple(replace(claim, intact=sha in self.objects) for sha, claim in self.claims.items())
        return StorageView(
            uuid=self.uuid,
            name=self.name,
            spec=BackupStorageSpec(StorageType.IMAGE_STORE, ImageStoreSpec(f"/{self.name}"), self.state),
            connected=connected,
            trouble="" if self.up else "pulled the plug",
            room_bytes=self.room,
            default=self.default,
            deleting=self.deleting,
            permitted=self.permitted,
            refs=refs if connected else None,
            trash=self.trash if connected else None,
            holds=frozenset(sha for sha in interest if sha in self.objects) if connected else frozenset(),
        )


@dataclass
class World:
    """One image, its storages, its transfers, and the sources by URL."""

    stores: list[Store]
    image: Image
    now: datetime = EPOCH
    sources: dict[str, Content] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    """What the source at a URL calls its version; by default always the same, so that its length must tell."""
    lists: dict[str, Digest] = field(default_factory=dict)
    """What the checksum list at a URL says of the image, whichever that is."""
    requests: dict[str, TransferRequest] = field(default_factory=dict)
    states: dict[str, TransferState] = field(default_factory=dict)
    gone: bool = False
    neighbours: dict[Digest, Content] = field(default_factory=dict)
    """What another image of the namespace has, by sha256."""
    strangers: dict[Digest, Content] = field(default_factory=dict)
    """What only images of other namespaces have."""
    placed: set[Digest] = field(default_factory=set)
    """What transfers of this image brought."""
    proves: bool = False
    """Whether the source's answer proves the right to what is stored already, wherever that is."""
    started: list[TransferRequest] = field(default_factory=list)

    @classmethod
    def of(cls, wanted: ImageSpec, *names: str) -> "World":
        """Return a world with those storages (default: one named `s1`) and an image nobody looked at yet."""
        meta = Meta(Key(Kind.IMAGE, "default", "img"), "11111111-1111-4111-8111-111111111111", 1, "1", EPOCH)
        return cls([Store(name) for name in names or ("s1",)], Resource(meta, wanted, ImageStatus()))

    def store(self, name: str) -> Store:
        return next(store for store in self.stores if store.name == name)

    def edit(self, wanted: ImageSpec) -> None:
        """Change the spec as an API server does: generation moves only on a difference."""
        if wanted != self.image.spec:
            meta = replace(self.image.meta, generation=self.image.meta.generation + 1)
            self.image = replace(self.image, spec=wanted, meta=meta)

    def observe(self) -> Observed:
        interest = {state.content.sha256 for state in self.states.values() if isinstance(state, Placed)}
        interest |= {sha for store in self.stores for sha in store.claims}
        if self.image.status.current:
            interest.add(self.image.status.current.content.sha256)
        wanted, shared = self.image.spec.checksum, None
        if wanted is not None and wanted.algorithm.identifies:
            found = next((one for one in self.neighbours.values() if wanted in one.source_digests), None)
            shared = None if found is None else Shared(found, "Image default/neighbour")
            interest |= set() if found is None else {found.sha256}
        views = tuple(store.view(interest) for store in self.stores)
        return Observed(views, MappingProxyType(dict(self.states)), frozenset(self.states), shared=shared)

    def shared_here(self) -> bool:
        """Whether the digest of the spec names what another image of the namespace has, where it can be read."""
        shared = self.observe().shared
        return shared is not None and any(store.up and shared.content.sha256 in store.objects for store in self.stores)

    def plan(self) -> Plan:
        return plan_image(self.image, self.observe(), self.now, LIMITS)

    def step(self) -> Plan:
        """Plan once and carry it out."""
        plan = self.plan()
        for effect in plan.effects:
            self._apply(effect)
        self.image = replace(self.image, status=plan.status)
        for effect in plan.after:
            self._apply(effect)
        return plan

    def settle(self, limit: int = 20) -> Plan:
        """Step while a plan asks to look again at once."""
        for _ in range(limit):
            plan = self.step()
            if not plan.again or self.gone:
                return plan
        raise AssertionError("does not settle")

    def run(self, limit: int = 40) -> Plan:
        """Let transfers end well and time pass until nothing is left to do."""
        for _ in range(limit):
            plan = self.settle()
            if self.gone or (not plan.effects and not self.states):
                return plan
            self.finish()
            self.now += plan.requeue or timedelta(0)
        raise AssertionError(f"still busy: {plan.summary}")

    def finish(self, failure: Failure | None = None, *, advanced: bool = False) -> None:
        """End every running transfer."""
        for key, request in self.requests.items():
            if isinstance(self.states.get(key), Queued | Running):
                self.states[key] = Broken(failure, advanced) if failure else self._deliver(request)

    def _look(self, request: TransferRequest) -> TransferState:
        if request.checksum_from is not None:
            digest = self.lists.get(request.checksum_from.url.text)
            if digest is None:
                return Broken(Failure(Reason.SOURCE_NOT_FOUND, "no line for it", terminal=True), advanced=False)
            return Looked(Sighting(digest=digest))
        asked = (*request.mirrors, request.url)[0].text
        return Looked(Sighting(Validator(self.etags.get(asked, '"v"')), self.sources[asked].size_bytes))

    def _deliver(self, request: TransferRequest) -> TransferState:
        if request.look:
            return self._look(request)
        found = request.expected_content if request.copy_from else self.sources[request.url.text]
        assert found is not None
        if request.copy_from is not None:
            store = next(store for store in self.stores if store.uuid == request.copy_from.uuid)
            if not store.up or found.sha256 not in store.objects:
                return Broken(Failure(Reason.STORAGE_UNAVAILABLE, "storage went away", terminal=False), advanced=False)
        elif request.expected_content is not None and found != request.expected_content:
            return Broken(Failure(Reason.SOURCE_CHANGED, "other bytes", terminal=True), advanced=False)
        expected, proof = request.checksum, None
        if request.checksum_from is not None:
            expected = self.lists.get(request.checksum_from.url.text)
            if expected is None:
                return Broken(Failure(Reason.SOURCE_NOT_FOUND, "no line for it", terminal=True), advanced=False)
            proof = f"checksum list {expected.algorithm}"
            for known in request.known:
                if expected in known.source_digests:
                    return Placed(known, frozenset(), (), Validator(), "", 0, 0, proof)
        if expected is not None and expected not in found.source_digests:
            return Broken(Failure(Reason.CHECKSUM_MISMATCH, "expected and got", terminal=True), advanced=False)
        wanted = frozenset(target.uuid for target in request.targets)
        self.placed.add(found.sha256)
        held = frozenset(store.uuid for store in self.stores if store.up and found.sha256 in store.objects)
        if held and self.proves and request.copy_from is None:
            return Placed(found, wanted & held, (), Validator('"v"'), "http://images.example", 0, 0, proof)
        return self._store(request, found, wanted, proof)

    def _store(
        self, request: TransferRequest, found: Content, wanted: frozenset[str], proof: str | None
    ) -> TransferState:
        stored = [store for store in self.stores if store.uuid in wanted and store.up]
        if not stored:
            return Broken(Failure(Reason.STORAGE_UNAVAILABLE, "no target", terminal=False), advanced=False)
        for store in stored:
            store.objects[found.sha256] = found
        uuids, etag = frozenset(store.uuid for store in stored), self.etags.get(request.url.text, '"v"')
        if request.copy_from is not None:
            copied, name = Validator(), f"BackupStorage {request.copy_from.name}"
            return Placed(found, uuids, (), copied, name, 0, 0, copied_from=request.copy_from.name, started_at=self.now)
        return Placed(
            found,
            uuids,
            (),
            Validator(etag),
            "http://images.example",
            1,
            0,
            proof,
            found.size_bytes,
            peer=Peer("192.0.2.1"),
            started_at=self.now,
            finished_at=self.now,
        )

    def _apply(self, effect: Effect) -> None:
        match effect:
            case StartTransfer(request):
                if request.key not in self.states:
                    assert bool(request.targets) is not request.look, "a transfer without a target"
                    into = {target.uuid for target in request.targets}
                    closed = [store.name for store in self.stores if store.uuid in into and not store.permitted]
                    assert not closed, "a transfer into a storage that is not for this namespace"
                    self.started.append(request)
                    self.requests[request.key] = request
                    self.states[request.key] = Running(0, None, into=frozenset(into))
            case ReleaseTransfer(key):
                self.states.pop(key, None)
            case Link(uuid, ref, receipt):
                store = next(store for store in self.stores if store.uuid == uuid)
                assert store.up, "linked on a storage that does not answer"
                assert store.state is State.ENABLED, "bits into a disabled storage"
                assert store.permitted, "bits into a storage that is not for this namespace"
                assert ref.content.sha256 in store.objects, "claimed what is not there"
                had = self.placed | set(self.neighbours)
                assert ref.content.sha256 in had, "claimed what only others had: a digest is no right to bytes"
                if receipt is not None:
                    store.receipts[ref.content.sha256] = receipt
                store.claims[ref.content.sha256] = replace(ref, install_path=f"zstore://x/{ref.content.image_id}")
            case Unlink(uuid, sha256):
                self._unlink(next(store for store in self.stores if store.uuid == uuid), sha256)
            case Discard(uuid, record):
                store = next(store for store in self.stores if store.uuid == uuid)
                assert store.up
                assert self.image.meta.deleting
                assert store.claims, "a record without bytes"
                store.trash = record
            case Restore(uuid):
                next(store for store in self.stores if store.uuid == uuid).trash = None
            case LetGo():
                assert self.image.meta.deleting
                self.gone = True

    def _unlink(self, store: Store, sha256: Digest) -> None:
        assert store.up, "dropped from a storage that does not answer"
        assert store.state is State.ENABLED, "bits out of a disabled storage"
        if not self.image.meta.deleting:
            current = self.image.status.current
            assert current is not None
            served = [other for other in self.stores if other.up and current.content.sha256 in other.claims]
            kept = [other for other in served if other is not store or current.content.sha256 != sha256]
            assert any(current.content.sha256 in other.objects for other in kept), "dropped the last good copy"
            named = {target.uuid for target in self.case.choice.targets}
            assert store.permitted or store.uuid not in named, "took away what a change of labels may not touch"
        store.claims.pop(sha256, None)
        if sha256 not in self.neighbours and sha256 not in self.strangers:
            store.objects.pop(sha256, None)

    @property
    def case(self) -> Case:
        return Case.of(self.image, self.observe(), self.now, LIMITS)


def ready(world: World) -> bool:
    return conditions.is_true(world.image.status.conditions, ConditionType.READY)


def available(world: World) -> bool:
    return conditions.is_true(world.image.status.conditions, ConditionType.AVAILABLE)


def stalled(world: World) -> bool:
    return conditions.is_true(world.image.status.conditions, ConditionType.STALLED)


def reason(world: World) -> Reason:
    found = conditions.find(world.image.status.conditions, ConditionType.READY)
    assert found is not None
    return found.reason
