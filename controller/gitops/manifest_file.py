"""The bytes of one file as manifests and problems."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from controller.gitops import namespaces, yaml_reader
from controller.gitops.tree import Namespace, Problem, Tree, Wanted
from controller.gitops.yaml_reader import Document, Malformed, Steps, Value
from controller.model.admission import Admission
from controller.model.resource import API_VERSION, GROUP, Kind
from controller.model.schema import path_text

_KINDS = frozenset(kind.value for kind in Kind)
_LISTS = frozenset(f"{kind}List" for kind in _KINDS)
_HINTS = (b"goldmaster", b"Namespace", *(kind.encode() for kind in sorted(_KINDS)))
"""Without one of these a file says nothing to us, and is not parsed: a repository has other things too."""
_LFS = b"version https://git-lfs.github.com/spec/"
"""Begins what Git has in place of a file that it keeps elsewhere: it must not read as a file without manifests."""
_ALIKE = 0.8
MAX_PROBLEMS = 100
"""Of one file. Reading ends there: a file made to be wrong must not cost more than a large one that is right."""
_MAX_PATH = 200  # characters of a path that a message repeats


@dataclass(frozen=True, slots=True)
class FileContent:
    """What one file says."""

    objects: tuple[Wanted, ...] = ()
    problems: tuple[Problem, ...] = ()
    ignored: int = 0
    """Documents of others."""
    blob_ids: frozenset[str] = frozenset()
    """What Git calls these bytes."""
    namespaces: tuple[Namespace, ...] = ()
    torn: bool = False
    """Whether it is not well-formed, and might have held Namespaces."""

    @property
    def silent(self) -> bool:
        """Whether there is nothing of ours in it, good or bad."""
        return not self.objects and not self.problems

    @classmethod
    def wrong(cls, file: str, line: int, message: str) -> Self:
        """Return a content that is one problem."""
        return cls(problems=(Problem(file, line, "", message),))


def gather(root: str, contents: Mapping[str, FileContent], problems: Iterable[Problem] = ()) -> Tree:
    """Return what all files of a root say together. `contents`: by name; `problems`: those besides."""
    found = contents.values()
    return Tree(
        root,
        objects=tuple(wanted for content in found for wanted in content.objects),
        problems=(*problems, *(problem for content in found for problem in content.problems)),
        silent=frozenset(file for file, content in contents.items() if content.silent),
        ignored=sum(content.ignored for content in found),
        blobs={file: content.blob_ids for file, content in contents.items() if content.objects},
        namespaces=tuple(namespace for content in found for namespace in content.namespaces),
        torn=any(content.torn for content in found),
    )


def parse(file: str, data: bytes, admission: Admission) -> FileContent:
    """Read a file: every object in it, or what is wrong with it. Never raises."""
    if data.startswith(_LFS):
        return FileContent.wrong(file, 1, "is a pointer of Git LFS, not a manifest: keep manifests out of LFS")
    if not any(hint in data for hint in _HINTS):
        return FileContent(ignored=1 if data.strip() else 0)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        return FileContent.wrong(file, data.count(b"\n", 0, exc.start) + 1, "is not UTF-8 text")
    content = _parse(file, text, admission, lines=False)
    return _parse(file, text, admission, lines=True) if content.problems else content


def _parse(file: str, text: str, admission: Admission, *, lines: bool) -> FileContent:
    """Read once; with `lines`, slower, so that each problem knows its line. Without, the first problem ends it."""
    most = MAX_PROBLEMS if lines else 1
    reading = yaml_reader.read_json if file.endswith(".json") else yaml_reader.read_yaml
    objects: list[Wanted] = []
    found: Wanted | list[Problem]
    spaces: list[Namespace] = []
    problems: list[Problem] = []
    ignored, torn = 0, False
    try:
        for document in reading(text, lines=lines):
            seen: set[int] = set()
            for steps, value in members(document.value):
                if namespaces.is_one(value):
                    space = namespaces.read(file, document.line_of(steps), value)
                    found = [space] if isinstance(space, Problem) else []
                    spaces += [] if isinstance(space, Problem) else [space]
                elif not ours(value):
                    ignored += 1
                    found = _nearlyours(file, document, steps, value)
                elif id(value) in seen:  # aliases of one object cost a few bytes each
                    found = [
                        Problem(file, document.line_of(steps), "", "stands there twice, as an alias", _name(value))
                    ]
                else:
                    seen.add(id(value))
                    found = _judge(file, document, steps, value, admission)
                if isinstance(found, Wanted):
                    objects.append(found)
                else:
                    problems.extend(found)
                if len(problems) > most:
                    last = Problem(file, problems[most - 1].line, "", "and more problems: the rest is not listed")
                    return FileContent(tuple(objects), (*problems[: most - 1], last), ignored, namespaces=tuple(spaces))
    except Malformed as exc:
        if GROUP in text:  # others' templates need not be YAML
            problems.append(Problem(file, exc.line, "", str(exc)))
        torn = "Namespace" in text
    return FileContent(tuple(objects), tuple(problems), ignored, namespaces=tuple(spaces), torn=torn)


def members(value: Value, steps: Steps = ()) -> Iterator[tuple[Steps, Value]]:
    """Yield the objects of a document: itself, or the items of a List (also the lists of our kinds)."""
    if value is None:
        return
    items = value.get("items") if isinstance(value, dict) else None
    if isinstance(items, list) and (value.get("kind") == "List" or (ours(value) and value.get("kind") in _LISTS)):
        for index, item in enumerate(items):
            yield from members(item, (*steps, "items", index))
    else:
        yield steps, value


def ours(value: object) -> bool:
    """Whether a document is of our API group."""
    return Admission.concerns(value)


def _nearlyours(file: str, document: Document, steps: Steps, value: object) -> list[Problem]:
    """Say so where a document is of no known group but looks like ours: a slip must not read as a deletion."""
    if not isinstance(value, dict) or value.get("kind") not in _KINDS:
        return []
    version = value.get("apiVersion")
    if version is None:
        return [Problem(file, document.line_of(steps), "apiVersion", f"required; must be {API_VERSION}")]
    group = str(version)[:80].partition("/")[0]
    if difflib.SequenceMatcher(None, group, GROUP).ratio() < _ALIKE:
        return []
    message = f"must be {API_VERSION}, got {str(version)[:80]!r}"
    return [Problem(file, document.line_of((*steps, "apiVersion")), "apiVersion", message)]


def _judge(
    file: str, document: Document, steps: Steps, value: dict[str, Any], admission: Admission
) -> Wanted | list[Problem]:
    about = _name(value)
    found = [
        Problem(file, line, path_text(at[len(steps) :])[:_MAX_PATH], message, about)
        # without lines there are no paths either: the slower reading sorts out which object is meant
        for line, at, message in document.complaints_of(steps)
    ]
    if found:
        return found
    verdict = admission.review(value)
    if verdict.manifest is None:
        return [
            Problem(file, document.line_of((*steps, *problem.steps)), problem.path[:_MAX_PATH], problem.message, about)
            for problem in verdict.problems
        ]
    manifest = verdict.manifest
    spec = verdict.document["spec"]
    return Wanted.of(manifest.key, spec, manifest.labels, manifest.annotations, file, document.line_of(steps))


def _name(value: dict[str, Any]) -> str:
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    return f"{value.get('kind')} {f'{namespace}/' if namespace else ''}{name}"[:120] if name else ""
