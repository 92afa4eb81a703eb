"""Receipts over real HTTP and real files: the address that was connected to, and what another image's says."""

import json
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from controller import __version__
from controller.settings import SourceSettings
from tests.integration import ranged_server
from tests.integration.house import OTHER, RAW, House, digest, ready


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    allowed = SourceSettings(allowed_networks=(ip_network("127.0.0.0/8"),), allowed_paths=(made.sources,))
    made.settings = replace(made.settings, source=allowed)
    return made


def claims(house: House, uuid: str | None) -> list[Path]:
    assert uuid is not None
    return sorted((house.state_dir / "storage" / "images" / uuid).glob("*.json"))


def test_a_receipt_names_the_address_that_was_connected_to_and_no_query(house: House) -> None:
    with ranged_server.serving() as served:
        served.files = {"/a.raw?sig=hunter2": RAW, "/a.raw": RAW}
        house.image("raw", served.url("/a.raw?sig=hunter2"), checksum=f"sha256:{digest(RAW)}")
        found = house.apply()["raw"]
    assert ready(found)
    (claim,) = claims(house, found.status.uuid)
    assert "hunter2" not in claim.read_text()
    predicate = json.loads(claim.read_text())["receipt"]["predicate"]
    assert predicate["source"]["address"] == "127.0.0.1"
    assert predicate["source"]["url"].endswith("/a.raw")
    assert predicate["source"]["bytes"] == len(RAW)
    assert predicate["proof"] == "checksum sha256"
    assert predicate["startedAt"] <= predicate["finishedAt"]
    assert predicate["tool"] == {"name": "goldmaster", "version": __version__}


def test_an_image_that_shares_bytes_says_so_and_each_has_a_receipt_of_its_own(house: House) -> None:
    house.image("one", house.source("a.raw", RAW))
    one = house.apply()["one"]
    house.image("two", house.source("copy-of-a.raw", RAW), checksum=f"sha256:{digest(RAW)}")
    two = house.apply()["two"]
    said = [json.loads(claims(house, image.status.uuid)[0].read_text())["receipt"]["predicate"] for image in (one, two)]
    assert said[0]["how"] == "Downloaded"
    assert [one["image"]["name"] for one in said] == ["default/one", "default/two"]
    assert said[1]["how"] in {"Downloaded", "Shared"}
    assert ("source" in said[1]) == (said[1]["how"] == "Downloaded")


def test_each_revision_keeps_its_receipt_and_it_goes_with_the_claim(house: House) -> None:
    house.image("raw", house.source("a.raw", RAW))
    house.apply()
    house.image("raw", house.source("b.raw", OTHER))
    found = house.apply()["raw"]
    subjects = {
        json.loads(claim.read_text())["receipt"]["subject"][0]["digest"]["sha256"]
        for claim in claims(house, found.status.uuid)
    }
    assert subjects == {digest(RAW), digest(OTHER)}
    house.image("raw", house.source("b.raw", OTHER), revisionHistoryLimit=0)
    house.apply()
    (left,) = claims(house, found.status.uuid)
    assert json.loads(left.read_text())["receipt"]["subject"][0]["digest"]["sha256"] == digest(OTHER)
