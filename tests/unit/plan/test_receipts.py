"""Which receipt goes with a claim: what was done for it, and nothing that was not."""

import json
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from controller.model.delivery import Peer, Skipped, Validator
from controller.model.receipt import Fetched, How, Receipt, statement
from controller.model.transfer import Placed
from controller.reasons import Reason
from tests.fakes.world import EPOCH, World, content, ready, spec

URL = "http://images.example/a?token=hunter2"
SHA256 = content(1).sha256


def imported(*stores: str, wanted: tuple[str, ...] = ()) -> World:
    made = World.of(spec(URL, backup_storages=wanted or stores), *stores)
    made.sources[URL] = content(1)
    made.run()
    assert ready(made)
    return made


def receipt(world: World, store: str) -> Receipt:
    return world.store(store).receipts[SHA256]


def test_a_download_says_who_was_asked_where_and_what_came() -> None:
    made = imported("s1", "s2")
    for store in ("s1", "s2"):
        found = receipt(made, store)
        assert (found.how, found.storage, found.copied_from) == (How.DOWNLOADED, store, None)
        assert found.image == "default/img"
        assert found.image_uuid == made.image.status.uuid
        assert found.content == content(1)
        assert found.proof == "first use"
        assert found.started_at is not None
        fetched = found.fetched
        assert fetched is not None
        assert (fetched.url, fetched.served_by) == ("http://images.example/a", "http://images.example")
        assert (fetched.validator, fetched.peer) == (Validator('"v"'), Peer("192.0.2.1"))
        assert (fetched.fetched_bytes, fetched.length) == (1, content(1).size_bytes)


def test_a_copy_names_the_storage_and_claims_no_fetch() -> None:
    made = imported("s1", "s2", wanted=("s1",))
    made.edit(spec(URL, backup_storages=("s1", "s2")))
    made.now += timedelta(hours=1)
    made.run()
    found = receipt(made, "s2")
    assert (found.how, found.copied_from, found.fetched) == (How.COPIED, "s1", None)
    assert found.imported_at < found.finished_at
    assert receipt(made, "s1").how is How.DOWNLOADED


def test_bytes_that_lay_there_already_claim_neither() -> None:
    """Another image of the namespace has them."""
    made = World.of(spec(URL, checksum=content(1).sha256), "s1")
    made.neighbours[content(1).sha256] = made.store("s1").objects[content(1).sha256] = content(1)
    made.run()
    found = receipt(made, "s1")
    assert (found.how, found.copied_from, found.fetched, found.started_at) == (How.SHARED, None, None, None)


def test_an_answer_that_only_names_the_version_is_no_download() -> None:
    made = World.of(spec(URL), "s1")
    made.sources[URL] = content(1)
    made.step()
    made.finish()
    (key,) = made.states
    placed = made.states[key]
    assert isinstance(placed, Placed)
    made.states[key] = replace(placed, fetched_bytes=0)
    made.run()
    found = receipt(made, "s1")
    assert (found.how, found.fetched) == (How.SHARED, None)
    assert found.confirmed_by is not None
    assert found.confirmed_by.validator == Validator('"v"')
    told = statement(found, "1")["predicate"]
    assert "source" not in told
    assert told["confirmedBy"]["fetchedBytes"] == 0


def lose(world: World, *stores: str) -> None:
    for store in stores:
        world.store(store).objects.clear()
        world.store(store).claims.clear()


def test_a_copy_that_is_rebuilt_gets_the_receipt_of_its_rebuilding() -> None:
    made = imported("s1", "s2")
    lose(made, "s1")
    made.run()
    assert receipt(made, "s1").copied_from == "s2"
    lose(made, "s1", "s2")
    made.now += timedelta(days=1)
    made.run()
    found = receipt(made, "s1")
    assert found.how is How.DOWNLOADED
    assert found.started_at is not None
    assert found.started_at > EPOCH + timedelta(hours=12)


