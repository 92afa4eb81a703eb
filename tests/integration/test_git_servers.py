"""What http and ssh servers, and people who sign, can do to whoever follows a repository."""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from controller import errors
from controller.adapters.git import repository as adapter
from controller.adapters.sources.resolver import Endpoint
from controller.model.git_url import GitUrl
from tests.fakes import git_http, sshd
from tests.fakes.certificates import Authority
from tests.fakes.git_repository import GitRepository as Written
from tests.integration.git_world import NEVER, PASSWORD, World, a_world

pytestmark = pytest.mark.needs_git


# --- http ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def web(tmp_path: Path, server: git_http.GitServer) -> World:
    world = World(Written(tmp_path / "served" / "written"), tmp_path / "git", f"{server.url}/written")
    world.written.commit()
    return world


def test_a_redirect_is_not_followed(web: World, server: git_http.GitServer, tmp_path: Path) -> None:
    with git_http.serving(tmp_path / "served") as elsewhere:
        server.redirect_to = elsewhere.url
        with pytest.raises(errors.SourceUnreachable, match="302"):
            web.follow().newest(NEVER)
        assert elsewhere.requests == []


def test_the_address_that_was_checked_is_the_one_that_is_asked(web: World, server: git_http.GitServer) -> None:
    """A name that no resolver knows: only our own answer can lead there."""
    web.url = f"http://git.example:{server.port}/written"

    def resolve(host: str, port: int) -> list[Endpoint]:
        assert host == "git.example"
        return [Endpoint(2, ("127.0.0.1", port))]

    assert web.follow(resolve=resolve).newest(NEVER).commit == web.written.head


def test_one_forbidden_address_among_others_refuses_the_name(web: World, server: git_http.GitServer) -> None:
    web.url = f"http://git.example:{server.port}/written"

    def resolve(_: str, port: int) -> list[Endpoint]:
        return [Endpoint(2, ("127.0.0.1", port)), Endpoint(2, ("10.0.0.1", port))]

    with pytest.raises(errors.PolicyDenied):
        web.follow(resolve=resolve).newest(NEVER)
    assert server.requests == []


def test_who_is_not_let_in_is_told_without_the_password(web: World, server: git_http.GitServer) -> None:
    """Also where the server repeats what it got."""
    server.let_in("me", "another")
    server.message = f"not {PASSWORD}".encode()
    web.secret = {"origins": server.url.encode(), "username": b"me", "password": PASSWORD.encode()}
    with pytest.raises(errors.SourceUnreachable) as caught:
        web.follow().newest(NEVER)
    assert PASSWORD not in str(caught.value)
    assert web.left() == set()


def test_a_token_is_a_bearer(web: World, server: git_http.GitServer) -> None:
    server.authorization = "Bearer t0ken-t0ken"
    web.secret = {"origins": server.url.encode(), "token": b"t0ken-t0ken\n"}
    assert web.follow().newest(NEVER).commit == web.written.head


def test_secrets_are_neither_in_the_copy_nor_on_a_command_line(web: World, server: git_http.GitServer) -> None:
    server.let_in("me", PASSWORD)
    web.secret = {"origins": server.url.encode(), "username": b"me", "password": PASSWORD.encode()}
    seen: list[bytes] = []
    ended = threading.Event()

    def look() -> None:
        """Read the command line of every process, as any user may, while git runs."""
        while not ended.is_set():
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    seen.append(Path(f"/proc/{pid}/cmdline").read_bytes())
                except OSError:
                    continue

    looking = threading.Thread(target=look)
    looking.start()
    try:
        web.follow().newest(NEVER)
    finally:
        ended.set()
        looking.join()
    assert any(b"ls-remote" in line or b"fetch" in line for line in seen)
    assert server.authorization is not None
    told = (PASSWORD.encode(), server.authorization.partition(" ")[2].encode())
    assert not any(value in line for line in seen for value in told)
    for path in web.folder.rglob("*"):
        assert not path.is_file() or not any(value in path.read_bytes() for value in told)


def test_a_server_that_an_unknown_authority_vouches_for_is_not_talked_to(tmp_path: Path) -> None:
    with ExitStack() as held:
        world = a_world(tmp_path, "https", held)
        world.written.commit()
        (tmp_path / "other").mkdir()
        world.secret["ca.crt"] = Authority(tmp_path / "other").ca_file.read_bytes()
        with pytest.raises(errors.SourceUnreachable, match="certificate"):
            world.follow().newest(NEVER)


def test_a_stop_ends_a_server_that_says_nothing(web: World, server: git_http.GitServer) -> None:
    server.hang = True
    stop = threading.Event()
    timer = threading.Timer(0.5, stop.set)
    timer.start()
    with pytest.raises(errors.Interrupted):
        web.follow().newest(stop)
    timer.join()
    assert web.left() == set()


