"""What Git calls things: revisions as a status shows them, ids of file contents, commits and what is in them."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

COMMIT = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z", re.ASCII)
"""The whole id of a commit."""
DIRTY = "-dirty"
"""Ends the revision of a manifest whose bytes are not those of the commit that is checked out."""
LINK = "link:"
"""Begins the id of a symbolic link, so that it is never taken for that of a file."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The commit that is checked out in a working copy. `revision` as the function below writes it."""

    revision: str
    top: str
    """The working copy, without symbolic links."""
    blobs: Mapping[str, str]
    """Path below `top` -> Git's id of the bytes that the commit has there; of a link it begins with `link:`."""


@dataclass(frozen=True, slots=True)
class Tip:
    """The newest commit of a branch."""

    branch: str
    commit: str


@dataclass(frozen=True, slots=True)
class RepositoryFile:
    """One name in a commit. `blob` is Git's id of its bytes; the path is as the commit has it, which may be odd."""

    path: str
    blob: str
    size_bytes: int
    is_file: bool
    """False for a symbolic link and for a submodule."""
    is_link: bool = False


def revision(branch: str | None, commit: str) -> str:
    """Write a commit as Flux does: `main@sha1:<40 hex>`; without a branch `sha1:<40 hex>`."""
    named = f"{'sha1' if len(commit) == hashlib.sha1(usedforsecurity=False).digest_size * 2 else 'sha256'}:{commit}"
    return f"{branch}@{named}" if branch else named


def short(revision: str) -> str:
    """Write a revision for a column: `main@sha1:` and the first twelve digits, and whether it is dirty."""
    head, colon, digits = revision.rpartition(":")
    digits, dash, dirty = digits.partition("-")
    return f"{head}{colon}{digits[:12]}{dash}{dirty}"


def blob_ids(data: bytes) -> frozenset[str]:
    """Return what Git calls a file with these bytes: in a repository of SHA-1 ids, and in one of SHA-256 ids."""
    head = b"blob %d\0" % len(data)
    return frozenset(
        {hashlib.sha1(head + data, usedforsecurity=False).hexdigest(), hashlib.sha256(head + data).hexdigest()}
    )
