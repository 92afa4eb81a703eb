"""An import receipt: how the bytes of one claim came to their storage, as an in-toto statement.

A Statement v1 (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md), its predicate our own. It is not
signed: it says what this controller did, to whoever trusts the storage that it lies on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from controller.model.delivery import Peer, Skipped, Validator
from controller.model.digest import Digest
from controller.model.fields import format_time
from controller.model.image import Content

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://goldmaster.dev/import/v1"
MAX_TEXT = 1024
"""Characters of anything that a source said."""


class How(StrEnum):
    """What was done for this claim."""

    DOWNLOADED = "Downloaded"
    COPIED = "Copied"
    """From another storage; the source was not asked for a byte."""
    SHARED = "Shared"
    """The bytes lay on the storage already, for whatever reason; nothing was fetched or copied for this claim."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a download was. URLs are redacted."""

    url: str
    served_by: str
    """In the end, after redirects."""
    validator: Validator
    peer: Peer | None
    """None: the source is a file, or nobody noted it."""
    fetched_bytes: int
    """Over the network in this try, of all sources that it asked: what was fetched in vain counts too."""
    resumed_bytes: int
    """There already, from a try before."""
    length: int | None
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """How the bytes of one claim came to their storage. `url`, `imported_at`: of the revision, whoever fetched it."""

    how: How
    image: str
    """`namespace/name`."""
    image_uuid: str
    storage: str
    content: Content
    proof: str
    url: str
    imported_at: datetime
    generation: int
    """Of the Image that asked for it."""
    finished_at: datetime
    asked_at: str | None = None
    """The Git commit of its manifest, None where it is in none."""
    started_at: datetime | None = None
    fetched: Fetched | None = None
    confirmed_by: Fetched | None = None
    """Of shared bytes: the source, which was asked and named this very version, but gave no byte."""
    copied_from: str | None = None
    """Name of the storage."""


def statement(receipt: Receipt, version: str) -> dict[str, Any]:
    """Write a receipt as an in-toto statement. `version` is this tool's."""
    content = receipt.content
    predicate = _present(
        how=receipt.how.value,
        image=_present(
            name=receipt.image,
            uuid=receipt.image_uuid,
            generation=receipt.generation,
            observedRevision=receipt.asked_at,
        ),
        storage=receipt.storage,
        copiedFrom=None if receipt.copied_from is None else {"storage": receipt.copied_from},
        source=None if receipt.fetched is None else _fetched(receipt.fetched),
        confirmedBy=None if receipt.confirmed_by is None else _fetched(receipt.confirmed_by),
        revision={"url": receipt.url, "importedAt": format_time(receipt.imported_at)},
        proof=receipt.proof,
        downloaded={"digest": _digests(content.source_digests)},
        stored={
            "format": content.format.value,
            "bytes": content.size_bytes,
            "virtualBytes": content.virtual_size_bytes,
            "digest": _digests((content.sha256, content.md5)),
        },
        startedAt=None if receipt.started_at is None else format_time(receipt.started_at),
        finishedAt=format_time(receipt.finished_at),
        tool={"name": "goldmaster", "version": version},
    )
    subject = {"name": receipt.image, "digest": _digests((content.sha256, content.md5))}
    return {
        "_type": STATEMENT_TYPE,
        "subject": [subject],
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }


def _fetched(fetched: Fetched) -> dict[str, Any]:
    peer = fetched.peer
    return _present(
        url=fetched.url,
        servedBy=fetched.served_by[:MAX_TEXT],
        address=None if peer is None else peer.address,
        proxy=None if peer is None else peer.proxy,
        certificate=None if peer is None or peer.certificate is None else _digests((peer.certificate,)),
        etag=_clipped(fetched.validator.etag),
        lastModified=_clipped(fetched.validator.last_modified),
        bytes=fetched.length,
        fetchedBytes=fetched.fetched_bytes,
        resumedBytes=fetched.resumed_bytes,
        skipped=[{"url": one.url, "reason": one.reason.value} for one in fetched.skipped] or None,
    )


def _clipped(text: str | None) -> str | None:
    return None if text is None else text[:MAX_TEXT]


def _digests(digests: Iterable[Digest]) -> Mapping[str, str]:
    """Return a DigestSet: algorithm to hexadecimal digits."""
    return {digest.algorithm.value: digest.hex for digest in digests}


def _present(**fields: object) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
