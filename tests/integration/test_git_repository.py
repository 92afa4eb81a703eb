"""A repository that is followed, over every transport that there is, and our copy of it."""

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from controller import errors
from controller.adapters.git import process
from controller.adapters.git import repository as adapter
from controller.adapters.git.process import Failed, Run
from controller.adapters.git.remote import Remote
from controller.adapters.git.repository import GitRepository
from controller.adapters.sources.address_policy import AddressPolicy
from controller.model.git import Tip
from controller.model.git_url import GitUrl
from tests.fakes import git_http
from tests.fakes.git_repository import GitRepository as Written
from tests.integration.git_world import CLOCK, NEVER, World, a_world

pytestmark = pytest.mark.needs_git


@pytest.fixture(params=["file", "http", "https", pytest.param("ssh", marks=pytest.mark.needs_sshd)])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    with ExitStack() as held:
        yield a_world(tmp_path, request.param, held)


# --- over every transport --------------------------------------------------------------------------------------------


def test_the_life_of_a_branch(world: World) -> None:
    """First commit, push, force push, deleted branch, and back again."""
    world.written.write("images/a.yaml", "one")
    world.written.write("b.yaml", "two")
    first = world.written.commit()
    following = world.follow()
    tip = following.newest(NEVER)
    assert tip == Tip("main", first)
    assert world.contents(following, tip) == {"images/a.yaml": b"one", "b.yaml": b"two"}
    assert world.contents(following, tip, "images") == {"images/a.yaml": b"one"}
    assert following.files(tip, "nothing", NEVER) == []
    world.written.write("images/a.yaml", "three")
    second = world.written.commit()
    tip = following.newest(NEVER)
    assert (tip.commit, world.contents(following, tip, "images/a.yaml")) == (second, {"images/a.yaml": b"three"})
    world.written.git("reset", "--hard", "--quiet", first)
    tip = following.newest(NEVER)
    assert (tip.commit, world.contents(following, tip, "images")) == (first, {"images/a.yaml": b"one"})
    world.written.git("checkout", "--quiet", "--detach")
    world.written.git("branch", "--quiet", "-D", "main")
    with pytest.raises(errors.SourceNotFound):
        following.newest(NEVER)
    world.written.git("checkout", "--quiet", "-b", "main", second)
    assert following.newest(NEVER).commit == second
    assert world.left() == set()


def test_a_branch_that_has_not_moved_costs_one_question_and_no_fetch(tmp_path: Path) -> None:
    with ExitStack() as held:
        world = World(Written(tmp_path / "served" / "written"), tmp_path / "git", "")
        server = held.enter_context(git_http.serving(world.written.path.parent))
        world.url = f"{server.url}/written"
        world.written.commit()
        following = world.follow()
        following.newest(NEVER)
        server.requests.clear()
        following.newest(NEVER)
        assert [line.partition(" ")[2].rpartition("/")[2] for line in server.requests] == [
            "refs?service=git-upload-pack",
            "git-upload-pack",
        ]


def test_an_empty_repository_and_a_branch_that_is_not_there_are_said(world: World) -> None:
    with pytest.raises(errors.SourceNotFound, match="is empty, or its HEAD is on no branch"):
        world.follow().newest(NEVER)
    world.written.commit()
    with pytest.raises(errors.SourceNotFound, match="has no branch other"):
        world.follow("other").newest(NEVER)


def test_a_branch_by_name(world: World) -> None:
    world.written.commit()
    world.written.git("checkout", "--quiet", "-b", "team/b")
    commit = world.written.commit()
    world.written.git("checkout", "--quiet", "main")
    assert world.follow("team/b").newest(NEVER) == Tip("team/b", commit)


def test_a_repository_that_went_away_is_said_and_comes_back(world: World) -> None:
    commit = world.written.commit()
    following = world.follow()
    following.newest(NEVER)
    world.written.path.rename(world.written.path.with_name("away"))
    with pytest.raises(errors.SourceUnreachable, match="git ended with status"):
        following.newest(NEVER)
    world.written.path.with_name("away").rename(world.written.path)
    assert following.newest(NEVER).commit == commit


def test_an_address_that_the_policy_does_not_allow_is_not_asked(world: World) -> None:
    world.written.commit()
    if world.url.startswith("file"):
        remote = Remote(GitUrl.parse(world.url), world.folder, AddressPolicy(), [world.folder], CLOCK)
        following = GitRepository(remote, None, world.folder, CLOCK)
    else:
        following = world.follow(policy=AddressPolicy())
    with pytest.raises(errors.PolicyDenied, match="the source policy does not allow"):
        following.newest(NEVER)


# --- the copy --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_both_kinds_of_repository(tmp_path: Path, object_format: str) -> None:
    with ExitStack() as held:
        world = a_world(tmp_path, "file", held, object_format)
        world.written.write("a.yaml", "one")
        commit = world.written.commit()
        following = world.follow()
        tip = following.newest(NEVER)
        assert (tip.commit, world.contents(following, tip)) == (commit, {"a.yaml": b"one"})


def test_links_and_submodules_are_told_from_files(local: World) -> None:
    local.written.write("a.yaml", "one")
    (local.written.path / "link.yaml").symlink_to("/etc/passwd")
    local.written.git("init", "--quiet", "sub")
    local.written.git("-C", "sub", "commit", "--quiet", "--allow-empty", "-m", "x")
    commit = local.written.commit()
    following = local.follow()
    found = {file.path: file for file in following.files(following.newest(NEVER), "", NEVER)}
    assert following.newest(NEVER).commit == commit
    assert {path: (file.is_file, file.is_link) for path, file in found.items()} == {
        "a.yaml": (True, False),
        "link.yaml": (False, True),
        "sub": (False, False),
    }


