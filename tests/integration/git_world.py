"""A repository that a test writes to, and every way to follow it: a real git on both sides."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

from controller.adapters.clock import SystemClock
from controller.adapters.git.remote import Remote
from controller.adapters.git.repository import GitRepository
from controller.adapters.sources.address_policy import AddressPolicy
from controller.adapters.sources.proxy import Proxies
from controller.adapters.sources.resolver import Resolve, system_resolve
from controller.model.git import Tip
from controller.model.git_secret import GitCredentials, credentials_for
from controller.model.git_url import GitUrl
from controller.model.secret import SOURCE_TYPE, Secret
from controller.settings import ProxySettings
from tests.fakes import git_http, sshd
from tests.fakes.certificates import Authority
from tests.fakes.git_repository import GitRepository as Written

CLOCK = SystemClock()
LOOPBACK = AddressPolicy((ip_network("127.0.0.0/8"),))
NEVER = threading.Event()
PASSWORD = "hunter22222"


@dataclass
class World:
    """A repository that a person writes to, and the way to it."""

    written: Written
    folder: Path
    url: str
    secret: dict[str, bytes] = field(default_factory=dict)

    def credentials(self) -> GitCredentials | None:
        if not self.secret:
            return None
        return credentials_for(GitUrl.parse(self.url), Secret("default", "git", SOURCE_TYPE, self.secret))

    def remote(
        self,
        policy: AddressPolicy = LOOPBACK,
        resolve: Resolve = system_resolve,
        proxies: ProxySettings | None = None,
    ) -> Remote:
        roots = [self.written.path.parent]
        return Remote(GitUrl.parse(self.url), self.folder, policy, roots, CLOCK, resolve, Proxies(proxies))

    def follow(
        self, branch: str | None = None, signers: Path | None = None, max_pack_bytes: int = 2**30, **way: object
    ) -> GitRepository:
        remote = self.remote(**way)  # type: ignore[arg-type]
        return GitRepository(remote, branch, self.folder, CLOCK, self.credentials, signers, max_pack_bytes)

    def contents(self, repository: GitRepository, tip: Tip, below: str = "") -> dict[str, bytes]:
        found = repository.files(tip, below, NEVER)
        return {file.path: data for file, data in repository.read([one for one in found if one.is_file], NEVER)}

    def left(self) -> set[str]:
        """What lies in the folder beside the copy."""
        return {path.name for path in self.folder.iterdir()} - {"repository"}


def _file(world: World, _: ExitStack) -> None:
    world.url = f"file://{world.written.path}"


def _http(world: World, held: ExitStack) -> None:
    world.url = f"{held.enter_context(git_http.serving(world.written.path.parent)).url}/written"


def _https(world: World, held: ExitStack) -> None:
    authority = Authority(world.written.path.parent)
    server = held.enter_context(git_http.serving(world.written.path.parent, authority.server("127.0.0.1")))
    server.let_in("me", PASSWORD)
    world.url = f"{server.url}/written"
    world.secret = {
        "origins": server.url.encode(),
        "username": b"me",
        "password": PASSWORD.encode(),
        "ca.crt": authority.ca_file.read_bytes(),
    }


def _ssh(world: World, held: ExitStack) -> None:
    server = held.enter_context(sshd.serving(world.written.path.parent / "sshd"))
    world.url = server.url(world.written.path)
    origin = f"ssh://127.0.0.1:{server.port}".encode()
    world.secret = {"origins": origin, "identity": server.identity, "known_hosts": server.known_hosts}


TRANSPORTS: dict[str, Callable[[World, ExitStack], None]] = {
    "file": _file,
    "http": _http,
    "https": _https,
    "ssh": _ssh,
}


def a_world(tmp_path: Path, transport: str, held: ExitStack, object_format: str = "sha1") -> World:
    world = World(Written(tmp_path / "served" / "written", object_format), tmp_path / "git", "")
    TRANSPORTS[transport](world, held)
    return world
