"""A source URL is refused or canonical, and never tells a secret."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from controller import errors
from controller.model.conformance import pattern
from controller.model.url import SourceUrl

CRD = Path(__file__).parents[3] / "crds" / "images.yaml"

CANONICAL = {
    "http://h.example": "http://h.example/",
    "HTTP://H.Example:80/A": "http://h.example/A",
    "https://h.example:443/a?b=C&d": "https://h.example/a?b=C&d",
    "https://h.example:80/a": "https://h.example:80/a",
    "https://h.example?b": "https://h.example/?b",
    "http://h.example./a": "http://h.example./a",
    "http://xn--bcher-kva.example/": "http://xn--bcher-kva.example/",
    "http://a_b.example/%2e%2E/x": "http://a_b.example/%2e%2E/x",
    "http://192.0.2.7:8080/a": "http://192.0.2.7:8080/a",
    "http://[2001:DB8:0::7]:8080/a": "http://[2001:db8::7]:8080/a",
    "http://[::ffff:127.0.0.1]/": "http://[::ffff:7f00:1]/",
    "https://9front.example/a": "https://9front.example/a",
    "/srv/images/a.qcow2": "file:///srv/images/a.qcow2",
    "file:///srv/a%20b": "file:///srv/a%20b",
    "file://localhost/srv/a": "file:///srv/a",
    "https://h.example/" + "a" * 1006: "https://h.example/" + "a" * 1006,
}
REFUSED = {
    "": "absolute",
    "h.example/a": "absolute",
    "images/a.qcow2": "absolute",
    "ftp://h/a": "http https file",
    "javascript:alert(1)": "http https file",
    "http:/h/a": "two slashes",
    "http:h": "two slashes",
    "http://": "DNS name",
    "http:///a": "DNS name",
    "http://:80/": "DNS name",
    "http://h.example:/": "port",
    "https://user:pw@h/a": "secretRef",
    "https://user@h/a": "secretRef",
    "http://h.example:80@127.0.0.1:8080/": "secretRef",
    "https://a@b@c/": "secretRef",
    "http://127.0.0.1\\@example.com/": "backslash",
    "http:\\\\h\\a": "backslash",
    "https://h/a#part": "fragment",
    "https://h/a b": "blanks",
    " https://h/a": "blanks",
    "https://h/a\n": "blanks",
    "ht\ntp://h/a": "blanks",
    "https://h/\ta": "blanks",
    "https://h/\r\nX: y": "blanks",
    "https://h/a\0": "blanks",
    "https://h/a\x7f": "blanks",
    "https://h/a\u2028": "blanks",
    "https://h/ä": "ASCII",
    "http://bücher.example/": "xn--",
    "http://①②⑦.⓪.⓪.①/": "ASCII",
    "http://127。0。0。1/": "ASCII",
    "http://h:\uff18\uff10/": "ASCII",
    "http://2130706433/": "four decimal",
    "http://0x7f000001/": "four decimal",
    "http://017700000001/": "four decimal",
    "http://127.1/": "four decimal",
    "http://127.0.1/": "four decimal",
    "http://0x7f.1/": "four decimal",
    "http://0177.0.0.1/": "four decimal",
    "http://127.0.0.01/": "four decimal",
    "http://127.0.0.256/": "four decimal",
    "http://127.0.0.1./": "four decimal",
    "http://1.2.3.4.5/": "four decimal",
    "http://a.0x1/": "four decimal",
    "http://0/": "four decimal",
    "http://-h/": "DNS name",
    "http://a..b/": "DNS name",
    "http://a%2eb/": "DNS name",
    f"http://{'a' * 64}.example/": "DNS name",
    f"http://{'a.' * 127}example/": "DNS name",
    "http://h:0/": "port",
    "http://h:65536/": "port",
    "http://h:99999/": "port",
    "http://h:080/": "port",
    "http://h:+80/": "port",
    "http://h:8 0/": "blanks",
    "http://[::1/": "brackets",
    "http://[::1]x/": "brackets",
    "http://[::g]/": "IPv6",
    "http://[127.0.0.1]/": "IPv6",
    "http://[fe80::1%25eth0]/": "IPv6|zone",
    "http://[fe80::1%eth0]/": "IPv6|zone",
    "http://::1/": "DNS name",
    'http://h/"a"': "percent-encode",
    "http://h/{a}": "percent-encode",
    "http://h/[a]": "percent-encode",
    "file://host/srv/a": "host",
    "file://127.0.0.1/srv/a": "host",
    "file:////srv/a": "slash",
    "//srv/a": "one leading slash",
    "file://": "absolute path",
    "/": "absolute path",
    "file:///srv/../etc/passwd": r"\.\.",
    "/srv/%2e%2E/etc": r"\.\.",
    "/srv/..": r"\.\.",
    "/srv/a%2fb": "encoded slash",
    "/srv/a%00b": "zero byte",
    "/srv/a%zz": "percent sign",
    "/srv/a%4": "percent sign",
    "/srv/a?b": "query",
    "https://h.example/" + "a" * 1007: "1024",
    "http://h/" + "a" * 65536: "1024",
}


@pytest.mark.parametrize(("text", "canonical"), CANONICAL.items(), ids=[text[:40] for text in CANONICAL])
def test_a_good_url_has_one_form(text: str, canonical: str) -> None:
    url = SourceUrl.parse(text)
    assert url.text == canonical
    assert SourceUrl.parse(url.text) == url


@pytest.mark.parametrize(("text", "said"), REFUSED.items(), ids=[repr(text[:40]) for text in REFUSED])
def test_a_bad_url_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(errors.InvalidSpec, match=said):
        SourceUrl.parse(text)


def test_what_people_see_has_no_query() -> None:
    url = SourceUrl.parse("https://h.example:8443/a/b.img?X-Amz-Signature=hunter2")
    assert url.redacted == "https://h.example:8443/a/b.img"
    assert url.target == "/a/b.img?X-Amz-Signature=hunter2"


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://h.example/a", "https://h.example:443"),
        ("http://h.example/a", "http://h.example:80"),
        ("https://h.example:8443/a?b", "https://h.example:8443"),
        ("http://[2001:db8::7]/a", "http://[2001:db8::7]:80"),
        ("/srv/a", "file://"),
    ],
)
def test_an_origin_is_scheme_host_and_port(text: str, origin: str) -> None:
    assert SourceUrl.parse(text).origin == origin


@pytest.mark.parametrize(
    ("text", "authority", "port"),
    [("https://h.example/a", "h.example", 443), ("http://[::1]:8080/", "[::1]:8080", 8080), ("/srv/a", "", 0)],
)
def test_the_authority_names_a_port_only_where_it_is_unusual(text: str, authority: str, port: int) -> None:
    url = SourceUrl.parse(text)
    assert (url.authority, url.effective_port) == (authority, port)


def test_a_file_path_is_decoded() -> None:
    assert SourceUrl.parse("/srv/a%20b%3F%25").file_path == "/srv/a b?%"
    assert SourceUrl.parse("/srv/%ff").file_path == "/srv/\udcff"


SECRET = "hunter2"


@given(st.text(st.characters(codec="utf-8"), max_size=20), st.sampled_from(["https", "http", "ftp", "file", "ht tp"]))
def test_a_refusal_never_repeats_the_secret(noise: str, scheme: str) -> None:
    for text in (f"{scheme}://user:{SECRET}@h{noise}/a", f"{scheme}://h{noise}/a?token={SECRET}"):
        try:
            shown = SourceUrl.parse(text).redacted
        except errors.InvalidSpec as exc:
            shown = str(exc)
        assert SECRET not in shown


PIECES = st.sampled_from(
    [
        *(
            "http",
            "https",
            "file",
            ":",
            "//",
            "/",
            "?",
            "#",
            "@",
            "[",
            "]",
            "::1",
            "127.0.0.1",
            "0x7f",
            "1",
            "h.example",
        ),
        *(
            "\\",
            "\t",
            "\n",
            " ",
            "%",
            "%2e",
            "%2F",
            "..",
            ".",
            "ä",
            "。",
            "\uff18",
            "\0",
            "-",
            "_",
            "65536",
            "80",
            "a" * 64,
        ),
    ]
)


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=12).map("".join)))
@example("http://h/?")
@example("http://h.example:80")
@example("file:///%")
def test_any_text_is_refused_or_canonical(text: str) -> None:
    """Parsing the canonical form again changes nothing, and the form is plain ASCII without anything to misread."""
    try:
        url = SourceUrl.parse(text)
    except errors.InvalidSpec:
        return
    assert SourceUrl.parse(url.text) == url
    assert re.fullmatch(r"(https?://[a-z0-9._:\[\]-]+|file://)/[!-~]*", url.text)
    assert "@" not in url.authority
    assert url.text.startswith(url.redacted)


def crd_pattern() -> str:
    document: dict[str, Any] = yaml.safe_load(CRD.read_text())
    schema = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return str(schema["properties"]["spec"]["properties"]["url"]["pattern"])


@pytest.mark.parametrize("text", [text for text in CANONICAL if text[:4] != "HTTP" and "localhost" not in text])
def test_an_api_server_accepts_what_is_accepted_here(text: str) -> None:
    assert pattern(crd_pattern()).search(text)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_an_api_server_accepts_the_canonical_form(text: str) -> None:
    try:
        url = SourceUrl.parse(text)
    except errors.InvalidSpec:
        return
    assert pattern(crd_pattern()).search(url.text)
