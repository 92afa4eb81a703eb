"""The whole standalone engine against a model: any sequence of what people, upstreams, disks and kill -9 do to images.

Real manifests, state, Secrets, storages and HTTP. At each quiet point each image is as `life_model` forecasts: Ready or
not, with which bytes on which storages, and which older revisions in which order; `life_verdict` also sees to it that
what is in the trash is untouched, that nobody's bytes lie about, and that nothing was fetched that was there.
A failure prints the sequence; tests/README.md says which bugs this was seen to catch.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from controller import errors, wiring
from controller.engine import trash, usage, verify
from controller.gitops.loop import Standalone, settled
from controller.model.digest import Algorithm, Digest
from controller.model.resource import Image, Key, Kind
from controller.model.stored import Verb
from controller.settings import Settings, SourceSettings, StandaloneSettings
from tests.integration import life_apply, life_disks, life_model
from tests.integration.life_house import LifeHouse
from tests.integration.life_model import CONTENTS, NOTHING_HAS_IT, SHA256, WAITING, Forecast, Wish
from tests.integration.life_moment import STORAGES, Moment
from tests.integration.life_verdict import Verdict, held_up, is_ready, reason

SETTLES_WITHIN_S = 60.0
PATHS = ("/p", "/q", "/m")

OWNERS = ("default/a", "default/b", "team/a")

INDEXES = st.integers(0, len(CONTENTS) - 1)
CHECKSUMS = st.sampled_from(["right"] * 5 + ["none"] * 4 + ["another", "wrong"])
"""Whose checksum a manifest gives: of what the upstream has, nobody's, of some other content, of nothing."""
PASSWORDS = st.sampled_from([None] * 4 + ["first", "second"])
ANY = st.integers(0, 11)
"""Which one of a list: what is drawn may not depend on what the product did, else hypothesis calls a kill flaky."""
DAMAGES = st.sampled_from(["flip", "cut", "remove", "claim", "record"])
WISHES = st.builds(
    Wish,
    path=st.sampled_from(PATHS[:2]),
    mirrors=st.sampled_from([(), (), ("/m",), ("/q", "/m")]),
    places=st.sampled_from([("s1", "s2"), ("s1", "s2"), ("s1",), ("s2",)]),
    policy=st.sampled_from(["Delay", "Direct", "Never"]),
    limit=st.sampled_from([2, 2, 2, 3, 1, 0]),
    watch=st.sampled_from([None, "Notify", "Import", "Import", "Ignore"]),
    suspend=st.sampled_from([False] * 7 + [True]),
    secret=st.sampled_from([False] * 4 + [True]),
)
ACTIONS = ["release"] * 8 + ["operate"] * 3 + ["go_back"] * 3
ACTIONS += ["edit", "upstream", "delete", "storage"] * 2 + ["expunge", "disk", "kill"]
"""What happens: what matters most most often."""
Draw = Callable[[st.SearchStrategy[Any]], Any]


