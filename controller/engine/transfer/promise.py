"""What the bytes of one transfer must be, by the spec, a publisher's list or what is known; and whether they are."""

from dataclasses import replace

from controller import errors
from controller.engine.transfer.checksum_lists import ChecksumLists
from controller.engine.transfer.intake import Intake
from controller.engine.transfer.outlet import Outlet
from controller.media.digester import Hasher
from controller.model.digest import Algorithm, Digest
from controller.model.image import Content
from controller.model.transfer import TransferRequest
from controller.ports import BackupStorage


class Promise:
    """Made of the request, and of its checksum list before the first byte; judged after the last. For one thread."""

    def __init__(self, request: TransferRequest) -> None:
        self._request = request
        self.expected = request.checksum
        """The digest of the bytes as downloaded; None: nobody said."""
        self.proof: str | None = None
        """What the list is worth, as a Revision has it; None: no list was asked."""
        self.kept = False
        """Whether the promised sha256 or sha512 was found: no other source has better bytes."""
        self._hashers: dict[Algorithm, Hasher] = {}
        self._copy: Content | None = None

    @property
    def pins(self) -> bool:
        """Whether it says which bytes they are, so that it does not matter who sends them."""
        identified = self.expected is not None and self.expected.algorithm.identifies
        return identified or self._request.expected_content is not None

    def copied_from(self, storage: BackupStorage) -> Content:
        """Return what is copied from another storage: what that one's record says, as a request is made of a status.

        Without a record nothing is known of the bytes as downloaded. Raises InvalidSpec where the request does not say,
        and what `BackupStorage.find` raises.
        """
        expected = self._request.expected_content
        if expected is None:
            raise errors.InvalidSpec("a copy from another storage must say which content it is")
        recorded = storage.find(expected.sha256)
        self._copy = recorded or replace(expected, source_digests=(expected.sha256,))
        return self._copy

    def ask(self, lists: ChecksumLists) -> Content | None:
        """Learn from the checksum list, if there is one, what to expect; return the content where that is known."""
        request = self._request
        if request.checksum_from is None:
            return None
        listed = lists.ask(request.checksum_from, request)
        self.expected, self.proof = listed.digest, listed.proof
        if not listed.digest.algorithm.identifies:
            return None
        return next((content for content in request.known if listed.digest in content.source_digests), None)

    def hashers(self, *also: Algorithm) -> dict[Algorithm, Hasher]:
        """Return what the bytes as downloaded have to go through: what is asked for, and sha256 always."""
        wanted = dict.fromkeys([Algorithm.SHA256, *also, *self._asked()])
        self._hashers = {algorithm: Hasher(algorithm) for algorithm in wanted}
        return self._hashers

    def check(self, intake: Intake) -> None:
        """Compare the bytes as downloaded.

        Raises:
            SourceUnreachable: the end came early. ChecksumMismatch: they are other ones.

        """
        expected = self.expected
        if expected is None or self._request.copy_from is not None:
            return
        got = self._hashers[expected.algorithm].digest()
        if expected.matches(got):
            return
        if not intake.complete:
            raise errors.SourceUnreachable(f"the download ended early: expected {expected}, got {got}")
        listed = self._request.checksum_from
        promised = str(expected) if listed is None else f"{expected} (as {listed.url.redacted} says)"
        raise errors.ChecksumMismatch(f"expected {promised}, got {got}")

    def judge(self, intake: Intake, outlet: Outlet) -> Content:
        """Return what the bytes are, where they are what was promised.

        Raises:
            What `check` and `Outlet.finish` raise. SourceUnreachable: nothing says that this is the end. SourceChanged:
            they are not those that are known. StorageDamaged: of the storage that is copied from.

        """
        request = self._request
        if request.copy_from is not None:
            return self._copied(outlet, request.copy_from.name)
        expected = request.expected_content
        if not intake.complete and self.expected is None and expected is None:
            raise errors.SourceUnreachable(
                "the source did not say how long it is and the spec has no checksum: a cut cannot be told from the end"
            )
        self.check(intake)
        self.kept = self.expected is not None and self.expected.algorithm.identifies
        found = outlet.finish(self.digests())
        if expected is not None and not expected.sha256.matches(found.sha256):
            raise errors.SourceChanged(f"the source has other bytes now: pinned {expected.sha256}, got {found.sha256}")
        return found

    def digests(self) -> tuple[Digest, ...]:
        """Return the digests of the bytes as downloaded that a content is known by: sha256, and what was asked for."""
        wanted = dict.fromkeys([Algorithm.SHA256, *self._asked()])
        return tuple(self._hashers[algorithm].digest() for algorithm in wanted)

    def _asked(self) -> list[Algorithm]:
        if self.expected is None or self._request.copy_from is not None:
            return []  # a copy is proven by the sha256 of its content
        return [self.expected.algorithm]

    def _copied(self, outlet: Outlet, name: str) -> Content:
        expected, got = self._copy, outlet.digest(Algorithm.SHA256)
        if expected is None:
            raise AssertionError("a copy is opened before it is judged")
        if outlet.total_bytes != expected.size_bytes or not expected.sha256.matches(got):
            raise errors.StorageDamaged(f"the copy on BackupStorage {name} is damaged: {expected.sha256} reads {got}")
        return expected
