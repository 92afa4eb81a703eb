"""A source whose faults are scripted and storages in memory, for tests of transfers."""

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from controller import errors
from controller.engine.transfer.limits import PassLimits
from controller.model.backup_storage import BackupStorageSpec, Capacity, ImageStoreSpec, StorageType
from controller.model.delivery import Peer
from controller.model.digest import Digest
from controller.model.image import Content, Format, Timeouts
from controller.model.transfer import Provenance, ResumeRecord, StoredRef, TransferRequest, TransferTarget, Validator
from controller.model.url import SourceUrl
from controller.ports import FetchRequest, StagedFile, StopToken

KIB = 1024
PACE = PassLimits(
    buffer_bytes=64 * KIB,
    buffers=4,
    slice_bytes=16 * KIB,
    checkpoint_bytes=128 * KIB,
    checkpoint_s=3600,
    replay_while_open_bytes=512 * KIB,
)


class RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return monotonic()


@dataclass
class ScriptedSource:
    """Serves `data` from memory. `break_at` breaks the connection once after so many bytes of it were read."""

    data: bytes
    etag: str | None = '"v1"'
    sized: bool = True
    break_at: list[int] = field(default_factory=list)
    """Source positions: each answer breaks at the first of them that it reaches, which is then used up."""
    on_read: Callable[[int], None] = lambda _: None
    refuse: errors.GoldmasterError | None = None
    asked: list[FetchRequest] = field(default_factory=list)
    sent_bytes: int = 0
    open_bodies: int = 0

    def open(self, request: FetchRequest, stop: StopToken) -> "ScriptedBody":
        self.asked.append(request)
        if self.refuse is not None:
            raise self.refuse
        validator = Validator(etag=self.etag)
        if self.sized and request.max_bytes is not None and len(self.data) > request.max_bytes:
            raise errors.TooLarge("the source is larger than maxSize")
        same = request.validator == validator and validator.strong
        if request.whole_bytes is not None:
            same = self.sized and request.whole_bytes == len(self.data)
        offset = request.resume_from if same else 0
        self.open_bodies += 1
        return ScriptedBody(self, offset, validator, stop)


