"""Which source an image names: fingerprints, transfer keys, and whether a content is what the spec asks for."""

import hashlib
import uuid
from collections.abc import Iterable

from controller.model.digest import Digest
from controller.model.image import ChecksumFrom, Content, Format, ImageSpec, MediaType, Revision, UpdatePolicy
from controller.model.resource import BackupStorage, Image, Key
from controller.model.url import SourceUrl
from controller.reasons import Reason

LOOK = "look-"
"""How the key of a look at a source begins, a transfer without targets."""
OTHER_BYTES = (Reason.CHECKSUM_MISMATCH, Reason.SOURCE_CHANGED, Reason.FORMAT_REJECTED, Reason.TOO_LARGE)
"""A source has something, but not the image."""


def fingerprint(*parts: str) -> str:
    """Return 32 hex digits that name the parts; length-prefixed, so that no two lists collide."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def source_id(url: SourceUrl, listed: ChecksumFrom | None = None) -> str:
    """Name a source without showing its query, which may hold a signature.

    A checksum list is part of it: the bytes of a url are what some list, or nobody, vouched for.
    """
    return fingerprint(url.text, *_list_parts(listed))


def _list_parts(listed: ChecksumFrom | None) -> tuple[str, ...]:
    if listed is None:
        return ()
    signed = listed.signature
    parts = ("checksumFrom", listed.url.text, listed.entry or "")
    return parts if signed is None else (*parts, "signature", signed.url.text, signed.key_ref)


def derive_uuid(instance: uuid.UUID, key: Key) -> str:
    """Return the uuid of a standalone object: UUIDv5 of kind, namespace and name under the instance's random id."""
    return uuid.uuid5(instance, str(key)).hex


def image_uuid(image: Image) -> str:
    """Return the uuid of an image: given, or known already, or the object's uid without dashes."""
    return image.spec.uuid or image.status.uuid or image.meta.uid.replace("-", "")


def storage_uuid(storage: BackupStorage) -> str:
    """Return the uuid of a storage: known already, or the object's uid without dashes."""
    return storage.status.uuid or storage.meta.uid.replace("-", "")


def proof(spec: ImageSpec, found: str | None) -> str:
    """Say by what the bytes of this spec are proven; `found` is what the transfer, or a claim of this source, said."""
    if spec.checksum_from is not None:
        return found or "checksum list"
    return f"checksum {spec.checksum.algorithm}" if spec.checksum else "first use"


def satisfies(spec: ImageSpec, content: Content, known_source_id: str) -> bool:
    """Whether a content imported from `known_source_id` is what the spec asks for, without fetching a byte.

    A sha256 or sha512 of the downloaded bytes identifies them wherever they came from. md5 and sha1 do not: they only
    confirm a content that came from the same URL. Without a checksum the URL is the identity (trust on first use), and
    with a checksum list the URL and the list.
    """
    same_source = known_source_id == source_id(spec.url, spec.checksum_from)
    if spec.checksum is None:
        return same_source
    matches = any(spec.checksum.matches(digest) for digest in content.source_digests)
    return matches and (spec.checksum.algorithm.identifies or same_source)


def remembered(spec: ImageSpec, older: Iterable[Revision]) -> Revision | None:
    """Return the older revision that a spec without a checksum asks for again: its digest pins the bytes, as of any.

    A checksum, or a list, says itself what the bytes must be; who imports whatever is new wants what there is now.
    """
    importing = spec.interval is not None and spec.update_policy is UpdatePolicy.IMPORT
    if spec.checksum is not None or spec.checksum_from is not None or importing:
        return None
    return next((one for one in older if satisfies(spec, one.content, one.source_id)), None)


def contradiction(spec: ImageSpec, content: Content, max_size_bytes: int) -> tuple[Reason, str] | None:
    """Say what the spec demands that a proven content is not; None where they agree."""
    found = content.format
    if spec.format is not None and spec.format is not found:
        return Reason.FORMAT_REJECTED, f"spec.format says {spec.format}, the bytes are {found}"
    if (spec.media_type is MediaType.ISO) != (found is Format.ISO):
        return Reason.FORMAT_REJECTED, f"spec.mediaType is {spec.media_type}, the bytes are {found}"
    size = max(content.size_bytes, content.virtual_size_bytes)
    if size > max_size_bytes:
        return Reason.TOO_LARGE, f"the image has {size} bytes, maxSize allows {max_size_bytes}"
    return None


def transfer_key(namespace: str, spec: ImageSpec, max_size_bytes: int, pinned: Digest | None) -> str:
    """Name the transfer of a source: images of one namespace that ask for the same thing in the same way share it."""
    return "get-" + fingerprint(
        namespace,
        spec.url.text,
        str(spec.checksum or ""),
        *_list_parts(spec.checksum_from),
        *(() if spec.secret_ref is None else ("secretRef", spec.secret_ref)),
        *(part for mirror in spec.mirrors for part in ("mirror", mirror.text)),
        spec.format or "",
        str(spec.media_type is MediaType.ISO),
        str(max_size_bytes),
        str(pinned or ""),
    )


def copy_key(content: Content, target_uuid: str) -> str:
    """Name the copy of a content onto a storage."""
    return "copy-" + fingerprint(str(content.sha256), target_uuid)
