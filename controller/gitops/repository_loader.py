"""The manifests of one commit, as a tree: the names that the loader of directories would read, straight from Git."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from controller import errors
from controller.gitops import manifest_file
from controller.gitops.git_ports import Repository
from controller.gitops.loader import MAX_FILE_BYTES, SUFFIXES
from controller.gitops.manifest_file import FileContent
from controller.gitops.tree import Problem, Tree
from controller.model import git
from controller.model.admission import Admission
from controller.model.git import RepositoryFile, Tip
from controller.ports import StopToken

MAX_FILES = 100_000
MAX_BYTES = 2**28
"""Of all manifests of a commit."""


class RepositoryLoader:
    """Reads commits; a file that an earlier commit had too, under the same name, is not parsed again.

    `root` names the repository: what once came from it and is gone is a deletion, whichever branch or path it was.
    """

    def __init__(self, repository: Repository, admission: Admission, root: str, below: str) -> None:
        self._repository = repository
        self._admission = admission
        self._root = root
        self._below = below
        self._read: dict[tuple[str, str], FileContent] = {}
        self._manifests: dict[str, RepositoryFile] = {}

    def load(self, tip: Tip, stop: StopToken) -> Tree:
        """Return what a commit says.

        Raises:
            SourceNotFound: it has nothing at the path. TooLarge. Interrupted. Others as `Repository.files`.

        """
        files = self._repository.files(tip, self._below, stop)
        if self._below and not files:
            raise errors.SourceNotFound(f"commit {tip.commit} has no {self._below}")
        if any(file.path == self._below and not file.is_file for file in files):
            raise errors.SourceNotFound(f"in commit {tip.commit} {self._below} is a symbolic link or a submodule")
        problems = list(self._odd(files))
        manifests = [file for file in files if self._is_manifest(file) and file.is_file and _fits(file)]
        if len(manifests) > MAX_FILES or sum(file.size_bytes for file in manifests) > MAX_BYTES:
            raise errors.TooLarge(
                f"commit {tip.commit} has more than {MAX_FILES} manifests or {MAX_BYTES} bytes of them"
            )
        unread = [file for file in manifests if (file.path, file.blob) not in self._read]
        for file, data in self._repository.read(unread, stop):
            if stop.is_set():
                raise errors.Interrupted("stopped while manifests were read")
            self._read[file.path, file.blob] = manifest_file.parse(self._shown(file), data, self._admission)
        # what this commit has not is forgotten
        self._read = {(file.path, file.blob): self._read[file.path, file.blob] for file in manifests}
        self._manifests = {self._shown(file): file for file in manifests}
        contents = {self._shown(file): self._read[file.path, file.blob] for file in manifests}
        tree = manifest_file.gather(self._root, contents, problems)
        return replace(tree, revisions=dict.fromkeys(contents, git.revision(tip.branch, tip.commit)))

    def contents(self, names: Iterable[str], stop: StopToken) -> dict[str, bytes]:
        """Return the bytes of manifests of the commit that was loaded last, by their names in its tree.

        Links and files that are too large are left out. Raises what `Repository.read` raises.
        """
        wanted = [self._manifests[name] for name in names if name in self._manifests]
        return {self._shown(file): data for file, data in self._repository.read(wanted, stop)}

    def _odd(self, files: Sequence[RepositoryFile]) -> Iterator[Problem]:
        seen: set[str] = set()
        for file in files:
            if not self._is_manifest(file):
                continue
            if file.path in seen:  # trees can be made so, and each tool shows another one of the two
                yield Problem(self._shown(file), 0, "", "stands twice in the commit")
            seen.add(file.path)
            if file.is_link:
                yield Problem(self._shown(file), 0, "", "is a symbolic link, which is not followed in a repository")
            elif file.is_file and not _fits(file):
                message = f"has more than {MAX_FILE_BYTES} bytes, too many for manifests"
                yield Problem(self._shown(file), 0, "", message)

    def _is_manifest(self, file: RepositoryFile) -> bool:
        """Whether the loader of directories would read a file of this name: hidden ones are left out."""
        names = file.path[len(self._below) :].strip("/").split("/")
        return file.path.endswith(SUFFIXES) and not any(name.startswith(".") for name in names)

    def _shown(self, file: RepositoryFile) -> str:
        return f"{self._root}//{file.path}"


def _fits(file: RepositoryFile) -> bool:
    return file.size_bytes <= MAX_FILE_BYTES
