"""The small JSON files of an ImageStore, to and from the model. Pure.

A file that does not parse is as good as none: readers get None and the next writer replaces it.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from controller import errors
from controller.model.delivery import Delivery
from controller.model.delivery_document import delivery_to_dict, read_delivery
from controller.model.digest import Algorithm, Digest
from controller.model.fields import Fields, format_time
from controller.model.image import Content, Format
from controller.model.scrub import MAX_MESSAGE, ScrubRecord
from controller.model.scrub_document import scrub_from_fields, scrub_to_dict
from controller.model.transfer import Provenance, ResumeRecord, StoredRef, TrashRecord, Validator

_encode = json.JSONEncoder(sort_keys=True).encode

LAYOUT_VERSION = 1
_FORMAT = "goldmaster-imagestore"
MAX_PROVENANCE = 16
"""Answers that are remembered of one content, the newest: a server with an ETag per request must not grow a record."""


@dataclass(frozen=True, slots=True)
class Marker:
    """What `goldmaster.json` says: whose directory this is, and how it is laid out."""

    layout: int
    storage_uuid: str


class _Damaged(Exception):
    """The text is not the record it should be."""


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, errors.InvalidSpec) as exc:
        raise _Damaged from exc


def _dump(data: dict[str, Any]) -> bytes:
    """Write a field per line, for people; `indent` would do more, with an encoder in Python that takes ten times as
    long.
    """
    lines = (f" {_encode(name)}: {_encode(data[name])}" for name in sorted(data))
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("ascii")


def marker_bytes(storage_uuid: str) -> bytes:
    """Write a marker of the current layout."""
    return _dump({"format": _FORMAT, "layout": LAYOUT_VERSION, "storageUuid": storage_uuid})


def read_marker(text: bytes) -> Marker | None:
    """Read a marker of any layout version, None where it is not one."""
    try:
        with _damage():
            data = json.loads(text)
            if data["format"] != _FORMAT:
                return None
            return Marker(_count(data["layout"]), _text(data["storageUuid"]))
    except _Damaged:
        return None


def content_bytes(
    content: Content, provenance: Iterable[Provenance] = (), verified_at: datetime | None = None
) -> bytes:
    """Write the record of a content, its provenance, and when its bytes were right last; None: nobody knows when.

    Without the latter two it is the record that older versions wrote.
    """
    known = [_provenance_dict(one) for one in provenance][-MAX_PROVENANCE:]
    at = {} if verified_at is None else {"verifiedAt": format_time(verified_at)}
    return _dump(_content_dict(content) | ({"provenance": known} if known else {}) | at)


def read_content(text: bytes) -> Content | None:
    """Read the record of a content, None where it is damaged."""
    try:
        with _damage():
            return _content(json.loads(text))
    except _Damaged:
        return None


def read_provenance(text: bytes) -> tuple[Provenance, ...]:
    """Read where a content came from; empty where the record does not say, or says it in words that are not known."""
    try:
        with _damage():
            return tuple(_provenance(one) for one in json.loads(text).get("provenance", []))
    except _Damaged:
        return ()


def read_verified_at(text: bytes) -> datetime | None:
    """Read from the record of a content when its bytes were right last, None where nobody noted it."""
    try:
        with _damage():
            return Fields(json.loads(text), ()).time("verifiedAt")
    except _Damaged:
        return None


def scrub_bytes(record: ScrubRecord) -> bytes:
    """Write how far a scrub came."""
    position = None if record.position is None else str(record.position)
    return _dump({**scrub_to_dict(record.scrub), "position": position})


def read_scrub(text: bytes) -> ScrubRecord | None:
    """Read how far a scrub came, None where it is damaged: then the next one begins afresh."""
    try:
        with _damage():
            data = json.loads(text)
            scrub, position = scrub_from_fields(Fields(data, ())), _optional_text(data["position"])
            if scrub is None or not all(0 <= one < 2**63 for one in (scrub.copies, scrub.bytes, scrub.damaged)):
                return None
            scrub = replace(scrub, message=scrub.message[:MAX_MESSAGE])  # a status has no room for more
            return ScrubRecord(scrub, None if position is None else _sha256(position))
    except _Damaged:
        return None


def claim_bytes(image_uuid: str, ref: StoredRef, receipt: Mapping[str, Any] | None = None) -> bytes:
    """Write an image's claim. What can be seen on disk (`install_path`, `intact`) is not written down."""
    claim = {
        "imageUuid": image_uuid,
        "content": _content_dict(ref.content),
        "sourceId": ref.source_id,
        "url": ref.url,
        "owner": ref.owner,
        "proof": ref.proof,
        "importedAt": ref.imported_at.isoformat(),
        "origin": None if ref.delivery is None else delivery_to_dict(ref.delivery),
    }
    return _dump(claim if receipt is None else {**claim, "receipt": receipt})


def read_receipt(text: bytes) -> dict[str, Any] | None:
    """Read the receipt in a claim, None where there is none."""
    try:
        with _damage():
            receipt = json.loads(text).get("receipt")
            return receipt if isinstance(receipt, dict) else None
    except _Damaged:
        return None


