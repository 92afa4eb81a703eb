"""The checked address is the connected one, and the environment has no say (checklist 35-38, 40)."""

import socket
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path

import pytest
import structlog

from controller import errors
from controller.adapters.clock import SystemClock
from controller.adapters.sources.address_policy import AddressPolicy
from controller.adapters.sources.http import HttpSource
from controller.adapters.sources.resolver import Endpoint, Resolve
from controller.adapters.sources.wire import Wire
from tests.fakes.fetching import LOOPBACK, NEVER, QUICK, asking, fetch, http_source
from tests.fakes.hostile_server import HostileServer, serving


def source(resolve: Resolve, policy: AddressPolicy = LOOPBACK) -> HttpSource:
    return HttpSource(policy, SystemClock(), QUICK, resolve=resolve)


def answers(*addresses: str) -> Resolve:
    """Return a resolver that gives these addresses for every name."""

    def resolve(host: str, port: int) -> list[Endpoint]:
        return [Endpoint(socket.AF_INET6 if ":" in item else socket.AF_INET, (item, port)) for item in addresses]

    return resolve


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]"],
)
def test_loopback_in_any_form_is_closed_and_nothing_arrives(host: str) -> None:
    with HostileServer(serving(b"secret")) as server:
        with pytest.raises(errors.PolicyDenied, match="--allow-network"):
            HttpSource(AddressPolicy(), SystemClock()).open(asking(server.url(host=host)), NEVER)
        assert server.connections == 0


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "[fd00:ec2::254]",
        "10.96.0.1",
        "192.168.1.1",
    ],
)
def test_metadata_and_cluster_addresses_are_closed_without_a_packet(host: str) -> None:
    """The test's sandbox would report a connect that was only tried."""
    with pytest.raises(errors.PolicyDenied):
        HttpSource(AddressPolicy(), SystemClock()).open(asking(f"http://{host}/"), NEVER)


def test_a_name_is_judged_by_its_addresses() -> None:
    with HostileServer(serving(b"secret")) as server:
        with (
            structlog.testing.capture_logs() as lines,
            pytest.raises(errors.PolicyDenied, match=r"h\.example: it has an address that is loopback") as caught,
        ):
            source(answers("127.0.0.1"), AddressPolicy()).open(asking(server.url(host="h.example")), NEVER)
        assert server.connections == 0
    assert "127.0.0.1" not in str(caught.value)
    assert [(line["host"], line["address"]) for line in lines] == [("h.example", "127.0.0.1")]


def test_one_bad_answer_among_good_ones_is_enough() -> None:
    with HostileServer(serving(b"image")) as server:
        with pytest.raises(errors.PolicyDenied, match="link-local"):
            source(answers("127.0.0.1", "169.254.169.254")).open(asking(server.url(host="h.example")), NEVER)
        assert server.connections == 0


def test_a_name_is_resolved_once_per_hop_and_the_answer_is_what_is_connected_to() -> None:
    """A name server that says something else the second time (rebinding) is never asked a second time."""
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[Endpoint]:
        asked.append(host)
        return [Endpoint(socket.AF_INET, ("127.0.0.1" if len(asked) == 1 else "127.0.0.2", port))]

    with HostileServer(serving(b"image")) as server:
        assert fetch(source(rebinding), asking(server.url(host="h.example"))) == b"image"
        assert asked == ["h.example"]
        assert server.peers[0].headers["host"] == f"h.example:{server.port}"


def test_each_hop_is_resolved_and_checked_again() -> None:
    def resolve(host: str, port: int) -> list[Endpoint]:
        return [Endpoint(socket.AF_INET, ("127.0.0.1" if host == "good.example" else "127.0.0.9", port))]

    only_one = AddressPolicy((ip_network("127.0.0.1/32"),))
    with ExitStack() as stack:
        target = stack.enter_context(HostileServer(serving(b"secret"), address="127.0.0.9"))
        location = f"Location: http://evil.example:{target.port}/"
        server = stack.enter_context(
            HostileServer(lambda peer: peer.send(f"HTTP/1.1 302 x\r\n{location}\r\n\r\n".encode()))
        )
        with pytest.raises(errors.PolicyDenied, match=r"evil\.example: it has an address that is loopback"):
            source(resolve, only_one).open(asking(server.url(host="good.example")), NEVER)
        assert (server.connections, target.connections) == (1, 0)


def test_a_connection_that_ended_up_elsewhere_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something between us and the kernel (a transparent proxy's redirect, say) that getpeername() gives away."""
    monkeypatch.setattr(Wire, "peer_address", property(lambda _: "127.0.0.2"))
    with HostileServer(serving(b"image")) as server:
        with pytest.raises(errors.PolicyDenied, match="although"):
            http_source().open(asking(server.url()), NEVER)
        assert server.peers == [] or server.peers[0].request == b""


def test_the_next_address_is_tried_where_one_refuses() -> None:
    with HostileServer(serving(b"image")) as server:
        resolve = answers("127.0.0.77", "127.0.0.1")
        assert fetch(source(resolve), asking(server.url(host="h.example"))) == b"image"


def test_a_thousand_answers_are_refused() -> None:
    with pytest.raises(errors.PolicyDenied, match="1000 addresses"):
        source(answers(*["127.0.0.1"] * 1000)).open(asking("http://h.example/"), NEVER)


def test_an_ipv6_source_is_reached() -> None:
    with HostileServer(serving(b"image"), address="::1") as server:
        assert fetch(http_source(), asking(server.url(host="[::1]"))) == b"image"
        assert server.peers[0].headers["host"] == f"[::1]:{server.port}"


def test_proxies_and_netrc_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with HostileServer(serving(b"proxied")) as proxy, HostileServer(serving(b"image")) as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("HOME", str(tmp_path))
        netrc = tmp_path / ".netrc"
        netrc.write_text("machine 127.0.0.1 login user password hunter2\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        assert fetch(http_source(), asking(server.url())) == b"image"
        assert proxy.connections == 0
        assert "authorization" not in server.peers[0].headers
