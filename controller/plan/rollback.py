"""What a manifest must say so that bytes which are kept serve again, without a download. Pure."""

from collections.abc import Iterable
from typing import Any

from controller import errors
from controller.model.digest import Algorithm, Digest
from controller.model.image import Content, Format, ImageSpec, MediaType, Revision, UpdatePolicy
from controller.model.resource import API_VERSION, Image, Kind
from controller.model.transfer import StoredRef, TrashRecord
from controller.plan import source

Fields = dict[str, Any]
"""Fields of a manifest: JSON values."""


def older(image: Image, number: int) -> Revision:
    """Return the older revision of that number, 1 the newest. Raises NotFound, saying how many there are."""
    history = image.status.history
    if not 1 <= number <= len(history):
        known = f"it keeps 1 to {len(history)}" if len(history) > 1 else "it keeps 1" if history else "it keeps none"
        key = image.meta.key
        raise errors.NotFound(f"{key.namespace}/{key.name} has no older revision {number}: {known}")
    return history[number - 1]


def may_lack_query(kept: Revision | StoredRef, spec: ImageSpec | None = None) -> bool:
    """Whether what was fetched may have had a query, which nobody shows, and which `spec` does not have either.

    Of bytes that a checksum list vouched for it cannot be told: the fingerprint of their source is of the list, too.
    """
    known = {source.fingerprint(kept.url)} | ({source.fingerprint(spec.url.text)} if spec is not None else set())
    return kept.source_id not in known


def change(spec: ImageSpec, revision: Revision) -> Fields:
    """Return the fields of `spec` that must change so that `revision` serves; empty where it is asked for already.

    The sha256 of the bytes as downloaded identifies them: they are found where they lie, and nothing is fetched.
    """
    content = revision.content
    fields: Fields = {}
    if spec.url.redacted != revision.url:
        fields["url"] = revision.url
    pinned = pin(content)
    if spec.checksum != pinned:
        fields["checksum"] = str(pinned)
    if spec.update_policy is UpdatePolicy.IMPORT:
        fields["updatePolicy"] = UpdatePolicy.NOTIFY.value  # what follows its source cannot be held at one version
    if spec.format not in {None, content.format}:
        fields["format"] = content.format.value
    if (spec.media_type is MediaType.ISO) != (content.format is Format.ISO):
        fields["mediaType"] = _media_type(content).value
    needed = max(content.size_bytes, content.virtual_size_bytes)
    if spec.max_size_bytes is not None and needed > spec.max_size_bytes:
        fields["maxSize"] = needed
    return fields


def pin(content: Content) -> Digest:
    """Return the sha256 of the bytes as downloaded."""
    return next(digest for digest in content.source_digests if digest.algorithm is Algorithm.SHA256)


def serving(record: TrashRecord, claims: Iterable[StoredRef]) -> StoredRef | None:
    """Return the claim on what a deleted image served last; without a note of it the newest. None: no claim is left."""
    kept = list(claims)
    noted = [claim for claim in kept if claim.content.sha256 == record.serving]
    return max(noted or kept, key=lambda claim: (claim.imported_at, claim.content.sha256.hex), default=None)


def recovery(record: TrashRecord, claim: StoredRef, storages: Iterable[str], derived_uuid: str | None) -> Fields:
    """Return the manifest of an Image that takes a deleted one's claims over, uuid included.

    `derived_uuid` is what its name gives it here: a uuid is written down only where it is another. None: nobody can
    tell, as in a cluster; a new Image takes over the uuid that the deleted one of its name had.
    """
    spec: Fields = {"url": claim.url, "checksum": str(pin(claim.content))}
    if _media_type(claim.content) is not MediaType.ROOT_VOLUME_TEMPLATE:
        spec["mediaType"] = _media_type(claim.content).value
    if derived_uuid not in {None, record.image_uuid}:
        spec["uuid"] = record.image_uuid
    spec["backupStorages"] = sorted(storages)
    if record.expunge_at is None:
        spec["deletionPolicy"] = "Never"
    return {
        "apiVersion": API_VERSION,
        "kind": Kind.IMAGE.value,
        "metadata": {"name": record.name, "namespace": record.namespace},
        "spec": spec,
    }


def _media_type(content: Content) -> MediaType:
    return MediaType.ISO if content.format is Format.ISO else MediaType.ROOT_VOLUME_TEMPLATE
