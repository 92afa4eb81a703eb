"""A BackupStorage in memory, with switches for what goes wrong. Passes the contract suite of the real ones."""

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import RLock
from typing import Any

from controller import errors, ports
from controller.model.backup_storage import BackupStorageSpec, Capacity
from controller.model.digest import Algorithm, Digest
from controller.model.image import Content
from controller.model.quarantine import Quarantine, Quarantined
from controller.model.scrub import ScrubRecord
from controller.model.transfer import Provenance, ResumeRecord, StoredRef, TrashRecord


@dataclass
class Faults:
    """What goes wrong from now on."""

    unreachable: bool = False
    """Every call raises StorageUnavailable."""
    full: bool = False
    """Every call that needs room raises NoSpace."""
    fail_write: int | None = None
    """The n-th write from now (1: the next) raises `write_error`, once."""
    write_error: errors.GoldmasterError = field(default_factory=lambda: errors.StorageUnavailable("the disk is gone"))
    damaged_reads: bool = False
    """Reading stored bytes raises StorageDamaged."""


@dataclass
class Counts:
    """What was done, for tests that say how often."""

    writes: int = 0
    written_bytes: int = 0
    published: int = 0
    links: int = 0
    probes: int = 0
    opened: int = 0


@dataclass
class _Partial:
    data: bytearray
    touched: datetime
    record: ResumeRecord | None = None


@dataclass
class _Object:
    data: bytearray
    content: Content
    verified_at: datetime
    provenance: tuple[Provenance, ...] = ()


@dataclass
class _Claim:
    ref: StoredRef
    held: _Object
    receipt: dict[str, Any] | None = None


