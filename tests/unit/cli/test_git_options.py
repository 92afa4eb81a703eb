"""Flags on a repository: what they make of a command line, and what they refuse before anything is asked."""

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Call


@pytest.mark.parametrize("verb", ["apply", "run"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'PATH...' (or --git URL)."),
        (["--git", "--upload-pack=x"], "does not begin with a dash"),
        (["--git", "ext::sh -c x"], "no blanks and control characters"),
        (["--git", "git://host/repo"], "begins with one of https:// http:// ssh:// file://"),
        (["--git", "https://me:hunter2@host/repo"], "user and password do not belong into a URL"),
        (["--git", "https://host/repo", "--branch", "-x"], "is not the name of a branch"),
        (["--git", "https://host/repo", "--path", "../x"], "is not a path below the top of a repository"),
        (["--git", "https://host/repo", "--interval", "0s"], "--interval is at least 1s"),
        (["--git", "https://host/repo", "--git-secret", "x"], "--git-secret needs --secrets DIR"),
        (["--git", "https://host/repo", "--verify-commits", "/proc/none"], "does not exist"),
        (["--git", "https://host/repo", "--accept-commit", "0" * 39], "by all of its 40 or 64 digits"),
        (["--git", "https://host/repo", "--accept-commit", "0" * 40], "--accept-commit needs --verify-commits"),
        (["manifests", "--branch", "main"], "need --git URL"),
        (["manifests", "--path", "x"], "need --git URL"),
    ],
)
def test_a_slip_is_told(call: Call, tmp_path: Path, verb: str, arguments: list[str], message: str) -> None:
    answer = call(verb, *arguments, "--state", tmp_path / "state")
    assert answer.code == 2
    assert message in " ".join(answer.err.split())
    assert "hunter2" not in answer.err
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("verb", ["plan", "validate"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'PATH...' (or --git URL)."),
        (["--git", "https://host/repo", "--path", "../x"], "is not a path below the top of a repository"),
        (["--git", "https://host/repo", "--git-secret", "x"], "--git-secret needs --secrets DIR"),
        (["--git", "https://host/repo", "--interval", "1m"], "No such option"),
        (["manifests", "--branch", "main"], "need --git URL"),
    ],
)
def test_a_verb_that_looks_tells_a_slip_too(
    call: Call, tmp_path: Path, verb: str, arguments: list[str], message: str
) -> None:
    place = ("--state", tmp_path / "state") if verb == "plan" else ()
    answer = call(verb, *arguments, *place)
    assert (answer.code, message in " ".join(answer.err.split())) == (2, True)