@dataclass
class ScriptedBody:
    source: ScriptedSource
    offset: int
    validator: Validator
    stop: StopToken
    served_by: str = "memory"
    peer: Peer | None = None
    complete: bool = False
    closed: bool = False

    def __post_init__(self) -> None:
        self._data = self.source.data
        self._at = self.offset

    @property
    def total_bytes(self) -> int | None:
        return len(self._data) if self.source.sized else None

    def readinto(self, buffer: memoryview) -> int:
        source = self.source
        if self.stop.is_set():
            raise errors.Interrupted("asked to stop")
        source.on_read(self._at)
        for position in source.break_at:
            if self._at <= position < self._at + len(buffer):
                source.break_at.remove(position)
                raise errors.SourceUnreachable("connection reset")
        piece = self._data[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        source.sent_bytes += len(piece)
        if not piece:
            self.complete = source.sized
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.source.open_bodies -= 1


class MemoryStaged:
    def __init__(self, storage: "MemoryStorage", name: str, data: bytearray) -> None:
        self.storage = storage
        self.name = name
        self.data = data

    def write(self, data: memoryview) -> None:
        self.storage.fail_if("write", len(self.data) + len(data))
        self.data += data

    @property
    def written_bytes(self) -> int:
        return len(self.data)

    def sync(self) -> None:
        self.storage.fail_if("sync", len(self.data))
        self.storage.durable[self.name] = bytes(self.data)

    def read_at(self, offset: int, buffer: memoryview) -> int:
        piece = self.data[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        pass

    def discard(self) -> None:
        if self.storage.staged.get(self.name) is self.data:
            del self.storage.staged[self.name]
        self.storage.durable.pop(self.name, None)
        self.storage.records.pop(self.name, None)


@dataclass
class MemoryStorage:
    """Everything but links. `fail` names a call, and the staged size from which on it fails, with what."""

    staged: dict[str, bytearray] = field(default_factory=dict)
    durable: dict[str, bytes] = field(default_factory=dict)
    records: dict[str, ResumeRecord] = field(default_factory=dict)
    contents: dict[str, tuple[Content, bytes]] = field(default_factory=dict)
    provenances: dict[str, list[Provenance]] = field(default_factory=dict)
    fail: dict[str, tuple[int, errors.GoldmasterError]] = field(default_factory=dict)

    def fail_if(self, call: str, size: int = 0) -> None:
        at, error = self.fail.get(call, (0, None))
        if error is not None and size >= at:
            raise error

    def crash(self) -> None:
        """What a power cut leaves: only what was synced; of the rest, nothing."""
        self.staged = {name: bytearray(data) for name, data in self.durable.items()}

    def probe(self, *, create: bool = True) -> Capacity:
        return Capacity(2**40, 2**40)

    def stage(self, name: str, *, keep_bytes: int, size_hint: int | None) -> MemoryStaged:
        self.fail_if("stage", size_hint or 0)
        data = self.staged.setdefault(name, bytearray())
        del data[keep_bytes:]
        return MemoryStaged(self, name, data)

    def resume_record(self, name: str) -> ResumeRecord | None:
        self.fail_if("resume_record")
        return self.records.get(name)

    def save_resume_record(self, name: str, record: ResumeRecord) -> None:
        self.fail_if("save_resume_record")
        assert len(self.durable.get(name, b"")) >= record.durable_bytes
        self.records[name] = record

    def sweep(self, keep: Collection[str], older_than: timedelta) -> list[str]:
        raise AssertionError("a transfer does not ask this")

    def publish(self, staged: StagedFile, content: Content, provenance: Provenance | None = None) -> None:
        assert isinstance(staged, MemoryStaged)
        self.fail_if("publish")
        assert self.durable[staged.name] == bytes(staged.data), "published before it was synced"
        assert len(staged.data) == content.size_bytes
        self.contents[content.sha256.hex] = (content, bytes(staged.data))
        staged.discard()
        if provenance is not None:
            self.note_provenance(content.sha256, provenance)

    def provenance(self, sha256: Digest) -> tuple[Provenance, ...]:
        self.fail_if("provenance")
        return tuple(self.provenances.get(sha256.hex, ()))

    def note_provenance(self, sha256: Digest, provenance: Provenance) -> None:
        self.fail_if("note_provenance")
        self.provenances.setdefault(sha256.hex, []).append(provenance)

    def find(self, sha256: Digest) -> Content | None:
        found = self.contents.get(sha256.hex)
        return found[0] if found else None

    def link(self, image_uuid: str, ref: StoredRef, receipt: Mapping[str, Any] | None = None) -> str:
        raise AssertionError("a transfer does not ask this")

    def unlink(self, image_uuid: str, sha256: Digest) -> None:
        raise AssertionError("a transfer does not ask this")

    def quarantine(self, sha256: Digest, why: str, version: object = None) -> bool:
        return self.contents.pop(sha256.hex, None) is not None

    def refs(self, image_uuid: str) -> tuple[StoredRef, ...]:
        raise AssertionError("a transfer does not ask this")

    def open(self, sha256: Digest, *, fresh: bool = False) -> "MemoryReader":
        if sha256.hex not in self.contents:
            raise errors.StorageDamaged("it is not there")
        return MemoryReader(self.contents[sha256.hex][1])


class MemoryReader:
    version: object = None

    def __init__(self, data: bytes) -> None:
        self._data = data

    def readinto(self, buffer: memoryview) -> int:
        piece, self._data = self._data[: len(buffer)], self._data[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        pass


class Storages(dict[str, MemoryStorage]):
    """A StorageFactory over storages in memory, by uuid."""

    def __call__(self, uuid: str, spec: BackupStorageSpec) -> MemoryStorage:
        return self[uuid]

    def leftovers(self) -> dict[str, list[str]]:
        return {uuid: [*storage.staged, *storage.records] for uuid, storage in self.items()}


def storages(*uuids: str) -> Storages:
    return Storages((uuid, MemoryStorage()) for uuid in uuids)


def target(uuid: str) -> TransferTarget:
    spec = BackupStorageSpec(StorageType.IMAGE_STORE, ImageStoreSpec(f"/{uuid}"))
    return TransferTarget(uuid, f"storage-{uuid}", spec)


def request(
    *targets: str,
    key: str = "get-1",
    namespace: str = "default",
    checksum: Digest | None = None,
    declared: Format | None = None,
    iso_expected: bool = False,
    max_size_bytes: int = 2**40,
    timeouts: Timeouts | None = None,
    copy_from: str | None = None,
    expected: Content | None = None,
) -> TransferRequest:
    return TransferRequest(
        key=key,
        namespace=namespace,
        url=SourceUrl("http", "images.example", None, "/golden.img", ""),
        source_id="source-1",
        targets=tuple(target(uuid) for uuid in targets or ("a",)),
        checksum=checksum,
        format=declared,
        iso_expected=iso_expected,
        max_size_bytes=max_size_bytes,
        timeouts=timeouts or Timeouts(),
        copy_from=None if copy_from is None else target(copy_from),
        expected_content=expected,
    )


NEVER = threading.Event()