def test_a_claim_that_is_only_renewed_keeps_the_receipt_of_its_import() -> None:
    made = imported("s1")
    before = receipt(made, "s1")
    made.edit(spec(URL, backup_storages=("s1",), checksum=SHA256))
    made.run()
    assert receipt(made, "s1") == before
    assert made.store("s1").claims[SHA256].proof == "checksum sha256"


# --- as a document ---------------------------------------------------------------------------------------------------

FETCHED = Fetched(
    "http://m.example/a",
    "http://cdn.example/a",
    Validator('"v"', "Thu, 01 Jan 2026 00:00:00 GMT"),
    Peer("192.0.2.1", "proxy.example:3128", SHA256),
    10,
    5,
    15,
    (Skipped("http://images.example/a", Reason.SOURCE_NOT_FOUND, "404"),),
)
RECEIPT = Receipt(
    How.DOWNLOADED,
    "default/img",
    "a" * 32,
    "s1",
    content(1),
    "first use",
    "http://images.example/a",
    EPOCH,
    3,
    EPOCH,
    "main@sha1:" + "c" * 40,
    EPOCH,
    FETCHED,
)


def test_the_document_is_an_in_toto_statement_about_the_stored_bytes() -> None:
    found = statement(RECEIPT, "1.2.3")
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    digests = {"sha256": content(1).sha256.hex, "md5": content(1).md5.hex}
    assert found["subject"] == [{"name": "default/img", "digest": digests}]
    assert found["predicateType"] == "https://goldmaster.dev/import/v1"
    assert found["predicate"] == {
        "how": "Downloaded",
        "image": {
            "name": "default/img",
            "uuid": "a" * 32,
            "generation": 3,
            "observedRevision": "main@sha1:" + "c" * 40,
        },
        "storage": "s1",
        "source": {
            "url": "http://m.example/a",
            "servedBy": "http://cdn.example/a",
            "address": "192.0.2.1",
            "proxy": "proxy.example:3128",
            "certificate": {"sha256": SHA256.hex},
            "etag": '"v"',
            "lastModified": "Thu, 01 Jan 2026 00:00:00 GMT",
            "bytes": 15,
            "fetchedBytes": 10,
            "resumedBytes": 5,
            "skipped": [{"url": "http://images.example/a", "reason": "SourceNotFound"}],
        },
        "revision": {"url": "http://images.example/a", "importedAt": "2026-01-01T00:00:00Z"},
        "proof": "first use",
        "downloaded": {"digest": {"sha256": content(1).sha256.hex}},
        "stored": {"format": "qcow2", "bytes": 1001, "virtualBytes": 2001, "digest": digests},
        "startedAt": "2026-01-01T00:00:00Z",
        "finishedAt": "2026-01-01T00:00:00Z",
        "tool": {"name": "goldmaster", "version": "1.2.3"},
    }


def test_what_was_not_done_is_not_in_it() -> None:
    shared = replace(RECEIPT, how=How.SHARED, fetched=None, started_at=None)
    assert not {"source", "copiedFrom", "startedAt"} & statement(shared, "1")["predicate"].keys()
    copied = statement(replace(shared, how=How.COPIED, copied_from="s2"), "1")["predicate"]
    assert copied["copiedFrom"] == {"storage": "s2"}
    assert "source" not in copied
    file = replace(RECEIPT, fetched=replace(FETCHED, peer=None, validator=Validator(), skipped=()))
    told = statement(file, "1")["predicate"]["source"]
    assert not {"address", "proxy", "certificate", "etag", "lastModified", "skipped"} & told.keys()


@given(st.text(max_size=3000), st.text(max_size=3000))
def test_what_a_source_says_is_bounded(etag: str, served_by: str) -> None:
    """The claim that holds it must stay a small file."""
    skipped = (Skipped("http://m.example/" + "a" * 1000, Reason.SOURCE_NOT_FOUND, "x" * 2048),) * 8
    said = replace(FETCHED, validator=Validator(etag, etag), served_by=served_by, skipped=skipped)
    assert len(json.dumps(statement(replace(RECEIPT, fetched=said), "1"))) < 32768
