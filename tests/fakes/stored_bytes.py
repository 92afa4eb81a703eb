"""Bytes, their facts and their way into a storage, for tests of storages."""

import hashlib
from datetime import UTC, datetime

from controller import ports
from controller.model.digest import Algorithm, Digest
from controller.model.image import Content, Format
from controller.model.transfer import Provenance, StoredRef

IMAGE = "0123456789abcdef0123456789abcdef"
OTHER_IMAGE = "fedcba9876543210fedcba9876543210"


def content_of(data: bytes) -> Content:
    """Return the facts of `data`, by hashlib."""
    return Content(
        sha256=Digest(Algorithm.SHA256, hashlib.sha256(data).hexdigest()),
        md5=Digest(Algorithm.MD5, hashlib.md5(data).hexdigest()),
        size_bytes=len(data),
        virtual_size_bytes=2 * len(data),
        format=Format.RAW,
        source_digests=(Digest(Algorithm.SHA256, "ab" * 32), Digest(Algorithm.SHA512, "cd" * 64)),
    )


def ref_of(content: Content, source_id: str = "source-1") -> StoredRef:
    """Return what an image wants to claim."""
    return StoredRef(
        content=content,
        source_id=source_id,
        install_path="",
        intact=False,
        imported_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        proof="checksum sha512",
        url="https://images.example/größe.qcow2",
    )


def answer(etag: str = '"v1"', source: str = "f" * 32) -> Provenance:
    """Return a download that could have brought something."""
    return Provenance(source, etag, 77, (Digest(Algorithm.SHA256, "ab" * 32),), "default", anonymous=True)


def publish(
    storage: ports.BackupStorage,
    data: bytes,
    *,
    name: str = "t-1",
    hinted: bool = True,
    provenance: ports.Provenance | None = None,
) -> Content:
    """Stage and publish `data`."""
    content = content_of(data)
    staged = storage.stage(name, keep_bytes=0, size_hint=len(data) if hinted else None)
    try:
        staged.write(memoryview(data))
        staged.sync()
        storage.publish(staged, content, provenance)
    finally:
        staged.close()
    return content


def put(storage: ports.BackupStorage, data: bytes, image_uuid: str = IMAGE) -> Content:
    """Stage, publish and claim `data`."""
    content = publish(storage, data)
    storage.link(image_uuid, ref_of(content))
    return content


def read_all(storage: ports.BackupStorage, digest: Digest, piece_bytes: int = 65536) -> bytes:
    """Read stored bytes to the end."""
    reader = storage.open(digest)
    try:
        pieces = []
        buffer = memoryview(bytearray(piece_bytes))
        while count := reader.readinto(buffer):
            pieces.append(bytes(buffer[:count]))
        return b"".join(pieces)
    finally:
        reader.close()
