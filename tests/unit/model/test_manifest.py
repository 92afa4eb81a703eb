"""Documents become the model and the model becomes documents, without loss."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import errors
from controller.model import manifest
from controller.model.backup_storage import BackupStorageSpec, BackupStorageStatus, Capacity, StorageStatus
from controller.model.conditions import Condition, ConditionType
from controller.model.delivery import Delivery, Sighting, Skipped, Validator, Watch
from controller.model.digest import Algorithm, Digest
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
from controller.model.schema import path_text, translate
from controller.model.scrub import Scrub, ScrubState
from controller.model.selector import LabelSelector, Requirement, SelectorOperator
from controller.model.url import SourceUrl
from controller.reasons import Reason
from tests.unit.model.documents import image, openapi, storage
from tests.unit.model.values import contents, counts, deliveries, sizes, times, watches, words

UUID = "fccc12fee6a411d68c42763ded705630"
SIGNATURE = {"url": "https://h.example/SHA256SUMS.gpg", "keyRef": {"name": "keys"}}
FULL_SPEC: dict[str, Any] = {
    "url": "https://h.example/a.qcow2",
    "displayName": "Debian",
    "description": "text",
    "mediaType": "DataVolumeTemplate",
    "format": "raw",
    "platform": "Windows",
    "virtio": True,
    "guestOsType": "Debian 12",
    "architecture": "aarch64",
    "bootMode": "UEFI",
    "system": True,
    "state": "Disabled",
    "uuid": UUID,
    "checksum": "md5:D41D8CD98F00B204E9800998ECF8427E",
    "checksumFrom": {"url": "https://h.example/SHA256SUMS", "entry": "b.qcow2", "signature": SIGNATURE},
    "secretRef": {"name": "mirror"},
    "interval": "24h",
    "updatePolicy": "Import",
    "mirrors": ["https://m.example/a.qcow2?x=1", "/srv/a.qcow2"],
    "backupStorages": ["a", "b"],
    "suspend": True,
    "retry": {"limit": 3, "initialBackoff": "1m", "maxBackoff": "1h"},
    "timeouts": {"connect": "1s", "stall": "1.5s", "total": "2h30m"},
    "maxSize": "10Gi",
    "revisionHistoryLimit": 5,
    "deletionPolicy": "Never",
    "expungeAfter": "24h",
}


def test_every_field_of_an_image_is_read() -> None:
    assert manifest.parse_image_spec(FULL_SPEC) == ImageSpec(
        url=SourceUrl.parse("https://h.example/a.qcow2"),
        display_name="Debian",
        description="text",
        media_type=MediaType.DATA_VOLUME_TEMPLATE,
        format=Format.RAW,
        platform=Platform.WINDOWS,
        virtio=True,
        guest_os_type="Debian 12",
        architecture=Architecture.AARCH64,
        boot_mode=BootMode.UEFI,
        system=True,
        state=State.DISABLED,
        uuid=UUID,
        checksum=Digest(Algorithm.MD5, "d41d8cd98f00b204e9800998ecf8427e"),
        checksum_from=ChecksumFrom(
            SourceUrl.parse("https://h.example/SHA256SUMS"),
            "b.qcow2",
            SignedBy(SourceUrl.parse("https://h.example/SHA256SUMS.gpg"), "keys"),
        ),
        secret_ref="mirror",
        interval=timedelta(hours=24),
        update_policy=UpdatePolicy.IMPORT,
        mirrors=(SourceUrl.parse("https://m.example/a.qcow2?x=1"), SourceUrl.parse("/srv/a.qcow2")),
        backup_storages=("a", "b"),
        suspend=True,
        retry=RetryPolicy(3, timedelta(minutes=1), timedelta(hours=1)),
        timeouts=Timeouts(timedelta(seconds=1), timedelta(seconds=1.5), timedelta(hours=2.5)),
        max_size_bytes=10 * 2**30,
        revision_history_limit=5,
        deletion_policy=DeletionPolicy.NEVER,
        expunge_after=timedelta(hours=24),
    )


def test_the_parser_knows_every_field_of_the_crd() -> None:
    """With `reject_unknown`, which a misspelt field trips, this holds both ways."""
    schema = openapi("Image")["properties"]["spec"]["properties"]
    assert FULL_SPEC.keys() == schema.keys()
    assert FULL_SPEC["retry"].keys() == schema["retry"]["properties"].keys()
    assert FULL_SPEC["timeouts"].keys() == schema["timeouts"]["properties"].keys()
    assert FULL_SPEC["secretRef"].keys() == schema["secretRef"]["properties"].keys()
    assert FULL_SPEC["checksumFrom"].keys() == schema["checksumFrom"]["properties"].keys()
    signature = schema["checksumFrom"]["properties"]["signature"]["properties"]
    assert SIGNATURE.keys() == signature.keys()
    assert signature["keyRef"]["properties"].keys() == {"name"}
    full: dict[str, Any] = {"type": "ImageStore", "imageStore": {"path": "/x"}, "state": "Disabled"}
    full |= {"reservedCapacity": 0, "scrubInterval": "168h"}
    requirement = {"key": "team", "operator": "In", "values": ["a", "b"]}
    full["namespaceSelector"] = {"matchLabels": {"tier": "gold"}, "matchExpressions": [requirement]}
    assert full.keys() == openapi("BackupStorage")["properties"]["spec"]["properties"].keys()
    assert manifest.parse_storage_spec(full).reserved_capacity_bytes == 0
    assert manifest.parse_storage_spec(full).state is State.DISABLED
    assert manifest.parse_storage_spec(full).namespace_selector == LabelSelector(
        (("tier", "gold"),), (Requirement("team", SelectorOperator.IN, ("a", "b")),)
    )


def test_labels_and_annotations_come_along() -> None:
    document = image()
    document["metadata"] |= {"namespace": "team-a", "labels": {"a": "b"}, "annotations": {"c": "d"}}
    parsed = manifest.parse_image(document)
    assert (parsed.key.namespace, parsed.key.name) == ("team-a", "case")
    assert (parsed.labels, parsed.annotations) == ({"a": "b"}, {"c": "d"})


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, ("spec", "url")),
        (None, ("spec",)),
        ({**FULL_SPEC, "url": 5}, ("spec", "url")),
        ({**FULL_SPEC, "later": 1}, ("spec", "later")),
        ({**FULL_SPEC, "checksum": "md5:x"}, ("spec", "checksum")),
        ({**FULL_SPEC, "secretRef": {}}, ("spec", "secretRef", "name")),
        ({**FULL_SPEC, "secretRef": {"name": "a", "namespace": "b"}}, ("spec", "secretRef", "namespace")),
        ({**FULL_SPEC, "checksumFrom": {"entry": "a"}}, ("spec", "checksumFrom", "url")),
        ({**FULL_SPEC, "checksumFrom": {"url": "/S", "keys": "a"}}, ("spec", "checksumFrom", "keys")),
        ({**FULL_SPEC, "checksum": "x"}, ("spec", "checksum")),
        ({**FULL_SPEC, "maxSize": True}, ("spec", "maxSize")),
        ({**FULL_SPEC, "maxSize": "1.5"}, ("spec", "maxSize")),
        ({**FULL_SPEC, "system": 1}, ("spec", "system")),
        ({**FULL_SPEC, "format": "x"}, ("spec", "format")),
        ({**FULL_SPEC, "backupStorages": ["a", 5]}, ("spec", "backupStorages", 1)),
        ({**FULL_SPEC, "retry": []}, ("spec", "retry")),
        ({**FULL_SPEC, "retry": {"limit": True}}, ("spec", "retry", "limit")),
        ({**FULL_SPEC, "retry": {"odd": 1}}, ("spec", "retry", "odd")),
        ({**FULL_SPEC, "timeouts": {"total": "soon"}}, ("spec", "timeouts", "total")),
        ({**FULL_SPEC, "timeouts": {"odd": 1}}, ("spec", "timeouts", "odd")),
    ],
)
def test_a_wrong_value_is_named_by_its_path(spec: object, field: tuple[str | int, ...]) -> None:
    """Also where no schema was asked before, as on a cluster with an older CRD."""
    with pytest.raises(errors.InvalidSpec) as caught:
        manifest.parse_image_spec(spec)
    assert caught.value.field == field
    assert str(caught.value).startswith(path_text(field) + ": ")


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({**image(), "kind": "BackupStorage"}, ("kind",)),
        ({**image(), "apiVersion": "v1"}, ("apiVersion",)),
        ({**image(), "metadata": None}, ("metadata",)),
        ({**image(), "metadata": {"name": "a", "labels": {"a": 1}}}, ("metadata", "labels", "a")),
    ],
)
def test_a_wrong_envelope_is_named_by_its_path(document: dict[str, Any], field: tuple[str, ...]) -> None:
    with pytest.raises(errors.InvalidSpec) as caught:
        manifest.parse_image(document)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"type": "ImageStore"}, ("spec", "imageStore")),
        ({"type": "Tape", "imageStore": {"path": "/x"}}, ("spec", "type")),
        ({"imageStore": {"path": "/x"}}, ("spec", "type")),
        ({"type": "ImageStore", "imageStore": {}}, ("spec", "imageStore", "path")),
        ({"type": "ImageStore", "imageStore": {"path": "/x", "odd": 1}}, ("spec", "imageStore", "odd")),
        ({"type": "ImageStore", "imageStore": {"path": "/x"}, "odd": 1}, ("spec", "odd")),
    ],
)
def test_a_wrong_storage_is_named_by_its_path(spec: object, field: tuple[str, ...]) -> None:
    with pytest.raises(errors.InvalidSpec) as caught:
        manifest.parse_storage_spec(spec)
    assert caught.value.field == field


def test_a_storage_is_read() -> None:
    parsed = manifest.parse_storage(storage(reservedCapacity="1.5G"))
    assert parsed.spec.reserved_capacity_bytes == 1_500_000_000
    assert isinstance(parsed.spec, BackupStorageSpec)
    assert parsed.spec.image_store.path == "/srv/images"


# --- statuses ---------------------------------------------------------------------------------------------------------

revisions = st.builds(
    Revision,
    content=contents,
    source_id=words,
    url=words,
    imported_at=times,
    proof=words,
    delivery=st.none() | deliveries,
)
refs = st.builds(
    Ref,
    storage_uuid=st.uuids().map(lambda value: value.hex),
    storage_name=words,
    install_path=words,
    status=st.sampled_from(RefStatus),
    create_date=times,
    last_op_date=times,
    reason=st.none() | st.sampled_from(Reason),
)
conditions = st.lists(
    st.builds(
        Condition,
        type=st.sampled_from(ConditionType),
        status=st.booleans(),
        reason=st.sampled_from(Reason),
        message=words,
        observed_generation=counts,
        last_transition_time=times,
    ),
    max_size=5,
    unique_by=lambda condition: condition.type,
).map(tuple)
image_statuses = st.builds(
    ImageStatus,
    uuid=st.none() | st.just(UUID),
    phase=st.sampled_from(Phase),
    observed_generation=counts,
    observed_revision=st.none() | words,
    current=st.none() | revisions,
    history=st.lists(revisions, max_size=3).map(tuple),
    refs=st.lists(refs, max_size=3).map(tuple),
    progress=st.none() | st.builds(Progress, bytes=sizes, total_bytes=st.none() | sizes),
    queue_position=st.none() | st.integers(1, 10**6),
    attempts=counts,
    next_retry_at=st.none() | times,
    last_handled_reconcile_at=st.none() | words,
    create_date=st.none() | times,
    last_op_date=st.none() | times,
    verified_at=st.none() | times,
    watch=watches,
    paravirtualized=st.none() | st.booleans(),
    conditions=conditions,
)
storage_statuses = st.builds(
    BackupStorageStatus,
    uuid=st.none() | st.just(UUID),
    status=st.sampled_from(StorageStatus),
    observed_generation=counts,
    capacity=st.none() | st.builds(Capacity, total_bytes=sizes, available_bytes=sizes),
    images=counts,
    create_date=st.none() | times,
    last_op_date=st.none() | times,
    last_handled_reconcile_at=st.none() | words,
    last_scrub=st.none()
    | st.builds(
        Scrub,
        state=st.sampled_from(ScrubState),
        started_at=times,
        finished_at=st.none() | times,
        copies=counts,
        bytes=sizes,
        damaged=counts,
        message=words,
    ),
    conditions=conditions,
)


def status_validator(kind: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(translate(openapi(kind)["properties"]["status"]))


IMAGE_STATUS, STORAGE_STATUS = status_validator("Image"), status_validator("BackupStorage")


@given(image_statuses)
def test_an_image_status_survives_the_round_trip_and_fits_the_crd(status: ImageStatus) -> None:
    written = json.loads(json.dumps(manifest.image_status_to_dict(status)))
    assert manifest.image_status_from_dict(written) == status
    IMAGE_STATUS.validate(written)


@given(storage_statuses)
def test_a_storage_status_survives_the_round_trip_and_fits_the_crd(status: BackupStorageStatus) -> None:
    written = json.loads(json.dumps(manifest.storage_status_to_dict(status)))
    assert manifest.storage_status_from_dict(written) == status
    STORAGE_STATUS.validate(written)


NOW = datetime(2026, 11, 23, 20, 56, 42, tzinfo=UTC)
CONTENT = Content(
    sha256=Digest(Algorithm.SHA256, "a" * 64),
    md5=Digest(Algorithm.MD5, "b" * 32),
    size_bytes=5,
    virtual_size_bytes=10,
    format=Format.VMDK,
    source_digests=tuple(
        Digest(algorithm, "c" * algorithm.hex_digits)
        for algorithm in (Algorithm.SHA256, Algorithm.MD5, Algorithm.SHA1, Algorithm.SHA512)
    ),
)
SKIPPED = Skipped("https://h.example/a", Reason.SOURCE_NOT_FOUND, "404")
DELIVERY = Delivery(
    "https://m.example/a", Validator('"v1"', "Mon, 23 Nov 2026 20:56:42 GMT"), 7, "https://m.example/", (SKIPPED,), 3
)
READY = Condition(ConditionType.READY, False, Reason.NO_SPACE, "full", 3, NOW)
FULL_STATUS = ImageStatus(
    uuid=UUID,
    phase=Phase.READY,
    observed_generation=3,
    current=Revision(CONTENT, "id", "https://h.example/a", NOW, "first use", DELIVERY),
    history=(Revision(CONTENT, "id", "https://h.example/b", NOW, "first use", DELIVERY),),
    observed_revision=f"main@sha1:{'0' * 40}",
    refs=(Ref("d" * 32, "primary", "zstore://x/y", RefStatus.FAILED, NOW, NOW, Reason.NO_SPACE),),
    progress=Progress(1, 3),
    queue_position=1,
    attempts=2,
    next_retry_at=NOW,
    last_handled_reconcile_at="x",
    create_date=NOW,
    last_op_date=NOW,
    verified_at=NOW,
    watch=Watch(NOW, "503", Sighting(DELIVERY.validator, 8, Digest(Algorithm.SHA1, "d" * 40))),
    paravirtualized=True,
    conditions=(READY,),
)
SCRUB = Scrub(ScrubState.INTERRUPTED, NOW, NOW, 3, 4, 1, "stopped")
FULL_STORAGE_STATUS = BackupStorageStatus(
    UUID, StorageStatus.CONNECTED, 3, Capacity(10, 5), 1, NOW, NOW, "x", SCRUB, (READY,), Quarantine(2, 9)
)


def shape(value: object) -> object:
    """Reduce a value, or a schema's properties, to the names in it."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    return shape(value[0]) if isinstance(value, list) and value and isinstance(value[0], dict) else None


