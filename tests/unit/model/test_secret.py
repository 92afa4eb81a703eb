"""Which Secrets may go where, what of them is sent, and that none of it shows."""

import base64
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import errors
from controller.model.image import Timeouts
from controller.model.secret import Credentials, Secret
from controller.model.url import SourceUrl
from controller.ports import FetchRequest
from tests.fakes.secrets import credentials, secret

URL = SourceUrl.parse("https://images.example/a")


def test_a_user_and_a_password_are_basic_authentication() -> None:
    told = credentials(username="robot", password="pässwörd\n")
    pair = base64.b64encode("robot:pässwörd".encode()).decode()
    assert told.headers == (("Authorization", f"Basic {pair}"),)


def test_a_token_is_a_bearer_token_and_headers_come_along() -> None:
    told = credentials(token="t0k.en\r\n", header_X__Api__Key="k 1", header_X__Other="2")
    assert dict(told.headers) == {"Authorization": "Bearer t0k.en", "X-Api-Key": "k 1", "X-Other": "2"}


def test_certificates_are_taken_as_they_are() -> None:
    told = credentials(ca_crt="PEM", tls_crt="CERT", tls_key="KEY")
    assert (told.ca_pem, told.certificate_pem, told.key_pem) == ("PEM", b"CERT", b"KEY")
    assert told.headers == ()


@pytest.mark.parametrize(
    ("origins", "url", "allowed"),
    [
        ("https://images.example", "https://images.example/a?b", True),
        ("https://images.example/", "https://IMAGES.example:443/", True),
        ("http://a.example\nhttps://images.example:8443", "https://images.example:8443/a", True),
        ("https://images.example", "http://images.example/a", False),
        ("https://images.example", "https://images.example:8443/a", False),
        ("https://images.example", "https://images.example.evil.example/a", False),
        ("https://images.example", "https://sub.images.example/a", False),
        ("https://images.example", "file:///images.example/a", False),
        ("http://[2001:db8::7]:80", "http://[2001:db8:0::7]/a", True),
    ],
)
def test_an_origin_is_scheme_host_and_port(origins: str, url: str, allowed: bool) -> None:
    assert credentials(origins, token="t").allows(SourceUrl.parse(url)) is allowed


@pytest.mark.parametrize("kind", ["Opaque", "kubernetes.io/service-account-token", "goldmaster.dev/other", ""])
def test_a_secret_of_another_type_is_denied(kind: str) -> None:
    with pytest.raises(errors.PolicyDenied, match="Secret default/mirror is not of type"):
        Credentials.of(secret(kind=kind, token="t"))


@pytest.mark.parametrize("origins", ["", " \n"])
def test_a_secret_without_origins_goes_nowhere(origins: str) -> None:
    with pytest.raises(errors.PolicyDenied, match="no origins"):
        Credentials.of(secret(origins, token="t"))


@pytest.mark.parametrize(
    "origins",
    [
        *("images.example", "*", "https://*", "https://*.example", "https://h.example/path", "https://u:p@h.example"),
        *("file:///srv", "/srv", "https://h.example?x", "https://h.example//", "https://"),
    ],
)
def test_an_origin_that_is_none_makes_the_secret_wait(origins: str) -> None:
    with pytest.raises(errors.DependencyNotReady, match="default/mirror: origins is a list"):
        Credentials.of(secret(origins, token="t"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"username": "hunter2"}, "username and password"),
        ({"password": "hunter2"}, "username and password"),
        ({"username": "a", "token": "hunter2"}, "token and username"),
        ({"username": "a:hunter2", "password": "hunter2"}, "username has a colon"),
        ({"username": "a", "password": "hunter2\nX: y"}, "control characters"),
        ({"token": "hunter2 x"}, "token is not one word"),
        ({"token": "hunter2\r\nX: y"}, "token is not one word"),
        ({"token": ""}, "token is not one word"),
        ({"header_X": "hunter2\nY: z"}, "header.X is not one line"),
        ({"header_X": "hunter2é"}, "header.X is not one line"),
        ({"header_Host": "hunter2"}, "header.Host names no header"),
        ({"header_Range": "hunter2"}, "header.Range names no header"),
        ({"header_Transfer__Encoding": "hunter2"}, "names no header"),
        ({"header_": "hunter2"}, "header. names no header"),
        ({"header_X": "hunter2", "header_x": "hunter2"}, "header.x is a header that is set already"),
        ({"header_Authorization": "hunter2", "token": "hunter2"}, "header.Authorization is a header that is set"),
        ({"tls_crt": "hunter2"}, "tls.crt and tls.key"),
        ({"tls_key": "hunter2"}, "tls.crt and tls.key"),
        ({"passwrd": "hunter2"}, "passwrd is not a key"),
    ],
)
def test_a_malformed_secret_waits_and_names_its_key_but_no_value(values: dict[str, str], said: str) -> None:
    with pytest.raises(errors.DependencyNotReady) as caught:
        Credentials.of(secret(**values))
    assert said in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_bytes_that_are_no_text_are_not_shown_either() -> None:
    data = {"origins": b"https://h.example", "token": b"hunter2\xff"}
    with pytest.raises(errors.DependencyNotReady, match="token is not UTF-8") as caught:
        Credentials.of(Secret("default", "mirror", "goldmaster.dev/source", data))
    assert caught.value.__context__ is None


words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=8, max_size=40).map("Zq{}".format)
"""Nothing that stands in a repr by chance, as `Timeouts` does."""


@given(words, words)
def test_no_repr_shows_a_value_and_scrubbing_takes_every_form_of_it_out(password: str, key: str) -> None:
    kept = secret(username="robot", password=password, header_X__Key=key, tls_crt="c", tls_key=password)
    told = Credentials.of(kept)
    basic = dict(told.headers)["Authorization"].removeprefix("Basic ")
    request = FetchRequest(URL, Timeouts(), credentials=told)
    for shown in (repr(kept), repr(told), repr(request), str(told), f"{kept}"):
        assert not any(value in shown for value in (password, key, basic))
    echo = f"no {password}, {basic}, X-Key: {key}\n"
    assert not any(value in told.scrub(echo) for value in (password, key, basic))
    assert told.scrub("nothing of it") == "nothing of it"