def test_a_server_that_says_nothing_has_so_much_time(
    web: World, server: git_http.GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "ASK_TIMEOUT_S", 0.5)
    server.hang = True
    with pytest.raises(errors.SourceUnreachable, match=r"did not end within 0\.5 s"):
        web.follow().newest(NEVER)


# --- ssh -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as held:
        world = a_world(tmp_path, "ssh", held)
        world.written.commit()
        yield world


@pytest.mark.needs_sshd
def test_an_unknown_host_is_not_trusted(shell: World, tmp_path: Path) -> None:
    sshd.make_key(tmp_path / "other")
    kind, key, *_ = (tmp_path / "other.pub").read_text().split()
    place = shell.secret["known_hosts"].split()[0].decode()
    shell.secret["known_hosts"] = f"{place} {kind} {key}\n".encode()
    with pytest.raises(errors.SourceUnreachable, match="Host key verification failed"):
        shell.follow().newest(NEVER)
    assert shell.left() == set()


@pytest.mark.needs_sshd
def test_a_key_that_is_not_let_in_is_said(shell: World, tmp_path: Path) -> None:
    sshd.make_key(tmp_path / "other")
    shell.secret["identity"] = (tmp_path / "other").read_bytes()
    with pytest.raises(errors.SourceUnreachable, match="Permission denied"):
        shell.follow().newest(NEVER)


@pytest.mark.needs_sshd
def test_without_a_secret_nobody_is_trusted(shell: World) -> None:
    shell.secret = {}
    with pytest.raises(errors.SourceUnreachable, match="Host key verification failed"):
        shell.follow().newest(NEVER)


@pytest.mark.needs_sshd
def test_a_name_is_known_by_its_name_and_asked_at_its_checked_address(shell: World) -> None:
    url = GitUrl.parse(shell.url)
    shell.url = f"ssh://{url.user}@git.example:{url.port}{url.path}"
    shell.secret["origins"] = f"ssh://git.example:{url.port}".encode()
    shell.secret["known_hosts"] = shell.secret["known_hosts"].replace(b"127.0.0.1", b"git.example")

    def resolve(_: str, port: int) -> list[Endpoint]:
        return [Endpoint(2, ("127.0.0.1", port))]

    assert shell.follow(resolve=resolve).newest(NEVER).commit == shell.written.head


# --- signatures ------------------------------------------------------------------------------------------------------


def sign(world: World, key: Path, message: str = "signed") -> str:
    config = ("-c", "gpg.format=ssh", "-c", f"user.signingKey={key}")
    world.written.git("add", "--all")
    world.written.git(*config, "commit", "--quiet", "--allow-empty", "-S", "--message", message)
    return world.written.head


@pytest.mark.needs_sshd
def test_only_commits_that_somebody_signed_who_may_are_taken(local: World, tmp_path: Path) -> None:
    for name in ("good", "other"):
        sshd.make_key(tmp_path / name)
    signers = tmp_path / "allowed_signers"
    signers.write_text(f"person@example.org {(tmp_path / 'good.pub').read_text()}")
    good = sign(local, tmp_path / "good")
    following = local.follow(signers=signers)
    assert following.newest(NEVER).commit == good
    local.written.commit("not signed")
    for _ in range(2):
        with pytest.raises(errors.SignatureInvalid, match="no good ssh signature"):
            following.newest(NEVER)
    sign(local, tmp_path / "other")
    with pytest.raises(errors.SignatureInvalid, match="No principal matched"):
        following.newest(NEVER)
    again = sign(local, tmp_path / "good")
    assert following.newest(NEVER).commit == again
    signers.unlink()
    sign(local, tmp_path / "good")
    with pytest.raises(errors.DependencyNotReady, match="is not there"):
        following.newest(NEVER)
    assert local.left() == set()


@pytest.mark.needs_sshd
def test_an_expired_key_and_an_openpgp_signature_are_not_good(local: World, tmp_path: Path) -> None:
    sshd.make_key(tmp_path / "good")
    signers = tmp_path / "allowed_signers"
    signers.write_text(f'person@example.org valid-before="20200101" {(tmp_path / "good.pub").read_text()}')
    sign(local, tmp_path / "good")
    with pytest.raises(errors.SignatureInvalid):
        local.follow(signers=signers).newest(NEVER)
    script = tmp_path / "gpg"
    script.write_text(
        "#!/bin/sh\ncat >/dev/null\necho '[GNUPG:] SIG_CREATED ' >&2\n"
        "echo '-----BEGIN PGP SIGNATURE-----'; echo; echo 'eA=='; echo '-----END PGP SIGNATURE-----'\n"
    )
    script.chmod(0o755)
    local.written.git("-c", f"gpg.program={script}", "commit", "--allow-empty", "-qS", "-m", "openpgp")
    with pytest.raises(errors.SignatureInvalid):
        local.follow(signers=signers).newest(NEVER)