class FakeBackupStorage:
    """Implements `ports.AuditedStorage`. What it holds survives a "restart": build nothing anew, go on with it."""

    def __init__(
        self, uuid: str, clock: ports.Clock, *, total_bytes: int = 2**40, reserved_bytes: int = 0, exists: bool = False
    ) -> None:
        self.uuid = uuid
        self.total_bytes = total_bytes
        self.reserved_bytes = reserved_bytes
        self.exists = exists
        """Whether a probe made it, and nobody lost it since."""
        self.faults = Faults()
        self.counts = Counts()
        self.partials: dict[str, _Partial] = {}
        self.objects: dict[str, _Object] = {}
        self.trashed: dict[str, TrashRecord] = {}
        self.claimed: dict[tuple[str, str], _Claim] = {}
        """By (image uuid, sha256)."""
        self.quarantined: list[tuple[str, str]] = []
        """(sha256, why)."""
        self.aside: dict[str, Quarantined] = {}
        self.scrubbed: ScrubRecord | None = None
        self.clock = clock
        self.lock = RLock()

    def probe(self, *, create: bool = True) -> Capacity:
        self.counts.probes += 1
        if create and not self.faults.unreachable:
            self.exists = True
        self.ask()
        return Capacity(self.total_bytes, self.available_bytes)

    @property
    def available_bytes(self) -> int:
        """What is left."""
        stored = sum(len(one.data) for one in self.objects.values())
        staged = sum(len(one.data) for one in self.partials.values())
        return max(0, self.total_bytes - stored - staged)

    # --- staging -----------------------------------------------------------------------------------------------------

    def stage(self, name: str, *, keep_bytes: int, size_hint: int | None) -> "FakeStagedFile":
        _require_name(name)
        with self.lock:
            self.ask()
            self.need_room(size_hint or 0)
            partial = self.partials.get(name) if keep_bytes else None
            if partial is None:
                partial = self.partials[name] = _Partial(bytearray(), self.clock.now())
            del partial.data[keep_bytes:]
            if partial.record is not None and partial.record.durable_bytes > len(partial.data):
                partial.record = None
            return FakeStagedFile(self, name, partial)

    def resume_record(self, name: str) -> ResumeRecord | None:
        with self.lock:
            self.ask()
            partial = self.partials.get(name)
            return partial.record if partial else None

    def save_resume_record(self, name: str, record: ResumeRecord) -> None:
        with self.lock:
            self.ask()
            self.need_room(0)
            partial = self.partials.setdefault(name, _Partial(bytearray(), self.clock.now()))
            partial.record, partial.touched = record, self.clock.now()

    def sweep(self, keep: Collection[str], older_than: timedelta) -> list[str]:
        with self.lock:
            self.ask()
            now = self.clock.now()
            old = [name for name, partial in self.partials.items() if now - partial.touched >= older_than]
            swept = sorted(set(old) - set(keep))
            for name in swept:
                del self.partials[name]
            return swept

    # --- contents ----------------------------------------------------------------------------------------------------

    def publish(self, staged: ports.StagedFile, content: Content, provenance: Provenance | None = None) -> None:
        assert isinstance(staged, FakeStagedFile)
        with self.lock:
            self.ask()
            staged.sync()
            self.need_room(0)
            if staged.written_bytes != content.size_bytes:
                staged.discard()
                raise errors.StorageDamaged(f"{staged.written_bytes} bytes are staged, not {content.size_bytes}")
            there = self.objects.get(content.sha256.hex)
            if there is None or len(there.data) != content.size_bytes:
                if there is not None:
                    self._set_aside(content.sha256.hex, "wrong size")
                there = self.objects[content.sha256.hex] = _Object(
                    bytearray(staged.partial.data), content, self.clock.now()
                )
            there.verified_at = self.clock.now()
            self.counts.published += 1
            staged.discard()
            if provenance is not None:
                self.note_provenance(content.sha256, provenance)

    def provenance(self, sha256: Digest) -> tuple[Provenance, ...]:
        with self.lock:
            self.ask()
            there = self.objects.get(sha256.hex)
            return there.provenance if there is not None else ()

    def note_provenance(self, sha256: Digest, provenance: Provenance) -> None:
        with self.lock:
            self.ask()
            self.need_room(0)
            there = self.objects.get(sha256.hex)
            if there is not None and provenance not in there.provenance:
                there.provenance = (*there.provenance, provenance)[-16:]

    def find(self, sha256: Digest) -> Content | None:
        with self.lock:
            self.ask()
            there = self.objects.get(sha256.hex)
            return there.content if there and len(there.data) == there.content.size_bytes else None

    def link(self, image_uuid: str, ref: StoredRef, receipt: Mapping[str, Any] | None = None) -> str:
        _require_uuid(image_uuid)
        with self.lock:
            self.ask()
            self.need_room(0)
            there = self.objects.get(ref.content.sha256.hex)
            if there is None or len(there.data) != ref.content.size_bytes:
                raise errors.StorageDamaged(f"{ref.content.sha256} is not there in full")
            self.counts.links += 1
            path = f"zstore://{image_uuid}/{ref.content.image_id}"
            before = self.claimed.get((image_uuid, ref.content.sha256.hex))
            kept = dict(receipt) if receipt is not None else before.receipt if before is not None else None
            self.claimed[image_uuid, ref.content.sha256.hex] = _Claim(replace(ref, install_path=path), there, kept)
            return path

    def unlink(self, image_uuid: str, sha256: Digest) -> None:
        _require_uuid(image_uuid)
        with self.lock:
            self.ask()
            dropped = self.claimed.pop((image_uuid, sha256.hex), None)
            if dropped is not None and not any(digest == sha256.hex for _, digest in self.claimed):
                self.objects.pop(sha256.hex, None)

    def refs(self, image_uuid: str) -> tuple[StoredRef, ...]:
        _require_uuid(image_uuid)
        with self.lock:
            self.ask()
            mine = {digest: claim for (uuid, digest), claim in sorted(self.claimed.items()) if uuid == image_uuid}
            return tuple(self._seen(digest, claim) for digest, claim in mine.items())

    def _seen(self, digest: str, claim: _Claim) -> StoredRef:
        there = self.objects.get(digest)
        return replace(
            claim.ref, intact=self._is_intact(digest, claim), verified_at=there.verified_at if there else None
        )

    def open(self, sha256: Digest, *, fresh: bool = False) -> "FakeReader":
        with self.lock:
            self.ask()
            there = self.objects.get(sha256.hex)
            if there is None:
                raise errors.StorageDamaged(f"{sha256} is not there")
            self.counts.opened += 1
            return FakeReader(self, bytes(there.data), id(there))

    def receipt(self, image_uuid: str, sha256: Digest) -> dict[str, Any] | None:
        _require_uuid(image_uuid)
        with self.lock:
            self.ask()
            claim = self.claimed.get((image_uuid, sha256.hex))
            return claim.receipt if claim is not None else None

    def discard(self, record: TrashRecord) -> None:
        _require_uuid(record.image_uuid)
        with self.lock:
            self.ask()
            self.need_room(0)
            self.trashed[record.image_uuid] = record

    def discarded(self, image_uuid: str) -> TrashRecord | None:
        _require_uuid(image_uuid)
        with self.lock:
            self.ask()
            return self.trashed.get(image_uuid)

    def trash(self) -> tuple[TrashRecord, ...]:
        with self.lock:
            self.ask()
            return tuple(sorted(self.trashed.values(), key=lambda record: (record.deleted_at, record.image_uuid)))

    def restore(self, image_uuid: str) -> None:
        _require_uuid(image_uuid)
        with self.lock:
            self.ask()
            self.trashed.pop(image_uuid, None)

    def _is_intact(self, digest: str, claim: _Claim) -> bool:
        return self.objects.get(digest) is claim.held and len(claim.held.data) == claim.ref.content.size_bytes

    # --- audit -------------------------------------------------------------------------------------------------------

    def claims(self) -> Iterator[tuple[str, Digest]]:
        with self.lock:
            self.ask()
            return iter([(uuid, claim.ref.content.sha256) for (uuid, _), claim in sorted(self.claimed.items())])

    def image_count(self) -> int:
        with self.lock:
            self.ask()
            return len({uuid for uuid, _ in self.claimed} - set(self.trashed))

    def findings(self) -> list[ports.Finding]:
        with self.lock:
            self.ask()
            hour_ago = self.clock.now() - timedelta(hours=1)
            found = [
                ports.Finding("leaked-staging", f"staging/{name}", "nobody went on with it", "remove it")
                for name, partial in self.partials.items()
                if partial.touched <= hour_ago and partial.record is None
            ]
            for digest, there in self.objects.items():
                path = f"objects/{digest}"
                if len(there.data) != there.content.size_bytes:
                    found.append(ports.Finding("wrong-size", path, "not the recorded size", "quarantine it"))
                elif not any(claimed == digest for _, claimed in self.claimed):
                    found.append(ports.Finding("unclaimed-object", path, "no image claims it", "remove it"))
            for (uuid, digest), claim in self.claimed.items():
                if digest not in self.objects:
                    found.append(ports.Finding("claim-without-object", f"images/{uuid}/{digest}", "no bytes", ""))
                elif self.objects[digest] is not claim.held:
                    found.append(ports.Finding("claim-detached", f"images/{uuid}/{digest}", "others", "link again"))
            return found

    def mend(self, finding: ports.Finding) -> None:
        with self.lock:
            self.ask()
            room, _, name = finding.path.partition("/")
            if finding not in self.findings() or not finding.repair:
                return
            match room:
                case "staging":
                    self.partials.pop(name)
                case "objects" if finding.code == "wrong-size":
                    self._set_aside(name, finding.explanation)
                case "objects":
                    self.objects.pop(name)
                case _:
                    uuid, _, digest = name.partition("/")
                    self.claimed[uuid, digest].held = self.objects[digest]

    def quarantine_use(self) -> Quarantine:
        held = self.in_quarantine()
        return Quarantine(len(held), sum(one.size_bytes for one in held))

    def in_quarantine(self) -> tuple[Quarantined, ...]:
        with self.lock:
            self.ask()
            return tuple(self.aside.values())

    def let_go(self, name: str) -> None:
        with self.lock:
            self.ask()
            self.aside.pop(name, None)

    def _set_aside(self, name: str, why: str) -> None:
        there = self.objects.pop(name)
        self.quarantined.append((name, why))
        number = next(count for count in itertools.count(1) if f"{name}.{count}" not in self.aside)
        held = Quarantined(f"{name}.{number}", Digest(Algorithm.SHA256, name), len(there.data), self.clock.now(), why)
        self.aside[held.name] = held

    def quarantine(self, sha256: Digest, why: str, version: object = None) -> bool:
        with self.lock:
            self.ask()
            there = self.objects.get(sha256.hex)
            if there is None or version not in {None, id(there)}:
                return False
            self._set_aside(sha256.hex, why)
            return True

    # --- scrubbing ---------------------------------------------------------------------------------------------------

    def stored(self, after: Digest | None) -> Iterator[Digest]:
        with self.lock:
            self.ask()
            names = sorted(name for name in self.objects if after is None or name > after.hex)
        for name in names:
            with self.lock:
                self.ask()
            yield Digest(Algorithm.SHA256, name)

    def note_verified(self, sha256: Digest, at: datetime) -> None:
        with self.lock:
            self.ask()
            self.need_room(0)
            if sha256.hex in self.objects:
                self.objects[sha256.hex].verified_at = at

    def scrub_record(self) -> ScrubRecord | None:
        with self.lock:
            self.ask()
            return self.scrubbed

    def save_scrub_record(self, record: ScrubRecord) -> None:
        with self.lock:
            self.ask()
            self.need_room(0)
            self.scrubbed = record

    # --- what the parts share ----------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Raise where it cannot be asked."""
        if self.faults.unreachable or not self.exists:
            raise errors.StorageUnavailable(f"{self.uuid} does not answer")

    def need_room(self, size_bytes: int) -> None:
        """Raise where so much more does not fit."""
        if self.faults.full or self.available_bytes < self.reserved_bytes + size_bytes:
            raise errors.NoSpace(f"{self.uuid} has no room for {size_bytes} bytes")


