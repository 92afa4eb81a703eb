"""Proxies by settings, over a real one on loopback: what it sees, what it never sees, and what it cannot open."""

import base64
import socket
import threading
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
import structlog

from controller import errors, wiring
from controller.adapters.clock import SystemClock
from controller.adapters.sources.address_policy import AddressPolicy
from controller.adapters.sources.http import HttpSource
from controller.adapters.sources.proxy import Proxies, Proxy
from controller.adapters.sources.resolver import Endpoint
from controller.model import delivery
from controller.model.url import SourceUrl
from controller.settings import ProxySettings, SourceSettings
from tests.fakes.certificates import Authority
from tests.fakes.fetching import LOOPBACK, NEVER, QUICK, asking, drain, fetch
from tests.fakes.hostile_server import HostileServer, Peer, Script, answering, redirecting, serving
from tests.fakes.proxy_server import ProxyServer
from tests.fakes.secrets import credentials

PASSWORD = "hunter2-hunter2"


def through(
    proxy: str,
    *no_proxy: str,
    authority: Authority | None = None,
    policy: AddressPolicy = LOOPBACK,
    resolves: bool = False,
    credentials_file: Path | None = None,
    unknown: str = "unknown.example",
) -> HttpSource:
    """Return a source that uses the proxy for both schemes. Names are found on 127.0.0.1 here, but for one."""

    def resolve(host: str, port: int) -> list[Endpoint]:
        if host == unknown:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [Endpoint(socket.AF_INET, ("127.0.0.1", port))]

    url = SourceUrl.parse(proxy)
    settings = ProxySettings(url, url, no_proxy, credentials_file, resolves)
    ca_file = None if authority is None else authority.ca_file
    return HttpSource(policy, SystemClock(), QUICK, proxies=Proxies(settings), resolve=resolve, extra_ca_file=ca_file)


def secret_file(folder: Path, text: str = f"gold:{PASSWORD}\n", mode: int = 0o600) -> Path:
    file = folder / "proxy"
    file.write_text(text)
    file.chmod(mode)
    return file


# --- what goes through --------------------------------------------------------------------------------------------


def test_an_http_source_is_asked_for_by_its_whole_url() -> None:
    with HostileServer(serving(b"image", 'ETag: "v1"')) as server, ProxyServer() as proxy:
        body = through(proxy.url).open(asking(server.url("/a?sig=s", host="h.example")), NEVER)
        assert drain(body) == b"image"
        assert body.served_by == server.url("/a", host="h.example")
        assert body.peer == delivery.Peer("127.0.0.1", f"127.0.0.1:{proxy.port}")
        assert proxy.request_lines == [f"GET http://h.example:{server.port}/a?sig=s HTTP/1.1"]
        assert server.peers[0].headers["host"] == f"h.example:{server.port}"


def test_an_https_source_is_tunnelled_and_the_proxy_sees_no_word_of_it(authority: Authority) -> None:
    """TLS is end to end: the certificate is the origin's, and its Secret's token goes through unseen."""
    with HostileServer(serving(b"image"), tls=authority.server("h.example")) as server, ProxyServer() as proxy:
        url = server.url("/a?sig=s", host="h.example")
        token = credentials(server.url("", host="h.example"), token="abcdefgh-token")
        assert fetch(through(proxy.url, authority=authority), replace(asking(url), credentials=token)) == b"image"
        assert proxy.request_lines == [f"CONNECT h.example:{server.port} HTTP/1.1"]
        assert server.peers[0].headers["authorization"] == "Bearer abcdefgh-token"
        seen = b"".join(proxy.requests + proxy.relayed)
        assert b"abcdefgh-token" not in seen
        assert b"sig=s" not in seen


