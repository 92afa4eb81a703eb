"""Where a Git repository is: refused or canonical, as for the URL of a source. It reaches git's command line.

git has transports that run commands (`ext::`) and takes what begins with a dash for an option; neither gets through.
"""

import re
from dataclasses import dataclass
from typing import Self

from controller import errors
from controller.model.git import COMMIT
from controller.model.url import MAX_LENGTH, SourceUrl, host_and_port, refuse_odd_characters

SCHEMES = ("https", "http", "ssh", "file")
SSH_PORT = 22

_SHORT = re.compile(r"(?P<user>[^@:/]+)@(?P<host>\[[^]]*\]|[^:/@\[]+):(?P<path>[^:].*)\Z", re.ASCII | re.DOTALL)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}\Z", re.ASCII)
_PATH = re.compile(r"[A-Za-z0-9._~+/@=-]+\Z", re.ASCII)
# git-check-ref-format(1), and no more than what people name branches with
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=@#%/-]{0,254}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class GitUrl:
    """The URL of a repository, without any password."""

    scheme: str
    """One of SCHEMES."""
    user: str
    """For ssh; empty for the others."""
    host: str
    """As `SourceUrl.host`; empty for file."""
    port: int
    """0 for file."""
    path: str
    text: str
    """The canonical URL: what git gets, and what people see."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL, or ssh's short form `git@host:path`. Raises InvalidSpec, whose message is fit for a person."""
        if len(text) > MAX_LENGTH:
            raise errors.InvalidSpec(f"a URL has at most {MAX_LENGTH} characters, got {len(text)}")
        refuse_odd_characters(text)
        if text.startswith("-"):
            raise errors.InvalidSpec("the URL of a repository does not begin with a dash")
        if short := _SHORT.match(text):
            return cls._ssh(f"{short['user']}@{short['host']}", short["path"])
        scheme, separator, rest = text.partition("://")
        if text.startswith("/"):
            scheme, separator = "file", "://"
        if not separator or scheme.lower() not in SCHEMES:
            raise errors.InvalidSpec(
                f"the URL of a repository begins with one of {' '.join(f'{known}://' for known in SCHEMES)}, or is "
                "user@host:path for ssh"
            )
        if scheme.lower() == "ssh":
            authority, slash, path = rest.partition("/")
            return cls._ssh(authority, slash + path)
        return cls._source(text)

    @classmethod
    def _source(cls, text: str) -> Self:
        """Read http, https and file as for a source, which has stricter rules than git."""
        if "@" in text.partition("://")[2].partition("/")[0]:
            raise errors.InvalidSpec(
                "user and password do not belong into a URL, where everybody reads them: --git-secret"
            )
        url = SourceUrl.parse(text)
        if url.query:
            raise errors.InvalidSpec("the URL of a repository has no query")
        path = url.file_path if url.scheme == "file" else url.path
        if url.scheme != "file":
            _check_host(url.host)
        _check_path(path)
        return cls(url.scheme, "", url.host, url.effective_port, path, url.text)

    @classmethod
    def _ssh(cls, authority: str, path: str) -> Self:
        user, at, place = authority.rpartition("@")
        if not at or not _USER.match(user):
            raise errors.InvalidSpec("a repository over ssh names its user, and no password: ssh://git@host/path")
        host, port = host_and_port(place)
        _check_host(host)
        _check_path(path)
        shown = f"{user}@[{host}]" if ":" in host else f"{user}@{host}"
        if not path.startswith("/"):  # where that begins is the server's to say, and a URL could not say it
            return cls("ssh", user, host, SSH_PORT, path, f"{shown}:{path}")
        colon = "" if port in {None, SSH_PORT} else f":{port}"
        return cls("ssh", user, host, port or SSH_PORT, path, f"ssh://{shown}{colon}{path}")

    @property
    def origin(self) -> str:
        """Who gets to see a secret: `scheme://host:port`, the port always there."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return "file://" if self.scheme == "file" else f"{self.scheme}://{host}:{self.port}"


def check_branch(name: str) -> str:
    """Return the name of a branch. Raises InvalidSpec for what Git would not take, or could take for something else."""
    parts = name.split("/")
    bad = (
        not _BRANCH.match(name)
        or any(not part or part.startswith(".") or part.endswith((".", ".lock")) for part in parts)
        or ".." in name
        or "@{" in name
    )
    if bad:
        raise errors.InvalidSpec(f"{name[:80]!r} is not the name of a branch")
    return name


def check_commit(text: str) -> str:
    """Return the whole id of a commit. Raises InvalidSpec for a shortened one, which can be made to fit."""
    if not COMMIT.match(text):
        raise errors.InvalidSpec("a commit is named by all of its 40 or 64 digits, 0 to 9 and a to f")
    return text


def check_below(path: str) -> str:
    """Return a path below the top of a repository, empty for all of it. Raises InvalidSpec."""
    trimmed = path.removeprefix("./").rstrip("/")
    if trimmed in {"", "."}:
        return ""
    parts = trimmed.split("/")
    if not trimmed.isprintable() or any(part in {"", ".", ".."} for part in parts) or trimmed.startswith(("-", ":")):
        raise errors.InvalidSpec(
            f"{path[:80]!r} is not a path below the top of a repository: no .. and no slash at the beginning"
        )
    return trimmed


def _check_host(host: str) -> None:
    if host.startswith("-") or host.endswith("."):
        # a name that ends with a dot is looked up under another name than the one that was checked
        raise errors.InvalidSpec("the host of a repository neither begins with a dash nor ends with a dot")


def _check_path(path: str) -> None:
    if not _PATH.match(path) or path.strip("/") == "" or path.startswith("-") or ".." in path.split("/"):
        raise errors.InvalidSpec("the path of a repository has letters, digits and . _ ~ + = @ - / in it, and no ..")
