"""Fixtures of the tests of whole paths: a command line, a household, namespaces that share, and servers for them."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fakes import git_http
from tests.fakes.certificates import Authority
from tests.integration import ranged_server
from tests.integration.git_world import World, a_world
from tests.integration.house import House
from tests.integration.ranged_server import Served
from tests.integration.shell import Shell
from tests.integration.tenants import IMAGE, PATH, Tenants


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path, capsys)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def tenants(tmp_path: Path) -> Tenants:
    return Tenants(tmp_path)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def http() -> Iterator[Served]:
    """A server that has an image."""
    with ranged_server.serving() as served:
        served.files[PATH] = IMAGE
        yield served


@pytest.fixture
def https(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The same; the system's trust store knows it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    with ranged_server.serving(authority.server("127.0.0.1")) as served:
        served.files[PATH] = IMAGE
        yield served


@pytest.fixture
def local(tmp_path: Path) -> Iterator[World]:
    """A Git repository that is followed by its path."""
    with ExitStack() as held:
        yield a_world(tmp_path, "file", held)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[git_http.GitServer]:
    """A server of Git repositories, which lie in `served`."""
    (tmp_path / "served").mkdir()
    with git_http.serving(tmp_path / "served") as served:
        yield served
