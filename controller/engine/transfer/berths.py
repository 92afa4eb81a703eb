"""Where the bytes of one transfer wait on each target storage, and what becomes of a target that fails."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from controller import errors
from controller.engine.transfer.limits import PAGE
from controller.model.backup_storage import BackupStorageSpec
from controller.model.image import Content
from controller.model.transfer import Failure, Provenance, ResumeRecord, TransferRequest, TransferTarget
from controller.ports import BackupStorage, StagedFile
from controller.reasons import Reason

StorageOpener = Callable[[str, BackupStorageSpec], BackupStorage]
"""Returns the adapter of (uuid, spec); no I/O. A `ports.StorageFactory` is one."""


def failure_of(error: errors.GoldmasterError) -> Failure:
    """Return an error as plain data."""
    if isinstance(error, errors.Interrupted):
        return Failure(Reason.PROGRESSING_WITH_RETRY, str(error), terminal=False)
    retry_after = error.retry_after if isinstance(error, errors.TransientError) else None
    return Failure(error.reason, str(error), isinstance(error, errors.TerminalError), retry_after)


@dataclass(slots=True)
class Berth:
    """One target. `error` set: it is dropped from this pass."""

    target: TransferTarget
    storage: BackupStorage
    records: dict[str, ResumeRecord] = field(default_factory=dict)
    """Resume records found on it, by partial name."""
    staged: StagedFile | None = None
    """The content, under the transfer's name."""
    error: errors.GoldmasterError | None = None

    def stage_fresh(self, name: str, size_hint: int | None) -> StagedFile:
        """Open an empty partial. A record that speaks of other bytes is made void first, durably."""
        stale = self.records.pop(name, None)
        if stale is not None:
            self.storage.save_resume_record(name, replace(stale, durable_bytes=0))
        return self.storage.stage(name, keep_bytes=0, size_hint=size_hint)


def berths_of(request: TransferRequest, storages: StorageOpener) -> list[Berth]:
    """Return the targets in the order of the request; no I/O."""
    return [Berth(target, storages(target.uuid, target.spec)) for target in request.targets]


def reachable(berths: Iterable[Berth]) -> list[Berth]:
    """Return those that have not failed."""
    return [berth for berth in berths if berth.error is None]


def worst_luck(berths: Iterable[Berth]) -> errors.GoldmasterError:
    """Return the error that speaks for a pass without targets: a transient one where there is one."""
    failed = [berth.error for berth in berths if berth.error is not None]
    transient = [error for error in failed if isinstance(error, errors.TransientError)]
    return (transient + failed)[0] if failed else errors.StorageUnavailable("no storage to place the image on")


@dataclass(slots=True)
class Foothold:
    """A partial to go on from: `resume_from` leading bytes of `staged` are those of `record.validator`'s version."""

    berth: Berth
    name: str
    record: ResumeRecord
    staged: StagedFile
    resume_from: int
    mixed: bool = False
    """It is of another url, or of no version that has a name: a digest proves in the end that the parts fit."""

    def give_up(self) -> None:
        """Remove the partial: its version is gone."""
        self.berth.records.pop(self.name, None)
        with suppress(errors.GoldmasterError):
            self.staged.discard()


def partial_names(key: str) -> tuple[str, str]:
    """Return the names under which a transfer stages: content, and compressed source bytes."""
    return key, source_name(key)


def source_name(key: str) -> str:
    """Return the name of the partial that keeps compressed bytes."""
    return f"{key}.source"


def resume_point(record: ResumeRecord) -> int:
    """Return from where to ask: whole pages (O_DIRECT), and at least one byte (asking for none is answered 416)."""
    known = record.durable_bytes
    if record.total_bytes is not None:
        known = min(known, record.total_bytes - 1)
    return max(known - known % PAGE, 0)


