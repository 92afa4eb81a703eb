"""Options on the repository that is followed. They are many, so a verb gets them as one value."""

import functools
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from controller import errors
from controller.cli import options
from controller.model.git_url import GitUrl, check_below, check_branch, check_commit
from controller.model.manifest import DEFAULT_NAMESPACE
from controller.settings import GitSettings

MIN_INTERVAL = timedelta(seconds=1)


class RepositoryUrl(click.ParamType[GitUrl]):
    """The URL of a repository, or ssh's short form."""

    name = "repository"

    def convert(self, value: options.Value, param: click.Parameter | None, ctx: click.Context | None) -> GitUrl:
        """Read it. What is refused is not repeated: it may hold a password."""
        if isinstance(value, GitUrl):
            return value
        try:
            return GitUrl.parse(str(value))
        except errors.InvalidSpec as exc:
            self.fail(str(exc), param, ctx)


class Checked(click.ParamType[str]):
    """A text that a function of the model reads."""

    def __init__(self, name: str, check: Callable[[str], str]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: options.Value, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read it."""
        try:
            return self._check(str(value))
        except errors.InvalidSpec as exc:
            self.fail(str(exc), param, ctx)


_FLAGS_OF_ONE = (
    options.option(
        "--git",
        "git_url",
        type=RepositoryUrl(),
        metavar="URL",
        help="A repository of manifests, of which the newest commit counts: https://, http://, ssh:// (or "
        "git@host:path), or file:// below an --allow-path. The source policy holds for it as for sources, and "
        "the proxies, but for ssh.",
    ),
    options.option(
        "--branch",
        type=Checked("branch", check_branch),
        metavar="NAME",
        help="Of the repository. Default: the branch that the server calls its HEAD.",
    ),
    options.option(
        "--path",
        "below",
        type=Checked("path", check_below),
        metavar="PATH",
        help="Only what lies below this path of the repository is manifests.",
    ),
    options.option(
        "--git-secret",
        metavar="[NS/]NAME",
        help="A Secret of --secrets, of type goldmaster.dev/source, with what the server wants to know: username and "
        "password, token, ca.crt ... over http(s); identity and known_hosts over ssh.",
    ),
    options.option(
        "--verify-commits",
        "allowed_signers",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Take only commits with a good ssh signature of somebody in this file of allowed signers (ssh-keygen(1)), "
        "and only such that descend from the last one that the state remembers.",
    ),
)
_FLAGS = (
    *_FLAGS_OF_ONE,
    options.option(
        "--interval",
        type=options.Duration(),
        metavar="DURATION",
        help="Ask for the newest commit about so often. Default: 1m.",
    ),
    options.option(
        "--accept-commit",
        "accepted",
        type=Checked("commit", check_commit),
        metavar="COMMIT",
        help="With --verify-commits: take this commit, once, although it does not descend from the last one: the "
        "branch was rewritten, and that was meant.",
    ),
)


def repository(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags; the command gets them as `git`, None where no repository is followed."""
    return options.added(_with_value(command), _FLAGS)


def commit(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a verb that looks at the newest commit and knows of no other."""
    return options.added(_with_value(command), _FLAGS_OF_ONE)


def _with_value(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def with_value(
        *,
        paths: Sequence[Path],
        git_url: GitUrl | None,
        branch: str | None,
        below: str | None,
        git_secret: str | None,
        allowed_signers: Path | None,
        interval: timedelta | None = None,
        accepted: str | None = None,
        **rest: options.Value,
    ) -> options.Value:
        if accepted is not None and allowed_signers is None:
            raise errors.Usage("--accept-commit needs --verify-commits")
        if git_url is None:
            if any(value is not None for value in (branch, below, interval, git_secret, allowed_signers)):
                raise errors.Usage("--branch, --path, --interval, --git-secret and --verify-commits need --git URL")
            if not paths:
                raise click.UsageError("Missing argument 'PATH...' (or --git URL).")
            return command(paths=paths, git=None, **rest)
        if interval is not None and interval < MIN_INTERVAL:
            raise errors.Usage("--interval is at least 1s")
        settings = GitSettings(
            git_url,
            branch,
            below or "",
            interval or GitSettings(git_url).interval,
            None if git_secret is None else _secret(git_secret, rest.get("secrets_dir")),
            allowed_signers,
            accepted,
        )
        return command(paths=paths, git=settings, **rest)

    return with_value


def _secret(text: str, secrets_dir: Path | None) -> tuple[str, str]:
    if secrets_dir is None:
        raise errors.Usage("--git-secret needs --secrets DIR")
    namespace, slash, name = text.rpartition("/")
    return namespace if slash else DEFAULT_NAMESPACE, name