def schema_shape(schema: dict[str, Any]) -> object:
    inner = schema.get("items", schema)
    return {name: schema_shape(child) for name, child in inner["properties"].items()} if "properties" in inner else None


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("Image", manifest.image_status_to_dict(FULL_STATUS)),
        ("BackupStorage", manifest.storage_status_to_dict(FULL_STORAGE_STATUS)),
    ],
)
def test_a_full_status_has_exactly_the_fields_of_the_crd(kind: str, written: dict[str, Any]) -> None:
    assert shape(written) == schema_shape(openapi(kind)["properties"]["status"])


def test_what_is_served_is_repeated_where_people_look() -> None:
    written = manifest.image_status_to_dict(FULL_STATUS)
    assert (written["size"], written["actualSize"], written["format"]) == (10, 5, "vmdk")
    assert (written["md5Sum"], written["digests"]) == ("b" * 32, {"sha256": "a" * 64})
    assert written["volumeFormat"] == "qcow2"
    assert written["progress"] == {"bytes": 1, "totalBytes": 3, "percent": 33}
    assert written["backupStorageRefs"][0]["imageUuid"] == UUID
    assert written["nextRetryAt"] == "2026-11-23T20:56:42Z"
    assert written["conditions"][0]["status"] == "False"


@pytest.mark.parametrize(("progress", "percent"), [((0, 0), 100), ((9, 3), 100), ((2, 3), 66), ((5, None), None)])
def test_percent_is_rounded_down_and_never_above_100(progress: tuple[int, int | None], percent: int | None) -> None:
    written = manifest.image_status_to_dict(ImageStatus(progress=Progress(*progress)))
    assert written["progress"].get("percent") == percent


