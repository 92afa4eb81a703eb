"""Scrub and heal over real files: what is on the disk and in the status after bytes were lost."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from controller.gitops.loop import Standalone
from controller.model import conditions
from controller.model.conditions import Condition, ConditionType
from controller.model.fields import format_time
from controller.model.image import RefStatus
from controller.model.resource import Image, Key, Kind
from controller.model.scrub import Scrub, ScrubState
from controller.reasons import Reason
from controller.settings import ScrubSettings
from tests.integration.house import OTHER, RAW, House, digest, ready, reason, running, until

IMAGE = Key(Kind.IMAGE, "default", "raw")


def storage(house: House, name: str, **spec: str) -> Path:
    """Declare a storage that is scrubbed every hour."""
    path = house.state_dir.parent / name
    wanted = {"scrubInterval": "1h", "state": "Enabled", **spec}
    (house.manifests / f"storage-{name}.yaml").write_text(
        "apiVersion: goldmaster.dev/v1alpha1\nkind: BackupStorage\n"
        f"metadata: {{name: {name}}}\n"
        f"spec: {{type: ImageStore, imageStore: {{path: {path}}}, reservedCapacity: 1Mi, "
        + ", ".join(f"{field}: {value}" for field, value in wanted.items())
        + "}\n"
    )
    return path


def stored(store: Path, data: bytes) -> Path:
    """Return where the bytes are, or should be."""
    return store / "objects" / "sha256" / digest(data)[:2] / digest(data)


def flip(store: Path, data: bytes) -> None:
    """Let the disk lose a bit of stored bytes, and say nothing."""
    place = stored(store, data)
    place.chmod(0o644)
    with place.open("r+b") as file:
        file.seek(len(data) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    place.chmod(0o444)


def image(standalone: Standalone) -> Image:
    found = standalone.state.image(IMAGE)
    assert found is not None
    return found


def scrub(standalone: Standalone, name: str) -> Scrub | None:
    found = standalone.state.storage(Key(Kind.BACKUP_STORAGE, "", name))
    assert found is not None
    return found.status.last_scrub


def scrubbed(standalone: Standalone, name: str) -> Callable[[], bool]:
    """Say when a scrub of the storage has come to its end."""

    def over() -> bool:
        found = scrub(standalone, name)
        return found is not None and found.state is ScrubState.FINISHED

    return over


def condition(image: Image, kind: ConditionType) -> Condition:
    found = conditions.find(image.status.conditions, kind)
    assert found is not None
    return found


def quarantined(store: Path) -> list[str]:
    place = store / "quarantine"
    return sorted(path.name for path in place.iterdir()) if place.exists() else []


def test_a_flipped_bit_is_found_and_mended_from_the_other_storage_without_a_download(house: House) -> None:
    one, two = storage(house, "s1"), storage(house, "s2")
    house.image("raw", house.source("a.raw", RAW), backupStorages="[s1, s2]")
    before = house.apply()["raw"]
    assert not (one / "scrub.json").exists(), "who converges once does not scrub"
    (house.sources / "a.raw").unlink()
    flip(one, RAW)
    with running(house.instance(), [house.manifests]) as standalone:
        until(scrubbed(standalone, "s1"))
        until(scrubbed(standalone, "s2"))
        until(lambda: stored(one, RAW).exists() and ready(image(standalone)))
        found, clean = scrub(standalone, "s1"), scrub(standalone, "s2")
        after = image(standalone)
    assert found is not None
    assert clean is not None
    assert (found.copies, found.bytes, found.damaged) == (1, len(RAW), 1)
    assert (clean.copies, clean.bytes, clean.damaged) == (1, len(RAW), 0)
    assert quarantined(one) == [f"{digest(RAW)}.1", f"{digest(RAW)}.1.json"]
    assert digest(RAW) in json.loads((one / "quarantine" / f"{digest(RAW)}.1.json").read_text())["why"]
    assert house.objects("s1") == house.objects("s2") == {digest(RAW)}
    claims = [next((store / "images" / str(after.status.uuid)).glob("*.json")) for store in (one, two)]
    said = [json.loads(claim.read_text())["receipt"]["predicate"] for claim in claims]
    assert [receipt["how"] for receipt in said] == ["Copied", "Downloaded"]
    assert said[0]["copiedFrom"] == {"storage": "s2"}
    assert [ref.status for ref in after.status.refs] == [RefStatus.READY] * 2
    assert after.status.current == before.status.current
    assert stored(one, RAW).stat().st_nlink == 2


def test_the_only_copy_is_fetched_again(house: House) -> None:
    store = storage(house, "s1")
    house.image("raw", house.source("a.raw", RAW), backupStorages="[s1]")
    house.apply()
    flip(store, RAW)
    with running(house.instance(), [house.manifests]) as standalone:
        until(scrubbed(standalone, "s1"))
        until(lambda: stored(store, RAW).exists() and ready(image(standalone)))
    assert house.objects("s1") == {digest(RAW)}
    assert quarantined(store) == [f"{digest(RAW)}.1", f"{digest(RAW)}.1.json"]


@pytest.mark.parametrize("left", [None, OTHER], ids=["gone", "changed"])
def test_what_cannot_be_had_again_is_not_served_and_says_so(house: House, left: bytes | None) -> None:
    """Without a checksum the digest of the first import is pinned: other bytes are no replacement."""
    store = storage(house, "s1")
    url = house.source("a.raw", RAW)
    house.image("raw", url, backupStorages="[s1]")
    before = house.apply()["raw"]
    Path(url).unlink() if left is None else Path(url).write_bytes(left)
    flip(store, RAW)
    with running(house.instance(), [house.manifests]) as standalone:
        until(lambda: conditions.is_true(image(standalone).status.conditions, ConditionType.STALLED))
        after = image(standalone)
    stalled, available = condition(after, ConditionType.STALLED), condition(after, ConditionType.AVAILABLE)
    assert stalled.reason is (Reason.SOURCE_NOT_FOUND if left is None else Reason.SOURCE_CHANGED)
    assert "the stored copies are damaged or gone" in stalled.message
    if left is not None:
        assert digest(RAW) in stalled.message
        assert digest(OTHER) in stalled.message
    assert (available.status, available.reason) == (False, Reason.STORAGE_DAMAGED)
    assert [(ref.status, ref.reason) for ref in after.status.refs] == [(RefStatus.FAILED, Reason.STORAGE_DAMAGED)]
    assert house.objects("s1") == set(), "nothing damaged is served"
    uuid = before.status.uuid
    assert uuid is not None
    assert [path.suffix for path in (store / "images" / uuid).iterdir()] == [".json"], "the claim has no bytes"
    assert quarantined(store) == [f"{digest(RAW)}.1", f"{digest(RAW)}.1.json"]


def test_a_disabled_storage_serves_nothing_damaged_either_and_is_filled_once_it_is_enabled(house: House) -> None:
    one, _ = storage(house, "s1"), storage(house, "s2")
    house.image("raw", house.source("a.raw", RAW), backupStorages="[s1, s2]")
    house.apply()
    (house.sources / "a.raw").unlink()
    storage(house, "s1", state="Disabled")
    house.apply()
    flip(one, RAW)
    with running(house.instance(), [house.manifests]) as standalone:
        until(scrubbed(standalone, "s1"))
        until(lambda: not ready(image(standalone)))
        until(lambda: condition(image(standalone), ConditionType.READY).reason is Reason.DEPENDENCY_NOT_READY)
        assert condition(image(standalone), ConditionType.AVAILABLE).status
        assert quarantined(one) == [f"{digest(RAW)}.1", f"{digest(RAW)}.1.json"]
        assert house.objects("s1") == set()
        storage(house, "s1")
        until(lambda: ready(image(standalone)))
    assert house.objects("s1") == {digest(RAW)}


def test_a_damaged_older_revision_is_no_way_back_any_more(house: House) -> None:
    """Only what is served is rebuilt; the status does not list what is not there."""
    store = storage(house, "s1")
    house.image("raw", house.source("a.raw", RAW), backupStorages="[s1]")
    house.apply()
    house.image("raw", house.source("b.raw", OTHER), backupStorages="[s1]")
    assert [one.content.sha256.hex for one in house.apply()["raw"].status.history] == [digest(RAW)]
    flip(store, RAW)
    with running(house.instance(), [house.manifests]) as standalone:
        until(scrubbed(standalone, "s1"))
        until(lambda: image(standalone).status.history == () and ready(image(standalone)))
        after = image(standalone)
    assert house.objects("s1") == {digest(OTHER)}
    assert quarantined(store) == [f"{digest(RAW)}.1", f"{digest(RAW)}.1.json"]
    uuid = after.status.uuid
    assert uuid is not None
    assert {path.stem for path in (store / "images" / uuid).iterdir()} == {digest(OTHER)[:40]}


@contextmanager
def slow(house: House, bytes_per_s: int) -> Iterator[Standalone]:
    """Run with a small budget, and every position noted."""
    house.settings = replace(house.settings, scrub=ScrubSettings(bytes_per_s, bytes_per_s, timedelta(0)))
    with running(house.instance(), [house.manifests]) as standalone:
        yield standalone


def position(store: Path) -> str | None:
    """Return up to where the copies were read, as it lies beside the bytes."""
    try:
        found: str | None = json.loads((store / "scrub.json").read_text())["position"]
    except FileNotFoundError:
        return None
    return found


def several(house: House, store: str) -> list[bytes]:
    contents = [bytes([seed]) * 4096 for seed in range(6)]
    for seed, data in enumerate(contents):
        house.image(f"i{seed}", house.source(f"{seed}.raw", data), backupStorages=f"[{store}]")
    house.apply()
    return sorted(contents, key=digest)


def test_a_scrub_goes_on_after_a_restart_where_it_was(house: House) -> None:
    """A copy in four seconds at first, as each counts as a MiB: they do not end while nobody looks."""
    store = storage(house, "s1")
    contents = several(house, "s1")
    with slow(house, 2**18):
        until(lambda: position(store) is not None)
    left = json.loads((store / "scrub.json").read_text())
    assert left["state"] == "Interrupted"
    assert "next start" in left["message"]
    assert 0 < left["copies"] < len(contents)
    assert left["position"] == f"sha256:{digest(contents[left['copies'] - 1])}"
    with slow(house, 2**40) as standalone:
        until(scrubbed(standalone, "s1"))
        found = scrub(standalone, "s1")
    assert found is not None
    assert format_time(found.started_at) == left["startedAt"]
    assert (found.copies, found.bytes) == (len(contents), sum(map(len, contents))), "none was read twice"


def test_a_storage_that_goes_away_in_the_middle_is_unknown_not_clean(house: House) -> None:
    store = storage(house, "s1")
    several(house, "s1")
    with slow(house, 2**19) as standalone:
        until(lambda: position(store) is not None)
        store.rename(store.with_name("elsewhere"))
        store.mkdir()

        def interrupted() -> bool:
            found = scrub(standalone, "s1")
            return found is not None and found.state is ScrubState.INTERRUPTED

        until(interrupted)
        found = scrub(standalone, "s1")
        assert list(store.iterdir()) == []
        store.rmdir()
        store.with_name("elsewhere").rename(store)
        until(scrubbed(standalone, "s1"))
        last = scrub(standalone, "s1")
    assert found is not None
    assert found.finished_at is None
    assert last is not None
    assert (last.copies, last.damaged, last.started_at) == (6, 0, found.started_at)
    assert quarantined(store) == []


def test_a_lost_storage_leaves_the_image_available_not_ready_with_the_reason_on_that_ref(house: House) -> None:
    one, two = storage(house, "s1"), storage(house, "s2")
    house.image("raw", house.source("a.raw", RAW), backupStorages="[s1, s2]")
    house.apply()
    (house.sources / "a.raw").unlink()
    one.rename(one.with_name("elsewhere"))
    one.mkdir()
    with house.instance() as standalone:
        standalone.take(standalone.load([house.manifests]))
        assert not standalone.converge(2.0, threading.Event()).ended
        lost = image(standalone)
    assert condition(lost, ConditionType.AVAILABLE).status
    assert (condition(lost, ConditionType.READY).status, reason(lost)) == (False, Reason.STORAGE_UNAVAILABLE)
    assert [(ref.storage_name, ref.status, ref.reason) for ref in lost.status.refs] == [
        ("s1", RefStatus.UNKNOWN, Reason.STORAGE_UNAVAILABLE),
        ("s2", RefStatus.READY, None),
    ]
    assert list(one.iterdir()) == []
    assert house.objects("s2") == {digest(RAW)}
    one.rmdir()
    one.with_name("elsewhere").rename(one)
    assert ready(house.apply()["raw"])
    assert house.objects("s1") == house.objects("s2") == {digest(RAW)}
    assert two.exists()


def _remove(store: Path, _: Path) -> None:
    stored(store, RAW).unlink()


def _truncate(store: Path, _: Path) -> None:
    stored(store, RAW).chmod(0o644)
    os.truncate(stored(store, RAW), 100)


def _replace(store: Path, claim: Path) -> None:
    """Another file of the same size in place of the link: only the inode tells."""
    claim.unlink()
    claim.write_bytes(OTHER)


def _drop(store: Path, claim: Path) -> None:
    shutil.rmtree(claim.parent)


@pytest.mark.parametrize("lose", [_remove, _truncate, _replace, _drop])
def test_each_look_sees_a_copy_that_is_gone_cut_or_another_file_and_mends_it(
    house: House, lose: Callable[[Path, Path], None]
) -> None:
    one, _ = storage(house, "s1"), storage(house, "s2")
    house.image("raw", house.source("a.raw", RAW), backupStorages="[s1, s2]")
    (path,) = [ref.install_path for ref in house.apply()["raw"].status.refs if ref.storage_name == "s1"]
    claim = one / "images" / path.removeprefix("zstore://")
    (house.sources / "a.raw").unlink()
    lose(one, claim)
    assert ready(house.apply()["raw"])
    assert claim.read_bytes() == RAW
    assert claim.samefile(stored(one, RAW))
    assert house.objects("s1") == {digest(RAW)}
