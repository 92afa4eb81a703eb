"""What an answer proves: the table of who gets stored bytes for it, and who does not."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.model.digest import Digest
from controller.model.secret import SOURCE_TYPE, Credentials, Secret
from controller.model.transfer import Provenance, TransferRequest, Validator
from controller.model.url import SourceUrl
from controller.plan import right
from tests.unit.engine.transfer import world

HTTPS = "https://images.example/golden.img?v=1"
HTTP = "http://images.example/golden.img?v=1"
STRONG = Validator('"v1"', "Mon, 02 Nov 2026 10:00:00 GMT")
SHA256 = Digest.parse("sha256:" + "ab" * 32)
MD5 = Digest.parse("md5:" + "cd" * 16)
DIGESTS = (SHA256, MD5)


def credentials(**data: str) -> Credentials:
    told = {"origins": "https://images.example:443 http://images.example:80"} | data
    encoded = {name.replace("__", "."): value.encode() for name, value in told.items()}
    return Credentials.of(Secret("a", "upstream", SOURCE_TYPE, encoded))


TOKEN = credentials(token="s3cret-token")
OTHER_TOKEN = credentials(token="another-token")
HEADER = credentials(header__x_original_url="/mine")
COOKIE = credentials(header__Cookie="session=12345")
OWN_CA = credentials(ca__crt="-----BEGIN CERTIFICATE-----\nmine")
OTHER_CA = credentials(ca__crt="-----BEGIN CERTIFICATE-----\nyours")


def asks(url: str, namespace: str = "b") -> TransferRequest:
    return replace(world.request(namespace=namespace), url=SourceUrl.parse(url))


def known(url: str = HTTPS, told: Credentials | None = None, namespace: str = "a") -> Provenance:
    found = right.testimony(asks(url, namespace), told, STRONG, 1000, DIGESTS)
    assert found is not None
    return found


def proven(
    was: Provenance,
    url: str = HTTPS,
    *,
    namespace: str = "b",
    told: Credentials | None = None,
    expected: Digest | None = None,
    validator: Validator = STRONG,
    length: int | None = 1000,
) -> bool:
    return right.proves(was, asks(url, namespace), told, expected, validator, length)


def test_the_same_answer_of_the_same_url_is_a_proof_whoever_asks() -> None:
    assert proven(known())
    assert proven(known(told=TOKEN), told=OTHER_TOKEN)
    assert proven(known(told=TOKEN))
    assert proven(known(), validator=Validator('"v1"'), expected=SHA256)


@pytest.mark.parametrize(
    "validator", [Validator('"v2"'), Validator('W/"v1"'), Validator(None, STRONG.last_modified), Validator()]
)
def test_another_weak_or_missing_etag_proves_nothing(validator: Validator) -> None:
    assert not proven(known(), validator=validator)


@pytest.mark.parametrize("length", [None, 0, 999, 1001])
def test_another_length_or_none_proves_nothing(length: int | None) -> None:
    assert not proven(known(), length=length)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/golden.img?v=1",
        "https://images.example/golden.img",
        "https://images.example/golden.img?v=2",
        "https://images.example:8443/golden.img?v=1",
        HTTP,
        "file:///golden.img",
    ],
)
def test_the_word_of_a_server_counts_for_its_own_url_only(url: str) -> None:
    assert not proven(known(), url, expected=SHA256)


def test_who_may_speak_for_a_url_is_part_of_it() -> None:
    assert not proven(known(), told=OWN_CA)
    assert not proven(known(told=OWN_CA))
    assert not proven(known(told=OWN_CA), told=OTHER_CA)
    assert proven(known(told=OWN_CA), told=OWN_CA)


@pytest.mark.parametrize("told", [HEADER, COOKIE], ids=["X-Original-URL", "Cookie"])
def test_headers_of_the_owners_own_prove_nothing_and_are_not_remembered(told: Credentials) -> None:
    assert not proven(known(), told=told)
    assert right.testimony(asks(HTTPS), told, STRONG, 1000, DIGESTS) is None


def test_over_plain_http_another_namespace_needs_a_digest_of_its_own() -> None:
    assert not proven(known(HTTP), HTTP)
    assert not proven(known(HTTP), HTTP, expected=MD5)
    assert proven(known(HTTP), HTTP, expected=SHA256)
    assert proven(known(HTTP, namespace="b"), HTTP)


def test_over_plain_http_what_was_fetched_with_credentials_is_not_another_namespaces() -> None:
    assert not proven(known(HTTP, TOKEN), HTTP, expected=SHA256)
    assert not proven(known(HTTP, TOKEN), HTTP, expected=SHA256, told=TOKEN)
    assert proven(known(HTTP, TOKEN, namespace="b"), HTTP, told=TOKEN)


@pytest.mark.parametrize("expected", ["sha256:" + "00" * 32, "sha512:" + "ab" * 64, "md5:" + "00" * 16])
def test_what_the_image_expects_must_be_what_was_fetched(expected: str) -> None:
    assert not proven(known(), expected=Digest.parse(expected))


@pytest.mark.parametrize(
    "validator", [Validator('W/"v1"'), Validator('""'), Validator(None, "Mon, 02 Nov 2026 10:00:00 GMT")]
)
def test_an_answer_that_names_no_version_is_not_remembered(validator: Validator) -> None:
    assert right.testimony(asks(HTTPS), None, validator, 1000, DIGESTS) is None


@pytest.mark.parametrize("length", [None, 0])
def test_an_answer_without_a_length_is_not_remembered(length: int | None) -> None:
    assert right.testimony(asks(HTTPS), None, STRONG, length, DIGESTS) is None


def test_an_etag_with_a_secret_in_it_is_not_written_down() -> None:
    assert right.testimony(asks(HTTPS), TOKEN, Validator('"for-s3cret-token"'), 1000, DIGESTS) is None


def test_neither_the_query_nor_a_secret_is_in_what_is_written_down() -> None:
    text = repr(known(HTTPS.replace("v=1", "signature=abcdef"), TOKEN))
    assert not any(secret in text for secret in ("signature", "abcdef", "s3cret", "images.example"))


URLS = st.sampled_from([HTTPS, HTTP, "https://evil.example/golden.img?v=1", "file:///golden.img"])
TOLD = st.sampled_from([None, TOKEN, OTHER_TOKEN, HEADER, COOKIE, OWN_CA, OTHER_CA])
NAMES = st.sampled_from(["a", "b"])
VERSIONS = st.sampled_from([STRONG, Validator('"v1"'), Validator('"v2"'), Validator('W/"v1"'), Validator()])
LENGTHS = st.sampled_from([None, 0, 1000, 1001])


@given(URLS, URLS, TOLD, TOLD, NAMES, VERSIONS, VERSIONS, LENGTHS, LENGTHS, st.sampled_from([None, SHA256, MD5]))
def test_whatever_is_proven_was_answered_by_the_same_url_under_the_same_trust(
    first: str,
    second: str,
    told_first: Credentials | None,
    told_second: Credentials | None,
    namespace: str,
    etag_first: Validator,
    etag_second: Validator,
    length_first: int | None,
    length_second: int | None,
    expected: Digest | None,
) -> None:
    was = right.testimony(asks(first, "a"), told_first, etag_first, length_first, DIGESTS)
    if was is None or not right.proves(was, asks(second, namespace), told_second, expected, etag_second, length_second):
        return
    assert first == second
    assert etag_first.etag == etag_second.etag
    assert etag_second.strong
    assert length_first == length_second
    assert (told_first and told_first.ca_pem) == (told_second and told_second.ca_pem)
    assert not {told_first, told_second} & {HEADER, COOKIE}
    if namespace != "a" and first == HTTP:
        assert expected == SHA256
        assert told_first is None