class FakeStagedFile:
    """Implements `ports.StagedFile`."""

    def __init__(self, storage: FakeBackupStorage, name: str, partial: _Partial) -> None:
        self.name = name
        self.partial = partial
        self._storage = storage
        self._usable = True

    @property
    def written_bytes(self) -> int:
        return len(self.partial.data)

    def write(self, data: memoryview) -> None:
        with self._storage.lock:
            self._require_usable()
            try:
                self._storage.ask()
                self._storage.need_room(len(data))
                self._fail_if_due()
            except errors.GoldmasterError:
                self._usable = False
                raise
            self.partial.data += data
            self.partial.touched = self._storage.clock.now()
            self._storage.counts.writes += 1
            self._storage.counts.written_bytes += len(data)

    def sync(self) -> None:
        self._require_usable()
        if self._storage.faults.unreachable:
            self._usable = False
        self._storage.ask()

    def read_at(self, offset: int, buffer: memoryview) -> int:
        with self._storage.lock:
            self._storage.ask()
            piece = self.partial.data[offset : offset + len(buffer)]
            buffer[: len(piece)] = piece
            return len(piece)

    def close(self) -> None:
        self._usable = False

    def discard(self) -> None:
        self._usable = False
        with self._storage.lock:
            if self._storage.partials.get(self.name) is self.partial:
                del self._storage.partials[self.name]

    def _require_usable(self) -> None:
        if not self._usable:
            raise errors.StorageUnavailable(f"{self.name}: closed, or failed before")

    def _fail_if_due(self) -> None:
        faults = self._storage.faults
        if faults.fail_write is not None:
            faults.fail_write -= 1
            if faults.fail_write == 0:
                faults.fail_write = None
                raise faults.write_error


