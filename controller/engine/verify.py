"""Read stored bytes again and compare: what `goldmaster verify` does, and a scrub on a schedule."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from controller import errors
from controller.engine.storages import OpenStorage, Storages
from controller.model.digest import Algorithm, Digest
from controller.model.image import Content
from controller.model.resource import Image
from controller.ports import Clock, Reader

BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """One copy, read again. `got` None: it could not be read; `problem` says why, empty where the bytes are right."""

    storage: str
    install_path: str
    expected: Digest
    got: Digest | None
    size_bytes: int
    problem: str = ""
    damaged: bool = False


def verify_image(
    image: Image,
    storages: Storages,
    clock: Clock,
    *,
    quarantine: bool,
    progress: Callable[[int], None] = lambda _: None,
) -> Iterator[Verdict]:
    """Hash every copy of the revision that the image serves; take damaged ones out of service if asked to.

    When a copy was right is noted beside its bytes, where that can be written: the status tells it at the next resync.
    `progress` is told how many more bytes were read. A storage that cannot be asked gives a verdict with a problem that
    is not damage.
    """
    current = image.status.current
    if current is None:
        return
    for ref in image.status.refs:
        try:
            storage = storages.by_uuid(ref.storage_uuid)
            verdict = _verify_copy(storage, current.content, ref.install_path, progress, quarantine=quarantine)
            if not verdict.problem:
                with suppress(errors.TransientError):
                    storage.adapter.note_verified(current.content.sha256, clock.now())
            yield verdict
        except errors.StorageUnavailable as exc:
            yield Verdict(ref.storage_name, ref.install_path, current.content.sha256, None, 0, str(exc))


def _verify_copy(
    storage: OpenStorage, content: Content, path: str, progress: Callable[[int], None], *, quarantine: bool
) -> Verdict:
    adapter = storage.adapter
    got: Digest | None = None
    size = 0
    try:
        reader = adapter.open(content.sha256, fresh=True)
    except errors.StorageDamaged as exc:  # there is nothing to take out of service
        return Verdict(storage.name, path, content.sha256, None, 0, str(exc), damaged=True)
    try:
        got, size = hash_reader(reader, progress)
    except errors.StorageDamaged as exc:
        problem = str(exc)
    else:
        if got == content.sha256 and size == content.size_bytes:
            return Verdict(storage.name, path, content.sha256, got, size)
        problem = f"expected {content.sha256} ({content.size_bytes} bytes), got {got} ({size} bytes)"
    if quarantine:
        gone = adapter.quarantine(content.sha256, problem, reader.version)
        problem += "; quarantined" if gone else "; not quarantined, as other bytes are there by now"
    return Verdict(storage.name, path, content.sha256, got, size, problem, damaged=True)


def hash_reader(reader: Reader, progress: Callable[[int], None]) -> tuple[Digest, int]:
    """Return the sha256 and the size of what it reads, and close it. Raises what it raises."""
    hasher, size = hashlib.sha256(), 0
    buffer = memoryview(bytearray(BUFFER_BYTES))
    try:
        while count := reader.readinto(buffer):
            hasher.update(buffer[:count])
            size += count
            progress(count)
    finally:
        reader.close()
    return Digest(Algorithm.SHA256, hasher.hexdigest()), size
