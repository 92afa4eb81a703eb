"""The whole standalone engine against a model: any sequence of what people, upstreams, disks and kill -9 do to images.

Real manifests, state, storages and HTTP. At each quiet point: Ready means these exact bytes on all storages of the
image, nothing lies about that nobody claims, no revision that should be kept is missing, and going back costs no
download. A failure prints the sequence and how to have it again.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from controller import errors, wiring
from controller.engine import verify
from controller.gitops.loop import Standalone
from controller.model import conditions
from controller.model.conditions import Condition, ConditionType
from controller.model.digest import Algorithm, Digest
from controller.model.image import RefStatus, Revision
from controller.model.resource import Image
from controller.settings import Settings, SourceSettings, StandaloneSettings
from tests.fakes import images
from tests.fakes.memory_directory import SHARED_MEMORY
from tests.integration import ranged_server

HISTORY_LIMIT = 2
SETTLES_WITHIN_S = 60.0
STUCK_S = 1.0
"""How long a convergence gets that cannot end, because a storage is away."""
CONTENTS = [images.raw(seed=1), images.raw(seed=2), images.raw(seed=3), images.qcow2(payload=b"four")]
SHA256 = [hashlib.sha256(content).hexdigest() for content in CONTENTS]
FORMATS = ["raw", "raw", "raw", "qcow2"]
WRONG = f"sha256:{'0' * 64}"

NAMES = st.sampled_from(["a", "b"])
PATHS = st.sampled_from(["/p", "/q"])
INDEXES = st.integers(0, len(CONTENTS) - 1)
CHECKSUMS = st.sampled_from(["right", "right", "none", "another", "wrong"])
"""Whose checksum a manifest gives: of what the upstream has, nobody's, of some other content, of nothing."""
STORAGES = st.sampled_from(["s1", "s2"])
PLACES = st.sampled_from([("s1",), ("s2",), ("s1", "s2")])
POLICIES = st.sampled_from(["Delay", "Direct"])


@dataclass(frozen=True)
class Wish:
    """What a manifest asks for. `content`: whose checksum it gives, None for none, -1 for one that nothing has."""

    path: str
    content: int | None
    places: tuple[str, ...]
    policy: str = "Delay"
    format: str | None = None


