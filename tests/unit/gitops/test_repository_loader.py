"""The manifests of one commit: what is read of it, how often, and what keeps it from being read at all."""

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence

import pytest

from controller import errors
from controller.gitops import repository_loader
from controller.gitops.repository_loader import RepositoryLoader
from controller.model.git import RepositoryFile, Tip
from controller.ports import StopToken
from tests.unit.gitops.manifests import ADMISSION

URL = "https://git.example/repo.git"
NEVER = threading.Event()


def manifest(name: str) -> bytes:
    head = "apiVersion: goldmaster.dev/v1alpha1\nkind: Image\n"
    return f"{head}metadata: {{name: {name}}}\nspec: {{url: 'http://images.example/{name}'}}\n".encode()


class Commit:
    """A repository with one commit, in memory. `read_paths`: what was asked for."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.contents = dict(files)
        self.read_paths: list[str] = []

    def newest(self, stop: StopToken) -> Tip:
        return Tip("main", "a" * 40)

    def descends(self, tip: Tip, ancestor: str, stop: StopToken) -> bool:
        return tip.commit == ancestor

    def files(self, tip: Tip, below: str, stop: StopToken) -> Sequence[RepositoryFile]:
        return [
            RepositoryFile(path, hashlib.sha1(data).hexdigest(), len(data), is_file=True)
            for path, data in sorted(self.contents.items())
            if not below or path == below or path.startswith(f"{below}/")
        ]

    def read(self, files: Sequence[RepositoryFile], stop: StopToken) -> Iterator[tuple[RepositoryFile, bytes]]:
        for file in files:
            self.read_paths.append(file.path)
            yield file, self.contents[file.path]


def load(commit: Commit, below: str = "") -> list[str]:
    tree = RepositoryLoader(commit, ADMISSION, URL, below).load(commit.newest(NEVER), NEVER)
    assert set(tree.revisions.values()) <= {f"main@sha1:{'a' * 40}"}
    return [wanted.file.removeprefix(f"{URL}//") for wanted in tree.objects]


def test_names_are_those_that_a_directory_would_be_read_for() -> None:
    paths = ["a.yaml", "b.yml", "c.json.yaml", "d/e.yaml", ".git.yaml", "d/.x/f.yaml", "g.txt", "h.yaml.orig"]
    commit = Commit({path: manifest(f"i{number}") for number, path in enumerate(paths)})
    assert load(commit) == ["a.yaml", "b.yml", "c.json.yaml", "d/e.yaml"]
    assert load(commit, "d") == ["d/e.yaml"]
    assert load(commit, "d/.x") == ["d/.x/f.yaml"], "what is named is meant"
    assert load(commit, "b.yml") == ["b.yml"]


def test_a_path_that_is_not_there_is_said() -> None:
    with pytest.raises(errors.SourceNotFound, match="has no images"):
        load(Commit({"a.yaml": manifest("a")}), "images")


def test_what_an_earlier_commit_had_is_not_read_again() -> None:
    commit = Commit({"a.yaml": manifest("a"), "b.yaml": manifest("b")})
    loader = RepositoryLoader(commit, ADMISSION, URL, "")
    loader.load(commit.newest(NEVER), NEVER)
    commit.contents["b.yaml"] = manifest("c")
    commit.read_paths.clear()
    tree = loader.load(commit.newest(NEVER), NEVER)
    assert commit.read_paths == ["b.yaml"]
    assert [wanted.key.name for wanted in tree.objects] == ["a", "c"]


def test_too_many_manifests_are_refused_before_any_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = Commit({"a.yaml": manifest("a"), "b.yaml": manifest("b")})
    for name, least in (("MAX_FILES", 1), ("MAX_BYTES", 100)):
        with monkeypatch.context() as patched:
            patched.setattr(repository_loader, name, least)
            with pytest.raises(errors.TooLarge):
                load(commit)
    assert commit.read_paths == []


def test_a_stop_ends_reading() -> None:
    commit, stop = Commit({"a.yaml": manifest("a")}), threading.Event()
    stop.set()
    with pytest.raises(errors.Interrupted):
        RepositoryLoader(commit, ADMISSION, URL, "").load(commit.newest(NEVER), stop)
