"""What standalone mode needs of Git. The adapters implement it; `wiring` joins the two."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from controller.model.git import Committed, RepositoryFile, Tip
from controller.ports import StopToken


class Repository(Protocol):
    """One branch of a repository that is followed. One thread uses it."""

    def newest(self, stop: StopToken) -> Tip:
        """Ask which commit the branch has now, and have it here. Costs one request where it has not moved.

        Raises:
            SourceUnreachable: the server could not be asked, or refuses us; says in which words. SourceNotFound: it has
            no such branch. PolicyDenied, DependencyNotReady: as for sources. SignatureInvalid: the commit must be
            signed and is not. Interrupted, Usage (no git), TooLarge.

        """
        ...

    def descends(self, tip: Tip, ancestor: str, stop: StopToken) -> bool:
        """Return whether a commit is in the history of the one that `newest` returned last, or is that one.

        Asks the server for as much of the history as it takes, within bounds: False may also mean that it lies
        further back. Raises what `newest` raises.
        """
        ...

    def files(self, tip: Tip, below: str, stop: StopToken) -> Sequence[RepositoryFile]:
        """Return what the commit, which `newest` returned last, has at or below a path; empty is all of it.

        Raises:
            SourceUnreachable: our copy of it is broken; the next `newest` mends that. Interrupted, TooLarge.

        """
        ...

    def read(self, files: Sequence[RepositoryFile], stop: StopToken) -> Iterator[tuple[RepositoryFile, bytes]]:
        """Yield the bytes of these files, in their order. Raises what `files` raises."""
        ...


class WorkingCopies(Protocol):
    """Working copies of people, which are never changed."""

    def look(self, path: Path) -> Committed | None:
        """Return what is checked out around PATH (at least what lies below it), None where there is nothing to say.

        That is outside of Git, before the first commit, and where git is missing or fails, which is logged once.
        """
        ...