class LifeMachine(RuleBasedStateMachine):
    """What people want, what the upstream has, and what was done to the disks."""

    def __init__(self) -> None:
        super().__init__()
        parent = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
        self.home = Path(tempfile.mkdtemp(prefix="goldmaster-", dir=parent))
        self.manifests = self.home / "manifests"
        self.held = ExitStack()
        self.served = self.held.enter_context(ranged_server.serving())
        self.mode = StandaloneSettings(self.home / "state", confirm_deletions=True)
        self.settings = Settings(source=SourceSettings((ip_network("127.0.0.0/8"),)))
        self.wanted: dict[str, Wish] = {}
        self.kept: dict[str, list[str]] = {}
        """Digests that an image served, the current one first: what must still be there."""
        self.pinned: dict[tuple[str, str], set[str]] = {}
        """(image, path) -> what it served of that url, one of which is what the url stands for without a checksum."""
        self.unsure: set[tuple[str, str]] = set()
        """The same pairs, where a kill may have left something else, or a deletion nothing."""
        self.damaged: set[str] = set()
        """Digests of contents that a disk lost a copy of: they may have to be fetched again."""
        self.away: set[str] = set()
        self.flipped = False
        self.killed = False

    def teardown(self) -> None:
        try:
            if self.wanted or self.kept:
                self.quiet_point()
        finally:
            self.held.close()
            shutil.rmtree(self.home)

    # --- people ----------------------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.manifests.mkdir()
        for name in ("s1", "s2"):
            (self.manifests / f"{name}.yaml").write_text(
                "apiVersion: goldmaster.dev/v1alpha1\nkind: BackupStorage\n"
                f"metadata: {{name: {name}}}\n"
                f"spec: {{type: ImageStore, imageStore: {{path: {self.home / name}}}, reservedCapacity: 1Mi}}\n"
            )
        self.upstream_changes("/p", 0)
        self.upstream_changes("/q", 1)

    @rule(name=NAMES, wish=st.builds(Wish, PATHS, st.none(), PLACES, POLICIES), checksum=CHECKSUMS, look=st.booleans())
    def edit(self, name: str, wish: Wish, checksum: str, look: bool) -> None:
        """Somebody writes a manifest, new or changed, right or wrong."""
        self._write(name, replace(wish, content=self._meant(wish.path, checksum)))
        if look:
            self.quiet_point()

    @rule(path=PATHS, content=INDEXES, name=NAMES, checksum=CHECKSUMS)
    def release(self, path: str, content: int, name: str, checksum: str) -> None:
        """The upstream has something new, and the manifest says so: the usual life of an image."""
        self.upstream_changes(path, content)
        wish = self.wanted.get(name, Wish(path, None, ("s1", "s2")))
        meant = self._meant(path, checksum)
        told = FORMATS[meant] if meant is not None and meant >= 0 else None
        self._write(name, replace(wish, path=path, content=meant, format=told))
        self.quiet_point()

    def _meant(self, path: str, checksum: str) -> int | None:
        offered = self.served.files.get(path)
        if checksum == "none" or (checksum == "right" and offered is None):
            return None
        if checksum == "wrong":
            return -1
        index = 0 if offered is None else CONTENTS.index(offered)
        return index if checksum == "right" else (index + 1) % len(CONTENTS)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        (self.manifests / f"image-{name}.yaml").unlink(missing_ok=True)
        self.wanted.pop(name, None)
        self.kept.pop(name, None)
        self.unsure |= {pin for pin in self.pinned if pin[0] == name}  # who is written again in time was never gone

    @precondition(lambda self: any(len(kept) > 1 for kept in self.kept.values()))
    @rule(data=st.data())
    def go_back(self, data: st.DataObject) -> None:
        """A revert to an older revision takes no byte from the network."""
        self.quiet_point()
        able = [
            (name, sha256)
            for name, kept in sorted(self.kept.items())
            if name in self.wanted
            for sha256 in kept[1 : 1 + HISTORY_LIMIT]
            if sha256 not in self.damaged
        ]
        if not able:
            return
        name, sha256 = data.draw(st.sampled_from(able))
        self._write(name, replace(self.wanted[name], content=SHA256.index(sha256), format=None))
        before = self.served.sent_bytes
        others = {path: self.served.files.pop(path) for path in list(self.served.files)}
        self.quiet_point(upstream=False)
        self.served.files |= others
        assert self.served.sent_bytes == before
        assert self.kept[name][0] == sha256

    def _write(self, name: str, wish: Wish) -> None:
        checksum = WRONG if wish.content == -1 else None
        if wish.content is not None and wish.content >= 0:
            checksum = f"sha256:{SHA256[wish.content]}"
        lines = [
            "apiVersion: goldmaster.dev/v1alpha1",
            "kind: Image",
            f"metadata: {{name: {name}}}",
            "spec:",
            f"  url: {self.served.url(wish.path)}",
            f"  backupStorages: [{', '.join(wish.places)}]",
            f"  deletionPolicy: {wish.policy}",
            "  retry: {initialBackoff: 1s, maxBackoff: 1s}",
            *([f"  checksum: {checksum}"] if checksum else []),
            *([f"  format: {wish.format}"] if wish.format else []),
        ]
        (self.manifests / f"image-{name}.yaml").write_text("\n".join(lines) + "\n")
        before = self.wanted.get(name)
        if before is not None and before.places != wish.places:
            # what is served is moved to another storage, older revisions are not
            overlap = set(before.places) & set(wish.places)
            self.kept[name] = self.kept.get(name, [])[:1] if overlap else []
        self.wanted[name] = wish

    # --- upstreams, disks and processes ----------------------------------------------------------------------------

    @rule(path=PATHS, content=INDEXES)
    def upstream_changes(self, path: str, content: int) -> None:
        self.served.files[path] = CONTENTS[content]
        self.served.etags[path] = f'"{SHA256[content]}"'

    @rule(path=PATHS)
    def upstream_goes(self, path: str) -> None:
        self.served.files.pop(path, None)

    @rule(storage=STORAGES, name=NAMES, wish=st.none() | st.builds(Wish, PATHS, st.none(), PLACES, POLICIES))
    def storage_is_away(self, storage: str, name: str, wish: Wish | None) -> None:
        """A mount is lost for a while, and an empty directory stands there; a manifest may change meanwhile."""
        place = self.home / storage
        if not place.exists():
            return
        place.rename(self.home / f"{storage}-away")
        place.mkdir()
        self.away.add(storage)
        self.kept = {image: kept[:1] for image, kept in self.kept.items()}
        if wish is not None:
            self._write(name, wish)
        self.quiet_point()
        assert os.listdir(place) == [], "something was made where a storage was lost"
        place.rmdir()
        (self.home / f"{storage}-away").rename(place)
        self.away.remove(storage)

    @rule(name=STORAGES, which=st.integers(0, 7), how=st.sampled_from(["flip", "cut", "remove", "claim", "record"]))
    def disk_loses(self, name: str, which: int, how: str) -> None:
        """Stored bytes change, shrink or go; or a claim goes, or what is written about an object."""
        place = self.home / name
        found = sorted(path for path in (place / "objects").rglob("*") if path.is_file() and not path.suffix)
        if not found:
            return
        target = found[which % len(found)]
        self.damaged.add(target.name)
        if how == "claim":
            for claim in (place / "images").glob(f"*/{target.name[:40]}"):
                claim.unlink()
        elif how == "record":
            target.with_name(f"{target.name}.json").unlink(missing_ok=True)
        elif how == "remove":
            target.unlink()
        else:
            target.chmod(0o644)
            with target.open("r+b") as file:
                if how == "cut":
                    file.truncate(len(file.read()) // 2)
                else:
                    first = file.read(1)[0]
                    file.seek(0)
                    file.write(bytes([first ^ 1]))
                    self.flipped = True
            target.chmod(0o444)
        self.quiet_point()

    @rule(after_ms=st.integers(200, 1200))
    def killed_apply(self, after_ms: int) -> None:
        """The whole command, killed at some moment: all that is left of it is what lies on the disk."""
        command = [sys.executable, "-m", "controller", "apply", str(self.manifests), "--confirm-deletions"]
        place = ["--state", str(self.mode.state_dir), "--allow-network", "127.0.0.0/8"]
        with subprocess.Popen([*command, *place], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(after_ms / 1000)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                self.killed = True
                # it may have come so far as to import something, which nobody saw
                self.unsure |= {(name, wish.path) for name, wish in self.wanted.items()}
                self.kept = {}
            process.wait(60)

    # --- quiet points ----------------------------------------------------------------------------------------------

    @rule()
    def quiet_point(self, *, upstream: bool = True) -> None:
        """Converge, as `apply` does, and look at everything."""
        with wiring.standalone(self.settings, self.mode) as standalone:
            if self.flipped:
                self._scrub(standalone)
            trees = standalone.load([self.manifests])
            assert [str(problem) for tree in trees for problem in tree.problems] == []
            standalone.take(trees)
            standalone.try_again()
            ended = standalone.converge(STUCK_S if self.away else SETTLES_WITHIN_S, threading.Event()).ended
            assert ended or self.away, "an image does not settle"
            found = {image.meta.key.name: image for image in standalone.state.images()}
        self._look(found, upstream=upstream)

    def _scrub(self, standalone: Standalone) -> None:
        """Hash every object, as a scrub does, and take out of service what is damaged."""
        self.flipped = bool(self.away)  # what is away is scrubbed when it is back
        standalone.engine.probe_storages()
        for storage in standalone.engine.storages.all():
            if not storage.connected:
                continue
            for path in sorted((self.home / storage.name / "objects").rglob("*")):
                digest = Digest(Algorithm.SHA256, path.name) if len(path.name) == 64 else None
                if digest is None:
                    continue
                try:
                    right = verify.hash_reader(storage.adapter.open(digest, fresh=True), lambda _: None)[0] == digest
                except errors.StorageDamaged:
                    right = False
                if not right:
                    storage.adapter.quarantine(digest, "the model says so")

    def _look(self, found: dict[str, Image], *, upstream: bool) -> None:
        if not self.away:
            assert set(found) == set(self.wanted)
        for name, wish in self.wanted.items():
            image = found[name]
            if _is(image, ConditionType.READY):
                self._is_there(name, image, wish)
            elif not self.away and upstream and self._can_be_had(name, wish):
                raise AssertionError(f"{name} {wish} could be had, but: {_condition(image, ConditionType.READY)}")
            if _is(image, ConditionType.AVAILABLE):
                assert image.status.current is not None
                assert self._copies(image, image.status.current.content.sha256.hex) or self.away
            if image.status.current is not None:
                self._remember(name, image, image.status.current)
            self._nothing_is_missing(name, image)
        if not self.away:
            self._nothing_is_left(found)

    def _is_there(self, name: str, image: Image, wish: Wish) -> None:
        """Ready: this generation, these exact bytes, on all storages that the manifest names."""
        status = image.status
        assert status.current is not None
        sha256 = status.current.content.sha256.hex
        assert status.observed_generation == image.meta.generation
        assert sha256 in SHA256
        assert wish.content is None or SHA256[wish.content] == sha256
        assert wish.format is None or FORMATS[SHA256.index(sha256)] == wish.format
        assert status.current.content.size_bytes == len(CONTENTS[SHA256.index(sha256)])
        assert [ref.storage_name for ref in status.refs] == sorted(wish.places)
        assert {ref.status for ref in status.refs} == {RefStatus.READY}
        for ref in status.refs:
            path = self.home / ref.storage_name / "images" / ref.install_path.removeprefix("zstore://")
            assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256, f"{ref} has other bytes"
        pinned = self.pinned.setdefault((name, wish.path), set())
        # an older revision whose bytes were lost is none any more: its url begins anew
        unsure = not pinned or pinned & self.damaged or (name, wish.path) in self.unsure
        assert wish.content is not None or unsure or sha256 in pinned, "other bytes under a pinned url"

    def _remember(self, name: str, image: Image, current: Revision) -> None:
        """What is served from now on, be it on all storages or not, is what must be kept when something else is."""
        sha256 = current.content.sha256.hex
        self.pinned.setdefault((name, current.url.removeprefix(self.served.url(""))), set()).add(sha256)
        places = {path.parents[2].name for path in self._copies(image, sha256)}
        if places & set(self.wanted[name].places):
            before = [other for other in self.kept.get(name, []) if other != sha256]
            self.kept[name] = [sha256, *before]

    def _can_be_had(self, name: str, wish: Wish) -> bool:
        """Whether nothing speaks against Ready: the upstream has what is asked for, or the image has it already."""
        offered = self.served.files.get(wish.path)
        sha256 = None if offered is None else hashlib.sha256(offered).hexdigest()
        if wish.content is None:
            pinned = self.pinned.get((name, wish.path), set())
            fits = sha256 is not None and pinned <= {sha256} and (name, wish.path) not in self.unsure
        elif wish.content < 0:
            fits = False
        else:
            fits = sha256 == SHA256[wish.content]
            sha256 = SHA256[wish.content]
            fits = fits or (sha256 in self.kept.get(name, [])[: 1 + HISTORY_LIMIT] and sha256 not in self.damaged)
        return fits and (wish.format is None or sha256 is None or FORMATS[SHA256.index(sha256)] == wish.format)

    def _nothing_is_missing(self, name: str, image: Image) -> None:
        """The older revisions that the limit allows are listed, and their bytes are there."""
        history = [revision.content.sha256.hex for revision in image.status.history]
        assert len(history) <= HISTORY_LIMIT
        if self.away or not _is(image, ConditionType.READY):
            return
        for sha256 in self.kept.get(name, [])[1 : 1 + HISTORY_LIMIT]:
            if sha256 not in self.damaged:
                assert sha256 in history, f"{name} lost {sha256}"
                assert self._copies(image, sha256), f"{name} has no bytes of {sha256}"

    def _nothing_is_left(self, found: dict[str, Image]) -> None:
        """Every claim is of an image or of the trash, every object is claimed, nothing is under way."""
        by_uuid = {image.status.uuid: image for image in found.values()}
        for name in ("s1", "s2"):
            store = self.home / name
            claimed = set()
            for claim in (store / "images").glob("*/*"):
                if claim.suffix:
                    continue
                claimed.add(claim.name)
                image = by_uuid.get(claim.parent.name)
                if image is None:
                    assert (store / "trash" / f"{claim.parent.name}.json").exists(), f"{claim} is of nobody"
                elif _is(image, ConditionType.READY):
                    revisions = [image.status.current, *image.status.history]
                    known = {revision.content.image_id for revision in revisions if revision}
                    assert claim.name in known, f"{claim} is of no revision"
            if self.killed:
                continue  # `doctor` names what a kill between two steps leaves, and a later import finds it
            for path in (store / "objects").rglob("*"):
                if path.is_file() and not path.suffix and path.name not in self.damaged:
                    assert path.name[:40] in claimed, f"{path} is claimed by nobody"
            if (store / "staging").exists():
                assert os.listdir(store / "staging") == []

    def _copies(self, image: Image, sha256: str) -> list[Path]:
        """Return the good copies that an image has of a content."""
        places = (self.home / name / "images" / str(image.status.uuid) / sha256[:40] for name in ("s1", "s2"))
        return [path for path in places if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256]


def _condition(image: Image, kind: ConditionType) -> Condition | None:
    return conditions.find(image.status.conditions, kind)


def _is(image: Image, kind: ConditionType) -> bool:
    return conditions.is_true(image.status.conditions, kind)


@pytest.mark.parametrize(
    ("examples", "steps"),
    [
        pytest.param(10, 16, id="short"),
        pytest.param(150, 40, id="long", marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
def test_images_live_as_the_model_says(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        LifeMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=[Phase.generate],  # a shorter sequence is worth less than the minutes that finding it takes
            suppress_health_check=list(HealthCheck),
        ),
    )
