"""What headers say, or why they are refused."""

from datetime import UTC, datetime, timedelta
from http.client import HTTPMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import errors
from controller.adapters.sources import http_answer
from controller.adapters.sources.http_answer import ContentRange, Framing
from controller.model.transfer import Validator
from controller.model.url import SourceUrl

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
DAY = 86400


def headers(*fields: str) -> HTTPMessage:
    message = HTTPMessage()
    for field in fields:
        name, _, value = field.partition(":")
        message[name] = value
    return message


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ([], Framing(None, chunked=False)),
        (["Content-Length: 0"], Framing(0, chunked=False)),
        (["content-length:\t42 "], Framing(42, chunked=False)),
        (["Content-Length: 9223372036854775807"], Framing(2**63 - 1, chunked=False)),
        (["Transfer-Encoding: Chunked"], Framing(None, chunked=True)),
    ],
)
def test_the_end_of_a_body_is_known_by_length_or_chunks(fields: list[str], found: Framing) -> None:
    assert http_answer.framing(headers(*fields), 11) == found


@pytest.mark.parametrize(
    "fields",
    [
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5", "Content-Length: 5"],
        ["Content-Length: 5, 5"],
        ["Content-Length: -5"],
        ["Content-Length: +5"],
        ["Content-Length: 5_0"],
        ["Content-Length: 0x5"],
        ["Content-Length: \u0665"],
        ["Content-Length:"],
        ["Content-Length: five"],
        ["Content-Length: 99999999999999999999"],
        ["Content-Length: 9223372036854775808"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    ],
)
def test_a_length_that_two_readers_could_read_differently_is_refused(fields: list[str]) -> None:
    with pytest.raises(errors.ProtocolError):
        http_answer.framing(headers(*fields), 11)


def test_http_1_0_has_no_chunks() -> None:
    with pytest.raises(errors.ProtocolError):
        http_answer.framing(headers("Transfer-Encoding: chunked"), 10)


@pytest.mark.parametrize("value", ["gzip", "br", "zstd", "x-gzip", "deflate", "identity, gzip", "GZIP"])
def test_an_encoded_body_is_refused(value: str) -> None:
    with pytest.raises(errors.ProtocolError, match="identity was asked"):
        http_answer.refuse_encoding(headers(f"Content-Encoding: {value}"))


@pytest.mark.parametrize("value", ["", "identity", " Identity "])
def test_identity_is_no_encoding(value: str) -> None:
    http_answer.refuse_encoding(headers(f"Content-Encoding: {value}"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bytes 0-0/1", ContentRange(0, 0, 1)),
        ("bytes 5-9/10", ContentRange(5, 9, 10)),
        ("bytes 5-8/10", ContentRange(5, 8, 10)),
        ("bytes 5-9/*", None),
        ("bytes */10", None),
        ("bytes 9-5/10", None),
        ("bytes 5-10/10", None),
        ("bytes 5-9/99999999999999999999", None),
        ("bytes -5-9/10", None),
        ("bytes=5-9/10", None),
        ("items 5-9/10", None),
        ("bytes 5-9/10, bytes 5-9/10", None),
        ("bytes \u0665-9/10", None),
        ("bytes 5-9/10\n", None),
        ("", None),
    ],
)
def test_a_content_range_is_one_range_of_a_known_total(text: str, found: ContentRange | None) -> None:
    assert ContentRange.parse(text) == found


@pytest.mark.parametrize(
    ("text", "total"),
    [("bytes */10", 10), ("bytes */*", None), ("bytes 0-1/10", None), ("bytes */-1", None), ("", None)],
)
def test_an_unsatisfied_range_names_the_total(text: str, total: int | None) -> None:
    assert http_answer.unsatisfied_total(text) == total


@given(st.one_of(st.text(max_size=40), st.from_regex(r"bytes [0-9*-]{0,24}/[0-9*]{0,24}", fullmatch=True)))
def test_any_content_range_is_refused_or_consistent(text: str) -> None:
    found = ContentRange.parse(text)
    if found is not None:
        assert 0 <= found.first <= found.last < found.total < 2**63
        assert (
            text == f"bytes {found.first}-{found.last}/{found.total}"
            or "bytes 0" in text
            or "-0" in text
            or "/0" in text
        )
    total = http_answer.unsatisfied_total(text)
    assert total is None or 0 <= total < 2**63


@given(st.lists(st.text(st.characters(max_codepoint=255, blacklist_characters="\r\n\0"), max_size=30), max_size=3))
def test_any_length_header_is_refused_or_a_length(values: list[str]) -> None:
    message = headers(*(f"Content-Length:{value}" for value in values))
    try:
        found = http_answer.framing(message, 11)
    except errors.ProtocolError:
        return
    assert found.length is None or 0 <= found.length < 2**63


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        (['ETag: "a"', "Last-Modified: Mon, 23 Nov 2026 10:00:00 GMT"], ('"a"', "Mon, 23 Nov 2026 10:00:00 GMT")),
        (['ETag: W/"a"'], ('W/"a"', None)),
        (['ETag: ""'], ('""', None)),
        (["ETag: a"], (None, None)),
        (['ETag: "a'], (None, None)),
        (['ETag: "a"b"'], (None, None)),
        (['ETag: w/"a"'], (None, None)),
        (['ETag: "a"', 'ETag: "b"'], (None, None)),
        ([f'ETag: "{"a" * 513}"'], (None, None)),
        (["Last-Modified: " + "a" * 65], (None, None)),
        ([], (None, None)),
    ],
)
def test_a_malformed_validator_is_as_good_as_none(fields: list[str], found: tuple[str | None, str | None]) -> None:
    assert http_answer.validator(headers(*fields)) == Validator(*found)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1", 1),
        ("0", 0),
        ("86400", DAY),
        ("86401", DAY),
        ("9999999999999999999", DAY),
        ("99999999999999999999", None),
        ("Mon, 23 Nov 2026 12:01:00 GMT", 60),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0),
        ("Mon, 23 Nov 2036 11:00:00 GMT", DAY),
        ("Mon, 23 Nov 2026 13:01:00 +0100", 60),
        ("Mon, 23 Nov 2026 12:01:00 -0000", 60),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("Mon, 99 Nov 2026 12:01:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", DAY),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_capped(value: str, seconds: int | None) -> None:
    found = http_answer.retry_after(headers(f"Retry-After: {value}"), NOW, DAY)
    assert found == (None if seconds is None else timedelta(seconds=seconds))


