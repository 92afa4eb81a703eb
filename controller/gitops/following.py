"""A repository that is followed: looked at from time to time, and in force as a whole commit or not at all.

A thread of its own asks the server and reads the commit; the loop that takes manifests judges it. Whatever is wrong
with the newest commit, or keeps us from knowing it, the last good one stays in force.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from controller import errors
from controller.gitops.descent import Descent
from controller.gitops.desired import Guards
from controller.gitops.followed import Followed
from controller.gitops.git_ports import Repository
from controller.gitops.repository_loader import RepositoryLoader
from controller.gitops.state import State
from controller.gitops.tree import Problem, Tree
from controller.model import foreign_text, git
from controller.model.admission import Admission
from controller.model.git import Tip
from controller.plan import retry
from controller.ports import StopToken
from controller.settings import GitSettings

log = structlog.get_logger()

_INVALID = errors.InvalidSpec.exit_code


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one look found: a commit and what it says, or why there is none."""

    tip: Tip | None = None
    tree: Tree | None = None
    trouble: errors.GoldmasterError | None = None


class Following:
    """`start`, `stop` and `accept` belong to one thread; between the two another one looks.

    Without `start`, `look` looks once in the caller's thread.
    """

    def __init__(self, repository: Repository, admission: Admission, settings: GitSettings, state: State) -> None:
        self._repository = repository
        self._loader = RepositoryLoader(repository, admission, settings.url.text, settings.below)
        self._settings = settings
        self._state = state
        self._descent = Descent(repository, settings, state)
        self._lock = threading.Lock()
        self._sighting: Sighting | None = None
        self._good: tuple[Tip, Tree] | None = None
        self._said = ""
        self._looks = 0
        self._stop, self._wake = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self.problems: tuple[Problem, ...] = ()
        """What is wrong with the newest commit."""
        self.trouble: errors.GoldmasterError | None = None
        """What kept us from knowing it."""

    @property
    def exit_code(self) -> int:
        """What a command ends with that could not put the newest commit into force; 0 where it is in force."""
        if self.problems:
            return _INVALID
        return 0 if self.trouble is None else self.trouble.exit_code

    # --- looking ---------------------------------------------------------------------------------------------------

    def start(self, changed: Callable[[], None]) -> None:
        """Look now and every interval, and call `changed` after each look. Called once."""
        self._thread = threading.Thread(target=self._run, args=(changed,), name="repository", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look at once."""
        self._wake.set()

    def stop(self) -> None:
        """End; a git that runs is ended with it. Returns when nothing is called any more. Twice is fine."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def look(self, stop: StopToken) -> None:
        """Ask the server, and read the commit if it is another one than before. What goes wrong is kept, not raised.

        Raises:
            Interrupted.

        """
        try:
            sighting = self._sight(stop)
        except errors.Interrupted:
            raise
        except errors.GoldmasterError as exc:
            sighting = Sighting(trouble=exc)
        except Exception:
            log.exception("repository.bug", url=self._settings.url.text)
            sighting = Sighting(trouble=errors.GoldmasterError("a bug of Goldmaster; the log has the traceback"))
        with self._lock:
            self._sighting = sighting

    def _sight(self, stop: StopToken) -> Sighting:
        tip = self._repository.newest(stop)
        with self._lock:
            seen = self._sighting
        if seen is not None and seen.tip == tip:
            return seen
        if self._settings.allowed_signers is not None:
            self._descent.check(tip, stop)
        return Sighting(tip, self._loader.load(tip, stop))

    def _run(self, changed: Callable[[], None]) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self.look(self._stop)
            except errors.Interrupted:
                return
            changed()
            self._looks += 1
            pause = self._settings.interval.total_seconds() * retry.jitter(f"{self._settings.url.text}#{self._looks}")
            self._wake.wait(pause)

    # --- judging ---------------------------------------------------------------------------------------------------

    def accept(self, others: Sequence[Tree], guards: Guards) -> tuple[Tree, ...]:
        """Return the tree in force, none where no commit was good since the start: the state then stays as it is.

        `others`: the trees that are taken together with it. A commit is in force as a whole: with anything wrong in it,
        or between it and what is in force, none of it is.
        """
        with self._lock:
            sighting = self._sighting
        if sighting is None:
            return ()
        self.trouble, self.problems = sighting.trouble, ()
        if sighting.tip is not None and sighting.tree is not None:
            self.problems = self._wrong(sighting.tree, others, guards)
            if not self.problems:
                self._good = sighting.tip, sighting.tree
        self._record(sighting)
        return () if self._good is None else (self._good[1],)

    def _wrong(self, tree: Tree, others: Sequence[Tree], guards: Guards) -> tuple[Problem, ...]:
        if tree.problems:
            return tree.problems
        between = self._state.problems_with((*others, tree), guards)
        return tuple(problem for problem in between if problem.file.startswith(f"{tree.root}//"))

    def _record(self, sighting: Sighting) -> None:
        """Keep for people how it stands, and log what changed."""
        known, url = self._state.followed(), self._settings.url.text
        before = known if known is not None and known.url == url else None
        revision = git.revision(self._good[0].branch, self._good[0].commit) if self._good else None
        trouble = foreign_text.printable(self._why(sighting))
        stands = Followed(url, revision or (before.revision if before else None), trouble)
        if stands != known:
            self._state.write_followed(stands)
        said = trouble or f"{revision} is in force"
        if said == self._said:
            return
        self._said = said
        if self.problems:
            log.error("repository.refused", url=url, message=trouble)
        elif trouble:
            log.warning("repository.trouble", url=url, message=trouble)
        else:
            log.info("repository.in_force", url=url, message=revision)

    def _why(self, sighting: Sighting) -> str:
        if self.problems and sighting.tip is not None:
            more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
            first = replace(self.problems[0], file=self.problems[0].file.removeprefix(f"{self._settings.url.text}//"))
            return f"commit {git.revision(sighting.tip.branch, sighting.tip.commit)} is wrong: {first}{more}"
        return "" if self.trouble is None else str(self.trouble)