def find_foothold(
    request: TransferRequest, berths: list[Berth], url_id: str = "", *, pinned: bool = False
) -> Foothold | None:
    """Look on every target for the partial that is furthest, and open it. After `read_records`.

    `pinned`: a digest proves the whole, so that one of any url will do.
    """
    while True:
        candidates = [
            (resume_point(record), berth, name, record)
            for berth in reachable(berths)
            for name, record in berth.records.items()
            if record.source_id == request.source_id
            and (same_version(record, url_id) or (pinned and record.total_bytes is not None))
        ]
        offset, berth, name, record = max(candidates, key=lambda one: one[0], default=(0, None, "", None))
        if offset == 0 or berth is None or record is None:
            return None
        staged = _reopen(berth, name, record, offset)
        if staged is not None:
            return Foothold(berth, name, record, staged, offset, mixed=not same_version(record, url_id))


def same_version(record: ResumeRecord, url_id: str) -> bool:
    """Whether the server can be asked for the rest of just that version."""
    return record.validator.strong and record.url_id in {"", url_id}


def durable_bytes(request: TransferRequest, berths: Iterable[Berth]) -> int:
    """Return how far any earlier try got, as its record says."""
    known = (record for berth in berths for record in berth.records.values())
    return max((record.durable_bytes for record in known if record.source_id == request.source_id), default=0)


def read_records(request: TransferRequest, berths: Iterable[Berth]) -> None:
    """Ask every target for what it has of this transfer; one that cannot be asked is dropped."""
    for berth in berths:
        try:
            for name in partial_names(request.key):
                record = berth.storage.resume_record(name)
                if record is not None:
                    berth.records[name] = record
        except errors.GoldmasterError as error:
            berth.error = error


def _reopen(berth: Berth, name: str, record: ResumeRecord, offset: int) -> StagedFile | None:
    """Open the partial cut to `offset`, and its record with it.

    None: the storage failed, or the file is shorter than its record promises.
    """
    rest = None if record.total_bytes is None else record.total_bytes - offset
    record = replace(record, durable_bytes=offset)
    try:
        berth.storage.save_resume_record(name, record)  # before the bytes that it promises are cut off
        staged = berth.storage.stage(name, keep_bytes=offset, size_hint=rest)
        if staged.written_bytes == offset:
            return staged
        berth.records.pop(name)
        staged.discard()
    except errors.GoldmasterError as error:
        berth.error = error
    return None


def stage_on_all(request: TransferRequest, berths: list[Berth], size_hint: int | None) -> None:
    """Open the content's partial wherever there is none yet; a target that cannot is dropped.

    Raises:
        StorageUnavailable, NoSpace: no target is left.

    """
    for berth in reachable(berths):
        if berth.staged is not None:
            continue
        try:
            berth.staged = berth.stage_fresh(request.key, size_hint)
        except errors.GoldmasterError as error:
            berth.error = error
    if not reachable(berths):
        raise worst_luck(berths)


def staged_of(berth: Berth) -> StagedFile:
    """Return the content's partial on a target that has not failed."""
    if berth.staged is None:
        raise AssertionError("a reachable berth was staged")
    return berth.staged


def publish(
    berths: list[Berth], content: Content, provenance: Provenance | None, last: StagedFile | None
) -> frozenset[str]:
    """Name the bytes on every target, that of the partial `last` at the end; return where it went well.

    Raises:
        StorageUnavailable, NoSpace: nowhere.

    """
    stored = set()
    for berth in sorted(reachable(berths), key=lambda one: one.staged is last):
        try:
            berth.storage.publish(staged_of(berth), content, provenance)
        except errors.GoldmasterError as error:
            berth.error = error
        else:
            stored.add(berth.target.uuid)
    if not stored:
        raise worst_luck(berths)
    return frozenset(stored)


def failed(berths: Iterable[Berth]) -> tuple[tuple[str, Failure], ...]:
    """Return what kept the bytes from targets, by their uuid."""
    return tuple((berth.target.uuid, failure_of(berth.error)) for berth in berths if berth.error is not None)


def clear_away(staged: Iterable[StagedFile | None], report: Callable[[errors.GoldmasterError], None]) -> None:
    """Discard partials as far as their storages can; what stays is swept later."""
    for one in staged:
        if one is None:
            continue
        try:
            one.discard()
        except errors.GoldmasterError as error:
            report(error)
