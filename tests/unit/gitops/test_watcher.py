"""Events are hints: what changes is noticed, what does not is not, and a scan comes in any case."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.gitops.watcher import Watcher

SOON_S = 60.0
"""Far longer than an event takes; a test that waits so long fails."""
QUIET_S = 0.02


class Calls:
    """Counts callbacks, and waits for the next."""

    def __init__(self) -> None:
        self._came = threading.Semaphore(0)

    def __call__(self) -> None:
        self._came.release()

    def one_comes(self) -> bool:
        return self._came.acquire(timeout=SOON_S)

    def none_comes(self) -> bool:
        return not self._came.acquire(timeout=0.3)

    def drain(self) -> None:
        while self._came.acquire(timeout=QUIET_S * 5):
            pass


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "a.yaml").write_text("a")
    return root


@pytest.fixture
def watcher(root: Path, calls: Calls) -> Iterator[Watcher]:
    watcher = Watcher([root], calls, scan_interval_s=3600, ignore=root / "state", quiet_s=QUIET_S)
    watcher.start()
    yield watcher
    watcher.stop()


def edit_atomically(path: Path) -> None:
    """Write beside, then rename over, as editors do."""
    beside = path.with_name(".swap")
    beside.write_text("d")
    beside.replace(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "new": lambda root: (root / "b.yaml").write_text("b"),
    "edit": lambda root: (root / "a.yaml").write_text("c"),
    "remove": lambda root: (root / "a.yaml").unlink(),
    "editor": lambda root: edit_atomically(root / "a.yaml"),
    "below": lambda root: (root / "sub" / "c.yaml").write_text("e"),
    "folder": lambda root: (root / "sub").rename(root / "other"),
    "configmap": lambda root: os.symlink("sub", root / "..data"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed(watcher: Watcher, calls: Calls, root: Path, change: str) -> None:
    CHANGES[change](root)
    assert calls.one_comes()


def test_a_new_folder_is_watched_too(watcher: Watcher, calls: Calls, root: Path) -> None:
    (root / "new").mkdir()
    assert calls.one_comes()
    calls.drain()
    (root / "new" / "a.yaml").write_text("a")
    assert calls.one_comes()


def test_a_replaced_root_is_watched_on(watcher: Watcher, calls: Calls, root: Path) -> None:
    root.rename(root.with_name("old"))
    assert calls.one_comes()
    root.mkdir()
    assert calls.one_comes()
    calls.drain()
    (root / "a.yaml").write_text("a")
    assert calls.one_comes()


def test_reading_and_hidden_files_and_the_state_are_no_change(root: Path, calls: Calls) -> None:
    (root / "state").mkdir()
    (root / ".git").mkdir()
    watcher = Watcher([root], calls, scan_interval_s=3600, ignore=root / "state", quiet_s=QUIET_S)
    watcher.start()
    (root / "a.yaml").read_text()
    os.listdir(root / "sub")
    (root / ".git" / "index").write_text("x")
    (root / "state" / "goldmaster.db").write_text("x")
    assert calls.none_comes()
    watcher.stop()


def test_a_burst_is_one_call(root: Path, calls: Calls) -> None:
    """The quiet that is waited for is longer than a busy machine may interrupt the burst."""
    watcher = Watcher([root], calls, scan_interval_s=3600, quiet_s=2)
    watcher.start()
    for number in range(50):
        (root / f"{number}.yaml").write_text("x")
    assert calls.one_comes()
    assert calls.none_comes()
    watcher.stop()


def test_a_switched_link_is_noticed(tmp_path: Path, calls: Calls) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    link = tmp_path / "current"
    link.symlink_to("one")
    watcher = Watcher([link], calls, scan_interval_s=3600, quiet_s=QUIET_S)
    watcher.start()
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(link)
    assert calls.one_comes()
    calls.drain()
    (tmp_path / "two" / "a.yaml").write_text("a")
    assert calls.one_comes()
    watcher.stop()


def test_a_single_file_is_watched(root: Path, calls: Calls) -> None:
    watcher = Watcher([root / "a.yaml"], calls, scan_interval_s=3600, quiet_s=QUIET_S)
    watcher.start()
    (root / "b.yaml").write_text("x")
    assert calls.none_comes()
    (root / "a.yaml").write_text("x")
    assert calls.one_comes()
    watcher.stop()


def test_a_scan_comes_without_any_event(root: Path, calls: Calls) -> None:
    watcher = Watcher([root / "none"], calls, scan_interval_s=0.05, quiet_s=QUIET_S)
    watcher.start()
    assert calls.one_comes()
    assert calls.one_comes()
    watcher.stop()


def test_a_path_whose_folder_is_missing_is_scanned_all_the_same(tmp_path: Path, calls: Calls) -> None:
    watcher = Watcher([tmp_path / "no" / "such" / "place"], calls, scan_interval_s=0.05, quiet_s=QUIET_S)
    watcher.start()
    assert calls.one_comes()
    watcher.stop()


def test_after_stop_nothing_is_called_and_stop_may_come_twice(root: Path, calls: Calls) -> None:
    watcher = Watcher([root], calls, scan_interval_s=3600, quiet_s=QUIET_S)
    watcher.stop()
    watcher = Watcher([root], calls, scan_interval_s=3600, quiet_s=QUIET_S)
    watcher.start()
    watcher.stop()
    watcher.stop()
    (root / "a.yaml").write_text("x")
    assert calls.none_comes()
