"""Says that manifests may have changed: file events, made one by a short wait, and a full scan from time to time.

Events are hints. They get lost (queue overflow, network file systems, exhausted inotify watches), so `changed` is
called at least once per scan interval whatever happens.
"""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from watchdog import events
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

log = structlog.get_logger()

QUIET_S = 0.2
"""An editor or a `git checkout` writes many files: wait until nothing happened for so long."""
MAX_DELAY_S = 5.0
"""Never wait longer than this for quiet."""
_KINDS = {"created", "modified", "deleted", "moved", "closed"}


class Watcher:
    """Calls `changed` from one thread of its own, between `start` and the end of `stop`; the callback does not raise.

    `ignore`: a directory below the paths whose changes mean nothing (the state directory).
    """

    def __init__(
        self,
        paths: Sequence[Path],
        changed: Callable[[], None],
        *,
        scan_interval_s: float,
        ignore: Path | None = None,
        quiet_s: float = QUIET_S,
    ) -> None:
        self._paths = [os.path.abspath(path) for path in paths]
        self._changed = changed
        self._scan_interval_s = scan_interval_s
        self._quiet_s = quiet_s
        self._handler = _Handler(os.path.realpath(ignore) if ignore else None)
        self._stop = threading.Event()
        self._watched: dict[str, tuple[int, int] | None] | None = None
        self._observer: BaseObserver | None = None
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Watch from now on: what changes after this returns is not missed. Called once."""
        self._watch()
        self._thread.start()

    def stop(self) -> None:
        """End; returns when no callback runs any more. Twice is fine."""
        self._stop.set()
        self._handler.wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._unwatch()

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._handler.wake.wait(self._scan_interval_s):
                self._settle()
            if self._stop.is_set():
                return
            self._handler.wake.clear()
            self._watch()
            self._changed()

    def _settle(self) -> None:
        """Wait until the events stop."""
        for _ in range(max(int(MAX_DELAY_S / self._quiet_s), 1)):
            self._handler.wake.clear()
            if self._stop.wait(self._quiet_s) or not self._handler.wake.is_set():
                return

    def _watch(self) -> None:
        """Watch each path and the directory that holds it; anew where something took the place of one."""
        now = {path: _identity(path) for path in self._paths}
        if now == self._watched:
            return
        self._unwatch()
        self._watched = now
        self._handler.follow(self._paths)
        wanted = {os.path.dirname(path): False for path in self._paths}
        wanted |= {os.path.realpath(path): True for path in self._paths if os.path.isdir(path)}
        try:
            self._observer = Observer()
            self._observer.start()
        except OSError as exc:
            _refused(", ".join(self._paths), exc)
            return
        # scheduled only once it runs: watchdog leaks a thread where a watch fails while it starts
        for place, recursive in wanted.items():
            try:
                self._observer.schedule(self._handler, place, recursive=recursive)
            except OSError as exc:
                _refused(place, exc)

    def _unwatch(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None


class _Handler(events.FileSystemEventHandler):
    """Sets `wake` where an event may concern a manifest."""

    def __init__(self, ignore: str | None) -> None:
        self.wake = threading.Event()
        self._roots: frozenset[str] = frozenset()
        self._ignore = ignore

    def follow(self, paths: Sequence[str]) -> None:
        """Take these for the roots, under their own names and where they lead."""
        self._roots = frozenset(root for path in paths for root in (path, os.path.realpath(path)))

    def on_any_event(self, event: events.FileSystemEvent) -> None:
        # opening and reading are events too, and reading is what follows a wake
        if event.event_type in _KINDS and any(
            self._concerns(os.fsdecode(p)) for p in (event.src_path, event.dest_path)
        ):
            self.wake.set()

    def _concerns(self, place: str) -> bool:
        if not place or (self._ignore and (place == self._ignore or place.startswith(self._ignore + "/"))):
            return False
        for root in self._roots:
            if place == root:
                return True
            if place.startswith(root.rstrip("/") + "/"):
                parts = place[len(root) :].strip("/").split("/")
                # hidden files are not manifests; but a mounted ConfigMap changes by moving `..data`
                return not any(part.startswith(".") and not part.startswith("..") for part in parts)
        return False


def _refused(place: str, exc: OSError) -> None:
    log.warning("watch.refused", path=place, message=f"{exc.strerror}; relying on periodic scans")


def _identity(path: str) -> tuple[int, int] | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
