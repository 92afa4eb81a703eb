"""The transcripts of the API's manual are real: each runs in a house like the one that its text speaks of."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs import transcripts
from tests.fakes import images, sshd
from tests.fakes.nginx import nginx
from tests.fakes.proxy_server import ProxyServer
from tests.integration import ranged_server

PAPER = "crds/README.md"
GOLDEN, OTHER = images.raw(images.MIB), images.raw(images.MIB, seed=2)
DIGEST = f"sha256:{hashlib.sha256(GOLDEN).hexdigest()}"


@dataclass
class House:
    """A directory with `sources` and `images`, and what the shell in it is told."""

    here: Path
    held: ExitStack
    environment: dict[str, str]

    def source(self, name: str, data: bytes = GOLDEN) -> str:
        path = self.here / "sources" / name
        path.write_bytes(data)
        return str(path)

    def image(self, name: str, url: str, namespace: str = "default", folder: str = "images", **spec: object) -> None:
        lines = [f"  {field}: {value}" for field, value in {"url": url, **spec}.items()]
        head = ["apiVersion: goldmaster.dev/v1alpha1", "kind: Image"]
        head.append(f"metadata: {{name: {name}, namespace: {namespace}}}")
        path = self.here / folder / (f"{name}.yaml" if namespace == "default" else f"{namespace}-{name}.yaml")
        path.write_text("\n".join([*head, "spec:", *lines]) + "\n")

    def storage(self, name: str, **spec: object) -> None:
        lines = [f"  {field}: {value}" for field, value in spec.items()]
        head = ["apiVersion: goldmaster.dev/v1alpha1", "kind: BackupStorage", f"metadata: {{name: {name}}}", "spec:"]
        lines = ["  type: ImageStore", f"  imageStore: {{path: {self.here / name}}}", *lines]
        (self.here / "images" / f"{name}.yaml").write_text("\n".join([*head, *lines]) + "\n")

    def nginx(self, server: str = "") -> str:
        return self.held.enter_context(nginx(self.here / "sources", self.here / "nginx", server))

    def server(self) -> ranged_server.Served:
        return self.held.enter_context(ranged_server.serving())


def mirrors(house: House) -> None:
    server = house.server()
    server.files |= {"/other/golden.img": OTHER, "/golden.img": GOLDEN}
    mirrors = [server.url("/other/golden.img"), server.url("/golden.img")]
    house.image("golden", server.url("/gone.img"), mirrors=mirrors, checksum=DIGEST)


def sharing(house: House) -> None:
    server = house.server()
    server.files["/base.img"] = GOLDEN
    house.image("base", server.url("/base.img"), "team-a")
    (house.here / "more").mkdir()
    house.image("golden", "https://gone.example/golden.img", "team-a", "more", checksum=DIGEST)
    house.image("golden", server.url("/base.img"), "team-b", "more", checksum=DIGEST)


def a_source_that_changes(house: House) -> None:
    house.source("golden-2.img", OTHER)
    os.utime(house.source("golden.img"), (1_795_000_000, 1_795_000_000))  # an hour or a year ago, not this second
    house.image("golden", f"{house.nginx()}/golden.img", interval="24h")


def politeness(house: House) -> None:
    url = house.nginx("location / { add_header Retry-After 1800 always; return 429; }")
    (house.here / "later").mkdir()
    house.image("debian", f"{url}/debian.img")
    house.image("fedora", f"{url}/fedora.img", folder="later")


def proxy(house: House) -> None:
    server = house.server()
    server.files["/debian.img"] = GOLDEN
    proxy = house.held.enter_context(ProxyServer("hunter22222"))
    house.environment["PROXY"] = proxy.url
    (house.here / "proxy.txt").write_text("gold:hunter22222\n")
    (house.here / "proxy.txt").chmod(0o600)
    house.image("debian", f"http://images.example:{server.port}/debian.img")


def selector(house: House) -> None:
    house.storage("gold", namespaceSelector="{matchLabels: {tier: gold}}")
    house.image("debian", house.source("debian.img"), "team-a", backupStorages="[gold]")


def care(house: House) -> None:
    for name in ("s1", "s2"):
        house.storage(name, scrubInterval="168h")
    server = house.server()
    server.files["/golden.img"] = GOLDEN
    house.image("golden", server.url("/golden.img"), backupStorages="[s1, s2]")


def room(house: House) -> None:
    house.storage("main", reservedCapacity="1Mi")
    for number, name in enumerate(("web-1", "web-2", "web-3", "old", "db"), 1):
        house.source(f"{name}.img", images.raw(number * images.MIB, seed=number))
    for name, namespace, url in (("web", "shop", "web-1"), ("old", "shop", "old"), ("db", "bank", "db")):
        house.image(name, f"{house.here}/sources/{url}.img", namespace)


def deletions(house: House) -> None:
    for number in range(1, 21):
        house.image(f"i{number}", house.source("golden.img"))


def git(house: House) -> None:
    for name in ("alpine", "debian"):
        house.image(name, house.source(f"{name}.img"), format="raw")
    people = {f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    house.environment |= {**people, "GIT_CONFIG_GLOBAL": "/dev/null", "GOLDMASTER_ALLOW_PATH": "."}


def signed(house: House) -> None:
    git(house)
    key = house.here / "key"
    sshd.make_key(key)
    (house.here / "signers").write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
    (house.here / "gitconfig").write_text(f"[gpg]\n  format = ssh\n[user]\n  signingKey = {key}.pub\n")
    house.environment["GIT_CONFIG_GLOBAL"] = str(house.here / "gitconfig")


HOUSES: dict[str, Callable[[House], None]] = {
    "mirrors": mirrors,
    "sharing": sharing,
    "a source that changes": a_source_that_changes,
    "what a server is spared": politeness,
    "proxy": proxy,
    "who may use a storage": selector,
    "care": care,
    "room": room,
    "deletions": deletions,
    "working copy": git,
    "repository": git,
    "signed commits": signed,
}
NEEDS = {
    "a source that changes": "nginx",
    "what a server is spared": "nginx",
    "working copy": "git",
    "repository": "git",
    "signed commits": "git sshd",
}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    for folder in ("sources", "images"):
        (tmp_path / folder).mkdir()
    environment = {"STATE": "state", "ALLOW_PATH": "sources", "ALLOW_NETWORK": "127.0.0.0/8"}
    with ExitStack() as held:
        yield House(tmp_path, held, {f"GOLDMASTER_{name}": value for name, value in environment.items()})


def marked(name: str) -> object:
    return pytest.param(
        name, id=name, marks=[getattr(pytest.mark, f"needs_{it}") for it in NEEDS.get(name, "").split()]
    )


@pytest.mark.timeout(300)  # only a bound on hanging
@pytest.mark.parametrize("name", [marked(name) for name in HOUSES])
def test_a_transcript_is_what_a_reader_gets(house: House, name: str) -> None:
    HOUSES[name](house)
    wanted = [step for block in transcripts.blocks(PAPER)[f"tour: {name}"] for step in transcripts.steps(block)]
    commands = [command for command, _ in wanted]
    said = transcripts.answers(commands, house.here, house.environment, messages=True)
    for (command, expected), answer in zip(wanted, said, strict=True):
        assert transcripts.normal(answer) == transcripts.normal(expected), f"after: {command}\n{answer}"


def test_each_marked_transcript_is_run() -> None:
    assert set(transcripts.blocks(PAPER)) == {f"tour: {name}" for name in HOUSES}