def test_through_the_tunnel_the_secrets_own_authority_counts(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    with HostileServer(serving(b"image"), tls=other.server("h.example")) as server, ProxyServer() as proxy:
        url = server.url(host="h.example")
        with pytest.raises(errors.ProtocolError, match="certificate is not trusted"):
            fetch(through(proxy.url, authority=authority), asking(url))
        told = credentials(server.url("", host="h.example"), ca_crt=other.ca_file.read_text())
        assert fetch(through(proxy.url), replace(asking(url), credentials=told)) == b"image"


def test_a_proxy_that_answers_for_the_origin_is_found_out(authority: Authority) -> None:
    """It opens the tunnel to somebody else, whose certificate is of another name."""
    with HostileServer(serving(b"evil"), tls=authority.server("evil.example")) as evil, ProxyServer() as proxy:
        url = evil.url(host="h.example")
        with pytest.raises(errors.ProtocolError, match="Hostname mismatch"):
            fetch(through(proxy.url, authority=authority), asking(url))
        assert evil.peers == [] or evil.peers[0].request == b""


def test_an_ipv6_source_stands_in_brackets(authority: Authority) -> None:
    with ProxyServer() as proxy:
        with pytest.raises(errors.SourceUnreachable):
            fetch(through(proxy.url, policy=AddressPolicy()), asking("https://[2606:4700::1111]:1/"))
        assert proxy.request_lines == ["CONNECT [2606:4700::1111]:1 HTTP/1.1"]


def test_each_hop_of_a_redirect_finds_its_own_way(authority: Authority) -> None:
    with (
        HostileServer(serving(b"image")) as direct,
        HostileServer(redirecting(direct.url(host="direct.example"))) as first,
        ProxyServer() as proxy,
    ):
        assert fetch(through(proxy.url, "direct.example"), asking(first.url(host="h.example"))) == b"image"
        assert proxy.request_lines == [f"GET http://h.example:{first.port}/image HTTP/1.1"]


@pytest.mark.parametrize(
    ("entries", "host", "direct"),
    [
        (["example"], "h.example", True),
        (["h.example"], "h.example", True),
        (["h.example"], "h.example.", True),
        (["h.example"], "a.h.example", True),
        ([".h.example"], "h.example", True),
        (["h.example"], "xh.example", False),
        (["127.0.0.0/8"], "127.0.0.1", True),
        (["127.0.0.1"], "127.0.0.1", True),
        (["10.0.0.0/8", "::1/128"], "127.0.0.1", False),
        (["127.0.0.0/8"], "h.example", False),
        ([], "h.example", False),
    ],
)
def test_who_is_named_is_asked_directly(entries: list[str], host: str, direct: bool) -> None:
    with HostileServer(serving(b"image")) as server, ProxyServer() as proxy:
        assert fetch(through(proxy.url, *entries), asking(server.url(host=host))) == b"image"
        assert bool(proxy.requests) is not direct


def test_each_scheme_has_its_own_proxy(authority: Authority) -> None:
    with HostileServer(serving(b"image")) as server, ProxyServer() as proxy:
        settings = ProxySettings(https=SourceUrl.parse(proxy.url))
        source = HttpSource(LOOPBACK, SystemClock(), QUICK, proxies=Proxies(settings))
        assert fetch(source, asking(server.url())) == b"image"
        assert proxy.requests == []
        with pytest.raises(errors.GoldmasterError):
            fetch(source, asking(server.url().replace("http:", "https:")))
        assert proxy.request_lines == [f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"]


# --- what may be asked for ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolves", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_literal_address_is_judged_here(host: str, scheme: str, resolves: bool) -> None:
    with ProxyServer() as proxy:
        source = through(proxy.url, policy=AddressPolicy(), resolves=resolves)
        with pytest.raises(errors.PolicyDenied):
            fetch(source, asking(f"{scheme}://{host}/"))
        assert proxy.requests == []


def test_a_name_is_looked_up_and_judged_here_before_the_proxy_hears_of_it() -> None:
    with ProxyServer() as proxy:
        with pytest.raises(errors.PolicyDenied, match="it has an address that is loopback"):
            fetch(through(proxy.url, policy=AddressPolicy()), asking("http://h.example/"))
        with pytest.raises(errors.SourceUnreachable, match=r"looking up unknown\.example failed.*--proxy-resolves"):
            fetch(through(proxy.url), asking("http://unknown.example/"))
        assert proxy.requests == []


def test_names_are_left_to_a_proxy_that_is_trusted_with_them() -> None:
    with HostileServer(serving(b"image")) as server, ProxyServer() as proxy:
        source = through(proxy.url, policy=AddressPolicy(), resolves=True)
        assert fetch(source, asking(server.url(host="unknown.example"))) == b"image"


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "metadata", "metadata.google.internal", "nas.local."])
def test_names_of_the_proxys_own_network_are_never_left_to_it(host: str) -> None:
    with ProxyServer() as proxy:
        with pytest.raises(errors.PolicyDenied, match="the proxy's own network"):
            fetch(through(proxy.url, policy=AddressPolicy(), resolves=True), asking(f"http://{host}/"))
        assert proxy.requests == []


