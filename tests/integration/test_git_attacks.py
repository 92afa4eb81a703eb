"""What somebody who may push, or who has the server, tries against whoever follows a repository."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

from controller import errors
from controller.adapters.git import repository as adapter
from controller.gitops import crds
from controller.gitops.repository_loader import RepositoryLoader
from controller.gitops.tree import Tree
from controller.model.git import Tip
from tests.fakes import git_http
from tests.fakes.git_repository import GitRepository as Written
from tests.integration.git_world import World

pytestmark = pytest.mark.needs_git
NEVER = threading.Event()
MANIFEST = (
    "apiVersion: goldmaster.dev/v1alpha1\nkind: Image\nmetadata: {name: a}\nspec: {url: 'https://images.example/a'}\n"
)


@pytest.fixture
def web(tmp_path: Path, server: git_http.GitServer) -> World:
    world = World(Written(tmp_path / "served" / "written"), tmp_path / "git", f"{server.url}/written")
    world.written.write("a.yaml", MANIFEST)
    world.written.commit()
    return world


def read(world: World, below: str = "") -> Tree:
    repository = world.follow()
    return RepositoryLoader(repository, crds.admission(), world.url, below).load(repository.newest(NEVER), NEVER)


def raw(world: World, *arguments: str, given: bytes) -> str:
    """Run git with bytes that no name of a person's has."""
    command = ["git", "-C", str(world.written.path), *arguments]
    done = subprocess.run(command, input=given, capture_output=True, check=True, timeout=60)
    return done.stdout.decode().strip()


# --- who may push ----------------------------------------------------------------------------------------------------


def test_names_of_other_branches_are_no_text_and_nothing_comes_of_it(local: World) -> None:
    """A name that ends like the one that is asked for is listed with it."""
    commit = local.written.commit()
    names = [
        b"refs/heads/\xff/HEAD",
        b"refs/heads/refs/heads/main\xfe/refs/heads/main",
        b"refs/heads/x/refs/heads/main",
    ]
    lines = b"".join(b"create " + name + b" " + commit.encode() + b"\n" for name in names)
    raw(local, "update-ref", "--stdin", given=lines)
    assert local.follow().newest(NEVER) == Tip("main", commit)
    assert local.follow("main").newest(NEVER) == Tip("main", commit)


@pytest.mark.parametrize("name", ["--upload-pack=x", "a\u202eb", "\N{SNOWMAN}"])
def test_a_head_with_an_odd_name_is_refused(local: World, name: str) -> None:
    commit = local.written.commit()
    (local.written.path / ".git" / "packed-refs").write_text(f"{commit} refs/heads/{name}\n")
    (local.written.path / ".git" / "HEAD").write_text(f"ref: refs/heads/{name}\n")
    with pytest.raises(errors.GoldmasterError, match="is not the name of a branch"):
        local.follow().newest(NEVER)


