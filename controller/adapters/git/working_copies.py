"""Working copies of people: which commit is checked out, and which bytes it has. Read only; nothing in them is run.

Only git's plumbing over the object database is used. It looks at no index, starts no filter, hook or file system
monitor, and may reach no remote (a partial clone would else fetch through whatever its configuration says): so copies
that another user owns, as in a container, can be read without trusting their configuration.
"""

import os
import threading
from pathlib import Path

import structlog

from controller import errors, logs
from controller.adapters.git import process
from controller.adapters.git.process import Failed, Run
from controller.model import git
from controller.model.git import Committed
from controller.ports import Clock

log = structlog.get_logger()

MAX_LISTING_BYTES = 2**27
"""Of the names of a commit: about a million files."""
_LINK = "120000"


class GitWorkingCopies:
    """Implements `gitops.git_ports.WorkingCopies` by the system's git. What it said of a commit is remembered."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[str, Committed]] = {}
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def look(self, path: Path) -> Committed | None:
        """Return what is checked out around PATH. See `gitops.git_ports.WorkingCopies`."""
        real = os.path.realpath(path)
        top = _top_of(real)
        if top is None or process.found() is None:
            return None
        below = os.path.relpath(real, top)
        try:
            return self._look(top, "" if below == "." else below)
        except Failed as exc:
            self._tell(top, str(exc))
        except errors.GoldmasterError as exc:
            self._tell(top, str(exc))
        return None

    def _look(self, top: str, below: str) -> Committed | None:
        head = self._head(top)
        if head is None:
            return None
        branch, commit = head
        revision = git.revision(branch, commit)
        with self._lock:
            known = self._known.get((top, below))
        if known is not None and known[0] == revision:
            return known[1]
        found = Committed(revision, top, self._blobs(top, commit, below))
        with self._lock:
            self._known[top, below] = revision, found
        return found

    def _head(self, top: str) -> tuple[str | None, str] | None:
        """Return branch (None: none is checked out) and commit; None before the first commit."""
        try:
            commit = self._git(top, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").strip()
        except Failed as exc:
            if exc.status == 1 and not exc.said.strip():
                return None
            raise
        try:
            branch = self._git(top, "symbolic-ref", "--quiet", "HEAD").strip().removeprefix("refs/heads/")
        except Failed as exc:
            if exc.status != 1:
                raise
            branch = ""
        return branch or None, commit

    def _blobs(self, top: str, commit: str, below: str) -> dict[str, str]:
        """Return the id of each file of the commit below a path; of a symbolic link, that of where it points to."""
        listed = self._git(top, "ls-tree", "-r", "-z", "--full-tree", commit, "--", *([below] if below else []))
        found = {}
        for entry in listed.split("\0"):
            facts, tab, name = entry.partition("\t")
            if tab:
                mode, kind, blob = facts.split(" ")
                if kind == "blob":
                    found[name] = git.LINK + blob if mode == _LINK else blob
        return found

    def _git(self, top: str, *arguments: str) -> str:
        what = Run(("-C", top, *arguments), settings=(("safe.directory", "*"),), max_output_bytes=MAX_LISTING_BYTES)
        return process.run(what, self._clock).decode(errors="surrogateescape")

    def _tell(self, top: str, message: str) -> None:
        """Say once why a working copy has no revision."""
        with self._lock:
            new = top not in self._told
            self._told.add(top)
        if new:
            log.warning("manifests.revision_unknown", path=top, message=logs.clip(message))


def _top_of(path: str) -> str | None:
    """Return the directory at or above `path` that has a `.git`."""
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    while not os.path.lexists(os.path.join(folder, ".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
    return folder