# --- credentials --------------------------------------------------------------------------------------------------


def test_the_proxy_is_told_and_the_origin_is_not(authority: Authority, tmp_path: Path) -> None:
    pair = base64.b64encode(f"gold:{PASSWORD}".encode())
    for tls in (None, authority.server("h.example")):
        with HostileServer(serving(b"image"), tls=tls) as server, ProxyServer(PASSWORD) as proxy:
            source = through(proxy.url, authority=authority, credentials_file=secret_file(tmp_path))
            assert fetch(source, asking(server.url(host="h.example"))) == b"image"
            assert b"Proxy-Authorization: Basic " + pair in proxy.requests[0]
            assert pair not in server.peers[0].request
            assert "proxy-authorization" not in server.peers[0].headers


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_wrong_credentials_are_tried_again_and_new_ones_are_taken_up(tmp_path: Path, scheme: str) -> None:
    """Not terminal: no Image can help it, and none should have to be touched once the file is right."""
    with HostileServer(serving(b"image")) as server, ProxyServer(PASSWORD) as proxy:
        source = through(proxy.url, credentials_file=secret_file(tmp_path, "gold:wrong-password"))
        url = server.url(host="h.example").replace("http:", f"{scheme}:")
        with pytest.raises(errors.SourceUnreachable, match="407") as caught:
            fetch(source, asking(url))
        assert proxy.url.removeprefix("http://") in str(caught.value)
        assert "wrong-password" not in str(caught.value)
        secret_file(tmp_path)
        if scheme == "http":
            assert fetch(source, asking(url)) == b"image"


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (f"gold:{PASSWORD}", 0o604, "everybody may read"),
        (f"gold:{PASSWORD}", 0o602, "everybody may read or change"),
        (PASSWORD, 0o600, "are not one line of user:password"),
        (f":{PASSWORD}", 0o600, "are not one line of user:password"),
        (f"gold:{PASSWORD}\nmore", 0o600, "are not one line of user:password"),
        (f"gold:{PASSWORD}" * 300, 0o600, "are not one line of user:password"),
        ("", 0o600, "are not one line of user:password"),
    ],
)
def test_a_credentials_file_that_is_not_right_is_refused_without_showing_it(
    tmp_path: Path, text: str, mode: int, said: str
) -> None:
    file = secret_file(tmp_path, text, mode)
    with ProxyServer() as proxy:
        with pytest.raises(errors.DependencyNotReady, match=said) as caught:
            fetch(through(proxy.url, credentials_file=file), asking("http://h.example/"))
        assert proxy.requests == []
    assert "hunter2" not in str(caught.value)
    settings = SourceSettings(proxies=ProxySettings(SourceUrl.parse("http://p.example:1"), credentials_file=file))
    with pytest.raises(errors.Usage, match=f"--proxy-credentials: .*{said}"):
        wiring.sources(settings, SystemClock(), ())


def test_a_credentials_file_that_is_gone_or_none_is_said(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "gone", "No such file"), (tmp_path, "everybody|not one line")):
        with pytest.raises(errors.DependencyNotReady, match=said):
            fetch(through("http://127.0.0.1:1", credentials_file=path), asking("http://h.example/"))


