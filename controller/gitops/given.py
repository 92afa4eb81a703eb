"""What a verb that only looks is given to read: PATHs, and the newest commit of a repository."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from controller.gitops import said
from controller.gitops.git_ports import Repository
from controller.gitops.loader import Loader
from controller.gitops.repository_loader import RepositoryLoader
from controller.gitops.said import Said
from controller.model import git
from controller.model.admission import Admission
from controller.ports import StopToken
from controller.settings import GitSettings


class Given:
    """Reads once. One thread uses it."""

    def __init__(self, loader: Loader, paths: Sequence[Path]) -> None:
        self.trees = loader.load_all(paths)
        """That of the repository last."""
        self.revision: str | None = None
        """The commit that was read; None without a repository."""
        self._commit: dict[str, bytes] = {}
        self._root: str | None = None

    def add_newest(
        self, repository: Repository, admission: Admission, settings: GitSettings, stop: StopToken, *, keep: bool
    ) -> None:
        """Read the newest commit too; `keep` its bytes for `said`. Called once.

        Raises:
            What `Repository.newest` and `RepositoryLoader.load` raise.

        """
        loader = RepositoryLoader(repository, admission, settings.url.text, settings.below)
        tip = repository.newest(stop)
        self.revision = git.revision(tip.branch, tip.commit)
        tree = loader.load(tip, stop)
        self.trees = (*self.trees, tree)
        self._root = tree.root
        if keep:
            self._commit = loader.contents(said.files(tree), stop)

    def said(self) -> Iterator[Said]:
        """Yield the documents as they were written."""
        return said.read(self.trees, self._bytes_of)

    def _bytes_of(self, file: str) -> bytes:
        if self._root is None or not file.startswith(f"{self._root}//"):
            return Path(file).read_bytes()
        if file not in self._commit:
            raise FileNotFoundError(file)
        return self._commit[file]
