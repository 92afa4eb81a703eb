"""From documents to the model and back: specs are parsed, statuses are parsed and written.

Parsing trusts nobody: it runs on what passed the schema, and still names the field of each value it does not
understand. A field that is not known is refused, never ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from controller.model import quantity
from controller.model.backup_storage import (
    BackupStorageSpec,
    BackupStorageStatus,
    Capacity,
    ImageStoreSpec,
    StorageStatus,
    StorageType,
)
from controller.model.conditions import Condition, ConditionType
from controller.model.delivery_document import delivery_to_dict, read_delivery, read_watch, watch_to_dict
from controller.model.digest import Algorithm, Digest
from controller.model.fields import Fields, format_time
from controller.model.image import (
    Architecture,
    BootMode,
    ChecksumFrom,
    Content,
    DeletionPolicy,
    Format,
    ImageSpec,
    ImageStatus,
    MediaType,
    Phase,
    Platform,
    Progress,
    Ref,
    RefStatus,
    RetryPolicy,
    Revision,
    SignedBy,
    State,
    Timeouts,
    UpdatePolicy,
)
from controller.model.quarantine import Quarantine
from controller.model.resource import API_VERSION, Key, Kind
from controller.model.schema import Document
from controller.model.scrub_document import scrub_from_fields, scrub_to_dict
from controller.model.selector import LabelSelector, Requirement, SelectorOperator
from controller.model.url import SourceUrl
from controller.reasons import Reason

SpecT = TypeVar("SpecT", ImageSpec, BackupStorageSpec)
DEFAULT_NAMESPACE = "default"
"""Where an Image lives that names no namespace."""


@dataclass(frozen=True, slots=True)
class Manifest(Generic[SpecT]):
    """What a person wrote: which object, its labels and annotations, and the spec."""

    key: Key
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: SpecT


def parse_image(document: Document) -> Manifest[ImageSpec]:
    """Read an Image. Raises InvalidSpec, which names the field."""
    key, metadata = _envelope(document, Kind.IMAGE)
    spec = parse_image_spec(document.get("spec"))
    return Manifest(key, metadata.mapping("labels"), metadata.mapping("annotations"), spec)


def parse_storage(document: Document) -> Manifest[BackupStorageSpec]:
    """Read a BackupStorage; a namespace on it is ignored, as an API server does. Raises InvalidSpec."""
    key, metadata = _envelope(document, Kind.BACKUP_STORAGE)
    spec = parse_storage_spec(document.get("spec"))
    return Manifest(key, metadata.mapping("labels"), metadata.mapping("annotations"), spec)


def _envelope(document: Document, kind: Kind) -> tuple[Key, Fields]:
    whole = Fields(document, ())
    if whole.text("apiVersion") != API_VERSION:
        whole.fail("apiVersion", f"must be {API_VERSION}")
    if whole.text("kind") != kind.value:
        whole.fail("kind", f"must be {kind.value}")
    metadata = whole.need("metadata", whole.child("metadata"))
    name = metadata.need("name", metadata.text("name"))
    namespace = metadata.text("namespace") or DEFAULT_NAMESPACE
    return Key(kind, namespace if kind is Kind.IMAGE else "", name), metadata


# --- specs ------------------------------------------------------------------------------------------------------------


def parse_image_spec(value: object) -> ImageSpec:
    """Read the `spec` of an Image; absent fields get the defaults of the CRD. Raises InvalidSpec."""
    fields = Fields(value, ("spec",))
    spec = ImageSpec(
        url=fields.need("url", fields.parsed("url", SourceUrl.parse)),
        display_name=fields.text("displayName"),
        description=fields.text("description") or "",
        media_type=fields.choice("mediaType", MediaType) or MediaType.ROOT_VOLUME_TEMPLATE,
        format=fields.choice("format", Format),
        platform=fields.choice("platform", Platform) or Platform.LINUX,
        virtio=fields.boolean("virtio"),
        guest_os_type=fields.text("guestOsType"),
        architecture=fields.choice("architecture", Architecture) or Architecture.X86_64,
        boot_mode=fields.choice("bootMode", BootMode),
        system=fields.boolean("system") or False,
        state=fields.choice("state", State) or State.ENABLED,
        uuid=fields.text("uuid"),
        mirrors=fields.parsed_all("mirrors", SourceUrl.parse),
        interval=fields.parsed("interval", quantity.parse_duration),
        update_policy=fields.choice("updatePolicy", UpdatePolicy) or UpdatePolicy.NOTIFY,
        checksum=fields.parsed("checksum", Digest.parse),
        checksum_from=_checksum_from(fields.child("checksumFrom")),
        secret_ref=_secret_ref(fields.child("secretRef")),
        backup_storages=fields.texts("backupStorages"),
        suspend=fields.boolean("suspend") or False,
        revision_history_limit=_or_default(fields.integer("revisionHistoryLimit"), 2),
        deletion_policy=fields.choice("deletionPolicy", DeletionPolicy) or DeletionPolicy.DELAY,
        expunge_after=fields.parsed("expungeAfter", quantity.parse_duration) or timedelta(hours=72),
        retry=_retry(fields.child("retry")),
        timeouts=_timeouts(fields.child("timeouts")),
        max_size_bytes=fields.size("maxSize", quantity.parse_bytes),
    )
    fields.reject_unknown()
    return spec


def _checksum_from(fields: Fields | None) -> ChecksumFrom | None:
    if fields is None:
        return None
    wanted = ChecksumFrom(
        url=fields.need("url", fields.parsed("url", SourceUrl.parse)),
        entry=fields.text("entry"),
        signature=_signature(fields.child("signature")),
    )
    fields.reject_unknown()
    return wanted


def _signature(fields: Fields | None) -> SignedBy | None:
    if fields is None:
        return None
    signed = SignedBy(
        url=fields.need("url", fields.parsed("url", SourceUrl.parse)),
        key_ref=fields.need("keyRef", _secret_ref(fields.child("keyRef"))),
    )
    fields.reject_unknown()
    return signed


def _secret_ref(fields: Fields | None) -> str | None:
    if fields is None:
        return None
    name = fields.need("name", fields.text("name"))
    fields.reject_unknown()
    return name


def _retry(fields: Fields | None) -> RetryPolicy:
    default = RetryPolicy()
    if fields is None:
        return default
    policy = RetryPolicy(
        limit=fields.integer("limit"),
        initial_backoff=fields.parsed("initialBackoff", quantity.parse_duration) or default.initial_backoff,
        max_backoff=fields.parsed("maxBackoff", quantity.parse_duration) or default.max_backoff,
    )
    fields.reject_unknown()
    return policy


def _timeouts(fields: Fields | None) -> Timeouts:
    default = Timeouts()
    if fields is None:
        return default
    timeouts = Timeouts(
        connect=fields.parsed("connect", quantity.parse_duration) or default.connect,
        stall=fields.parsed("stall", quantity.parse_duration) or default.stall,
        total=fields.parsed("total", quantity.parse_duration),
    )
    fields.reject_unknown()
    return timeouts


def parse_storage_spec(value: object) -> BackupStorageSpec:
    """Read the `spec` of a BackupStorage; absent fields get the defaults of the CRD. Raises InvalidSpec."""
    fields = Fields(value, ("spec",))
    block = fields.need("imageStore", fields.child("imageStore"))
    reserved = fields.size("reservedCapacity", quantity.parse_bytes)
    spec = BackupStorageSpec(
        type=fields.need("type", fields.choice("type", StorageType)),
        image_store=ImageStoreSpec(path=block.need("path", block.text("path"))),
        state=fields.choice("state", State) or State.ENABLED,
        reserved_capacity_bytes=2**30 if reserved is None else reserved,
        namespace_selector=_selector(fields.child("namespaceSelector")),
        scrub_interval=fields.parsed("scrubInterval", quantity.parse_duration),
    )
    block.reject_unknown()
    fields.reject_unknown()
    return spec


def _selector(fields: Fields | None) -> LabelSelector | None:
    if fields is None:
        return None
    labels = tuple(sorted(fields.mapping("matchLabels").items()))
    requirements = []
    for entry in fields.children("matchExpressions"):
        key = entry.need("key", entry.text("key"))
        operator = entry.need("operator", entry.choice("operator", SelectorOperator))
        requirements.append(Requirement(key, operator, entry.texts("values")))
        entry.reject_unknown()
    fields.reject_unknown()
    return LabelSelector(labels, tuple(requirements))


# --- the status of an Image -------------------------------------------------------------------------------------------


def image_status_to_dict(status: ImageStatus) -> dict[str, Any]:
    """Write a status as the CRD has it; what is absent is left out. `image_status_from_dict` undoes it."""
    current = None if status.current is None else _revision_to_dict(status.current)
    refs = [_ref_to_dict(ref, status.uuid) for ref in status.refs]
    return _present(
        uuid=status.uuid,
        phase=status.phase.value,
        observedGeneration=status.observed_generation,
        observedRevision=status.observed_revision,
        **_served(current),
        current=current,
        history=[_revision_to_dict(revision) for revision in status.history] or None,
        paravirtualized=status.paravirtualized,
        volumeFormat=status.current.content.format.volume_format.value if status.current else None,
        backupStorageRefs=refs or None,
        progress=_progress_to_dict(status.progress),
        queuePosition=status.queue_position,
        attempts=status.attempts or None,
        nextRetryAt=_time(status.next_retry_at),
        lastHandledReconcileAt=status.last_handled_reconcile_at,
        source={**((current or {}).get("source") or {}), **watch_to_dict(status.watch)} or None,
        verifiedAt=_time(status.verified_at),
        createDate=_time(status.create_date),
        lastOpDate=_time(status.last_op_date),
        conditions=_conditions_to_list(status.conditions) or None,
    )


def image_status_from_dict(value: object) -> ImageStatus:
    """Read a status that `image_status_to_dict` wrote. Raises InvalidSpec, which names the field."""
    fields = Fields(value, ("status",))
    current, source = fields.child("current"), fields.child("source")
    return ImageStatus(
        uuid=fields.text("uuid"),
        phase=fields.choice("phase", Phase) or Phase.PENDING,
        observed_generation=fields.integer("observedGeneration") or 0,
        current=None if current is None else _served_revision(current, source),
        observed_revision=fields.text("observedRevision"),
        history=tuple(_revision(revision) for revision in fields.children("history")),
        refs=tuple(_ref(ref) for ref in fields.children("backupStorageRefs")),
        progress=_progress(fields.child("progress")),
        queue_position=fields.integer("queuePosition"),
        attempts=fields.integer("attempts") or 0,
        next_retry_at=fields.time("nextRetryAt"),
        last_handled_reconcile_at=fields.text("lastHandledReconcileAt"),
        verified_at=fields.time("verifiedAt"),
        create_date=fields.time("createDate"),
        last_op_date=fields.time("lastOpDate"),
        watch=read_watch(source),
        paravirtualized=fields.boolean("paravirtualized"),
        conditions=_conditions(fields),
    )


def _or_default(value: int | None, default: int) -> int:
    return default if value is None else value


def _served(current: dict[str, Any] | None) -> dict[str, Any]:
    """Repeat what is served at the top, where people and printer columns look; it is never read back."""
    if current is None:
        return {}
    repeated = {name: current[name] for name in ("format", "size", "actualSize", "md5Sum", "sourceDigest")}
    return {**repeated, "digests": {"sha256": current["sha256"]}}


def _revision_to_dict(revision: Revision) -> dict[str, Any]:
    content = revision.content
    return _present(
        sha256=content.sha256.hex,
        md5Sum=content.md5.hex,
        size=content.virtual_size_bytes,
        actualSize=content.size_bytes,
        format=content.format.value,
        sourceDigest={digest.algorithm.value: digest.hex for digest in content.source_digests},
        sourceId=revision.source_id,
        url=revision.url,
        importedAt=format_time(revision.imported_at),
        proof=revision.proof,
        source=None if revision.delivery is None else delivery_to_dict(revision.delivery),
    )


def _revision(fields: Fields) -> Revision:
    content = Content(
        sha256=_digest(fields, "sha256", Algorithm.SHA256),
        md5=_digest(fields, "md5Sum", Algorithm.MD5),
        size_bytes=fields.need("actualSize", fields.integer("actualSize")),
        virtual_size_bytes=fields.need("size", fields.integer("size")),
        format=fields.need("format", fields.choice("format", Format)),
        source_digests=_source_digests(fields.need("sourceDigest", fields.child("sourceDigest"))),
    )
    return Revision(
        content=content,
        source_id=fields.need("sourceId", fields.text("sourceId")),
        url=fields.need("url", fields.text("url")),
        imported_at=fields.need("importedAt", fields.time("importedAt")),
        proof=fields.need("proof", fields.text("proof")),
        delivery=read_delivery(fields.child("source")),
    )


def _served_revision(fields: Fields, source: Fields | None) -> Revision:
    """Read the current revision; the first versions wrote who served it at the top of the status only."""
    revision = _revision(fields)
    return revision if revision.delivery is not None else replace(revision, delivery=read_delivery(source))


def _digest(fields: Fields, name: str, algorithm: Algorithm) -> Digest:
    return fields.need(name, fields.parsed(name, lambda value: Digest(algorithm, value)))


def _source_digests(fields: Fields) -> tuple[Digest, ...]:
    """Read the map back in the order that `Content` has: sha256 first, which is always there."""
    order = sorted(Algorithm, key=lambda algorithm: algorithm is not Algorithm.SHA256)
    return tuple(_digest(fields, name, name) for name in order if fields.text(name) is not None)


def _ref_to_dict(ref: Ref, image_uuid: str | None) -> dict[str, Any]:
    return _present(
        imageUuid=image_uuid,
        backupStorageUuid=ref.storage_uuid,
        backupStorageName=ref.storage_name,
        installPath=ref.install_path,
        status=ref.status.value,
        reason=None if ref.reason is None else ref.reason.value,
        createDate=format_time(ref.create_date),
        lastOpDate=format_time(ref.last_op_date),
    )


def _ref(fields: Fields) -> Ref:
    return Ref(
        storage_uuid=fields.need("backupStorageUuid", fields.text("backupStorageUuid")),
        storage_name=fields.need("backupStorageName", fields.text("backupStorageName")),
        install_path=fields.need("installPath", fields.text("installPath")),
        status=fields.need("status", fields.choice("status", RefStatus)),
        create_date=fields.need("createDate", fields.time("createDate")),
        last_op_date=fields.need("lastOpDate", fields.time("lastOpDate")),
        reason=fields.choice("reason", Reason),
    )


def _progress_to_dict(progress: Progress | None) -> dict[str, Any] | None:
    if progress is None:
        return None
    total = progress.total_bytes
    percent = None if total is None else min(100, progress.bytes * 100 // total) if total else 100
    return _present(bytes=progress.bytes, totalBytes=total, percent=percent)


def _progress(fields: Fields | None) -> Progress | None:
    if fields is None:
        return None
    return Progress(fields.need("bytes", fields.integer("bytes")), fields.integer("totalBytes"))


# --- the status of a BackupStorage ------------------------------------------------------------------------------------


def storage_status_to_dict(status: BackupStorageStatus) -> dict[str, Any]:
    """Write a status as the CRD has it; what is absent is left out. `storage_status_from_dict` undoes it."""
    return _present(
        uuid=status.uuid,
        status=status.status.value,
        observedGeneration=status.observed_generation,
        totalCapacity=status.capacity.total_bytes if status.capacity else None,
        availableCapacity=status.capacity.available_bytes if status.capacity else None,
        images=status.images,
        quarantine=_quarantine_to_dict(status.quarantine),
        lastScrub=None if status.last_scrub is None else scrub_to_dict(status.last_scrub),
        createDate=_time(status.create_date),
        lastOpDate=_time(status.last_op_date),
        lastHandledReconcileAt=status.last_handled_reconcile_at,
        conditions=_conditions_to_list(status.conditions) or None,
    )


def _quarantine_to_dict(held: Quarantine) -> dict[str, int] | None:
    return {"copies": held.copies, "bytes": held.bytes} if held.copies else None


def _quarantine(fields: Fields | None) -> Quarantine:
    return Quarantine() if fields is None else Quarantine(fields.integer("copies") or 0, fields.integer("bytes") or 0)


def storage_status_from_dict(value: object) -> BackupStorageStatus:
    """Read a status that `storage_status_to_dict` wrote. Raises InvalidSpec, which names the field."""
    fields = Fields(value, ("status",))
    total, available = fields.integer("totalCapacity"), fields.integer("availableCapacity")
    return BackupStorageStatus(
        uuid=fields.text("uuid"),
        status=fields.choice("status", StorageStatus) or StorageStatus.CONNECTING,
        observed_generation=fields.integer("observedGeneration") or 0,
        capacity=None if total is None or available is None else Capacity(total, available),
        images=fields.integer("images") or 0,
        quarantine=_quarantine(fields.child("quarantine")),
        last_scrub=scrub_from_fields(fields.child("lastScrub")),
        create_date=fields.time("createDate"),
        last_op_date=fields.time("lastOpDate"),
        last_handled_reconcile_at=fields.text("lastHandledReconcileAt"),
        conditions=_conditions(fields),
    )


# --- both -------------------------------------------------------------------------------------------------------------


def _conditions_to_list(conditions: tuple[Condition, ...]) -> list[dict[str, Any]]:
    return [
        {
            "type": condition.type.value,
            "status": str(condition.status),
            "reason": condition.reason.value,
            "message": condition.message,
            "observedGeneration": condition.observed_generation,
            "lastTransitionTime": format_time(condition.last_transition_time),
        }
        for condition in conditions
    ]


def _conditions(fields: Fields) -> tuple[Condition, ...]:
    return tuple(
        Condition(
            type=item.need("type", item.choice("type", ConditionType)),
            status=item.need("status", item.text("status")) == "True",
            reason=item.need("reason", item.choice("reason", Reason)),
            message=item.text("message") or "",
            observed_generation=item.integer("observedGeneration") or 0,
            last_transition_time=item.need("lastTransitionTime", item.time("lastTransitionTime")),
        )
        for item in fields.children("conditions")
    )


def _time(value: datetime | None) -> str | None:
    return None if value is None else format_time(value)


def _present(**fields: object) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