def read_claim(text: bytes, *, install_prefix: str) -> StoredRef | None:
    """Read a claim, None where it is damaged; `intact` is False until somebody looked.

    `install_prefix` is `zstore://<imageUuid>/`.
    """
    try:
        with _damage():
            data = json.loads(text)
            content = _content(data["content"])
            imported_at = datetime.fromisoformat(_text(data["importedAt"]))
            if imported_at.tzinfo is None:
                return None
            return StoredRef(
                content=content,
                source_id=_text(data["sourceId"]),
                install_path=install_prefix + content.image_id,
                intact=False,
                imported_at=imported_at,
                proof=_text(data["proof"]),
                url=_text(data["url"]),
                owner=_text(data.get("owner", "")),
                delivery=_delivery(data.get("origin")),
            )
    except _Damaged:
        return None


def trash_bytes(record: TrashRecord) -> bytes:
    """Write the record of a deleted image."""
    return _dump({
        "imageUuid": record.image_uuid,
        "namespace": record.namespace,
        "name": record.name,
        "deletedAt": record.deleted_at.isoformat(),
        "expungeAt": None if record.expunge_at is None else record.expunge_at.isoformat(),
        "serving": None if record.serving is None else record.serving.hex,
    })  # fmt: skip


def read_trash(text: bytes) -> TrashRecord | None:
    """Read the record of a deleted image, None where it is damaged."""
    try:
        with _damage():
            data = json.loads(text)
            expunge_at = _optional_text(data["expungeAt"])
            serving = _optional_text(data.get("serving"))
            record = TrashRecord(
                image_uuid=_text(data["imageUuid"]),
                namespace=_text(data["namespace"]),
                name=_text(data["name"]),
                deleted_at=datetime.fromisoformat(_text(data["deletedAt"])),
                expunge_at=None if expunge_at is None else datetime.fromisoformat(expunge_at),
                serving=None if serving is None else Digest(Algorithm.SHA256, serving),
            )
            times = [record.deleted_at, *([record.expunge_at] if record.expunge_at else [])]
            return record if all(time.tzinfo is not None for time in times) else None
    except _Damaged:
        return None


def resume_bytes(record: ResumeRecord) -> bytes:
    """Write a resume record."""
    return _dump({
        "sourceId": record.source_id,
        "etag": record.validator.etag,
        "lastModified": record.validator.last_modified,
        "totalBytes": record.total_bytes,
        "durableBytes": record.durable_bytes,
        "witness": record.witness,
        "urlId": record.url_id,
    })  # fmt: skip


def read_resume(text: bytes) -> ResumeRecord | None:
    """Read a resume record, None where it is damaged."""
    try:
        with _damage():
            data = json.loads(text)
            total = data["totalBytes"]
            return ResumeRecord(
                source_id=_text(data["sourceId"]),
                validator=Validator(_optional_text(data["etag"]), _optional_text(data["lastModified"])),
                total_bytes=None if total is None else _count(total),
                durable_bytes=_count(data["durableBytes"]),
                witness=_optional_text(data.get("witness")),
                url_id=_text(data.get("urlId", "")),
            )
    except _Damaged:
        return None


def _delivery(value: object) -> Delivery | None:
    return None if value is None else read_delivery(Fields(value, ("origin",)))


def _content_dict(content: Content) -> dict[str, Any]:
    return {
        "sha256": str(content.sha256),
        "md5": str(content.md5),
        "sizeBytes": content.size_bytes,
        "virtualSizeBytes": content.virtual_size_bytes,
        "format": str(content.format),
        "sourceDigests": [str(digest) for digest in content.source_digests],
    }


def _content(data: dict[str, Any]) -> Content:
    sha256, md5 = _sha256(data["sha256"]), Digest.parse(data["md5"])
    if md5.algorithm is not Algorithm.MD5:
        raise ValueError("a digest of another algorithm")
    return Content(
        sha256=sha256,
        md5=md5,
        size_bytes=_count(data["sizeBytes"]),
        virtual_size_bytes=_count(data["virtualSizeBytes"]),
        format=Format(data["format"]),
        source_digests=tuple(Digest.parse(text) for text in data["sourceDigests"]),
    )


def _provenance_dict(one: Provenance) -> dict[str, Any]:
    return {
        "source": one.source,
        "etag": one.etag,
        "totalBytes": one.total_bytes,
        "sourceDigests": [str(digest) for digest in one.source_digests],
        "namespace": one.namespace,
        "anonymous": one.anonymous,
    }


def _provenance(data: dict[str, Any]) -> Provenance:
    if not isinstance(data["anonymous"], bool):
        raise TypeError("neither true nor false")
    return Provenance(
        source=_text(data["source"]),
        etag=_text(data["etag"]),
        total_bytes=_count(data["totalBytes"]),
        source_digests=tuple(Digest.parse(text) for text in data["sourceDigests"]),
        namespace=_text(data["namespace"]),
        anonymous=data["anonymous"],
    )


def _sha256(text: str) -> Digest:
    digest = Digest.parse(text)
    if digest.algorithm is not Algorithm.SHA256:
        raise ValueError("a digest of another algorithm")
    return digest


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("not a count")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)
