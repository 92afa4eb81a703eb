"""Standalone mode over real files, a real SQLite state and a real ImageStore: what is there after what a person did."""

import hashlib
import shutil
import sqlite3
import threading
from dataclasses import replace

import pytest

from controller import errors, wiring
from controller.gitops.state import State
from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.resource import Image, Key, Kind
from controller.model.stored import Verb
from controller.reasons import Reason
from tests.fakes import images
from tests.integration.house import OTHER, RAW, House, digest, ready, reason, running, until


def test_a_directory_of_manifests_becomes_verified_images(house: House) -> None:
    house.image("raw", house.source("a.raw", RAW), format="raw", checksum=f"sha256:{digest(RAW)}")
    house.image("disk", house.source("a.qcow2", images.qcow2(1 << 30)))
    found = house.apply()
    assert all(ready(image) for image in found.values())
    current = found["disk"].status.current
    assert current is not None
    assert current.content.virtual_size_bytes == 1 << 30
    assert current.content.md5.hex == hashlib.md5(images.qcow2(1 << 30)).hexdigest()
    assert house.objects() == {digest(RAW), digest(images.qcow2(1 << 30))}
    assert house.staged() == []
    path = found["raw"].status.refs[0].install_path.removeprefix("zstore://")
    assert (house.state_dir / "storage" / "images" / path).read_bytes() == RAW


def test_applying_again_changes_nothing(house: House) -> None:
    house.image("raw", house.source("a.raw", RAW))
    before = house.apply()
    (house.sources / "a.raw").unlink()
    assert house.apply() == before


def test_a_wrong_checksum_places_nothing_and_says_both(house: House) -> None:
    house.image("raw", house.source("a.raw", RAW), checksum=f"sha256:{digest(OTHER)}", retry="{initialBackoff: 1s}")
    found = house.apply()["raw"]
    assert reason(found) is Reason.CHECKSUM_MISMATCH
    message = conditions.find(found.status.conditions, ConditionType.STALLED)
    assert message is not None
    assert digest(RAW) in message.message
    assert digest(OTHER) in message.message
    assert house.objects() == set()
    assert house.staged() == []


def test_a_changed_source_in_the_manifest_replaces_the_bytes(house: House) -> None:
    house.image("raw", house.source("a.raw", RAW))
    house.apply()
    house.image("raw", house.source("b.raw", OTHER), revisionHistoryLimit=0)
    assert ready(house.apply()["raw"])
    assert house.objects() == {digest(OTHER)}


def test_going_back_to_an_older_revision_needs_no_source(house: House) -> None:
    house.image("raw", house.source("a.raw", RAW))
    before = house.apply()["raw"]
    house.image("raw", house.source("b.raw", OTHER))
    assert ready(house.apply()["raw"])
    assert house.objects() == {digest(RAW), digest(OTHER)}
    for name in ("a.raw", "b.raw"):
        (house.sources / name).unlink()
    house.image("raw", str(house.sources / "a.raw"))
    after = house.apply()["raw"]
    assert ready(after)
    assert after.status.current == before.status.current
    assert [revision.content.sha256.hex for revision in after.status.history] == [digest(OTHER)]


def test_a_change_that_fails_leaves_the_old_bytes_serving(house: House) -> None:
    house.image("raw", house.source("a.raw", RAW))
    house.apply()
    house.image("raw", str(house.sources / "missing.raw"))
    found = house.apply()["raw"]
    assert not ready(found)
    assert conditions.is_true(found.status.conditions, ConditionType.AVAILABLE)
    assert reason(found) is Reason.SOURCE_NOT_FOUND
    assert house.objects() == {digest(RAW)}


def test_bytes_are_shared_and_go_with_the_last_image(house: House) -> None:
    url = house.source("a.raw", RAW)
    for name in ("one", "two"):
        house.image(name, url, deletionPolicy="Direct")
    house.apply()
    stored = next((house.state_dir / "storage" / "objects").rglob(digest(RAW)))
    assert stored.stat().st_nlink == 3
    (house.manifests / "one.yaml").unlink()
    assert set(house.apply()) == {"two"}
    assert house.objects() == {digest(RAW)}
    (house.manifests / "two.yaml").unlink()
    house.image("other", house.source("b.raw", OTHER))
    assert set(house.apply()) == {"other"}
    assert house.objects() == {digest(OTHER)}