def test_a_pointer_of_lfs_is_no_file_without_manifests(local: World) -> None:
    """It would read as a deletion of what the file declared."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 100\n"
    local.written.write("a.yaml", pointer)
    local.written.commit()
    (problem,) = read(local).problems
    assert problem.message == "is a pointer of Git LFS, not a manifest: keep manifests out of LFS"


def test_a_name_that_stands_twice_is_told(local: World) -> None:
    """Git can be made to; each tool shows one of the two, and not all the same one."""
    one, two = (raw(local, "hash-object", "-w", "--stdin", given=text) for text in (MANIFEST.encode(), b"# nothing\n"))
    entries = b"".join(b"100644 a.yaml\0" + bytes.fromhex(blob) for blob in (one, two))
    tree = raw(local, "hash-object", "-w", "-t", "tree", "--literally", "--stdin", given=entries)
    local.written.git("update-ref", "refs/heads/main", local.written.git("commit-tree", "-m", "twice", tree))
    assert [problem.message for problem in read(local).problems] == ["stands twice in the commit"]


def test_names_that_leave_the_tree_or_differ_in_case_open_nothing(local: World, tmp_path: Path) -> None:
    blob = raw(local, "hash-object", "-w", "--stdin", given=MANIFEST.encode())
    entries = b"100644 A.yaml\0" + bytes.fromhex(blob) + b"100644 a.yaml\0" + bytes.fromhex(blob)
    inner = raw(local, "hash-object", "-w", "-t", "tree", "--literally", "--stdin", given=entries)
    entries = b"40000 ..\0" + bytes.fromhex(inner) + b"40000 .git\0" + bytes.fromhex(inner)
    tree = raw(local, "hash-object", "-w", "-t", "tree", "--literally", "--stdin", given=entries)
    local.written.git("update-ref", "refs/heads/main", local.written.git("commit-tree", "-m", "out", tree))
    before = set(tmp_path.rglob("*.yaml"))
    found = read(local)
    assert (found.objects, found.problems) == ((), ()), "what begins with a dot is left out"
    assert set(tmp_path.rglob("*.yaml")) == before


def test_a_path_that_is_a_link_is_told(local: World) -> None:
    local.written.write("images/a.yaml", MANIFEST)
    (local.written.path / "linked").symlink_to("images")
    local.written.commit()
    assert len(read(local, "images").objects) == 1
    with pytest.raises(errors.SourceNotFound, match="linked is a symbolic link or a submodule"):
        read(local, "linked")


def test_trees_that_unfold_without_end_are_bounded(local: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten trees that each name the next one ten times are ten thousand million files."""
    monkeypatch.setattr(adapter, "MAX_LISTING_BYTES", 2**20)
    inner, kind = raw(local, "hash-object", "-w", "--stdin", given=b"x"), b"100644 "
    for _ in range(10):
        entries = b"".join(kind + b"%d\0" % number + bytes.fromhex(inner) for number in range(10))
        inner, kind = raw(local, "hash-object", "-w", "-t", "tree", "--stdin", given=entries), b"40000 "
    local.written.git("update-ref", "refs/heads/main", local.written.git("commit-tree", "-m", "bomb", inner))
    with pytest.raises(errors.TooLarge):
        read(local)


# --- who has the server ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_a_server_gets_nothing_that_this_machine_is_logged_in_with(
    web: World, server: git_http.GitServer, scheme: str
) -> None:
    server.authorization, server.asks_for = "nobody", scheme
    with pytest.raises(errors.SourceUnreachable):
        web.follow().newest(NEVER)
    assert server.requests
    assert server.told == []


def test_half_a_pack_is_not_left_on_the_disk(
    web: World, server: git_http.GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look at a server that is slow enough would leave as much as one fetch may bring."""
    web.written.write("large", os.urandom(2**20).hex())
    web.written.commit()
    following = web.follow()
    monkeypatch.setattr(adapter, "FETCH_TIMEOUT_S", 3.0)
    server.stall = True
    for _ in range(2):
        with pytest.raises(errors.SourceUnreachable, match="did not end within 3 s"):
            following.newest(NEVER)
        assert list(web.folder.iterdir()) == []
    server.stall = False
    monkeypatch.setattr(adapter, "FETCH_TIMEOUT_S", 60.0)
    assert following.newest(NEVER).commit == web.written.head


def test_too_large_a_pack_is_not_left_on_the_disk(local: World) -> None:
    local.written.write("large", os.urandom(200_000).hex())
    local.written.commit()
    with pytest.raises(errors.SourceUnreachable):
        local.follow(max_pack_bytes=100_000).newest(NEVER)
    assert not any(local.folder.rglob("tmp_*"))


def test_old_servers_cannot_point_elsewhere(web: World, server: git_http.GitServer, tmp_path: Path) -> None:
    """Files served as they are, with alternates on another server: neither is asked for."""
    web.written.git("update-server-info")
    with git_http.serving(tmp_path / "served") as elsewhere:
        info = web.written.path / ".git" / "objects" / "info"
        (info / "http-alternates").write_text(f"{elsewhere.url}/written/.git/objects\n")
        (info / "alternates").write_text(f"{elsewhere.url}/written/.git/objects\n")
        web.url = f"{server.url}/written/.git"
        server.dumb = True
        with pytest.raises(errors.SourceUnreachable, match="dumb http transport"):
            web.follow().newest(NEVER)
        assert elsewhere.requests == []
