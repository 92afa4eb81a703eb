"""Compares what an API server says about a document with what standalone mode says."""

import re
from collections.abc import Mapping
from typing import Any

from controller.model import admission
from tests.apiserver import client


def collection(document: Mapping[str, Any]) -> str:
    """Return the path that a document of our group is created at."""
    if document["kind"] == "BackupStorage":
        return "/apis/goldmaster.dev/v1alpha1/backupstorages"
    namespace = document["metadata"].get("namespace", "default")
    return f"/apis/goldmaster.dev/v1alpha1/namespaces/{namespace}/images"


def agree(answer: client.Answer, verdict: admission.Verdict, *, field: str | None = None) -> None:
    """Insist on the same verdict; if good, on the same defaults; if bad, on a field that both name.

    With `field`, the only one that is wrong: that both name it, and the server nothing that standalone mode does not.
    """
    paths = {problem.path for problem in verdict.problems}
    said = f"the API server says {answer.message or 'valid'!r}, standalone mode {verdict.problems or 'valid'!r}"
    assert answer.ok == (not paths), said
    if answer.ok:
        assert answer.body["spec"] == verdict.document["spec"]
        return
    shared = {refused for refused in answer.fields if any(_lies_along(refused, _plain(path)) for path in paths)}
    assert shared, f"no field is named by both: {said}"
    if field is not None:
        assert shared == answer.fields, f"{answer.fields - shared} is not named by both: {said}"
        for named in answer.fields, paths:
            assert any(_names(path, field) for path in named), f"{field} is not named by both: {said}"


def _plain(path: str) -> str:
    """Write the key of a map as a server does, after a dot, whatever is in it."""
    return re.sub(r'\["([^"]*)"\]', r".\1", path)


def _names(path: str, field: str) -> bool:
    """Whether a path holds the field as whole segments: spec.url, or labels in metadata.labels.tier."""
    return re.search(rf"(?<![^.]){re.escape(field)}(?![^.\[])", path) is not None


def _lies_along(one: str, other: str) -> bool:
    """Whether one path is the other or leads to it: a server names the map, standalone mode the entry."""
    short, long = sorted((one, other), key=len)
    return re.match(rf"{re.escape(short)}(?![^.\[])", long) is not None
