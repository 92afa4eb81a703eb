"""A repository through a proxy: real git, a real proxy, and what each of the two gets to see."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from controller import errors
from controller.adapters.sources.resolver import Endpoint
from controller.model.url import SourceUrl
from controller.settings import ProxySettings
from tests.fakes.proxy_server import ProxyServer
from tests.integration.git_world import NEVER, PASSWORD, World, a_world

pytestmark = pytest.mark.needs_git
PROXY_PASSWORD = "pr0xy:p@ss/word%"


@pytest.fixture
def proxy() -> Iterator[ProxyServer]:
    with ProxyServer(PROXY_PASSWORD) as server:
        yield server


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    with ExitStack() as held:
        world = a_world(tmp_path, request.param, held)
        world.written.commit()
        yield world


def through(proxy: ProxyServer, world: World, password: str = PROXY_PASSWORD, **more: object) -> ProxySettings:
    file = world.written.path.parent / "credentials"
    file.write_text(f"gold:{password}\n")
    file.chmod(0o600)
    url = SourceUrl.parse(proxy.url)
    return ProxySettings(url, url, credentials_file=file, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("world", ["http", "https"], indirect=True)
def test_http_is_relayed_and_https_tunnelled(world: World, proxy: ProxyServer) -> None:
    assert world.follow(proxies=through(proxy, world)).newest(NEVER).commit == world.written.head
    place = world.url.partition("//")[2].partition("/")[0]
    asked = {line.split(" ")[0]: line.split(" ")[1] for line in proxy.request_lines}
    if world.url.startswith("https"):
        assert asked == {"CONNECT": place}
        assert not any(b"\r\nAuthorization" in head for head in proxy.requests), "that is for the server alone"
    else:
        assert all(target.startswith(f"{world.url}/") for target in asked.values())
    kept = b"".join(path.read_bytes() for path in world.folder.rglob("*") if path.is_file())
    assert PROXY_PASSWORD.encode() not in kept


@pytest.mark.parametrize("world", ["http", "https"], indirect=True)
def test_who_is_not_let_through_is_told_without_a_password(world: World, proxy: ProxyServer) -> None:
    with pytest.raises(errors.SourceUnreachable, match="407") as caught:
        world.follow(proxies=through(proxy, world, "wr0ng-password")).newest(NEVER)
    assert not any(secret in str(caught.value) for secret in ("wr0ng", "d3IwbmctcGFzc3dvcmQ", PASSWORD))
    assert world.left() == set()


@pytest.mark.parametrize("world", ["file", "http", pytest.param("ssh", marks=pytest.mark.needs_sshd)], indirect=True)
def test_what_goes_directly(world: World, proxy: ProxyServer) -> None:
    """Paths, ssh, and what the settings say."""
    proxies = through(proxy, world, no_proxy=("127.0.0.0/8",) if world.url.startswith("http") else ())
    assert world.follow(proxies=proxies).newest(NEVER).commit == world.written.head
    assert proxy.requests == []


@pytest.mark.parametrize("world", ["http"], indirect=True)
def test_an_address_that_is_not_allowed_is_not_asked_of_the_proxy(world: World, proxy: ProxyServer) -> None:
    world.url = world.url.replace("127.0.0.1", "git.example")

    def resolve(_: str, port: int) -> list[Endpoint]:
        return [Endpoint(2, ("10.0.0.1", port))]

    with pytest.raises(errors.PolicyDenied):
        world.follow(proxies=through(proxy, world), resolve=resolve).newest(NEVER)
    world.url = world.url.replace("git.example", "10.0.0.1")
    with pytest.raises(errors.PolicyDenied):
        world.follow(proxies=through(proxy, world, resolves=True)).newest(NEVER)
    world.url = world.url.replace("10.0.0.1", "intranet")
    with pytest.raises(errors.PolicyDenied, match="a host of the proxy's own network"):
        world.follow(proxies=through(proxy, world, resolves=True)).newest(NEVER)
    assert proxy.requests == []


@pytest.mark.parametrize("world", ["http"], indirect=True)
def test_a_name_may_be_left_to_the_proxy(world: World, proxy: ProxyServer) -> None:
    world.url = world.url.replace("127.0.0.1", "git.example")

    def unknown(_: str, __: int) -> list[Endpoint]:
        raise OSError("no such name")

    with pytest.raises(errors.SourceUnreachable, match="--proxy-resolves would leave names to the proxy"):
        world.follow(proxies=through(proxy, world), resolve=unknown).newest(NEVER)
    tip = world.follow(proxies=through(proxy, world, resolves=True), resolve=unknown).newest(NEVER)
    assert tip.commit == world.written.head


@pytest.mark.parametrize("world", ["https"], indirect=True)
def test_credentials_that_cannot_be_read_are_said(world: World, proxy: ProxyServer) -> None:
    proxies = through(proxy, world)
    assert proxies.credentials_file is not None
    proxies.credentials_file.chmod(0o644)
    with pytest.raises(errors.DependencyNotReady, match="everybody may read or change the proxy's credentials"):
        world.follow(proxies=proxies).newest(NEVER)
    assert proxy.requests == []