def test_an_empty_tree_deletes_nothing(house: House) -> None:
    house.image("raw", house.source("a.raw", RAW), deletionPolicy="Direct")
    house.apply()
    (house.manifests / "raw.yaml").unlink()
    assert set(house.apply()) == {"raw"}
    assert house.objects() == {digest(RAW)}
    house.mode = replace(house.mode, confirm_deletions=True)
    assert house.apply() == {}
    assert house.objects() == set()


def test_a_deleted_image_is_recovered_from_the_trash_by_applying_it_again(house: House) -> None:
    house.image("raw", house.source("a.raw", RAW))
    before = house.apply()["raw"]
    (house.manifests / "raw.yaml").unlink()
    house.mode = replace(house.mode, confirm_deletions=True)
    assert house.apply() == {}
    assert house.objects() == {digest(RAW)}
    assert [path.suffix for path in (house.state_dir / "storage" / "trash").iterdir()] == [".json"]
    (house.sources / "a.raw").unlink()
    house.image("raw", str(house.sources / "a.raw"))
    after = house.apply()["raw"]
    assert ready(after)
    assert after.status.uuid == before.status.uuid
    assert after.status.current == before.status.current
    assert list((house.state_dir / "storage" / "trash").iterdir()) == []


def test_two_storages_get_the_bytes_in_one_pass_and_a_third_a_copy(house: House) -> None:
    for name in ("s1", "s2"):
        house.storage(name)
    house.image("raw", house.source("a.raw", RAW), backupStorages="[s1, s2]")
    assert ready(house.apply()["raw"])
    (house.sources / "a.raw").unlink()
    house.storage("s3")
    house.image("raw", str(house.sources / "a.raw"), backupStorages="[s1, s2, s3]")
    found = house.apply()["raw"]
    assert ready(found)
    assert len(found.status.refs) == 3
    for name in ("s1", "s2", "s3"):
        assert house.objects(name) == {digest(RAW)}


def test_older_revisions_go_with_the_storage_that_they_lie_on(house: House) -> None:
    """Only what is served is copied to another storage: the history lists no bytes that are nowhere."""
    for name in ("s1", "s2"):
        house.storage(name)
    house.image("raw", house.source("a.raw", RAW), backupStorages="[s1]")
    house.apply()
    house.image("raw", house.source("b.raw", OTHER), backupStorages="[s1]")
    found = house.apply()["raw"]
    assert [revision.content.sha256.hex for revision in found.status.history] == [digest(RAW)]
    house.image("raw", str(house.sources / "b.raw"), backupStorages="[s2]")
    found = house.apply()["raw"]
    assert ready(found)
    assert found.status.history == ()
    assert (house.objects("s1"), house.objects("s2")) == (set(), {digest(OTHER)})


def test_a_storage_that_lost_its_manifest_serves_until_its_last_image_is_elsewhere(house: House) -> None:
    """It says what it waits for, and goes without a byte of its images being fetched again."""
    for name in ("s1", "s2"):
        house.storage(name)
    house.image("raw", house.source("a.raw", RAW), backupStorages="[s1]")
    house.apply()
    (house.sources / "a.raw").unlink()
    (house.manifests / "storage-s1.yaml").unlink()
    assert ready(house.apply()["raw"])
    assert house.objects("s1") == {digest(RAW)}
    with house.instance() as standalone:
        going = {storage.meta.key.name: storage for storage in standalone.state.storages()}["s1"]
    (said,) = going.status.conditions
    assert (said.status, said.message.partition("; ")[2]) == (
        True,
        "is being deleted, which waits for the images that have a copy here",
    )
    house.image("raw", str(house.sources / "a.raw"), backupStorages="[s2]")
    assert ready(house.apply()["raw"])
    assert (house.objects("s1"), house.objects("s2")) == (set(), {digest(RAW)})
    with house.instance() as standalone:
        assert [storage.meta.key.name for storage in standalone.state.storages()] == ["s2"]