@given(st.text(st.characters(max_codepoint=255, blacklist_characters="\r\n\0"), max_size=60))
def test_any_retry_after_is_ignored_or_within_a_day(value: str) -> None:
    found = http_answer.retry_after(headers(f"Retry-After: {value}"), NOW, DAY)
    assert found is None or timedelta(0) <= found <= timedelta(days=1)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *[(status, errors.AuthenticationFailed) for status in (401, 403, 407)],
        *[(status, errors.SourceNotFound) for status in (404, 410)],
        *[(status, errors.SourceUnreachable) for status in (408, 425, 429, 500, 502, 503, 504, 599)],
        *[
            (status, errors.ProtocolError)
            for status in (101, 103, 201, 204, 205, 300, 304, 305, 400, 405, 406, 416, 451)
        ],
        *[(status, errors.ProtocolError) for status in (100, 499, 600, 999)],
    ],
)
def test_a_status_without_bytes_has_a_meaning(status: int, error: type[errors.GoldmasterError]) -> None:
    refusal = http_answer.refusal(status, headers("Retry-After: 7"), NOW, DAY)
    assert type(refusal) is error
    assert str(status) in str(refusal)
    if isinstance(refusal, errors.TransientError):
        assert refusal.retry_after == timedelta(seconds=7)


HERE = SourceUrl.parse("https://h.example:8443/a/b?c=d")


@pytest.mark.parametrize(
    ("location", "there"),
    [
        ("https://m.example/x?y=z", "https://m.example/x?y=z"),
        ("HTTPS://M.example/x", "https://m.example/x"),
        ("/x", "https://h.example:8443/x"),
        ("x", "https://h.example:8443/a/x"),
        ("../x", "https://h.example:8443/x"),
        ("?e=f", "https://h.example:8443/a/b?e=f"),
        ("//m.example/x", "https://m.example/x"),
        ("https://m.example/x#part", "https://m.example/x"),
        ("/gr\xc3\xbc\xc3\x9fe{1}", "https://h.example:8443/gr%C3%BC%C3%9Fe%7B1%7D"),
        ("/a%20b", "https://h.example:8443/a%20b"),
        ("/x:y", "https://h.example:8443/x:y"),
    ],
)
def test_a_location_is_followed_from_where_it_was_said(location: str, there: str) -> None:
    assert http_answer.redirect_target(HERE, headers(f"Location: {location}")).text == there


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("http://h.example/x", errors.PolicyDenied),
        ("file:///etc/passwd", errors.PolicyDenied),
        ("ftp://h.example/x", errors.PolicyDenied),
        ("gopher://h.example/x", errors.PolicyDenied),
        ("data:text/plain,x", errors.PolicyDenied),
        ("javascript:alert(1)", errors.PolicyDenied),
        ("s3://bucket/key", errors.PolicyDenied),
        ("", errors.ProtocolError),
        ("https://user:pw@h.example/x", errors.ProtocolError),
        ("https://2130706433/x", errors.ProtocolError),
        ("https://b\xc3\xbccher.example/x", errors.ProtocolError),
        ("https://h.example\\@evil.example/", errors.ProtocolError),
        ("/a b", errors.ProtocolError),
        ("/a\tb", errors.ProtocolError),
        ("https://[::1/x", errors.ProtocolError),
        ("https://h.example:0/x", errors.ProtocolError),
        ("/" + "a" * 2000, errors.ProtocolError),
        ("https:", errors.ProtocolError),
    ],
)
def test_a_location_that_is_not_followed(location: str, error: type[errors.GoldmasterError]) -> None:
    with pytest.raises(error) as caught:
        http_answer.redirect_target(HERE, headers(f"Location: {location}"))
    assert type(caught.value) is error
    assert "pw" not in str(caught.value)


def test_two_locations_or_none_lead_nowhere() -> None:
    for message in (headers(), headers("Location: /a", "Location: /b")):
        with pytest.raises(errors.ProtocolError):
            http_answer.redirect_target(HERE, message)


@given(st.text(st.characters(max_codepoint=255, blacklist_characters="\r\n\0"), max_size=60))
def test_any_location_is_refused_or_an_https_url(location: str) -> None:
    try:
        there = http_answer.redirect_target(HERE, headers(f"Location: {location}"))
    except (errors.ProtocolError, errors.PolicyDenied):
        return
    assert there.scheme == "https"
    assert SourceUrl.parse(there.text) == there
