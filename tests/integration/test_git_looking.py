"""`plan` and `validate` on a repository: what a branch would do, with nothing written anywhere."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from controller.cli import main
from tests.fakes import sshd
from tests.integration.git_story import Story
from tests.integration.git_world import a_world
from tests.integration.shell import Shell

pytestmark = pytest.mark.needs_git


class Looking(Story):
    """A person who asks before they merge, with an eye on the disk."""

    def looks(self, verb: str, *flags: str) -> int:
        """Run a verb that must leave no trace."""
        room = Path(tempfile.gettempdir())
        before, temporary = self.kept(), set(room.glob("goldmaster-*"))
        secret = ("--secrets", str(self.secrets), "--git-secret", "git") if self.world.secret else ()
        place = ("--git", self.world.url, "--path", "images", "--allow-network", "127.0.0.0/8", *secret)
        known = ("--state", str(self.shell.state)) if verb == "plan" else ()
        code = main.run([verb, *place, "--allow-path", str(self.shell.root), *known, *flags])
        self.shell.out, self.shell.err = self.shell.told()
        assert self.kept() == before
        assert set(room.glob("goldmaster-*")) == temporary
        return code

    def kept(self) -> dict[Path, bytes]:
        """Return every file of the state and beside it, but the server's own, and those that SQLite reads by."""
        files = (path for path in self.shell.root.rglob("*") if path.is_file() and "served" not in path.parts)
        return {path: path.read_bytes() for path in files if not path.name.endswith(("-shm", "-wal"))}

    def steps(self, *flags: str) -> list[tuple[str, str]]:
        """Return what `plan` would do with each object, and why."""
        assert self.looks("plan", "-o", "json", *flags) == 0, self.shell.err
        steps = json.loads(self.shell.out)
        return [(step["object"], step["why"]) for step in steps if "storage" not in step["object"]]


@pytest.fixture
def story(shell: Shell, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Looking]:
    with ExitStack() as held:
        looking = Looking(a_world(tmp_path, getattr(request, "param", "file"), held), shell)
        looking.entrust()
        yield looking


@pytest.mark.parametrize("story", ["file", "https", pytest.param("ssh", marks=pytest.mark.needs_sshd)], indirect=True)
def test_what_a_branch_would_do(story: Looking) -> None:
    story.tell("a", "a")
    first = story.written.commit()
    assert story.steps() == [("default/a", "new")]
    assert story.looks("validate") == 0
    assert story.shell.err == f"1 valid, 0 problems in main@sha1:{first}\n"
    assert story.looks("plan", "--branch", "none") == 4
    assert "has no branch none; nothing of it is in force yet" in story.shell.err


def test_a_branch_against_what_is_in_force(story: Looking) -> None:
    """Also while an instance has the state, and one that is wrong."""
    story.tell("a", "a")
    story.tell("gone", "b")
    story.written.commit()
    assert story.apply() == 0
    story.written.git("checkout", "--quiet", "-b", "next")
    (story.written.path / "images" / "gone.json").unlink()
    story.tell("b", "b")
    commit = story.written.commit()
    story.written.git("checkout", "--quiet", "main")
    assert story.steps() == [("default/a", "unchanged"), ("default/gone", "unchanged")]
    assert dict(story.steps("--branch", "next")) == {
        "default/a": "unchanged",
        "default/b": "new",
        "default/gone": "manifest gone",
    }
    assert f"2 to do, 1 as it should be by next@sha1:{commit}" in _table(story)
    story.written.git("checkout", "--quiet", "next")
    story.tell("b", "b", format="rew")
    wrong = story.written.commit()
    for verb in ("plan", "validate"):
        assert story.looks(verb, "--branch", "next") == 3
        told = story.shell.out + story.shell.err
        assert f"{story.world.url}//images/b.json:1: spec.format: must be one of qcow2, raw, iso, vmdk" in told
        assert f"next@sha1:{wrong}" in told


def _table(story: Looking) -> str:
    assert story.looks("plan", "--branch", "next") == 0
    return story.shell.err


def test_a_path_beside_a_repository_is_read_with_it(story: Looking) -> None:
    story.tell("a", "a")
    story.written.commit()
    own = story.shell.manifests / "own.json"
    own.write_text((story.written.path / "images" / "a.json").read_text())
    for verb in ("plan", "validate"):
        assert story.looks(verb, str(story.shell.manifests)) == 3
        assert "stands also in" in story.shell.out + story.shell.err


@pytest.mark.needs_sshd
def test_who_signed_it_is_looked_at_and_nothing_is_remembered(story: Looking, tmp_path: Path) -> None:
    sshd.make_key(tmp_path / "key")
    signers = tmp_path / "allowed_signers"
    signers.write_text(f"person@example.org {(tmp_path / 'key.pub').read_text()}")
    story.tell("a", "a")
    story.written.commit()
    for verb in ("plan", "validate"):
        assert story.looks(verb, "--verify-commits", str(signers)) == 4
        assert "has no good ssh signature" in story.shell.err
    sign = ("-c", "gpg.format=ssh", "-c", f"user.signingKey={tmp_path / 'key'}")
    story.written.git(*sign, "commit", "--quiet", "--amend", "-S", "--no-edit")
    first = story.written.head
    assert story.apply("--verify-commits", str(signers)) == 0
    story.written.git(*sign, "commit", "--quiet", "--amend", "-S", "--message", "rewritten")
    for _ in range(2):
        assert story.looks("plan", "--verify-commits", str(signers)) == 4
        assert f"does not descend from {first}" in story.shell.err
    assert story.looks("validate", "--verify-commits", str(signers)) == 0, "there is no state to compare it with"


def test_no_room_for_a_copy_is_said(story: Looking, monkeypatch: pytest.MonkeyPatch) -> None:
    story.tell("a", "a")
    story.written.commit()

    def full(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    for verb in ("plan", "validate"):
        assert story.looks(verb) == 2
        assert "no room for a copy of the repository: No usable temporary directory found" in story.shell.err
