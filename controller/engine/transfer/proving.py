"""Spare a download where the bytes are here already and the image has, or can prove, a right to them."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from controller import errors
from controller.engine.holdings import Holdings
from controller.engine.transfer.berths import Berth
from controller.engine.transfer.intake import Intake, Patience
from controller.engine.transfer.limits import PassLimits
from controller.engine.transfer.promise import Promise
from controller.model.delivery import Peer
from controller.model.image import Content
from controller.model.secret import Credentials
from controller.model.transfer import Placed, Provenance, Running, TransferRequest, Validator
from controller.plan import right
from controller.ports import FetchRequest, Source


class Sharing(Protocol):
    """What one transfer is told of the others, and tells them. A request has the url that is asked just now."""

    def in_namespace(self, request: TransferRequest, promise: Promise) -> Placed | None:
        """Return the bytes of a sha256 or sha512 where an image of the namespace has them; asks no server."""
        ...

    def by_answer(
        self,
        request: TransferRequest,
        promise: Promise,
        source: Source,
        patience: Patience,
        told: Credentials | None,
    ) -> Placed | None:
        """Return the bytes where an answer of the url proves the right to them; None where they must be fetched.

        Raises what `Source.open` raises: who is refused gets nothing.
        """
        ...

    def gives_way(self, request: TransferRequest, intake: Intake, told: Credentials | None, *, on_mirror: bool) -> bool:
        """Whether another transfer fetches the same just now, so that this one shall wait for it and share."""
        ...

    def meanwhile(
        self, request: TransferRequest, promise: Promise, intake: Intake, told: Credentials | None
    ) -> Placed | None:
        """Return the bytes where another transfer brought them between the question and the answer; asks nothing more.

        Once `gives_way` said no: from then on nobody else brings them.
        """
        ...

    def present(self, request: TransferRequest, promise: Promise, berths: Sequence[Berth]) -> Content | None:
        """Return the content of an expected sha256 or sha512 where every target has it: then nothing is written."""
        ...

    def tell(self, request: TransferRequest, placed: Placed) -> None:
        """Let the others know what was placed, before it is over."""
        ...


class Alone:
    """Shares with nobody."""

    def in_namespace(self, request: TransferRequest, promise: Promise) -> Placed | None:
        """Return None: it must be fetched."""

    def by_answer(
        self,
        request: TransferRequest,
        promise: Promise,
        source: Source,
        patience: Patience,
        told: Credentials | None,
    ) -> Placed | None:
        """Return None: it must be fetched."""

    def gives_way(self, request: TransferRequest, intake: Intake, told: Credentials | None, *, on_mirror: bool) -> bool:
        """Return False: there is nobody else."""
        return False

    def meanwhile(
        self, request: TransferRequest, promise: Promise, intake: Intake, told: Credentials | None
    ) -> Placed | None:
        """Return None: there was nobody else."""

    def present(self, request: TransferRequest, promise: Promise, berths: Sequence[Berth]) -> Content | None:
        """Return None: it must be written."""

    def tell(self, request: TransferRequest, placed: Placed) -> None:
        """Tell nobody."""


class AmongOthers:
    """Shares what the storages of an instance have. `may_fetch(named)`: whether no other transfer fetches the same."""

    def __init__(self, holdings: Holdings, may_fetch: Callable[[bool], bool]) -> None:
        self._holdings = holdings
        self._may_fetch = may_fetch

    def in_namespace(self, request: TransferRequest, promise: Promise) -> Placed | None:
        """Look for a claim; see Sharing."""
        expected = promise.expected
        if expected is None or request.copy_from is not None or request.expected_content is not None:
            return None
        shared = self._holdings.of_namespace(request.namespace, expected)
        if shared is None:
            return None
        self._holdings.spared(request.url.redacted, shared.content, shared.length)
        return Placed(shared.content, frozenset(), (), Validator(), shared.by, 0, 0, promise.proof)

    def by_answer(
        self,
        request: TransferRequest,
        promise: Promise,
        source: Source,
        patience: Patience,
        told: Credentials | None,
    ) -> Placed | None:
        """Ask the url; see Sharing."""
        return Prover(self._holdings, request, promise, told).asked(source, patience)

    def gives_way(self, request: TransferRequest, intake: Intake, told: Credentials | None, *, on_mirror: bool) -> bool:
        """Ask whoever knows all transfers; see Sharing. Those who wait for a url learn nothing of its mirror."""
        known = right.testimony(request, told, intake.validator, intake.total_bytes, ()) is not None
        return request.copy_from is None and not self._may_fetch(known and not on_mirror)

    def meanwhile(
        self, request: TransferRequest, promise: Promise, intake: Intake, told: Credentials | None
    ) -> Placed | None:
        """Look once more, and judge the answer that is there; see Sharing."""
        if request.copy_from is not None:
            return None
        shared = self.in_namespace(request, promise)
        return shared or Prover(self._holdings, request, promise, told).answered(intake)

    def present(self, request: TransferRequest, promise: Promise, berths: Sequence[Berth]) -> Content | None:
        """Look on every target; see Sharing."""
        expected = promise.expected
        if expected is None or request.copy_from is not None or request.expected_content is not None:
            return None
        content = self._holdings.of_anybody(expected)
        if content is None:
            return None
        try:
            there = all(berth.storage.find(content.sha256) is not None for berth in berths)
        except errors.GoldmasterError:
            return None
        return content if there and self._holdings.may_only_digest(request.key) else None

    def tell(self, request: TransferRequest, placed: Placed) -> None:
        """Note it in the index; see Sharing."""
        self._holdings.placed(request, placed)


class Answer(Protocol):
    """What a url said of its version; a Body and an Intake have it."""

    @property
    def validator(self) -> Validator:
        """What names it."""
        ...

    @property
    def served_by(self) -> str:
        """Who answered, in words."""
        ...

    @property
    def total_bytes(self) -> int | None:
        """Of the whole version."""
        ...

    @property
    def peer(self) -> Peer | None:
        """Who was connected to."""
        ...


class Prover:
    """Judges what the url of a transfer answers to the image's own credentials, by what is known of the url."""

    def __init__(
        self, holdings: Holdings, request: TransferRequest, promise: Promise, told: Credentials | None
    ) -> None:
        self._holdings = holdings
        self._request = request
        self._promise = promise
        self._told = told
        pinned = request.expected_content
        self._known = [
            stored
            for stored in holdings.of_url(request.url)
            if right.entitled(stored.provenance, request, told, promise.expected)
            and (pinned is None or pinned.sha256 == stored.content.sha256)
        ]

    def asked(self, source: Source, patience: Patience) -> Placed | None:
        """Ask for one byte: the bytes where the answer proves the right to them, None where they must be fetched.

        Raises what `Source.open` raises: who is refused gets nothing.
        """
        if not self._known:
            return None
        body = source.open(self._question(self._known[0].provenance), patience)
        try:
            return self.answered(body)
        finally:
            body.close()

    def _question(self, known: Provenance) -> FetchRequest:
        """Ask for the last byte of that version: an answer with all of it, or with another, is as good a proof."""
        return FetchRequest(
            url=self._request.url,
            timeouts=self._request.timeouts,
            resume_from=known.total_bytes - 1,
            validator=Validator(known.etag),
            max_bytes=self._request.max_size_bytes,
            credentials=self._told,
            namespace=self._request.namespace,
        )

    def answered(self, answer: Answer) -> Placed | None:
        """Return the bytes where an answer, whatever of the version it gives, proves the right to them."""
        request, expected = self._request, self._promise.expected
        for stored in self._known:
            proven = stored.provenance
            if not right.proves(proven, request, self._told, expected, answer.validator, answer.total_bytes):
                continue
            content = right.as_fetched(stored.content, proven)
            self._holdings.spared(request.url.redacted, content, proven.total_bytes)
            targets = frozenset(target.uuid for target in request.targets)
            return Placed(
                content=content,
                stored=targets & stored.storages,
                failed=(),
                validator=answer.validator,
                served_by=answer.served_by,
                fetched_bytes=0,
                resumed_bytes=0,
                proof=self._promise.proof,
                length=proven.total_bytes,
                peer=answer.peer,
            )
        return None


def note(berths: Sequence[Berth], content: Content, provenance: Provenance | None) -> frozenset[str]:
    """Nothing was written, as every target has it: note where it came from, as far as that can be noted."""
    for berth in berths:
        if provenance is not None:
            with suppress(errors.GoldmasterError):
                berth.storage.note_provenance(content.sha256, provenance)
    return frozenset(berth.target.uuid for berth in berths)


def digest_only(
    intake: Intake, content: Content, promise: Promise, pace: PassLimits, report: Callable[[Running], None]
) -> Content:
    """Fetch into the digest alone; return the content as it was fetched. What breaks off is written next time.

    Raises what `Promise.check` and the source raise.
    """
    hashers = promise.hashers()
    buffer = memoryview(bytearray(pace.buffer_bytes))
    while length := intake.fill(buffer):
        for hasher in hashers.values():
            hasher.update(buffer[:length])
        report(Running(intake.position, intake.total_bytes, intake.resumed_bytes))
    promise.check(intake)
    return replace(content, source_digests=promise.digests())
