"""One transfer, start to end: plain data in, plain data out.

Source bytes are hashed, decompressed, hashed, understood and written to every target at once; nothing gets a final
name before everything is proven. What a try leaves behind is either a resumable partial with its record, or nothing.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

import structlog

from controller import errors
from controller.engine.transfer import berths as berthing
from controller.engine.transfer import checksum_lists, credentials, proving, sick_origin
from controller.engine.transfer.berths import Berth, Foothold, StorageOpener
from controller.engine.transfer.flights import StandBack
from controller.engine.transfer.intake import Download, Intake, Patience, StoredCopy
from controller.engine.transfer.limits import PassLimits
from controller.engine.transfer.outlet import Outlet
from controller.engine.transfer.promise import Promise
from controller.engine.transfer.proving import Sharing
from controller.engine.transfer.ring import Ring, Sink, Slot
from controller.engine.transfer.sinks import Expanding, Hashing, Writing
from controller.engine.transfer.trail import Trail
from controller.media import decompress
from controller.media.digester import Hasher
from controller.model.digest import Algorithm
from controller.model.image import Content
from controller.model.secret import Credentials
from controller.model.transfer import Broken, Placed, Provenance, ResumeRecord, Running, TransferRequest, Validator
from controller.plan import right
from controller.plan.source import OTHER_BYTES
from controller.ports import Clock, Secrets, SignatureVerifier, Source, StagedFile, StopToken
from controller.reasons import Reason

log = structlog.get_logger()


def run(
    request: TransferRequest,
    source: Source,
    storages: StorageOpener,
    clock: Clock,
    stop: StopToken,
    report: Callable[[Running], None],
    pace: PassLimits | None = None,
    secrets: Secrets | None = None,
    verifier: SignatureVerifier | None = None,
    sharing: Sharing | None = None,
) -> Placed | Broken:
    """Transfer once. Errors of `controller.errors` end in Broken; anything else is a bug and is raised, cleaned up.

    A source that does not give the bytes is followed by the next one, in a pass of its own.

    Raises:
        StandBack: another transfer fetches the same; nothing was placed, what an earlier try left is still there.

    """
    pace, trail, patience = pace or PassLimits(), Trail(request), Patience(stop, clock, request.timeouts.total)
    sharing = sharing or proving.Alone()
    while True:
        one = OnePass(request, source, storages, clock, patience, report, pace, secrets, verifier, trail, sharing)
        try:
            return credentials.scrubbed(one.place(), one.told, trail.url)
        except errors.GoldmasterError as error:
            broken = one.broken(error)
            if broken is not None:
                broken = sick_origin.judged(broken, request, storages, stop)
                return credentials.scrubbed(broken, one.told, trail.url)
        finally:
            one.close()
        patience = patience.renewed()


class OnePass:
    """The parts of one pass, joined once the first bytes say whether they are compressed."""

    def __init__(
        self,
        request: TransferRequest,
        source: Source,
        storages: StorageOpener,
        clock: Clock,
        patience: Patience,
        report: Callable[[Running], None],
        pace: PassLimits,
        secrets: Secrets | None,
        verifier: SignatureVerifier | None,
        trail: Trail,
        sharing: Sharing,
    ) -> None:
        self._sharing = sharing
        self._secrets = secrets
        self._verifier = verifier
        self.told: Credentials | None = None
        """What the Secret says; it may show in nothing that comes out."""
        self._told_url: Credentials | None = None
        self._request = request
        self._source = source
        self._storages = storages
        self._clock, self._began = clock, clock.now()
        self._report = report
        self._pace = pace
        self._patience = patience
        self._trail = trail
        self._asking = False
        self._berths = berthing.berths_of(request, storages)
        self._ring = self._new_ring("source", pace.buffers)
        self._promise = Promise(request)
        self._intake: Intake | None = None
        self._foothold: Foothold | None = None
        self._keeper: Writing | None = None
        self._expanding: Expanding | None = None
        self._outlet: Outlet | None = None

    # --- the way that ends well -----------------------------------------------------------------------------------

    def place(self) -> Placed:
        """Move the bytes, prove them, publish them. Raises whatever stands in the way."""
        self.told = credentials.of(self._request, self._secrets)
        if self.told is not None:
            self._trail.scrub = self.told.scrub
        promise = self._promise
        known = promise.ask(self._lists())
        if known is not None:
            return Placed(known, frozenset(), (), Validator(), "", 0, 0, promise.proof)
        sharing = self._sharing
        if (shared := sharing.in_namespace(self._request, promise)) is not None:
            return shared
        if (proven := self._answered()) is not None:
            return proven
        intake = self._intake = self._open()
        if sharing.gives_way(self._asked_now, intake, self._told_url, on_mirror=self._trail.on_mirror):
            self._keep()
            raise StandBack
        if (brought := sharing.meanwhile(self._asked_now, promise, intake, self._told_url)) is not None:
            return self._spared(brought)
        there = sharing.present(self._request, promise, self._berths)
        if there is None:
            content = self._prove(intake, self._pump(intake))
            # the resumable partial is last: a crash until then costs no download
            last = self._keeper.staged if self._keeper is not None else None
            stored = berthing.publish(self._berths, content, self._testimony(intake, content), last)
        else:
            content = proving.digest_only(intake, there, promise, self._pace, self._report)
            stored = proving.note(self._berths, content, self._testimony(intake, content))
        placed = self._placed(intake, content, stored)
        sharing.tell(self._asked_now, placed)
        return placed

    @property
    def _asked_now(self) -> TransferRequest:
        """The request as it is of the url that is asked now."""
        return replace(self._request, url=self._trail.url)

    def _answered(self) -> Placed | None:
        """Return the bytes where they are here and an answer of the url proves the right to them."""
        if self._request.copy_from is not None:
            return None
        asked = self._asked_now
        self._trail.pinned, self._asking = self._promise.pins, True
        told = self._told_url = credentials.for_url(self.told, self._request, asked.url)
        found = self._sharing.by_answer(asked, self._promise, self._source, self._patience, told)
        return None if found is None else self._spared(found)

    def _spared(self, found: Placed) -> Placed:
        return replace(found, mirror=self._mirror, skipped=self._trail.skipped)

    @property
    def _mirror(self) -> str | None:
        return self._trail.url.redacted if self._trail.on_mirror else None

    def _placed(self, intake: Intake, content: Content, stored: frozenset[str]) -> Placed:
        return Placed(
            content=content,
            stored=stored,
            failed=berthing.failed(self._berths),
            validator=intake.validator,
            served_by=intake.served_by,
            fetched_bytes=self._trail.fetched_bytes + intake.fetched_bytes,
            resumed_bytes=intake.resumed_bytes,
            proof=self._promise.proof,
            length=intake.position,
            mirror=self._mirror,
            skipped=self._trail.skipped,
            peer=intake.peer,
            copied_from=None if self._request.copy_from is None else self._request.copy_from.name,
            started_at=self._began,
            finished_at=self._clock.now(),
        )

    def _lists(self) -> checksum_lists.ChecksumLists:
        return checksum_lists.ChecksumLists(self._source, self._patience, self.told, self._secrets, self._verifier)

    def _open(self) -> Intake:
        request = self._request
        if request.copy_from is not None:
            storage = self._storages(request.copy_from.uuid, request.copy_from.spec)
            expected = self._promise.copied_from(storage)
            reader = storage.open(expected.sha256)
            return StoredCopy(reader, expected, request.copy_from.name, self._patience, self._pace)
        trail = self._trail
        trail.mixed = False
        berthing.read_records(request, self._berths)
        if trail.durable_before is None:
            trail.durable_before = berthing.durable_bytes(request, self._berths)
        if not trail.from_zero:
            self._foothold = berthing.find_foothold(request, self._berths, trail.url_id, pinned=trail.pinned)
        if not berthing.reachable(self._berths):
            raise berthing.worst_luck(self._berths)
        told = self.told
        download = Download(request, self._source, self._patience, self._foothold, self._pace, told, trail)
        self._intake = download
        download.open()
        self._foothold = download.foothold
        trail.mixed = self._foothold is not None and self._foothold.mixed
        return download

    def _pump(self, intake: Intake) -> Outlet:
        self._report(
            Running(intake.position, intake.total_bytes, intake.resumed_bytes)
        )  # filling a buffer may take long
        while True:
            slot = self._ring.acquire()
            try:
                length = intake.fill(slot.view)
            except errors.GoldmasterError:
                if self._outlet is not None:
                    self._deliver(slot, intake.filled)
                raise
            outlet = self._outlet or self._join(intake, slot.view[:length])
            self._report(Running(intake.position, intake.total_bytes, intake.resumed_bytes))
            if length == 0:
                return outlet
            self._deliver(slot, length)

    def _deliver(self, slot: Slot, length: int) -> None:
        if self._keeper is not None:
            self._keeper.mixed = self._trail.mixed
        if self._expanding is None and self._outlet is not None:
            self._outlet.deliver(slot, length)
        else:
            self._ring.submit(slot, length)

    # --- plumbing ---------------------------------------------------------------------------------------------------

    def _join(self, intake: Intake, head: memoryview) -> Outlet:
        """Build what consumes the bytes, now that the first of them are known."""
        request = self._request
        compression = None if request.copy_from is not None else decompress.sniff(head)
        foothold = self._foothold
        if foothold is not None:
            if (foothold.name == request.key) != (compression is None):
                foothold.give_up()
                raise errors.SourceUnreachable("the partial download is not what its name says; starting over")
            if compression is None:
                foothold.berth.staged = foothold.staged
        berthing.stage_on_all(request, self._berths, intake.total_bytes if compression is None else None)
        writings = [self._writing(berth) for berth in berthing.reachable(self._berths)]
        if compression is None:
            return self._join_plain(intake, writings)
        return self._join_compressed(intake, writings, compression)

    def _join_plain(self, intake: Intake, writings: list[tuple[Berth, Writing]]) -> Outlet:
        request = self._request
        if request.copy_from is None:
            lead = self._foothold.berth if self._foothold is not None else writings[0][0]
            keeper = next(writing for berth, writing in writings if berth is lead)
            self._keep_record(intake, keeper, lead, request.key)
        hashings = _hashings(self._promise.hashers(*([] if request.copy_from is not None else [Algorithm.MD5])))
        self._outlet = Outlet(request, self._ring, hashings)
        self._ring.attach([*hashings.values(), *(writing for _, writing in writings)])
        return self._outlet

    def _join_compressed(
        self, intake: Intake, writings: list[tuple[Berth, Writing]], compression: decompress.Compression
    ) -> Outlet:
        fewer = max(self._pace.buffers // 2, 2)  # two rings together take the room of one
        self._ring.shrink(fewer)
        ring = self._new_ring("content", fewer)
        hashings = _hashings({algorithm: Hasher(algorithm) for algorithm in (Algorithm.SHA256, Algorithm.MD5)})
        ring.attach([*hashings.values(), *(writing for _, writing in writings)])
        self._outlet = Outlet(self._request, ring, hashings)
        decompressor = decompress.Decompressor(compression, self._request.max_size_bytes)
        self._expanding = Expanding(decompressor, ring, self._outlet.deliver, self._patience, self._clock, self._pace)
        fetched = _hashings(self._promise.hashers())
        keeping = self._keep_source(intake, writings[0][0])
        self._ring.attach([*fetched.values(), *keeping, self._expanding])
        return self._outlet

    def _keep_source(self, intake: Intake, lead: Berth) -> list[Sink]:
        """Keep the compressed bytes for a resume. A storage without room for them costs the resume, nothing else."""
        name = berthing.source_name(self._request.key)
        foothold = self._foothold
        try:
            if foothold is not None:
                lead, staged = foothold.berth, foothold.staged
            elif self._resumable(intake):
                staged = lead.stage_fresh(name, intake.total_bytes)
            else:
                return []
        except errors.GoldmasterError as error:
            log.warning("transfer.not_resumable", key=self._request.key, storage=lead.target.name, message=str(error))
            return []
        keeper = Writing(staged, self._clock, self._pace, lambda _: None)
        self._keep_record(intake, keeper, lead, name)
        return [keeper]

    def _keep_record(self, intake: Intake, keeper: Writing, lead: Berth, name: str) -> None:
        if not self._resumable(intake):
            return
        source_id, total, held = self._request.source_id, intake.total_bytes, intake.resumed_bytes
        record = ResumeRecord(source_id, intake.validator, total, held, self._witness(), self._trail.url_id)
        to_the_end = len(self._request.targets) > 1
        keeper.keep_record(lead.storage, name, record, skip_bytes=intake.resumed_bytes, to_the_end=to_the_end)
        self._keeper = keeper

    def _resumable(self, intake: Intake) -> bool:
        """Whether the rest can be asked for later: of this very version, or of any, where a digest proves the whole."""
        return intake.validator.strong or (self._trail.pinned and intake.total_bytes is not None)

    def _writing(self, berth: Berth) -> tuple[Berth, Writing]:
        def lost(error: errors.GoldmasterError) -> None:
            berth.error = error
            if not berthing.reachable(self._berths):
                self._patience.desert()

        return berth, Writing(berthing.staged_of(berth), self._clock, self._pace, lost)

    def _new_ring(self, name: str, buffers: int) -> Ring:
        return Ring(
            buffers=buffers,
            buffer_bytes=self._pace.buffer_bytes,
            name=f"transfer-{name}",
            on_broken=self._patience.desert,
        )

    # --- proof ------------------------------------------------------------------------------------------------------

    def _prove(self, intake: Intake, outlet: Outlet) -> Content:
        """Return what the bytes are, once nothing speaks against them."""
        try:
            self._ring.finish()
        except errors.FormatRejected:
            self._promise.check(intake)  # wrong bytes are the better explanation
            raise
        if not berthing.reachable(self._berths):
            raise berthing.worst_luck(self._berths)
        return self._promise.judge(intake, outlet)

    def _witness(self) -> str | None:
        """By what the url is known of which all bytes come, those of earlier tries included; None: of more than one."""
        foothold, known_by = self._foothold, right.witness(self._trail.url, self._told_url)
        whole = foothold is None or foothold.record.witness == known_by
        return known_by if whole and not self._trail.mixed else None

    def _testimony(self, intake: Intake, content: Content) -> Provenance | None:
        """Return what this download says about its url, for whoever asks the same url next."""
        if self._request.copy_from is not None or not intake.complete or self._witness() is None:
            return None
        length, digests = intake.total_bytes, content.source_digests
        return right.testimony(self._asked_now, self._told_url, intake.validator, length, digests)

    # --- the ways that do not ---------------------------------------------------------------------------------------

    def broken(self, error: errors.GoldmasterError) -> Broken | None:
        """End a pass that failed: keep what a later one can go on from, if that can help at all. None: begin another.

        Bytes that a source should not have sent are never kept, those before a refusal only while another is left.
        """
        self._abandon_rings()
        error = self._cause(error)
        trail = self._trail
        final = self._promise.kept or self._patience.over
        failure = trail.after(error, asked=self._asking, final=final)
        # who is refused in the middle goes on from there once the Secret is right
        kept = failure is None or not failure.terminal or failure.reason is Reason.AUTHENTICATION_FAILED
        if kept and error.reason not in OTHER_BYTES:
            trail.durable = max(trail.durable, self._keep())
        if self._intake is not None:
            trail.fetched_bytes += self._intake.fetched_bytes
        return None if failure is None else Broken(failure, advanced=trail.durable > (trail.durable_before or 0))

    def close(self) -> None:
        """Let go of everything; discard every partial that was not published or kept."""
        self._abandon_rings()
        for ring in self._rings():
            ring.release()
        if self._intake is not None:
            self._intake.close()
        staged: list[StagedFile | None] = [berth.staged for berth in self._berths]
        staged.append(self._foothold.staged if self._foothold is not None else None)
        staged.append(self._keeper.staged if self._keeper is not None else None)
        berthing.clear_away(staged, self._report_leftover)
        self._outlet = self._expanding = self._keeper = self._intake = None  # not left to the garbage collector

    def _keep(self) -> int:
        """Leave the resumable partial on its storage; return how many bytes of it are surely there."""
        keeper, foothold = self._keeper, self._foothold
        staged, durable = None, 0
        if keeper is not None and not self._full(keeper):
            staged = keeper.staged
            with suppress(errors.GoldmasterError):
                if keeper.error is None:
                    keeper.checkpoint()
            durable = keeper.record.durable_bytes if keeper.record is not None else 0
        elif keeper is None and foothold is not None:
            staged, durable = foothold.staged, foothold.resume_from
        if staged is None or durable == 0:
            return 0
        staged.close()
        for berth in self._berths:
            berth.staged = None if berth.staged is staged else berth.staged
        self._keeper = self._foothold = None
        return durable

    def _full(self, keeper: Writing) -> bool:
        """Whether the keeper's storage is full: then the partial gives its space back."""
        known = [berth.error for berth in self._berths if berth.staged is keeper.staged]
        return any(isinstance(error, errors.NoSpace) for error in [keeper.error, *known])

    def _cause(self, error: errors.GoldmasterError) -> errors.GoldmasterError:
        """Return why the pass was stopped, where it stopped itself."""
        if isinstance(error, errors.Interrupted):
            try:
                for ring in self._rings():
                    ring.raise_failure()
                self._patience.check()
            except errors.GoldmasterError as cause:
                error = cause
            if self._patience.deserted and not berthing.reachable(self._berths):
                return berthing.worst_luck(self._berths)
        return error

    def _rings(self) -> list[Ring]:
        return [self._ring] if self._outlet is None else [self._outlet.ring, self._ring]

    def _abandon_rings(self) -> None:
        if self._expanding is not None:
            self._expanding.abandoned = True
        self._ring.abandon(flush=self._keeper)
        if self._outlet is not None and self._outlet.ring is not self._ring:
            self._outlet.ring.abandon()

    def _report_leftover(self, error: errors.GoldmasterError) -> None:
        log.warning("transfer.leftover", key=self._request.key, message=str(error))


def _hashings(hashers: Mapping[Algorithm, Hasher]) -> dict[Algorithm, Hashing]:
    return {algorithm: Hashing(hasher) for algorithm, hasher in hashers.items()}
