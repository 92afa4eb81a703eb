"""What is remembered of signed commits, and which one may come next."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from controller import errors
from controller.gitops.descent import Descent
from controller.gitops.followed import Verified
from controller.gitops.state import State
from controller.model.git import RepositoryFile, Tip
from controller.model.git_url import GitUrl
from controller.ports import StopToken
from controller.settings import GitSettings
from tests.fakes.clock import FakeClock

NEVER = threading.Event()
URL = GitUrl.parse("https://git.example/repo.git")
ONE, TWO, THREE, OTHER = ("1" * 40, "2" * 40, "3" * 40, "f" * 40)


class History:
    """One line of commits; whatever else is asked for has none in its history. `asked`: how often it was looked for."""

    def __init__(self, *commits: str) -> None:
        self.commits = commits
        self.asked = 0

    def descends(self, tip: Tip, ancestor: str, stop: StopToken) -> bool:
        self.asked += 1
        known = self.commits
        return {tip.commit, ancestor} <= set(known) and known.index(ancestor) <= known.index(tip.commit)

    def newest(self, stop: StopToken) -> Tip:
        raise NotImplementedError

    def files(self, tip: Tip, below: str, stop: StopToken) -> Sequence[RepositoryFile]:
        raise NotImplementedError

    def read(self, files: Sequence[RepositoryFile], stop: StopToken) -> Iterator[tuple[RepositoryFile, bytes]]:
        raise NotImplementedError


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(tmp_path, FakeClock()) as opened:
        yield opened


def descent(state: State, history: History, accepted: str | None = None, branch: str | None = None) -> Descent:
    return Descent(history, GitSettings(URL, branch, accepted=accepted), state)


def remembered(state: State, branch: str | None = None) -> str | None:
    known = state.verified(URL.text, branch)
    return None if known is None else known.commit


def test_the_first_is_taken_and_each_that_descends_from_the_last(state: State) -> None:
    judge = descent(state, History(ONE, TWO, THREE))
    for commit in (ONE, ONE, TWO, THREE):
        judge.check(Tip("main", commit), NEVER)
        assert remembered(state) == commit


@pytest.mark.parametrize("commit", [ONE, OTHER])
def test_an_older_one_and_another_one_are_refused_and_searched_for_once(state: State, commit: str) -> None:
    history = History(ONE, TWO, THREE)
    judge = descent(state, history)
    judge.check(Tip("main", TWO), NEVER)
    for _ in range(3):
        with pytest.raises(errors.SourceChanged, match=f"--accept-commit {commit} takes it, once$"):
            judge.check(Tip("main", commit), NEVER)
    assert (remembered(state), history.asked) == (TWO, 1)
    judge.check(Tip("main", THREE), NEVER)
    assert remembered(state) == THREE


def test_a_new_process_remembers(state: State) -> None:
    descent(state, History(ONE, TWO)).check(Tip("main", TWO), NEVER)
    state.write_followed(None)
    with pytest.raises(errors.SourceChanged):
        descent(state, History(ONE, TWO)).check(Tip("main", ONE), NEVER)


def test_what_a_server_calls_its_head_is_no_way_around(state: State) -> None:
    """Without a branch in the settings the server names one; a branch that a person names has its own memory."""
    descent(state, History(ONE, TWO)).check(Tip("main", TWO), NEVER)
    with pytest.raises(errors.SourceChanged):
        descent(state, History(ONE, TWO)).check(Tip("old", ONE), NEVER)
    descent(state, History(ONE, TWO), branch="old").check(Tip("old", ONE), NEVER)
    assert (remembered(state), remembered(state, "old")) == (TWO, ONE)


def test_one_that_a_person_accepts_is_taken_once(state: State) -> None:
    """Also by a process that still has the flag when a server shows that commit once more."""
    judge = descent(state, History(OTHER, THREE), accepted=OTHER)
    judge.check(Tip("main", ONE), NEVER)
    with pytest.raises(errors.SourceChanged):
        judge.check(Tip("main", TWO), NEVER)
    judge.check(Tip("main", OTHER), NEVER)
    judge.check(Tip("main", OTHER), NEVER)
    judge.check(Tip("main", THREE), NEVER)
    for again in (judge, descent(state, History(OTHER, THREE), accepted=OTHER)):
        with pytest.raises(errors.SourceChanged, match="done once, and is not done twice"):
            again.check(Tip("main", OTHER), NEVER)
    assert state.verified(URL.text, None) == Verified(THREE, OTHER)


def test_a_record_of_a_newer_version_is_read() -> None:
    assert Verified.read('{"commit": "1", "new": 2}') == Verified("1")
    assert Verified.read(Verified("1", "2").text) == Verified("1", "2")
