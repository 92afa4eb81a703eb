"""The inventory record is the documented one: its keys, their order, its dates, its words."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from controller.model import inventory
from controller.model.digest import Algorithm, Digest
from controller.model.image import (
    Content,
    Format,
    ImageSpec,
    ImageStatus,
    MediaType,
    Phase,
    Progress,
    Ref,
    RefStatus,
    Revision,
    State,
)
from controller.model.resource import Image, Key, Kind, Meta, Resource
from controller.model.url import SourceUrl

CREATED = datetime(2017, 10, 30, 16, 32, 11, tzinfo=UTC)
EXPORTED = datetime(2017, 10, 30, 19, 35, 38, tzinfo=UTC)
UUID = "fccc12fee6a411d68c42763ded705630"
SHA256 = "b08ea6cad1f10217223192343a1d8fb72279ed47" + "0" * 24
CONTENT = Content(
    sha256=Digest(Algorithm.SHA256, SHA256),
    md5=Digest(Algorithm.MD5, "9b38fe1fd43385b86a1c9b12ac1960fe"),
    size_bytes=293641216,
    virtual_size_bytes=8589934592,
    format=Format.QCOW2,
    source_digests=(Digest(Algorithm.SHA256, SHA256),),
)
META = Meta(Key(Kind.IMAGE, "default", "vr-test-2"), "u-1", 1, "1", CREATED)
SPEC = ImageSpec(
    url=SourceUrl.parse("http://192.168.200.100/mirror/diskimages/cloud-vrouter-latest.qcow2"), system=True
)
STATUS = ImageStatus(
    uuid=UUID,
    phase=Phase.READY,
    current=Revision(CONTENT, "id", "http://192.168.200.100/x", CREATED, "first use"),
    refs=(
        Ref(
            storage_uuid="ae840e03a0044b759b0a8c09a141a46b",
            storage_name="primary",
            install_path=f"zstore://{UUID}/{CONTENT.image_id}",
            status=RefStatus.READY,
            create_date=CREATED,
            last_op_date=CREATED,
        ),
    ),
    create_date=CREATED,
    last_op_date=EXPORTED,
)
IMAGE: Image = Resource(META, SPEC, STATUS)

SAMPLE = """
{
  "inventories": [
    {
      "actualSize": 293641216,
      "backupStorageRefs": [
        {
          "backupStorageUuid": "ae840e03a0044b759b0a8c09a141a46b",
          "createDate": "Oct 30, 2017 4:32:11 PM",
          "imageUuid": "fccc12fee6a411d68c42763ded705630",
          "installPath": "zstore://fccc12fee6a411d68c42763ded705630/b08ea6cad1f10217223192343a1d8fb72279ed47",
          "lastOpDate": "Oct 30, 2017 4:32:11 PM",
          "status": "Ready"
        }
      ],
      "createDate": "Oct 30, 2017 4:32:11 PM",
      "description": "",
      "format": "qcow2",
      "lastOpDate": "Oct 30, 2017 7:35:38 PM",
      "md5Sum": "9b38fe1fd43385b86a1c9b12ac1960fe",
      "mediaType": "RootVolumeTemplate",
      "name": "vr-test-2",
      "platform": "Linux",
      "size": 8589934592,
      "state": "Enabled",
      "status": "Ready",
      "system": true,
      "type": "zstack",
      "url": "http://192.168.200.100/mirror/diskimages/cloud-vrouter-latest.qcow2",
      "uuid": "fccc12fee6a411d68c42763ded705630"
    }
  ],
  "success": true
}
"""


def test_the_documented_sample_comes_out_byte_for_byte() -> None:
    """All but the export, which is not built yet, and md5Sum, which is a real MD5 here (the sample shows a SHA-256)."""
    assert json.dumps(inventory.reply([IMAGE]), indent=2) == SAMPLE.strip()


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 2, 0, 0, 0, tzinfo=UTC), "Jan 2, 2026 12:00:00 AM"),
        (datetime(2026, 2, 28, 12, 5, 9, tzinfo=UTC), "Feb 28, 2026 12:05:09 PM"),
        (datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "Dec 31, 2026 11:59:59 PM"),
        (datetime(2026, 3, 1, 1, 0, tzinfo=timezone(timedelta(hours=2))), "Feb 28, 2026 11:00:00 PM"),
    ],
)
def test_dates_read_as_in_the_sample(moment: datetime, text: str) -> None:
    assert inventory.date(moment) == text


@pytest.mark.parametrize(
    ("phase", "word"),
    [
        (Phase.PENDING, "Downloading"),
        (Phase.DOWNLOADING, "Downloading"),
        (Phase.FAILED, "Downloading"),
        (Phase.READY, "Ready"),
    ],
)
def test_the_inventory_knows_few_status_words(phase: Phase, word: str) -> None:
    assert inventory.record(replace(IMAGE, status=replace(STATUS, phase=phase)))["status"] == word


@pytest.mark.parametrize("status", [status for status in RefStatus if status is not RefStatus.READY])
def test_a_copy_that_is_not_ready_prints_as_downloading(status: RefStatus) -> None:
    ref = replace(STATUS.refs[0], status=status, install_path="")
    (printed,) = inventory.record(replace(IMAGE, status=replace(STATUS, refs=(ref,))))["backupStorageRefs"]
    assert (printed["status"], printed["installPath"]) == ("Downloading", "")
    assert len(printed) == 6


def test_what_is_not_known_yet_is_left_out() -> None:
    """But the description, which is empty, and the refs, which are none."""
    fresh = inventory.record(replace(IMAGE, status=ImageStatus(progress=Progress(1))))
    assert fresh.keys() == {
        "backupStorageRefs", "createDate", "description", "lastOpDate", "mediaType", "name", "platform", "state",
        "status", "system", "type", "url",
    }  # fmt: skip
    assert (fresh["description"], fresh["backupStorageRefs"]) == ("", [])
    assert fresh["createDate"] == fresh["lastOpDate"] == "Oct 30, 2017 4:32:11 PM"


def test_the_spec_fills_in_what_it_says() -> None:
    spec = replace(
        SPEC,
        display_name="Debian 12",
        description="text",
        guest_os_type="Debian",
        media_type=MediaType.ISO,
        format=Format.ISO,
        state=State.DISABLED,
        uuid=UUID,
    )
    record = inventory.record(replace(IMAGE, spec=spec, status=ImageStatus()))
    assert (record["name"], record["description"], record["guestOsType"]) == ("Debian 12", "text", "Debian")
    assert (record["format"], record["mediaType"], record["state"], record["uuid"]) == ("iso", "ISO", "Disabled", UUID)


def test_a_secret_in_the_query_never_shows() -> None:
    spec = replace(SPEC, url=SourceUrl.parse("https://h.example/a.qcow2?X-Amz-Signature=hunter2"))
    assert "hunter2" not in json.dumps(inventory.reply([replace(IMAGE, spec=spec)]))


def test_keys_are_sorted_whatever_is_missing() -> None:
    for image in (IMAGE, replace(IMAGE, status=ImageStatus())):
        record = inventory.record(image)
        assert list(record) == sorted(record)