def test_many_files_come_in_their_order(local: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_BATCH_BYTES", 1000)
    given = {f"{number:03d}.yaml": f"{number}\n" * number for number in range(200)}
    for name, text in given.items():
        local.written.write(name, text)
    local.written.commit()
    following = local.follow()
    assert local.contents(following, following.newest(NEVER)) == {name: text.encode() for name, text in given.items()}


def test_bytes_are_those_of_the_commit_whatever_attributes_say(local: World) -> None:
    local.written.write(".gitattributes", "*.yaml text eol=crlf ident export-subst filter=x\n")
    local.written.write("a.yaml", "$Id$\n$Format:%H$\n")
    local.written.commit()
    following = local.follow()
    assert local.contents(following, following.newest(NEVER))["a.yaml"] == b"$Id$\n$Format:%H$\n"


def test_a_new_process_goes_on_with_the_copy(local: World) -> None:
    local.written.commit()
    local.follow().newest(NEVER)
    mark = local.folder / "repository" / "mark"
    mark.touch()
    commit = local.written.commit()
    assert local.follow().newest(NEVER).commit == commit
    assert mark.exists()


@pytest.mark.parametrize("damage", ["lock", "half a pack", "no objects", "another repository", "not a repository"])
def test_a_copy_that_is_odd_is_made_anew(local: World, damage: str) -> None:
    local.written.write("a.yaml", "one")
    local.written.commit()
    local.follow().newest(NEVER)
    copy = local.folder / "repository"
    (local.folder / "keys-left").mkdir()
    if damage == "lock":
        (copy / "shallow.lock").touch()
    elif damage == "half a pack":
        (copy / "objects" / "pack" / "tmp_pack_x").touch()
    elif damage == "no objects":
        for path in (copy / "objects" / "pack").iterdir():
            path.unlink()
    elif damage == "another repository":
        (copy / "goldmaster-url").write_text("file:///elsewhere")
    else:
        (copy / "HEAD").unlink()
    following = local.follow()
    tip = following.newest(NEVER)
    assert local.contents(following, tip) == {"a.yaml": b"one"}
    assert local.left() == set()


def test_a_copy_that_breaks_while_it_is_used_is_mended_by_the_next_look(local: World) -> None:
    local.written.write("a.yaml", "one")
    local.written.commit()
    following = local.follow()
    tip = following.newest(NEVER)
    for path in (local.folder / "repository" / "objects" / "pack").iterdir():
        path.unlink()
    with pytest.raises(errors.SourceUnreachable, match="is broken"):
        following.files(tip, "", NEVER)
    assert local.contents(following, following.newest(NEVER)) == {"a.yaml": b"one"}


def test_the_copy_does_not_grow_with_the_number_of_fetches(local: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "MAX_PACKS", 2)
    following = local.follow()
    for number in range(6):
        local.written.write("a.yaml", os.urandom(50_000).hex())
        tip = Tip("main", local.written.commit(str(number)))
        assert following.newest(NEVER) == tip
    size = sum(path.stat().st_size for path in (local.folder / "repository").rglob("*") if path.is_file())
    assert size < 4 * 100_000, "six revisions of 100,000 bytes each were fetched"
    assert list(local.contents(following, tip)) == ["a.yaml"]


def test_more_than_is_allowed_is_not_fetched(local: World) -> None:
    local.written.write("large", os.urandom(200_000).hex())
    local.written.commit()
    with pytest.raises(errors.SourceUnreachable):
        local.follow(max_pack_bytes=100_000).newest(NEVER)
    size = sum(path.stat().st_size for path in local.folder.rglob("*") if path.is_file())
    assert size < 200_000


def test_a_pack_that_unfolds_to_more_than_memory_is_refused(tmp_path: Path) -> None:
    """Each byte of a delta may repeat 64 KiB: 218 bytes of a server made git take 3 GB."""
    times = 2**30 // 2**16
    sizes = b"\x80\x80\x04" + b"\x80\x80\x80\x80\x04"  # of what it is a delta to, and of what comes of it
    delta = sizes + b"\x80" * times
    base, named = bytes(2**16), hashlib.sha1(b"blob 65536\0" + bytes(2**16), usedforsecurity=False).digest()
    head = bytes([0xF0 | len(delta) & 15, 0x80 | len(delta) >> 4 & 127, len(delta) >> 11])
    pack = b"PACK" + struct.pack(">II", 2, 2) + b"\xb0\x80\x20" + zlib.compress(base)
    pack += head + named + zlib.compress(delta)
    pack += hashlib.sha1(pack, usedforsecurity=False).digest()
    where = {"GIT_DIR": str(tmp_path / "copy")}
    process.run(Run(("init", "--quiet", "--bare"), environment=where), CLOCK)
    with pytest.raises(Failed, match=r"[Oo]ut of memory"):
        process.run(Run(("index-pack", "--stdin"), environment=where, given=pack), CLOCK)


def test_hooks_and_submodules_of_the_server_do_nothing(local: World, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "reference-transaction", "post-merge"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (hooks / name).chmod(0o755)
    local.written.write(".gitmodules", f'[submodule "x"]\n\tpath = x\n\turl = "ext::touch {mark}"\n')
    local.written.write("hooks/post-checkout", "x")
    local.written.commit()
    following = local.follow()
    following.newest(NEVER)
    assert not mark.exists()
    assert not (local.folder / "repository" / "hooks").exists()
