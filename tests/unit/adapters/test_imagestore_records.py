"""The small files of an ImageStore: what is written is read back; anything else is none, never an exception."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.adapters.backup import imagestore_records as records
from controller.model.delivery import Delivery
from controller.model.scrub import Scrub, ScrubRecord, ScrubState
from controller.model.transfer import Provenance, ResumeRecord, StoredRef, Validator
from tests.fakes.stored_bytes import IMAGE, answer, content_of, ref_of

TEXT = st.text(max_size=50)
OPTIONAL_TEXT = st.none() | TEXT
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
PREFIX = f"zstore://{IMAGE}/"
CONTENT = content_of(b"image")
LENGTHS = st.none() | st.integers(0, 2**63)
ORIGINS = st.none() | st.builds(
    Delivery,
    st.text(min_size=1, max_size=50),
    st.builds(Validator, OPTIONAL_TEXT, OPTIONAL_TEXT),
    LENGTHS,
    OPTIONAL_TEXT,
)
AT = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
SCRUBBED = ScrubRecord(Scrub(ScrubState.RUNNING, AT, AT, 4, 5, 1, "x"), CONTENT.sha256)


@given(TEXT, OPTIONAL_TEXT, OPTIONAL_TEXT, st.none() | st.integers(0, 2**63), st.integers(0, 2**63))
def test_a_resume_record_is_read_as_written(
    source: str, etag: str | None, modified: str | None, total: int | None, durable: int
) -> None:
    record = ResumeRecord(source, Validator(etag, modified), total, durable)
    assert records.read_resume(records.resume_bytes(record)) == record


@given(TEXT, TEXT, TEXT, st.datetimes(timezones=ZONES), ORIGINS)
def test_a_claim_is_read_as_written(source: str, proof: str, url: str, at: datetime, delivery: Delivery | None) -> None:
    ref = StoredRef(CONTENT, source, PREFIX + CONTENT.image_id, False, at, proof, url, "ns/name", delivery)
    assert records.read_claim(records.claim_bytes(IMAGE, ref), install_prefix=PREFIX) == ref


def test_a_content_is_read_as_written() -> None:
    for at in (AT, None):
        assert records.read_content(records.content_bytes(CONTENT, verified_at=at)) == CONTENT
        assert records.read_verified_at(records.content_bytes(CONTENT, verified_at=at)) == at


def test_a_scrub_is_read_as_written() -> None:
    for record in (SCRUBBED, ScrubRecord(Scrub(ScrubState.FINISHED, AT))):
        assert records.read_scrub(records.scrub_bytes(record)) == record


@given(TEXT, TEXT, st.integers(0, 2**63), TEXT, st.booleans())
def test_provenance_is_read_as_written_and_the_content_with_it(
    source: str, etag: str, total: int, namespace: str, anonymous: bool
) -> None:
    known = (Provenance(source, etag, total, CONTENT.source_digests, namespace, anonymous), answer())
    text = records.content_bytes(CONTENT, known)
    assert records.read_provenance(text) == known
    assert records.read_content(text) == CONTENT


def test_a_record_from_before_there_was_provenance_has_none_and_stays_as_it_was() -> None:
    assert records.read_provenance(records.content_bytes(CONTENT)) == ()
    assert "provenance" not in json.loads(records.content_bytes(CONTENT))


def test_the_newest_answers_are_kept_and_the_record_stays_readable() -> None:
    many = tuple(answer(f'"{"e" * 500}{number}"') for number in range(records.MAX_PROVENANCE + 5))
    text = records.content_bytes(CONTENT, many)
    assert records.read_provenance(text) == many[5:]
    assert len(text) < 65536  # what is read of a small file


@pytest.mark.parametrize(
    "odd", [None, 7, [None], [[]], [{}], [{"source": "s"}], {"source": "s"}, [{"anonymous": "false"}]]
)
def test_provenance_that_makes_no_sense_is_none_and_costs_no_content(odd: object) -> None:
    fields = json.loads(records.content_bytes(CONTENT, [answer()]))
    text = json.dumps(fields | {"provenance": odd}).encode()
    assert records.read_provenance(text) == ()
    assert records.read_content(text) == CONTENT
    whole = dict(fields["provenance"][0])
    for name in whole:
        text = json.dumps(fields | {"provenance": [whole | {name: [odd]}]}).encode()
        assert records.read_provenance(text) == ()


def test_a_marker_of_any_layout_is_read() -> None:
    marker = records.read_marker(records.marker_bytes("5" * 32))
    assert marker == records.Marker(records.LAYOUT_VERSION, "5" * 32)
    newer = json.loads(records.marker_bytes("5" * 32)) | {"layout": 99, "more": []}
    assert records.read_marker(json.dumps(newer).encode()) == records.Marker(99, "5" * 32)


WRITTEN = [
    (records.marker_bytes("5" * 32), records.read_marker),
    (records.content_bytes(CONTENT, verified_at=AT), records.read_content),
    (records.claim_bytes(IMAGE, ref_of(CONTENT)), lambda text: records.read_claim(text, install_prefix=PREFIX)),
    (records.resume_bytes(ResumeRecord("s", Validator("e", "m"), 5, 3)), records.read_resume),
    (records.scrub_bytes(SCRUBBED), records.read_scrub),
    (records.content_bytes(CONTENT, verified_at=AT), records.read_verified_at),
]
KINDS = ["marker", "content", "claim", "resume", "scrub", "verified"]


@pytest.mark.parametrize("kind", range(6), ids=KINDS)
def test_a_file_cut_short_anywhere_is_none(kind: int) -> None:
    text, read = WRITTEN[kind]
    whole = len(text.rstrip())
    assert [length for length in range(whole) if read(text[:length]) is not None] == []


@pytest.mark.parametrize("kind", range(6), ids=KINDS)
@settings(max_examples=40)
@given(junk=st.recursive(st.none() | st.booleans() | st.floats() | TEXT, st.lists), data=st.data())
def test_a_file_with_any_field_replaced_never_raises(kind: int, junk: object, data: st.DataObject) -> None:
    text, read = WRITTEN[kind]
    fields = json.loads(text)
    fields[data.draw(st.sampled_from(sorted(fields)))] = junk
    read(json.dumps(fields).encode())
    read(json.dumps(junk).encode())


@pytest.mark.parametrize("text", [b"", b"\x00" * 500, b"\xff\xfe", b"[" * 60000, b"null", b"{}", b"[]", b"1"])
@pytest.mark.parametrize("kind", range(6), ids=KINDS)
def test_what_a_crash_or_a_disk_leaves_is_none(kind: int, text: bytes) -> None:
    assert WRITTEN[kind][1](text) is None


def test_digests_of_the_wrong_algorithm_and_naive_times_are_refused() -> None:
    content = json.loads(records.content_bytes(CONTENT, verified_at=AT))
    swapped = content | {"sha256": content["md5"]}
    assert records.read_content(json.dumps(swapped).encode()) is None
    claim = json.loads(records.claim_bytes(IMAGE, ref_of(CONTENT))) | {"importedAt": "2026-01-02T03:04:05"}
    assert records.read_claim(json.dumps(claim).encode(), install_prefix=PREFIX) is None
