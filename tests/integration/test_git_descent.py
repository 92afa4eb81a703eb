"""A signed commit is not gone back behind: histories as people and servers make them, and a real git that looks."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from controller import errors
from controller.adapters.git import repository as adapter
from controller.model.git import Tip
from tests.fakes import sshd
from tests.integration.git_story import Story
from tests.integration.git_world import World, a_world
from tests.integration.shell import Shell

pytestmark = pytest.mark.needs_git
NEVER = threading.Event()


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    with ExitStack() as held:
        yield a_world(tmp_path, getattr(request, "param", "file"), held)


def commits(world: World, number: int) -> list[str]:
    """Push so many commits; return their ids."""
    return [world.written.commit(str(count)) for count in range(number)]


def descends(world: World, ancestor: str) -> bool:
    """Ask it of a new process, which may have a copy."""
    following = world.follow()
    tip = following.newest(NEVER)
    answer = following.descends(tip, ancestor, NEVER)
    assert following.newest(NEVER) == tip
    assert following.files(tip, "", NEVER) == []
    assert world.left() == set()
    return answer


@pytest.mark.parametrize("world", ["https", pytest.param("ssh", marks=pytest.mark.needs_sshd)], indirect=True)
def test_history_is_asked_for_with_the_credentials(world: World) -> None:
    first, _, _ = commits(world, 3)
    assert descends(world, first)


def test_every_commit_of_the_history_is_an_ancestor_and_no_other_is(world: World) -> None:
    """The copy is shallow: what it has not is asked for."""
    history = commits(world, adapter.DEPTHS[0] + 5)
    assert descends(world, history[-1])
    assert descends(world, history[-2])
    assert descends(world, history[0])
    world.written.git("reset", "--hard", "--quiet", history[3])
    assert not descends(world, history[4])
    assert descends(world, history[3])
    world.written.git("commit", "--quiet", "--amend", "--allow-empty", "--message", "rewritten")
    assert not descends(world, history[3])
    assert descends(world, history[2])
    assert not descends(world, "0" * 40)


def test_no_more_history_is_asked_for_than_the_bound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "DEPTHS", (2, 5))
    history = commits(world, 20)
    assert descends(world, history[-5])
    assert not descends(world, history[-6])
    assert descends(world, history[-5])
    kept = world.written.git("--git-dir", str(world.folder / "repository"), "rev-list", "--all").split()
    assert kept == history[:-6:-1]


def test_both_parents_of_a_merge_are_its_history(world: World) -> None:
    first, second = commits(world, 2)
    world.written.git("checkout", "--quiet", "-b", "side", first)
    aside = commits(world, 3)
    world.written.git("checkout", "--quiet", "main")
    world.written.git("merge", "--quiet", "--no-ff", "--no-edit", "side")
    assert all(descends(world, ancestor) for ancestor in (first, second, *aside))


def test_a_copy_that_is_lost_is_made_anew(world: World) -> None:
    history = commits(world, 4)
    following = world.follow()
    tip = following.newest(NEVER)
    for path in (world.folder / "repository" / "objects" / "pack").iterdir():
        path.unlink()
    with pytest.raises(errors.SourceUnreachable):
        following.descends(tip, history[0], NEVER)
    assert following.newest(NEVER) == Tip("main", history[-1])
    assert following.descends(tip, history[0], NEVER)


@pytest.fixture
def story(world: World, shell: Shell) -> Story:
    return Story(world, shell)


@pytest.mark.needs_sshd
def test_an_older_signed_commit_is_not_taken_until_a_person_says_so(story: Story, tmp_path: Path) -> None:
    """Unsigned commits lie between the signed ones, and a server shows an old one: a rollback that nobody asked for."""
    sshd.make_key(tmp_path / "key")
    signers = tmp_path / "allowed_signers"
    signers.write_text(f"person@example.org {(tmp_path / 'key.pub').read_text()}")
    sign = ("-c", "gpg.format=ssh", "-c", f"user.signingKey={tmp_path / 'key'}")
    git = story.written.git

    def signed(source: str) -> str:
        story.written.commit("not signed")
        story.tell("a", source)
        git("add", "--all")
        git(*sign, "commit", "--quiet", "--allow-empty", "-S", "--message", source)
        return story.written.head

    def apply(*flags: str) -> tuple[int, str | None]:
        return story.apply("--verify-commits", str(signers), *flags), story.serves()

    def refused(old: str, new: str) -> bool:
        return f"commit {old} does not descend from {new}" in story.shell.err

    first, second = signed("a"), signed("b")
    git("reset", "--hard", "--quiet", first)
    assert apply() == (0, "a")
    git("reset", "--hard", "--quiet", second)
    assert apply() == (0, "b")
    git("reset", "--hard", "--quiet", first)
    assert apply() == (4, "b")
    assert refused(first, second), story.shell.err
    assert f"main@sha1:{second} stays in force" in story.shell.err
    assert apply("--accept-commit", second) == (4, "b"), "another commit than the one that is shown"
    assert apply("--accept-commit", first) == (0, "a")
    assert apply() == (0, "a")
    git("reset", "--hard", "--quiet", second)
    assert apply("--accept-commit", first) == (0, "b")
    git("reset", "--hard", "--quiet", first)
    assert apply("--accept-commit", first) == (4, "b"), "the flag was left where it was"
    assert story.apply() == 0, "without --verify-commits a force push is followed"
    assert story.serves() == "a"
