"""Secrets through the command line: from a directory to a server that wants them, and to nobody else."""

import json
from pathlib import Path

import pytest

from tests.fakes import images as fake_images
from tests.fakes.hostile_server import HostileServer, Peer, head, serving
from tests.integration.shell import Shell

PASSWORD = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def _secrets(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir(mode=0o700)


def write(shell: Shell, origins: str, folder: str = "secrets", **fields: str) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "mirror"},
        "type": "goldmaster.dev/source",
        "stringData": {"origins": origins, "username": "robot", "password": PASSWORD},
        **fields,
    }
    path = shell.root / folder / "mirror.json"
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return path


def apply(shell: Shell, *flags: str) -> int:
    return shell.apply("--allow-network", "127.0.0.0/8", "--secrets", str(shell.root / "secrets"), *flags)


def test_a_server_that_wants_a_password_gets_it_and_nobody_else_does(shell: Shell) -> None:
    """The server repeats it wherever it can; nothing of it is on disk but in the Secret itself."""
    data = fake_images.raw(seed=1)

    def guarded(peer: Peer) -> None:
        told = peer.headers.get("authorization", "")
        if not told.startswith("Basic "):
            peer.send(head("401 " + told, ["Content-Length: 0"]))
        else:
            peer.send(head("200 OK", [f"Content-Length: {len(data)}", f"X-Echo: {told}"]), data)

    with HostileServer(guarded) as server:
        shell.manifest("a", url=server.url(), format="raw", secretRef={"name": "mirror"})
        assert apply(shell, "--timeout", "1s") == 4
        assert "DependencyNotReady: Secret default/mirror is not in --secrets" in shell.err
        assert server.connections == 0
        secret = write(shell, server.url(""))
        assert apply(shell) == 0
        assert server.peers[-1].headers["authorization"] == "Basic cm9ib3Q6aHVudGVyMi1odW50ZXIy"
    said = shell.out + shell.err
    for verb in (["describe", "image", "a"], ["get", "images", "-o", "yaml"], ["inventory"]):
        assert shell(*verb) == 0
        said += shell.out + shell.err
    kept = b"".join(path.read_bytes() for path in shell.root.rglob("*") if path.is_file() and path != secret)
    for value in (PASSWORD, "cm9ib3Q6aHVudGVyMi1odW50ZXIy"):
        assert value not in said
        assert value.encode() not in kept


@pytest.mark.parametrize(
    ("origins", "fields", "said"),
    [
        ("http://127.0.0.1:1", {}, "its origins are http://127.0.0.1:1"),
        (None, {"type": "Opaque"}, "is not of type goldmaster.dev/source"),
    ],
)
def test_a_secret_that_is_not_for_this_source_is_not_sent(
    shell: Shell, origins: str | None, fields: dict[str, str], said: str
) -> None:
    with HostileServer(serving(b"")) as server:
        write(shell, origins or server.url(""), **fields)
        shell.manifest("a", url=server.url(), secretRef={"name": "mirror"})
        assert apply(shell) == 5
        assert f"PolicyDenied: Secret default/mirror {'may not go' if origins else ''}" in shell.err
        assert said in shell.err
        assert server.connections == 0


def test_secrets_among_manifests_or_open_to_others_end_it_before_it_begins(shell: Shell) -> None:
    write(shell, "https://h.example", folder="m")
    assert shell.apply("--secrets", str(shell.manifests)) == 2
    assert "manifests are committed and shown around" in shell.err
    assert not shell.state.exists()
    write(shell, "https://h.example").chmod(0o644)
    assert apply(shell) == 2
    assert "mirror.json has mode 0644, so that others may read it: chmod 600" in shell.err
    assert PASSWORD not in shell.err


def test_no_image_is_made_of_a_secret(shell: Shell) -> None:
    """A path that the policy opens does not open the Secrets below it."""
    secret = write(shell, "https://h.example")
    shell.manifest("a", url=str(secret))
    assert shell("apply", str(shell.manifests), "--allow-path", str(shell.root), "--secrets", str(secret.parent)) == 5
    assert "PolicyDenied" in shell.err
