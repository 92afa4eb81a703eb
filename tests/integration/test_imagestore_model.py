"""An ImageStore against a dict: any sequence of puts, claims, drops, damage, repairs and restarts."""

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from controller import errors
from controller.adapters.backup.imagestore import ImageStore
from controller.model.digest import Digest
from tests.fakes.clock import FakeClock
from tests.fakes.faulty_files import FaultyFiles
from tests.fakes.memory_directory import SHARED_MEMORY
from tests.fakes.stored_bytes import content_of, publish, read_all, ref_of

IMAGES = st.sampled_from([f"{number:032x}" for number in range(3)])
PIECES = [b"", b"a", b"b" * 4096, b"c" * 5000]
CONTENTS = {content_of(data).sha256: content_of(data) for data in PIECES}


class StoreMachine(RuleBasedStateMachine):
    """What should be there.

    `bytes`: what lies under which digest. `claims`: who claims it, and whether its link is these very bytes. `awaited`:
    what this process published and nobody claimed yet.
    """

    published = Bundle("published")

    def __init__(self) -> None:
        super().__init__()
        parent = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
        self.home = Path(tempfile.mkdtemp(prefix="goldmaster-", dir=parent))
        self.clock = FakeClock()
        self.bytes: dict[Digest, bytes] = {}
        self.claims: dict[tuple[str, Digest], bool] = {}
        self.awaited: set[Digest] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.home)

    @initialize()
    def begin(self) -> None:
        self.restart()
        self.store.probe()

    @rule()
    def restart(self) -> None:
        """A new process: the locks and what it remembers are gone."""
        self.store = ImageStore(
            str(self.home / "store"), storage_uuid="5" * 32, reserved_bytes=0, clock=self.clock, files=FaultyFiles()
        )
        self.awaited = set()

    @rule(target=published, data=st.sampled_from(PIECES))
    def publish(self, data: bytes) -> Digest:
        digest = publish(self.store, data).sha256
        self.bytes[digest] = data
        self.awaited.add(digest)
        return digest

    @rule(image=IMAGES, digest=published)
    def link(self, image: str, digest: Digest) -> None:
        try:
            self.store.link(image, ref_of(CONTENTS[digest]))
        except errors.StorageDamaged:
            assert digest not in self.bytes
        else:
            assert digest in self.bytes
            self.claims[image, digest] = True
            self.awaited.discard(digest)

    @rule(image=IMAGES, digest=published)
    def unlink(self, image: str, digest: Digest) -> None:
        self.store.unlink(image, digest)
        self.claims.pop((image, digest), None)
        held = any(holds for (_, claimed), holds in self.claims.items() if claimed == digest)
        if not held and digest not in self.awaited:
            self.bytes.pop(digest, None)

    @rule(digest=published)
    def quarantine(self, digest: Digest) -> None:
        self.store.quarantine(digest, "the model says so")
        if self.bytes.pop(digest, None) is not None:
            self.claims |= {claim: False for claim in self.claims if claim[1] == digest}

    @rule(digest=published)
    def lose_the_record(self, digest: Digest) -> None:
        """Mended from a claim; without one nobody can tell what the bytes are."""
        path = self.home / "store" / "objects" / "sha256" / digest.hex[:2] / f"{digest.hex}.json"
        path.unlink(missing_ok=True)
        self.repair()

    @rule()
    def repair(self) -> None:
        """A day later doctor repairs everything: what nobody claims goes."""
        self.clock.advance(timedelta(days=3650))
        for _ in range(2):
            for finding in self.store.findings():
                self.store.mend(finding)
        claimed = {digest for _, digest in self.claims}
        self.bytes = {digest: data for digest, data in self.bytes.items() if digest in claimed}
        self.claims = {(image, digest): digest in self.bytes for image, digest in self.claims}
        self.awaited = set()
        assert [finding.code for finding in self.store.findings() if finding.repair] == []

    @invariant()
    def what_is_there_is_what_was_put(self) -> None:
        for digest, content in CONTENTS.items():
            found = self.store.find(digest)
            assert found == (content if digest in self.bytes else None)
            if found is not None:
                assert read_all(self.store, digest) == self.bytes[digest]

    @invariant()
    def claims_are_those_that_were_made(self) -> None:
        assert set(self.store.claims()) == set(self.claims)
        seen = {
            (image, ref.content.sha256): ref.intact
            for image in {image for image, _ in self.claims}
            for ref in self.store.refs(image)
        }
        assert seen == self.claims

    @invariant()
    def nothing_stays_in_staging(self) -> None:
        staging = self.home / "store" / "staging"
        assert not staging.exists() or list(staging.iterdir()) == []


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
