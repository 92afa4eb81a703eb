"""TLS is verified, whoever asks and whatever the environment says (security checklist 34)."""

import hashlib
import os
import socket
import ssl
import threading
from pathlib import Path

import pytest

from controller import errors
from controller.adapters.clock import SystemClock
from controller.adapters.sources.http import HttpSource
from controller.adapters.sources.resolver import Endpoint
from controller.model import delivery
from controller.model.digest import Algorithm, Digest
from tests.fakes.certificates import Authority
from tests.fakes.fetching import LOOPBACK, NEVER, QUICK, asking, drain, fetch
from tests.fakes.hostile_server import HostileServer, Peer, head, redirecting, serving


def source(authority: Authority | None) -> HttpSource:
    """Return a source that trusts the authority (or only the system's), and finds every name on 127.0.0.1."""

    def resolve(host: str, port: int) -> list[Endpoint]:
        return [Endpoint(socket.AF_INET, ("127.0.0.1", port))]

    ca_file = None if authority is None else authority.ca_file
    return HttpSource(LOOPBACK, SystemClock(), QUICK, resolve=resolve, extra_ca_file=ca_file)


def test_a_trusted_server_is_read_and_told_its_own_name(authority: Authority) -> None:
    """The address is pinned, SNI and certificate check use the name; a trailing dot is DNS's business only."""
    names: list[str | None] = []
    context = authority.server("h.example")
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    with HostileServer(serving(b"image"), tls=context) as server:
        body = source(authority).open(asking(server.url(host="h.example")), NEVER)
        with socket.create_connection(("127.0.0.1", server.port)) as plain:
            trusted = ssl.create_default_context(cafile=authority.ca_file)
            with trusted.wrap_socket(plain, server_hostname="h.example") as secure:
                certificate = secure.getpeercert(binary_form=True)
        body.close()
        assert certificate is not None
        digest = Digest(Algorithm.SHA256, hashlib.sha256(certificate).hexdigest())
        assert body.peer == delivery.Peer("127.0.0.1", None, digest)
        names.clear()
        assert fetch(source(authority), asking(server.url(host="h.example"))) == b"image"
        assert fetch(source(authority), asking(server.url(host="h.example."))) == b"image"
        assert server.peers[0].headers["host"] == f"h.example:{server.port}"
    assert names == ["h.example", "h.example"]


def test_an_address_can_be_certified_too(authority: Authority) -> None:
    with HostileServer(serving(b"image"), tls=authority.server("127.0.0.1")) as server:
        assert fetch(source(authority), asking(server.url())) == b"image"


@pytest.mark.parametrize("size", [1, 16_384, 5_000_001])
def test_many_records_make_the_same_bytes(authority: Authority, size: int) -> None:
    data = os.urandom(size)
    with HostileServer(serving(data), tls=authority.server("127.0.0.1")) as server:
        body = source(authority).open(asking(server.url()), NEVER)
        assert drain(body, 2**21) == data
        assert body.complete


@pytest.mark.parametrize(
    ("names", "expired", "said"),
    [
        (["h.example"], True, "expired"),
        (["other.example"], False, "Hostname mismatch"),
        (["*.h.example"], False, "Hostname"),
    ],
)
def test_a_wrong_certificate_is_refused_and_no_request_is_sent(
    authority: Authority, names: list[str], expired: bool, said: str
) -> None:
    with (
        HostileServer(serving(b"image"), tls=authority.server(*names, expired=expired)) as server,
        pytest.raises(errors.ProtocolError, match=f"certificate is not trusted: .*{said}"),
    ):
        source(authority).open(asking(server.url(host="h.example")), NEVER)
    assert all(peer.request == b"" for peer in server.peers)


def test_an_unknown_authority_is_refused_whatever_other_libraries_are_told(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(authority.ca_file))
    with (
        HostileServer(serving(b"image"), tls=authority.server("127.0.0.1")) as server,
        pytest.raises(errors.ProtocolError, match="certificate is not trusted"),
    ):
        source(None).open(asking(server.url()), NEVER)


def test_old_tls_is_refused(authority: Authority) -> None:
    with (
        HostileServer(serving(b"image"), tls=authority.server("127.0.0.1", old_tls=True)) as server,
        pytest.raises(errors.ProtocolError, match="TLS"),
    ):
        source(authority).open(asking(server.url()), NEVER)


def test_a_handshake_that_stalls_ends_by_the_connect_timeout(authority: Authority) -> None:
    with HostileServer(Peer.hold) as server:
        url = server.url().replace("http:", "https:")
        with pytest.raises(errors.SourceUnreachable, match="shaking hands"):
            source(authority).open(asking(url, connect_s=0.3), NEVER)


def test_a_stop_ends_a_handshake(authority: Authority) -> None:
    stop = threading.Event()
    with HostileServer(Peer.hold) as server:
        url = server.url().replace("http:", "https:")
        timer = threading.Timer(0.1, stop.set)
        timer.start()
        with pytest.raises(errors.Interrupted):
            source(authority).open(asking(url), stop)
        timer.join()


def test_a_server_without_tls_is_refused(authority: Authority) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def speak_plainly() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            sock.recv(4096)

    thread = threading.Thread(target=speak_plainly)
    thread.start()
    with listener, pytest.raises(errors.ProtocolError, match="TLS"):
        source(authority).open(asking(f"https://127.0.0.1:{listener.getsockname()[1]}/"), NEVER)
    thread.join()


def test_a_cut_tls_connection_is_broken(authority: Authority) -> None:
    def script(peer: Peer) -> None:
        peer.send(head("200 OK", ["Content-Length: 1000000"]), bytes(1000))

    with (
        HostileServer(script, tls=authority.server("127.0.0.1")) as server,
        pytest.raises(errors.SourceUnreachable),
    ):
        fetch(source(authority), asking(server.url()))


def test_silence_in_tls_ends_by_the_stall_timeout(authority: Authority) -> None:
    def script(peer: Peer) -> None:
        peer.send(head("200 OK", ["Content-Length: 10"]), b"image")
        peer.hold()

    with (
        HostileServer(script, tls=authority.server("127.0.0.1")) as server,
        pytest.raises(errors.SourceUnreachable, match="in vain"),
    ):
        fetch(source(authority), asking(server.url(), stall_s=0.3))


def test_https_is_never_left_for_http(authority: Authority) -> None:
    with (
        HostileServer(serving(b"image")) as plain,
        HostileServer(redirecting(plain.url()), tls=authority.server("127.0.0.1")) as server,
    ):
        with pytest.raises(errors.PolicyDenied, match="from https to http"):
            source(authority).open(asking(server.url()), NEVER)
        assert plain.connections == 0


def test_http_may_be_left_for_https(authority: Authority) -> None:
    with (
        HostileServer(serving(b"image"), tls=authority.server("127.0.0.1")) as secure,
        HostileServer(redirecting(secure.url())) as server,
    ):
        assert fetch(source(authority), asking(server.url())) == b"image"


def test_session_keys_are_not_written_where_the_environment_says(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    with HostileServer(serving(b"image"), tls=authority.server("127.0.0.1")) as server:
        assert fetch(source(authority), asking(server.url())) == b"image"
    assert not (tmp_path / "keys").exists()


def test_the_context_refuses_what_is_older_than_tls_1_2(authority: Authority) -> None:
    context = source(authority)._dialler.trust
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