class LifeMachine(RuleBasedStateMachine):
    """What happens, one thing after the other. Trouble with a storage goes by after some steps."""

    killer: life_apply.Killer

    def __init__(self) -> None:
        super().__init__()
        self.house = LifeHouse()
        self.home, self.world, self.wishes = self.house.home, self.house.world, self.house.wishes
        self.mode = StandaloneSettings(self.house.state, confirm_deletions=True, secrets_dir=self.house.secrets)
        self.settings = Settings(source=SourceSettings((ip_network("127.0.0.0/8"),)))
        self.asked: set[str] = set()
        """Images that somebody asked to look at, since the last quiet point."""
        self.trouble: dict[str, int] = {}
        """Storage -> for how many steps it stays as it is."""
        self.flipped: set[str] = set()
        """Storages with bytes that only a scrub finds."""
        self.last: Moment | None = None
        self.failed = False
        self.killed = False
        """Whether an apply was killed since the last quiet point."""
        self.loose = dict.fromkeys(STORAGES, frozenset[str]())
        """What kills left on a storage; nothing is known of one that was not seen since."""

    def teardown(self) -> None:
        try:
            if self.last is not None and not self.failed:
                for storage in STORAGES:
                    self.house.bring_back(storage)
                self.quiet_point()
        finally:
            self.house.close()

    @initialize(wishes=st.lists(st.tuples(WISHES, CHECKSUMS), min_size=3, max_size=3))
    def begin(self, wishes: list[tuple[Wish, str]]) -> None:
        self.world.offered |= {"/p": 0, "/q": 1, "/m": 0}
        self.house.serve()
        for owner, (wish, checksum) in zip(OWNERS, wishes, strict=True):
            self.house.write(owner, replace(wish, content=self._meant(wish.path, checksum)))
        self.quiet_point()

    @rule(data=st.data(), action=st.sampled_from(ACTIONS))
    def happens(self, data: st.DataObject, action: str) -> None:
        """One rule, as what matters must happen more often than what is rare."""
        getattr(self, f"_{action}")(data.draw)
        for storage in STORAGES:
            self.trouble[storage] = self.trouble.get(storage, 0) - 1
            if self.trouble[storage] == 0:
                self.house.bring_back(storage)

    # --- people ----------------------------------------------------------------------------------------------------

    def _edit(self, draw: Draw) -> None:
        """Somebody writes a manifest, new or changed, right or wrong."""
        wish = draw(WISHES)
        self.house.write(draw(st.sampled_from(OWNERS)), replace(wish, content=self._meant(wish.path, draw(CHECKSUMS))))
        self._maybe_look(draw)

    def _release(self, draw: Draw) -> None:
        """The upstream has something new, and the manifest says so: the usual life of an image."""
        owner = draw(st.sampled_from([*OWNERS, *OWNERS[:1] * 3]))
        path, checksum = draw(st.sampled_from(PATHS[:2])), draw(CHECKSUMS)
        self.world.offered[path] = draw(INDEXES)
        self.world.locks.pop(path, None)
        self.house.serve()
        meant = self._meant(path, checksum)
        told = None if meant is None or meant == NOTHING_HAS_IT else life_model.FORMATS[meant]
        wish = self.wishes.get(owner, Wish(path))
        self.house.write(owner, replace(wish, path=path, content=meant, format=told, suspend=False))
        self.quiet_point()

    def _meant(self, path: str, checksum: str) -> int | None:
        offered = self.world.offered.get(path)
        if checksum == "none" or (checksum == "right" and offered is None):
            return None
        if checksum == "wrong":
            return NOTHING_HAS_IT
        return offered if checksum == "right" else ((offered or 0) + 1) % len(CONTENTS)

    def _maybe_look(self, draw: Draw) -> None:
        if draw(st.booleans()):
            self.quiet_point()

    def _operate(self, draw: Draw) -> None:
        """Somebody suspends an image, lets it go on, or asks for a look at it, and at its source with it."""
        what = draw(st.sampled_from(["suspend", "resume", "look", "look", "look"]))
        for owner in draw(st.lists(st.sampled_from(sorted(self.wishes)), max_size=2) if self.wishes else st.just([])):
            if what == "look":
                self.asked.add(owner)
            else:
                self.house.write(owner, replace(self.wishes[owner], suspend=what == "suspend"))
        self.quiet_point()

    def _delete(self, draw: Draw) -> None:
        if self.wishes:
            self.house.remove(draw(st.sampled_from(sorted(self.wishes))))
            self._maybe_look(draw)

    def _go_back(self, draw: Draw) -> None:
        """A revert to an older revision, while the upstream has nothing at all."""
        last = self.last or self.quiet_point()
        kept = [(owner, one) for owner in sorted(self.wishes) for one in last.seen(owner).history]
        which = draw(ANY)
        if kept:
            owner, sha256 = kept[which % len(kept)]
            self.house.write(owner, replace(self.wishes[owner], content=SHA256.index(sha256), format=None))
            offered = dict(self.world.offered)
            self.world.offered.clear()
            self.house.serve()
            self.quiet_point()
            self.world.offered |= offered
            self.house.serve()

    def _expunge(self, draw: Draw) -> None:
        """A person lets the bytes of a deleted image go."""
        self.quiet_point()
        which = draw(ANY)
        with wiring.beside(self.settings, self.mode) as (state, engine):
            living = trash.living(state.images())
            stores = [storage for storage in engine.storages.all() if storage.name not in self.world.away]
            found = [entry for one in stores for entry in trash.discarded(one) if entry.record.whose not in living]
            names = sorted({entry.record.whose[1] for entry in found})
            for entry in found:
                if entry.record.whose[1] == names[which % len(names)]:
                    trash.expunge(entry.storage, entry.record.image_uuid)
        self.quiet_point()

    # --- upstreams, disks and processes ----------------------------------------------------------------------------

    def _upstream(self, draw: Draw) -> None:
        """It has something else, or nothing, for everybody or for who knows a password; and the Secret is rotated."""
        path, content, password = draw(st.sampled_from(PATHS)), draw(st.none() | INDEXES), draw(PASSWORDS)
        self.world.offered.pop(path, None)
        self.world.locks.pop(path, None)
        if content is not None:
            self.world.offered[path] = content
        if password is not None:
            self.world.locks[path] = password
        self.house.serve()
        self.house.write_secret(draw(st.sampled_from([password, password, None, "other"])))
        if draw(st.booleans()):
            self.asked |= self.wishes.keys()
            self.quiet_point()

    def _storage(self, draw: Draw) -> None:
        """A mount is lost for some time; or a storage is Disabled, or its manifest gone, while images use it."""
        storage, what = draw(st.sampled_from(STORAGES)), draw(st.sampled_from(["empty", "lost", "Disabled", "gone"]))
        steps = draw(st.integers(1, 4))
        if self.last is not None and storage in self.last.storages:  # an empty place is lost only where one was
            self.house.bring_back(storage)
            self.house.lose(storage, what)
            self.trouble[storage] = steps
            self.quiet_point()

    def _disk(self, draw: Draw) -> None:
        """Stored bytes change, shrink or go; or a claim goes, or what is written about an object."""
        storage, which, how = draw(st.sampled_from(STORAGES)), draw(st.integers(0, 7)), draw(DAMAGES)
        found = list(life_disks.files(self.home / storage))
        if found:
            life_disks.damage(found[which % len(found)], how)
            self.flipped |= {storage} if how == "flip" else set()
            self.quiet_point()

    def _kill(self, draw: Draw) -> None:
        """The whole command, killed after it said so much: all that is left of it is what lies on the disk."""
        command = ["apply", str(self.house.manifests), "--confirm-deletions", "-v", "--timeout", "1s"]
        command += ["--state", str(self.house.state), "--secrets", str(self.house.secrets)]
        self.killer.apply([*command, "--allow-network", "127.0.0.0/8"], draw(st.integers(1, 15)))
        self.killed = True
        self.loose.clear()

    # --- quiet points ----------------------------------------------------------------------------------------------

    def quiet_point(self) -> Moment:
        """Converge, as `apply` does, and look at everything."""
        sent, self.failed = self.house.served.sent_bytes, True
        with wiring.standalone(self.settings, self.mode, [self.house.manifests]) as standalone:
            self._scrub(standalone)
            before = Moment.of(standalone.state, self.home, self.world)
            self._nothing_was_forgotten(before)
            trees = standalone.load([self.house.manifests])
            assert [str(problem) for tree in trees for problem in tree.problems] == []
            standalone.take(trees)
            self._converge(standalone, before)
            after = self._measured(standalone, Moment.of(standalone.state, self.home, self.world))
        forecasts = self._forecasts(before, after)
        verdict = Verdict(self.home, self.world, self.wishes, before, after, forecasts, self.loose)
        verdict.check()
        assert self.house.served.sent_bytes - sent <= verdict.may_fetch_bytes(2 * len(self.asked)), (
            "it was there already"
        )
        self.loose |= {name: store.left for name, store in after.stores.items() if name not in self.loose}
        self.last, self.failed, self.killed = after, False, False
        self.asked.clear()
        return after

    def _forecasts(self, before: Moment, later: Moment | None = None) -> dict[str, Forecast]:
        return {
            owner: life_model.forecast(
                wish, before.seen(owner), self.world, before.here(owner, later), asked=owner in self.asked
            )
            for owner, wish in self.wishes.items()
        }

    def _converge(self, standalone: Standalone, before: Moment) -> None:
        """Until each image is settled, or waits for what the model says that it waits for."""
        state = standalone.state
        self.asked |= {image.meta.key.owner for image in state.waiting()}
        waiting = {owner for owner in before.images.keys() - self.wishes if held_up(before.seen(owner), self.world)}
        for _ in range(2):  # whoever is asked for a look at its source may become another's forecast
            waiting |= {owner for owner, one in self._forecasts(before).items() if one.waits or one.ready is None}
            self.asked |= waiting
        # who is asked says so in its next status: that it waits was found out now
        state.ask_all([Key(Kind.IMAGE, *owner.split("/")) for owner in sorted(self.asked)], Verb.RECONCILE)
        done, transfers = threading.Event(), standalone.engine.transfers

        def look() -> None:
            # counted by passes: what says that it is settled may have its source looked at, and be changed by that
            found = [image for image in state.images() if image.meta.key.owner in waiting and _waits(image)]
            if standalone.progress.pending <= len(found) and not any(transfers.owned(one.meta.uid) for one in found):
                done.set()

        converged = standalone.converge(SETTLES_WITHIN_S, done, look)
        standalone.engine.stop()
        if any(transfers.owned(image.meta.uid) for image in state.images()):
            self.loose.clear()  # a look at what waits led to a transfer, just when it was broken off
        still = [image for image in state.images() if not settled(image)]
        assert converged.ended or done.is_set(), f"{[(one.meta.key, one.status.conditions) for one in still]}"

    def _measured(self, standalone: Standalone, after: Moment) -> Moment:
        """Add what `get backupstorages -o wide` tells, where every image is Ready and every storage is there."""
        everywhere = not (self.world.away or self.world.disabled or self.world.dropped)
        if not everywhere or not all(map(is_ready, after.images.values())):
            return after
        opened = standalone.engine.storages.all()
        return replace(after, measured={one.name: usage.measure(one, after.images.values()) for one in opened})

    def _nothing_was_forgotten(self, now: Moment) -> None:
        """A restart finds what the last instance knew; a kill cut short no more than one change."""
        if self.last is None:
            return
        for owner, image in self.last.images.items():
            was, found = self.last.seen(owner), now.seen(owner)
            if not self.killed:
                assert now.images[owner].status == image.status
            elif owner in now.images and found.current is not None:
                wish = self.wishes.get(owner, Wish("", places=tuple(STORAGES), limit=was.limit))
                limits = (replace(wish, limit=limit) for limit in (wish.limit, was.limit))
                must = {was.history} | {was.after(found.current, one, self.world).history for one in limits}
                assert found.history in must, f"{owner} was killed with {was}, and is {found}"

    def _scrub(self, standalone: Standalone) -> None:
        """Hash every object, as a scrub does, and take out of service what is damaged."""
        flipped, self.flipped = self.flipped - self.world.away, self.flipped & self.world.away
        if not flipped:
            return
        standalone.engine.probe_storages()
        for storage in standalone.engine.storages.all():
            for path in life_disks.files(self.home / storage.name) if storage.name in flipped else ():
                digest = Digest(Algorithm.SHA256, path.name)
                try:
                    right = verify.hash_reader(storage.adapter.open(digest, fresh=True), lambda _: None)[0] == digest
                except errors.StorageDamaged:
                    right = False
                if not right:
                    storage.adapter.quarantine(digest, "the model says so")


def _waits(image: Image) -> bool:
    """Whether a status that was written after it was asked for says that it waits for another object."""
    status = image.status
    fresh = status.last_handled_reconcile_at == image.meta.requested_at
    return fresh and status.observed_generation == image.meta.generation and reason(image) in WAITING


@pytest.mark.parametrize(
    ("examples", "steps"),
    [
        pytest.param(4, 24, id="short", marks=pytest.mark.timeout(600)),
        pytest.param(150, 40, id="long", marks=[pytest.mark.slow, pytest.mark.timeout(7200)]),
    ],
)
def test_images_live_as_the_model_says(examples: int, steps: int) -> None:
    with life_apply.killing() as killer:
        run_state_machine_as_test(
            type("Life", (LifeMachine,), {"killer": killer}),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                phases=[Phase.generate],  # a shorter sequence is worth less than the minutes that finding it takes
                suppress_health_check=list(HealthCheck),
            ),
        )
