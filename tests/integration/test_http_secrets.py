"""Credentials over real connections: who is told what, and who is not (checklist 32)."""

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from controller import errors
from controller.model.secret import Credentials
from tests.fakes.certificates import Authority
from tests.fakes.fetching import asking, fetch, http_source
from tests.fakes.hostile_server import HostileServer, answering, redirecting, serving
from tests.fakes.secrets import credentials

TOKEN = "hunter2-hunter2"


def told(*servers: HostileServer, **values: str) -> Credentials:
    origins = " ".join(server.url("") for server in servers)
    return credentials(origins, **(values or {"token": TOKEN, "header_X__Api__Key": "k"}))


def ask(server: HostileServer, with_what: Credentials | None, path: str = "/image", resume_from: int = 0) -> bytes:
    request = asking(server.url(path), resume_from=resume_from, etag='"v1"')
    request = type(request)(
        request.url, request.timeouts, request.resume_from, request.validator, credentials=with_what
    )
    return fetch(http_source(), request)


def test_the_origin_is_told_and_its_own_redirect_too() -> None:
    with HostileServer(redirecting("/b"), serving(b"image")) as server:
        assert ask(server, told(server)) == b"image"
        for peer in server.peers:
            assert peer.headers["authorization"] == f"Bearer {TOKEN}"
            assert peer.headers["x-api-key"] == "k"


def test_a_resume_is_told_as_well() -> None:
    with HostileServer(serving(b"image")) as server:
        assert ask(server, told(server), resume_from=3) == b"image"
        assert server.peers[0].headers["range"] == "bytes=3-"
        assert server.peers[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_another_origin_is_told_nothing_even_if_the_secret_lists_it() -> None:
    """Nor is the first one when a redirect leads back by way of the other: it is told what is its own."""
    with HostileServer(serving(b"image")) as last, HostileServer(redirecting(last.url())) as first:
        assert ask(first, told(first, last)) == b"image"
        assert "authorization" in first.peers[0].headers
        assert b"hunter2" not in last.peers[0].request
        assert "x-api-key" not in last.peers[0].headers


def test_an_origin_that_is_not_listed_is_told_nothing() -> None:
    with HostileServer(serving(b"image")) as server, HostileServer(serving(b"")) as listed:
        assert ask(server, told(listed)) == b"image"
        assert b"hunter2" not in server.peers[0].request


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_refusal_does_not_repeat_what_was_sent(status: str) -> None:
    script = answering(f"{status} {TOKEN}", f"WWW-Authenticate: Bearer {TOKEN}", "Content-Length: 0")
    with HostileServer(script) as server:
        with pytest.raises(errors.AuthenticationFailed) as caught:
            ask(server, told(server))
        assert TOKEN not in str(caught.value)


def pem_of(authority: Authority) -> str:
    return authority.ca_file.read_text()


def test_a_private_authority_is_trusted_for_this_origin_in_place_of_the_others(authority: Authority) -> None:
    with HostileServer(serving(b"image"), tls=authority.server("127.0.0.1")) as server:
        assert ask(server, told(server, ca_crt=pem_of(authority))) == b"image"
        with pytest.raises(errors.ProtocolError, match="not trusted"):
            ask(server, told(server, token=TOKEN))


def test_another_authority_is_not_trusted(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "another")
    with HostileServer(serving(b"image"), tls=authority.server("127.0.0.1")) as server:
        with pytest.raises(errors.ProtocolError, match="not trusted"):
            ask(server, told(server, ca_crt=pem_of(other), token=TOKEN))
        assert all(peer.request == b"" for peer in server.peers)


def test_the_authority_of_a_secret_is_not_trusted_behind_a_redirect(authority: Authority) -> None:
    with (
        HostileServer(serving(b"image"), tls=authority.server("127.0.0.1")) as last,
        HostileServer(redirecting(last.url()), tls=authority.server("127.0.0.1")) as first,
        pytest.raises(errors.ProtocolError, match="not trusted"),
    ):
        ask(first, told(first, last, ca_crt=pem_of(authority)))


def client_pair(authority: Authority, tmp_path: Path) -> tuple[str, str]:
    """Return a certificate and key that the authority made; those of a server serve a client too."""
    folder = tmp_path / "client"
    folder.mkdir()
    maker = Authority(folder, "client authority")
    maker.server("robot")
    text = (folder / "server-1.pem").read_text()
    key, end, certificate = text.partition("-----END PRIVATE KEY-----\n")
    del authority
    return certificate + maker.ca_file.read_text(), key + end


def test_a_client_certificate_is_shown_where_it_is_asked_for(authority: Authority, tmp_path: Path) -> None:
    certificate, key = client_pair(authority, tmp_path)
    context = authority.server("127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=tmp_path / "client" / "ca.pem")
    with HostileServer(serving(b"image"), tls=context) as server:
        pair = told(server, ca_crt=pem_of(authority), tls_crt=certificate, tls_key=key)
        assert ask(server, pair) == b"image"
        with pytest.raises(errors.GoldmasterError):
            ask(server, told(server, ca_crt=pem_of(authority)))


def encrypted_key() -> str:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"hunter2"),
        )
        .decode()
    )


@pytest.mark.parametrize("kind", ["nonsense", "encrypted", "authority"])
def test_certificates_that_cannot_be_used_make_the_image_wait(authority: Authority, tmp_path: Path, kind: str) -> None:
    certificate, _ = client_pair(authority, tmp_path)
    with HostileServer(serving(b"image"), tls=authority.server("127.0.0.1")) as server:
        values = {"tls_crt": certificate, "tls_key": "hunter2" if kind == "nonsense" else encrypted_key()}
        if kind == "authority":
            values = {"ca_crt": "hunter2"}
        with pytest.raises(errors.DependencyNotReady, match="cannot be used") as caught:
            ask(server, told(server, **values))
        assert "hunter2" not in str(caught.value)
