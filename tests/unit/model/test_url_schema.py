"""The URL pattern of the CRD and the URL parser agree, so that a cluster refuses what we would refuse."""

from hypothesis import given
from hypothesis import strategies as st

from controller import errors
from controller.model import rules
from controller.model.resource import Kind
from controller.model.url import SourceUrl
from tests.unit.model.documents import SCHEMAS, image, openapi

PATTERN = openapi("Image")["properties"]["spec"]["properties"]["url"]["pattern"]
PIECES = """
    http:// https:// file:// file:/// / // /.. /%2e. ? # @ : :80 :0 :65536 \\ [::1] [1:2] 127.0.0.1 127.1 0x7f h.example
    a_b -a a- 9a 1x 017 . .. % %2f %2F %00 %41 %zz é ~ ' [ ] | user:pw localhost xn--e1a
"""
near_urls = st.lists(st.sampled_from(PIECES.split()), max_size=6).map("".join)


def refusal(text: str) -> str | None:
    """What the parser says against it."""
    try:
        SourceUrl.parse(text)
    except errors.InvalidSpec as exc:
        return str(exc)
    return None


def admitted(text: str) -> bool:
    """Whether an API server takes it: schema and rules, without the parser."""
    document = SCHEMAS["Image"].defaulted(image(url=text))
    return not SCHEMAS["Image"].problems(document) and not rules.problems(Kind.IMAGE, document)


def test_every_url_of_an_image_has_the_same_pattern_and_rule() -> None:
    schema = openapi("Image")["properties"]["spec"]["properties"]
    listed = schema["checksumFrom"]["properties"]
    others = [listed["url"], listed["signature"]["properties"]["url"]]
    for name in ("pattern", "maxLength", "minLength", "x-kubernetes-validations"):
        assert all(other[name] == schema["url"][name] for other in others)


def assert_both_agree(text: str) -> None:
    """Refused by schema and parser, or by neither, but for what each leaves to the other.

    The schema leaves two things to the parser (`standaloneOnly` in the table): whether brackets hold an IPv6 address,
    and the length of a host. The parser takes two more than the schema: `file://localhost`, an empty query of a file.
    """
    said = refusal(text)
    if not admitted(text):
        assert said or "localhost" in text or "?" in text
    elif said is not None:
        assert "no IPv6 address" in said or "a host is a DNS name of labels" in said


@given(st.from_regex(PATTERN, fullmatch=True).filter(lambda text: len(text) <= 1024))
def test_what_the_pattern_takes_is_parsed(text: str) -> None:
    assert_both_agree(text)


@given(near_urls)
def test_near_urls_are_refused_by_both_or_by_none(text: str) -> None:
    assert_both_agree(text)


@given(near_urls)
def test_the_canonical_form_of_an_admitted_url_is_admitted_and_stays(text: str) -> None:
    if admitted(text) and refusal(text) is None:
        canonical = SourceUrl.parse(text).text
        assert SourceUrl.parse(canonical).text == canonical
        assert admitted(canonical)
