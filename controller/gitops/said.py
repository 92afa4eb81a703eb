"""The documents of our group as somebody wrote them, without defaults: what is sent to an API server."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
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


def read(trees: Sequence[Tree]) -> Iterator[Said]:
    """Yield what can be read of ours in the files of these trees, valid or not; what cannot is in their problems."""
    for tree in trees:
        files = dict.fromkeys([*(wanted.file for wanted in tree.objects), *(entry.file for entry in tree.problems)])
        for file in sorted(files):
            with contextlib.suppress(OSError, UnicodeDecodeError, Malformed):
                yield from _file(file, Path(file).read_bytes().decode("utf-8-sig"))


def _file(file: str, text: str) -> Iterator[Said]:
    reading = yaml_reader.read_json if file.endswith(".json") else yaml_reader.read_yaml
    for document in reading(text, lines=True):
        for steps, value in manifest_file.members(document.value):
            if manifest_file.ours(value):
                yield Said(file, document.line_of(steps), value)
