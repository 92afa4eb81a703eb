"""The documents of our group as somebody wrote them, without defaults: what is sent to an API server."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from controller.gitops import manifest_file, yaml_reader
from controller.gitops.tree import Tree
from controller.gitops.yaml_reader import Malformed


@dataclass(frozen=True, slots=True)
class Said:
    """One document, and where it stands."""

    file: str
    line: int
    document: dict[str, Any]


def files(tree: Tree) -> list[str]:
    """Return the names of the files with something of ours in them, good or bad."""
    return sorted({*(wanted.file for wanted in tree.objects), *(entry.file for entry in tree.problems)})


def read(trees: Sequence[Tree], bytes_of: Callable[[str], bytes]) -> Iterator[Said]:
    """Yield what can be read of ours in the files of these trees, valid or not; what cannot is in their problems.

    `bytes_of` returns the bytes of a file, or raises OSError.
    """
    for tree in trees:
        for file in files(tree):
            with contextlib.suppress(OSError, UnicodeDecodeError, Malformed):
                yield from _file(file, bytes_of(file).decode("utf-8-sig"))


def _file(file: str, text: str) -> Iterator[Said]:
    reading = yaml_reader.read_json if file.endswith(".json") else yaml_reader.read_yaml
    for document in reading(text, lines=True):
        for steps, value in manifest_file.members(document.value):
            if manifest_file.ours(value):
                yield Said(file, document.line_of(steps), value)
