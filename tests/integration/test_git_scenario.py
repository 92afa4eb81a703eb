"""The story of a followed repository by the command line, over every transport: real git, http-backend and sshd."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fakes import sshd
from tests.integration.git_story import Story
from tests.integration.git_world import PASSWORD, a_world
from tests.integration.shell import Shell

pytestmark = pytest.mark.needs_git


SSH = pytest.param("ssh", marks=pytest.mark.needs_sshd)


@pytest.fixture
def story(shell: Shell, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Story]:
    with ExitStack() as held:
        story = Story(a_world(tmp_path, request.param, held), shell)
        story.entrust()
        yield story


@pytest.mark.parametrize("story", ["file", "http", "https", SSH], indirect=True)
def test_a_push_becomes_an_image_and_a_revert_a_rollback_without_a_byte(story: Story) -> None:
    story.tell("a", "a")
    first = story.written.commit()
    assert story.apply() == 0
    assert (story.serves(), story.revision()) == ("a", f"main@sha1:{first}")

    story.tell("a", "b")
    second = story.written.commit()
    assert story.apply() == 0
    assert (story.serves(), story.revision()) == ("b", f"main@sha1:{second}")

    (story.shell.sources / "a").unlink()
    story.written.git("revert", "--no-edit", "HEAD")
    assert story.apply() == 0
    assert (story.serves(), story.revision()) == ("a", f"main@sha1:{story.written.head}")


@pytest.mark.parametrize("story", ["file", "http", "https", SSH], indirect=True)
def test_a_wrong_commit_is_told_and_the_last_good_one_stays_in_force(story: Story) -> None:
    story.tell("a", "a")
    good = story.written.commit()
    assert story.apply() == 0

    story.tell("a", "b")
    story.tell("wrong", "b", format="rew")
    wrong = story.written.commit()
    assert story.apply() == 3
    assert f"{story.world.url}//images/wrong.json:1: spec.format: must be one of" in story.shell.err
    assert f"commit main@sha1:{wrong} is wrong: images/wrong.json:1: spec.format" in story.shell.err
    assert f"; main@sha1:{good} stays in force" in story.shell.err
    assert (story.serves(), story.revision()) == ("a", f"main@sha1:{good}")
    assert f"commit main@sha1:{wrong} is wrong" in story.shell.err, "get says it too"

    story.tell("wrong", "b")
    mended = story.written.commit()
    assert story.apply() == 0
    assert (story.serves(), story.revision()) == ("b", f"main@sha1:{mended}")
    assert story.shell.err == ""


@pytest.mark.parametrize("story", ["https", SSH], indirect=True)
def test_a_secret_that_is_changed_is_taken_up_and_never_shown(story: Story, tmp_path: Path) -> None:
    """Who is not let in any more is told, the last good commit stays in force, and no file has what the Secret says."""
    story.tell("a", "a")
    first = story.written.commit()
    assert story.apply() == 0
    right, told = dict(story.world.secret), [PASSWORD.encode()]
    if "identity" in right:
        sshd.make_key(tmp_path / "other")
        story.world.secret["identity"] = (tmp_path / "other").read_bytes()
        told = [value.splitlines()[2] for value in (right["identity"], story.world.secret["identity"])]
    else:
        story.world.secret["password"] = b"another22222"
        told.append(b"another22222")
    story.entrust()
    story.tell("a", "b")
    story.written.commit()
    assert story.apply() == 4
    shown = story.shell.out + story.shell.err
    assert f"; main@sha1:{first} stays in force" in shown
    assert (story.serves(), story.revision()) == ("a", f"main@sha1:{first}")

    story.world.secret = right
    story.entrust()
    assert story.apply() == 0
    assert story.serves() == "b"
    shown += story.shell.out + story.shell.err
    kept = b"".join(path.read_bytes() for path in story.shell.state.rglob("*") if path.is_file())
    assert not any(value in kept or value.decode() in shown for value in told)