def test_nothing_that_a_proxy_repeats_shows_its_credentials(authority: Authority, tmp_path: Path) -> None:
    """In a status line, a header, or an answer that is no HTTP; in errors and in logs."""
    pair = base64.b64encode(f"gold:{PASSWORD}".encode()).decode()
    scripts: list[Script] = [
        answering(f"407 {PASSWORD} {pair}", f"Proxy-Authenticate: {pair}"),
        answering(f"502 {pair}"),
        lambda peer: peer.send(f"{PASSWORD} {pair} gold:{PASSWORD}\r\n\r\n".encode()),
        lambda peer: peer.send(f"HTTP/1.1 200 OK\r\n{PASSWORD} {pair}\r\n\r\n".encode()),
        lambda peer: peer.send(f"HTTP/{pair} 200 OK\r\n\r\n".encode()),
        answering("200 OK", f"Content-Length: {pair}"),
        answering("200 OK", f"Content-Encoding: {PASSWORD}", "Content-Length: 1"),
        answering("302 Found", f"Location: http://{PASSWORD}/"),
    ]
    file = secret_file(tmp_path)
    for scheme in ("http", "https"):
        for script in scripts:
            with HostileServer(script) as proxy, structlog.testing.capture_logs() as lines:
                with pytest.raises(errors.GoldmasterError) as caught:
                    fetch(through(proxy.url(""), credentials_file=file), asking(f"{scheme}://h.example/"))
                said = [caught.value, caught.value.__cause__, lines]
                assert not [one for one in said if PASSWORD in str(one) or pair in str(one)], script
    assert PASSWORD not in repr(Proxy(SourceUrl.parse("http://p.example"), f"gold:{PASSWORD}"))


# --- what goes wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (answering("403 Forbidden"), "opens no way to h.example: it answers 403 Forbidden"),
        (answering("503 x", "Retry-After: 7"), "it answers 503 Service Unavailable"),
        (answering("301 x", "Location: http://127.0.0.1/"), "it answers 301"),
        (answering("200 OK", body=b"hello"), "speaks before h.example could"),
        (lambda peer: peer.send(b"SSH-2.0-x\r\n\r\n"), "breaks HTTP"),
        (lambda peer: None, "failed"),
        (lambda peer: peer.send(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 20_000), "breaks HTTP"),
    ],
)
def test_a_tunnel_that_is_not_opened_is_tried_again(script: Script, said: str) -> None:
    with HostileServer(script) as proxy:
        with pytest.raises(errors.SourceUnreachable, match=said) as caught:
            fetch(through(proxy.url("")), asking("https://h.example/"))
        assert type(caught.value) is errors.SourceUnreachable
        assert (caught.value.retry_after is not None) == ("503" in said)


def test_a_proxy_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(errors.SourceUnreachable, match=f"connecting to 127.0.0.1:{port}"):
        fetch(through(f"http://127.0.0.1:{port}"), asking("https://h.example/"))


def test_a_stop_ends_the_wait_for_a_proxy_that_says_nothing() -> None:
    stop = threading.Event()

    def silent(peer: Peer) -> None:
        stop.set()
        peer.hold()

    with HostileServer(silent) as proxy, pytest.raises(errors.Interrupted, match="asking the proxy"):
        through(proxy.url("")).open(asking("https://h.example/"), stop)


def test_a_pause_is_the_origins_and_not_the_proxys() -> None:
    """Of a relayed answer nobody can tell who gave it; another origin is asked through the same proxy at once."""
    with HostileServer(answering("429 x", "Retry-After: 60"), serving(b"image")) as server, ProxyServer() as proxy:
        source = through(proxy.url)
        with pytest.raises(errors.SourceUnreachable):
            fetch(source, asking(server.url(host="a.example")))
        with pytest.raises(errors.OriginBusy):
            fetch(source, asking(server.url(host="a.example")))
        assert fetch(source, asking(server.url(host="b.example"))) == b"image"


def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the composition root, as the verbs build it."""
    with HostileServer(serving(b"image")) as server, ProxyServer() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NO_PROXY", "nothing.example")
        source = wiring.sources(SourceSettings((ip_network("127.0.0.0/8"),)), SystemClock(), ())
        body = source.open(asking(server.url()), NEVER)
        assert drain(body) == b"image"
        assert proxy.requests == []
