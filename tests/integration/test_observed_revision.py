"""Which commit an image says it comes from: a real Git working copy, a real state."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from controller import wiring
from controller.adapters.clock import SystemClock
from controller.adapters.git.working_copies import GitWorkingCopies
from controller.gitops.loop import Standalone
from controller.model.resource import Image
from controller.settings import Settings, SourceSettings, StandaloneSettings
from tests.fakes.git_repository import GitRepository
from tests.integration.house import WAIT_S, running, until

pytestmark = pytest.mark.needs_git


class House:
    """A working copy of manifests, a directory of source files and a state directory."""

    def __init__(self, root: Path, object_format: str = "sha1") -> None:
        self.repository = GitRepository(root / "manifests", object_format)
        self.sources, self.state_dir = root / "sources", root / "state"
        self.sources.mkdir()
        self.path = self.repository.path
        self.mode = StandaloneSettings(self.state_dir, scan_interval=timedelta(seconds=0.2))
        self.settings = Settings(source=SourceSettings(allowed_paths=(self.sources,)))

    def write(self, name: str, *, file: str = "", comment: str = "", **spec: object) -> None:
        (self.sources / name).write_bytes(name.encode() * 600)
        lines = [
            f"  {field}: {value}" for field, value in {"url": self.sources / name, "format": "raw", **spec}.items()
        ]
        head = ["apiVersion: goldmaster.dev/v1alpha1", "kind: Image", f"metadata: {{name: {name}}}", "spec:"]
        self.repository.write(file or f"{name}.yaml", "\n".join([*head, *lines, comment]) + "\n")

    @contextmanager
    def instance(self) -> Iterator[Standalone]:
        with wiring.standalone(self.settings, self.mode) as standalone:
            yield standalone

    def apply(self, path: Path | None = None) -> dict[str, Image]:
        """Converge once; return the images by name."""
        with self.instance() as standalone:
            trees = standalone.load([path or self.path])
            assert [str(problem) for tree in trees for problem in tree.problems] == []
            standalone.take(trees)
            assert standalone.converge(WAIT_S, threading.Event()).ended
            return {image.meta.key.name: image for image in standalone.state.images()}

    def revisions(self, path: Path | None = None) -> dict[str, str | None]:
        return {name: image.status.observed_revision for name, image in self.apply(path).items()}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_what_is_committed_has_its_commit(tmp_path: Path, object_format: str) -> None:
    house = House(tmp_path, object_format)
    house.write("a")
    commit = house.repository.commit()
    assert house.revisions() == {"a": f"main@{object_format}:{commit}"}


def test_a_directory_below_the_top_is_compared_with_its_part_of_the_commit(house: House) -> None:
    house.write("a", file="deep/er/a.yaml")
    house.write("b")
    commit = house.repository.commit()
    assert house.revisions(house.path / "deep") == {"a": f"main@sha1:{commit}"}


def test_without_a_branch_it_is_the_commit_alone(house: House) -> None:
    house.write("a")
    commit = house.repository.commit()
    house.repository.git("checkout", "--quiet", "--detach")
    assert house.revisions() == {"a": f"sha1:{commit}"}


def test_what_is_in_no_commit_is_dirty_and_nothing_else_is(house: House) -> None:
    house.write("same")
    house.write("edited")
    house.repository.write(".gitignore", "ignored.yaml\n")
    commit = house.repository.commit()
    house.write("edited", comment="# another line")
    house.write("new")
    house.write("ignored")
    dirty = f"main@sha1:{commit}-dirty"
    assert house.revisions() == {"same": dirty[:-6], "edited": dirty, "new": dirty, "ignored": dirty}


def test_bits_that_hide_an_edit_from_git_status_hide_nothing(house: House) -> None:
    house.write("a")
    commit = house.repository.commit()
    house.repository.git("update-index", "--assume-unchanged", "a.yaml")
    house.write("a", comment="# another line")
    assert house.repository.git("status", "--porcelain") == ""
    assert house.revisions() == {"a": f"main@sha1:{commit}-dirty"}


def test_what_was_dirty_gets_the_commit_that_it_becomes_part_of(house: House) -> None:
    house.write("a")
    first = house.repository.commit()
    house.write("a", description="edited")
    assert house.revisions() == {"a": f"main@sha1:{first}-dirty"}
    second = house.repository.commit()
    assert house.revisions() == {"a": f"main@sha1:{second}"}


def test_a_commit_that_changes_other_manifests_writes_nothing_here(house: House) -> None:
    house.write("a")
    house.write("b")
    first = house.repository.commit()
    before = house.apply()
    house.write("b", description="edited")
    second = house.repository.commit()
    after = house.apply()
    assert after["a"] == before["a"]
    assert after["a"].status.observed_revision == f"main@sha1:{first}"
    assert after["b"].status.observed_revision == f"main@sha1:{second}"


def test_a_stalled_image_gets_its_commit_too(house: House) -> None:
    house.write("a", checksum=f"sha256:{'0' * 64}")
    dirty = house.repository.commit("nothing here")
    house.write("a", checksum=f"sha256:{'0' * 64}", comment="# another line")
    assert house.revisions() == {"a": f"main@sha1:{dirty}-dirty"}
    commit = house.repository.commit()
    assert house.revisions() == {"a": f"main@sha1:{commit}"}


def test_no_repository_and_no_commit_are_no_revision(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.write("a")
    assert house.revisions() == {"a": None}
    commit = house.repository.commit()
    assert house.revisions() == {"a": f"main@sha1:{commit}"}
    (house.path / ".git").rename(tmp_path / "elsewhere")
    house.write("a", description="edited")
    assert house.revisions() == {"a": None}


def test_a_link_counts_with_what_it_leads_to(house: House) -> None:
    house.write("a", file="real/a.txt")
    (house.path / "a.yaml").symlink_to("real/a.txt")
    commit = house.repository.commit()
    assert house.revisions() == {"a": f"main@sha1:{commit}"}
    (house.path / "a.yaml").rename(house.path / "other.yaml")
    house.write("a", file="real/a.txt", description="edited")
    assert house.revisions() == {"a": f"main@sha1:{commit}-dirty"}


def test_run_notices_a_commit_of_what_it_has_taken_already(house: House) -> None:
    house.write("a")
    first = house.repository.commit()
    house.write("a", description="edited")
    expected = [f"main@sha1:{first}-dirty"]

    with running(house.instance(), [house.path]) as standalone:

        def as_expected() -> bool:
            return [image.status.observed_revision for image in standalone.state.images()] == expected

        until(as_expected)
        expected[:] = [f"main@sha1:{house.repository.commit()}"]
        until(as_expected)


def test_what_a_working_copy_has_configured_is_not_run(house: House, tmp_path: Path) -> None:
    """A monitor, filters, hooks, and a partial clone whose missing objects come from a command."""
    mark = tmp_path / "ran"
    house.write("a")
    house.repository.write(".gitattributes", "*.yaml filter=own\n")
    commit = house.repository.commit()
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {mark}\n")
    script.chmod(0o755)
    for name, value in {
        "core.fsmonitor": str(script),
        "filter.own.clean": str(script),
        "core.hooksPath": str(tmp_path),
        "core.sshCommand": str(script),
        "core.pager": str(script),
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::{script}",
        "protocol.ext.allow": "always",
        "core.repositoryFormatVersion": "1",
    }.items():
        house.repository.git("config", name, value)
    assert house.revisions() == {"a": f"main@sha1:{commit}"}
    tree = house.repository.git("rev-parse", "HEAD^{tree}")
    (house.path / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    assert GitWorkingCopies(SystemClock()).look(house.path) is None
    assert not mark.exists()


def test_nothing_in_the_working_copy_is_written(house: House) -> None:
    house.write("a")
    house.repository.commit()
    os.utime(house.path / "a.yaml", (1, 1))  # an index that `git status` would want to refresh

    def facts() -> dict[str, int]:
        return {str(path): path.lstat().st_mtime_ns for path in house.path.rglob("*")}

    before = facts()
    house.apply()
    assert facts() == before


def test_a_machine_without_git_says_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.write("a")
    house.repository.commit()
    monkeypatch.setenv("PATH", "/nonexistent")
    assert house.revisions() == {"a": None}


def test_a_state_of_an_older_version_gets_revisions(house: House) -> None:
    house.write("a")
    commit = house.repository.commit()
    house.apply()
    with house.instance() as standalone:
        (image,) = standalone.state.images()
        standalone.state.write_image_status(image, replace(image.status, observed_revision=None))
    assert house.revisions() == {"a": f"main@sha1:{commit}"}