def test_four_source_digests_come_back_sha256_first() -> None:
    assert manifest.image_status_from_dict(manifest.image_status_to_dict(FULL_STATUS)) == FULL_STATUS


def test_a_status_of_the_first_version_says_who_served_at_its_top_only() -> None:
    written = manifest.image_status_to_dict(FULL_STATUS)
    del written["current"]["source"]
    written["source"] = {"servedBy": "https://m.example/a"}
    read = manifest.image_status_from_dict(written).current
    assert read is not None
    assert read.delivery == Delivery("https://m.example/a")


def test_an_untouched_status_is_small() -> None:
    assert manifest.image_status_to_dict(ImageStatus()) == {"phase": "Pending", "observedGeneration": 0}
    assert manifest.image_status_from_dict({}) == ImageStatus()
    assert manifest.storage_status_from_dict({}) == BackupStorageStatus()


def test_a_status_of_a_newer_version_is_read_as_far_as_it_is_known() -> None:
    assert manifest.image_status_from_dict({"phase": "Ready", "exportUrl": "x"}) == ImageStatus(phase=Phase.READY)


def edit(path: tuple[Any, ...], value: object) -> Callable[[], dict[str, Any]]:
    def edited() -> dict[str, Any]:
        written: Any = json.loads(json.dumps(manifest.image_status_to_dict(FULL_STATUS)))
        at = written
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value
        return dict(written)

    return edited


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("phase",), "Odd"),
        (("attempts",), "2"),
        (("createDate",), "yesterday"),
        (("createDate",), "2026-11-23T20:56:42"),
        (("createDate",), "2026-13-23T20:56:42Z"),
        (("current", "sha256"), "A" * 64),
        (("current", "size"), None),
        (("current", "sourceDigest", "sha512"), "zz"),
        (("backupStorageRefs",), {}),
        (("backupStorageRefs", 0), "x"),
        (("backupStorageRefs", 0, "status"), "Odd"),
        (("progress", "bytes"), None),
        (("conditions", 0, "reason"), "Odd"),
        (("conditions", 0, "type"), None),
    ],
)
def test_a_broken_status_is_named_by_its_path(path: tuple[Any, ...], value: object) -> None:
    with pytest.raises(errors.InvalidSpec) as caught:
        manifest.image_status_from_dict(edit(path, value)())
    assert caught.value.field == ("status", *path)
