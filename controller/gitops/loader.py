"""Reads a tree of manifests: every object in it, and every problem with its place."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from controller import errors, logs
from controller.gitops import manifest_file
from controller.gitops.manifest_file import FileContent
from controller.gitops.tree import Problem, Tree
from controller.model import git
from controller.model.admission import Admission
from controller.ports import Clock

log = structlog.get_logger()

SUFFIXES = (".yaml", ".yml", ".json")
MAX_FILE_BYTES = 2**20
"""A manifest has kilobytes; what is larger is something else, or an attempt."""
_SETTLED_S = 1.0
"""A file changed less than this ago may change again within the resolution of its times: it is not remembered."""

_Stamp = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Found:
    """A file to read: its path for people, and the path without symbolic links."""

    shown: str
    real: str


class Loader:
    """Reads trees; what did not change since the last reading is not parsed again. One thread uses it.

    `ignore`: a directory that is passed over wherever it lies (the state directory).
    """

    def __init__(self, admission: Admission, clock: Clock, *, ignore: Path | None = None) -> None:
        self._admission = admission
        self._clock = clock
        self._ignore = os.path.realpath(ignore) if ignore else None
        self._read: dict[str, tuple[_Stamp, FileContent]] = {}

    def load_all(self, paths: Sequence[Path]) -> tuple[Tree, ...]:
        """Read every PATH.

        Raises:
            Usage: a PATH is given twice, or lies inside another one: its objects would have two roots.

        """
        real = [os.path.realpath(path) for path in paths]
        for index, inner in enumerate(real):
            for outer_index, outer in enumerate(real):
                if index != outer_index and (inner == outer or inner.startswith(outer.rstrip("/") + "/")):
                    raise errors.Usage(f"{paths[index]} is inside {paths[outer_index]}: give the outer one only")
        return tuple(self.load(path) for path in paths)

    def load(self, path: Path) -> Tree:
        """Read one PATH: a file, or a directory with everything below it.

        Hidden names are left out, as editors and Git put their own files there. Symbolic links are followed inside the
        tree only. Never raises for what it finds: problems are in the result.
        """
        root = os.path.abspath(path)
        problems: list[Problem] = []
        try:
            top = os.stat(root)
            found = (
                list(_walk(root, problems, self._ignore))
                if stat.S_ISDIR(top.st_mode)
                else [_Found(root, os.path.realpath(root))]
            )
        except OSError as exc:
            return Tree(root, problems=(Problem(root, 0, "", f"cannot be read: {exc.strerror}"),), unreadable=True)
        contents = {file.shown: content for file in found if (content := self._content(file)) is not None}
        return manifest_file.gather(root, contents, problems)

    def _content(self, file: _Found) -> FileContent | None:
        """Return what a file says, None where it is gone by now."""
        try:
            descriptor = os.open(file.real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        except OSError as exc:
            return FileContent.wrong(file.shown, 0, f"cannot be read: {exc.strerror}")
        with os.fdopen(descriptor, "rb") as stream:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                return FileContent.wrong(file.shown, 0, "is not a regular file")
            stamp = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
            known = self._read.get(file.shown)
            if known is not None and known[0] == stamp:
                return known[1]
            try:
                data = stream.read(MAX_FILE_BYTES + 1)
            except OSError as exc:
                return FileContent.wrong(file.shown, 0, f"cannot be read: {exc.strerror}")
        if len(data) > MAX_FILE_BYTES:
            content = FileContent.wrong(file.shown, 0, f"has more than {MAX_FILE_BYTES} bytes, too many for manifests")
        else:
            content = manifest_file.parse(file.shown, data, self._admission)
            content = replace(content, blob_ids=git.blob_ids(data)) if content.objects else content
        if content.ignored:
            log.debug("manifest.ignored", path=logs.clip(file.shown), count=content.ignored)
        if self._clock.now().timestamp() - facts.st_ctime > _SETTLED_S:
            self._read[file.shown] = (stamp, content)
        else:
            self._read.pop(file.shown, None)
        return content


def _walk(root: str, problems: list[Problem], ignore: str | None) -> Iterator[_Found]:
    """Yield the manifest files below a directory, sorted, so that messages come in the same order every time."""
    real_root = os.path.realpath(root)
    waiting = [(root, real_root)]
    while waiting:
        shown, real = waiting.pop()
        try:
            with os.scandir(real) as scan:
                entries = sorted(
                    (entry for entry in scan if not entry.name.startswith(".")), key=lambda entry: entry.name
                )
        except FileNotFoundError:
            if real == real_root:
                raise
            continue
        except OSError as exc:
            problems.append(Problem(shown, 0, "", f"cannot be read: {exc.strerror}"))
            continue
        below: list[tuple[str, str]] = []
        for entry in entries:
            place = os.path.join(shown, entry.name)
            if entry.is_symlink():
                target = _followed(place, entry.path, real_root, problems)
                if target is not None:
                    yield _Found(place, target)
            elif entry.is_dir():
                if entry.path == ignore:
                    continue
                below.append((place, entry.path))
            elif entry.name.endswith(SUFFIXES):
                yield _Found(place, entry.path)
        waiting.extend(reversed(below))


def _followed(shown: str, link: str, real_root: str, problems: list[Problem]) -> str | None:
    """Return where a link to a manifest leads, if that is a file inside the tree.

    A link to a directory inside the tree is passed over: the directory is visited under its own name. A ConfigMap
    mounted as a volume has exactly this shape: links to files in a hidden directory.
    """
    target = os.path.realpath(link)
    inside = target.startswith(real_root.rstrip("/") + "/")
    if os.path.isdir(target):
        if not inside:
            problems.append(Problem(shown, 0, "", "is a symbolic link out of the tree, which is not followed"))
        return None
    if not shown.endswith(SUFFIXES):
        return None
    if inside and os.path.exists(target):
        return target
    why = "is a symbolic link out of the tree, which is not followed" if not inside else "is a symbolic link to nothing"
    problems.append(Problem(shown, 0, "", why))
    return None
