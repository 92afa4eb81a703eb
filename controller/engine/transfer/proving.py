"""Spare a download where the bytes are here already and the image has, or can prove, a right to them."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from controller import errors
from controller.engine.holdings import Holdings, Stored
from controller.engine.transfer.berths import Berth
from controller.engine.transfer.intake import Intake, Patience
from controller.engine.transfer.limits import PassLimits
from controller.engine.transfer.promise import Promise
from controller.model.digest import Digest
from controller.model.image import Content
from controller.model.secret import Credentials
from controller.model.transfer import Placed, Provenance, Running, TransferRequest, Validator
from controller.plan import right
from controller.ports import Body, FetchRequest, Source


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
        if expected is None or request.origin is not None or request.expected_content is not None:
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
        return Prover(source, self._holdings, patience, told, promise.proof).prove(request, promise.expected)

    def gives_way(self, request: TransferRequest, intake: Intake, told: Credentials | None, *, on_mirror: bool) -> bool:
        """Ask whoever knows all transfers; see Sharing. Those who wait for a url learn nothing of its mirror."""
        known = intake.validator.strong and bool(intake.total_bytes) and right.witness(request.url, told) is not None
        return request.origin is None and not self._may_fetch(known and not on_mirror)

    def present(self, request: TransferRequest, promise: Promise, berths: Sequence[Berth]) -> Content | None:
        """Look on every target; see Sharing."""
        expected = promise.expected
        if expected is None or request.origin is not None or request.expected_content is not None:
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


class Prover:
    """Asks the url of a transfer for one byte of a version that is here, with the image's own credentials."""

    def __init__(
        self, source: Source, holdings: Holdings, patience: Patience, told: Credentials | None, proof: str | None
    ) -> None:
        self._source = source
        self._holdings = holdings
        self._patience = patience
        self._told = told
        self._proof = proof

    def prove(self, request: TransferRequest, expected: Digest | None) -> Placed | None:
        """Return the bytes where the answer proves the right to them, None where they must be fetched.

        Raises what `Source.open` raises: who is refused gets nothing.
        """
        pinned = request.expected_content
        known = [
            stored
            for stored in self._holdings.of_url(request.url)
            if right.entitled(stored.provenance, request, self._told, expected)
            and (pinned is None or pinned.sha256 == stored.content.sha256)
        ]
        if not known:
            return None
        body = self._source.open(self._question(request, known[0].provenance), self._patience)
        try:
            return self._judged(request, expected, known, body)
        finally:
            body.close()

    def _question(self, request: TransferRequest, known: Provenance) -> FetchRequest:
        """Ask for the last byte of that version: an answer with all of it, or with another, is as good a proof."""
        return FetchRequest(
            url=request.url,
            timeouts=request.timeouts,
            resume_from=known.total_bytes - 1,
            validator=Validator(known.etag),
            max_bytes=request.max_size_bytes,
            credentials=self._told,
        )

    def _judged(
        self, request: TransferRequest, expected: Digest | None, known: list[Stored], body: Body
    ) -> Placed | None:
        for stored in known:
            proven = stored.provenance
            if not right.proves(proven, request, self._told, expected, body.validator, body.total_bytes):
                continue
            content = right.as_fetched(stored.content, proven)
            self._holdings.spared(request.url.redacted, content, proven.total_bytes)
            targets = frozenset(target.uuid for target in request.targets)
            return Placed(
                content=content,
                stored=targets & stored.storages,
                failed=(),
                validator=body.validator,
                served_by=body.served_by,
                fetched_bytes=0,
                resumed_bytes=0,
                proof=self._proof,
                length=proven.total_bytes,
                peer=body.peer,
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