def test_bytes_whose_record_is_lost_are_fetched_for_another_image(house: House) -> None:
    """The claim of the first still shows them; to share them needs the record, and publishing them makes it anew."""
    house.image("raw", house.source("a.raw", RAW))
    house.apply()
    (record,) = (house.state_dir / "storage" / "objects").rglob("*.json")
    record.unlink()
    house.image("other", house.source("b.raw", RAW), checksum=f"sha256:{digest(RAW)}")
    assert all(ready(image) for image in house.apply().values())
    assert record.exists()


def test_a_damaged_store_is_healed_from_the_other(house: House) -> None:
    for name in ("s1", "s2"):
        house.storage(name)
    house.image("raw", house.source("a.raw", RAW), backupStorages="[s1, s2]")
    found = house.apply()["raw"]
    (house.sources / "a.raw").unlink()
    uuid = found.status.uuid
    assert uuid is not None
    shutil.rmtree(house.state_dir.parent / "s1" / "images" / uuid)
    shutil.rmtree(house.state_dir.parent / "s1" / "objects")
    (house.state_dir.parent / "s1" / "objects").mkdir()
    assert ready(house.apply()["raw"])
    assert house.objects("s1") == {digest(RAW)}


def test_a_storage_that_lost_its_mount_is_unknown_not_empty(house: House) -> None:
    path = house.storage("s1")
    house.image("raw", house.source("a.raw", RAW), backupStorages="[s1]")
    house.apply()
    path.rename(path.with_name("elsewhere"))
    path.mkdir()
    with house.instance() as standalone:
        standalone.take(standalone.load([house.manifests]))
        assert not standalone.converge(1.0, threading.Event()).ended
        (image,) = standalone.state.images()
    assert reason(image) is Reason.STORAGE_UNAVAILABLE
    assert list(path.iterdir()) == [], "nothing is made where a store was lost"
    path.rmdir()
    path.with_name("elsewhere").rename(path)
    assert ready(house.apply()["raw"])


def test_a_status_lost_after_the_claim_is_adopted_without_a_download(house: House) -> None:
    house.image("raw", house.source("a.raw", RAW))
    before = house.apply()["raw"]
    with sqlite3.connect(house.state_dir / "goldmaster.db") as connection:
        connection.execute(
            "UPDATE resources SET status = json_object('uuid', json_extract(status, '$.uuid')) WHERE kind = 'Image'"
        )
    connection.close()
    (house.sources / "a.raw").unlink()
    after = house.apply()["raw"]
    assert ready(after)
    assert after.status.current == before.status.current


def test_a_second_instance_is_refused(house: House) -> None:
    with house.instance(), pytest.raises(errors.StateLocked, match="another instance"), house.instance():
        pass


def test_run_follows_the_tree_and_takes_requests(house: House) -> None:
    house.image("one", house.source("a.raw", RAW), deletionPolicy="Direct")
    with running(house.instance(), [house.manifests]) as standalone:

        def one() -> Image | None:
            return standalone.state.image(Key(Kind.IMAGE, "default", "one"))

        def is_ready() -> bool:
            image = one()
            return image is not None and ready(image)

        until(is_ready)
        house.image("two", house.source("b.raw", OTHER))
        until(lambda: digest(OTHER) in house.objects())
        with State.open(house.state_dir, wiring.clock()) as beside:
            token = beside.ask(Key(Kind.IMAGE, "default", "one"), Verb.RECONCILE).token
        until(lambda: (image := one()) is not None and image.status.last_handled_reconcile_at == token)
        (house.manifests / "two.yaml").write_text("kind: [broken")
        (house.manifests / "one.yaml").unlink()
        until(lambda: standalone.state.image(Key(Kind.IMAGE, "default", "one")) is not None)
        house.image("two", str(house.sources / "b.raw"))
        until(lambda: one() is None)
        assert house.objects() == {digest(OTHER)}