class FakeReader:
    """Implements `ports.Reader`."""

    def __init__(self, storage: FakeBackupStorage, data: bytes, version: int | None = None) -> None:
        self.version: object = version
        self._storage = storage
        self._data = data
        self._offset = 0

    def readinto(self, buffer: memoryview) -> int:
        if self._storage.faults.damaged_reads:
            raise errors.StorageDamaged("unreadable")
        piece = self._data[self._offset : self._offset + len(buffer)]
        buffer[: len(piece)] = piece
        self._offset += len(piece)
        return len(piece)

    def close(self) -> None:
        """Nothing to let go of."""


class FakeStorageFactory:
    """A `ports.StorageFactory` that hands out the same fake for the same uuid, and makes it at first sight."""

    def __init__(self, clock: ports.Clock) -> None:
        self._clock = clock
        self.storages: dict[str, FakeBackupStorage] = {}

    def __call__(self, uuid: str, spec: BackupStorageSpec) -> FakeBackupStorage:
        storage = self.storages.setdefault(uuid, FakeBackupStorage(uuid, self._clock))
        storage.reserved_bytes = spec.reserved_capacity_bytes
        return storage


def _require_name(name: str) -> None:
    if not 1 <= len(name) <= 80 or set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789-."):
        raise errors.InvalidSpec(f"not a stage name: {name!r}")


def _require_uuid(uuid: str) -> None:
    if len(uuid) != 32 or set(uuid) - set("0123456789abcdef"):
        raise errors.InvalidSpec(f"not an image uuid: {uuid!r}")
