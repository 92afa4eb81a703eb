"""What a change of the manifests means for the objects known so far. Pure: the state carries it out."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from controller.gitops import namespaces
from controller.gitops.tree import Problem, Tree, Wanted
from controller.model import git
from controller.model.resource import Key

MIN_DELETIONS = 5
"""So many objects may always disappear at once: with few objects a share means nothing."""
WINDOW = timedelta(minutes=10)
"""What goes within this time goes *at once*: a tree that is lost file by file is lost all the same."""


@dataclass(frozen=True, slots=True)
class Guards:
    """What holds deletions back. `max_deletions_percent`: share of a root's objects that may disappear at once."""

    max_deletions_percent: int = 30
    confirmed: bool = False
    """A person says that a large disappearance, or an empty tree, is meant."""


@dataclass(frozen=True, slots=True)
class Known:
    """An object of the state, as far as a comparison needs it. The JSON texts are canonical."""

    root: str
    file: str
    line: int
    deleting: bool
    spec: str
    labels: str
    annotations: str
    revision: str | None = None
    """The commit that it was last taken from."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Objects of one root that are gone from the manifests and are kept all the same, and why."""

    root: str
    keys: tuple[Key, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Upsert:
    """An object to write. `touched`: something besides the place of its manifest changed."""

    wanted: Wanted
    root: str
    new: bool = False
    spec_changed: bool = False
    recovered: bool = False
    touched: bool = True
    revision: str | None = None
    """The commit to name from now on."""
    renamed: bool = False
    """Whether that is another one than before."""


@dataclass(slots=True)
class Decision:
    """What to write, what to delete, what to keep against appearances, and what is wrong."""

    upserts: list[Upsert] = field(default_factory=list)
    deletions: list[Key] = field(default_factory=list)
    held_back: list[HeldBack] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


Transition = Callable[[Key, Mapping[str, Any], Mapping[str, Any]], Iterable[tuple[str, str]]]
"""(key, old spec, new spec) -> (JSON path, message) of each change that is not allowed."""


def canonical(value: Mapping[str, Any]) -> str:
    """Return the one JSON text of a value: equal values, equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def decide(
    known: Mapping[Key, Known],
    trees: Sequence[Tree],
    guards: Guards,
    *,
    transition: Transition,
    exists: Callable[[str], bool],
    recent: Mapping[str, int] | None = None,
) -> Decision:
    """Compare. `exists` says whether a manifest file is still there, `recent` how many went of a root within WINDOW.

    An object that came from a PATH which is not among `trees` stays as it is, unless its manifest has moved here.
    """
    decision = Decision(problems=namespaces.conflicts(trees))
    roots = {tree.root for tree in trees}
    wanted, broken_roots = _unique(trees, decision)
    revisions = {tree.root: tree.revisions for tree in trees}
    for key, (root, manifest) in wanted.items():
        old = known.get(key)
        trouble = _claimed_elsewhere(old, roots, manifest, exists) or _forbidden(key, old, manifest, transition)
        if trouble:
            decision.problems.extend(trouble)
            broken_roots.add(root)
        else:
            upsert = _compare(old, root, manifest, revisions[root].get(manifest.file))
            if upsert is not None:
                decision.upserts.append(upsert)
    for tree in trees:
        before = (recent or {}).get(tree.root, 0)
        _delete(known, wanted, tree, guards, decision, broken=tree.root in broken_roots, before=before)
    return decision


def _unique(trees: Sequence[Tree], decision: Decision) -> tuple[dict[Key, tuple[str, Wanted]], set[str]]:
    """Return each key's manifest, and the roots with anything wrong. Of two manifests of one key neither counts."""
    found: dict[Key, tuple[str, Wanted]] = {}
    twice: set[Key] = set()
    broken = {tree.root for tree in trees if tree.problems or tree.unreadable}
    for tree in trees:
        for manifest in tree.objects:
            first = found.setdefault(manifest.key, (tree.root, manifest))
            if first[1] is not manifest:
                twice.add(manifest.key)
                broken |= {tree.root, first[0]}
                message = f"stands also in {first[1].file}:{first[1].line}; keep one of the two"
                decision.problems.append(
                    Problem(manifest.file, manifest.line, "metadata.name", message, str(manifest.key))
                )
    return {key: entry for key, entry in found.items() if key not in twice}, broken


def _claimed_elsewhere(
    old: Known | None, roots: set[str], manifest: Wanted, exists: Callable[[str], bool]
) -> list[Problem]:
    if old is None or old.deleting or old.root in roots or old.file == manifest.file or not exists(old.file):
        return []
    message = f"is already managed from {old.file}:{old.line}; remove it there, or apply both paths together"
    return [Problem(manifest.file, manifest.line, "metadata.name", message, str(manifest.key))]


def _forbidden(key: Key, old: Known | None, manifest: Wanted, transition: Transition) -> list[Problem]:
    if old is None or old.spec == manifest.spec_json:
        return []
    return [
        Problem(manifest.file, manifest.line, path, message, str(key))
        for path, message in transition(key, json.loads(old.spec), manifest.spec)
    ]


def _compare(old: Known | None, root: str, wanted: Wanted, revision: str | None) -> Upsert | None:
    if old is None:
        return Upsert(wanted, root, new=True, spec_changed=True, revision=revision, renamed=revision is not None)
    same = (wanted.spec_json, wanted.labels_json, wanted.annotations_json) == (old.spec, old.labels, old.annotations)
    touched = not same or old.deleting
    revision = revision if touched or root != old.root else _settled_revision(old.revision, revision)
    renamed = revision != old.revision
    if not touched and not renamed and (root, wanted.file, wanted.line) == (old.root, old.file, old.line):
        return None
    return Upsert(
        wanted,
        root,
        spec_changed=wanted.spec_json != old.spec,
        recovered=old.deleting,
        touched=touched,
        revision=revision,
        renamed=renamed,
    )


def _settled_revision(old: str | None, new: str | None) -> str | None:
    """Return the commit to name for a manifest that says what it said before.

    That is the one it was taken from, however many commits changed others since: a commit costs as many writes as it
    changes manifests. What was taken from no commit, or before it was one, has now become part of one.
    """
    if new is None or (old is not None and (not old.endswith(git.DIRTY) or new.endswith(git.DIRTY))):
        return old
    return new


def _delete(
    known: Mapping[Key, Known],
    wanted: Mapping[Key, object],
    tree: Tree,
    guards: Guards,
    decision: Decision,
    *,
    broken: bool,
    before: int,
) -> None:
    here = [key for key, old in known.items() if old.root == tree.root and not old.deleting]
    named = {manifest.key for manifest in tree.objects}
    gone = sorted(key for key in here if key not in wanted and key not in named)
    emptied = [key for key in gone if known[key].file in tree.silent]
    if not gone:
        return
    allowed = max(MIN_DELETIONS, (len(here) + before) * guards.max_deletions_percent // 100)
    if tree.unreadable:
        why = f"{tree.root} cannot be read"
    elif broken:
        why = f"nothing is deleted while a manifest in {tree.root} is wrong: it may be the one that is missing"
    elif guards.confirmed:
        decision.deletions.extend(gone)
        return
    elif not tree.objects:
        why = f"{tree.root} is suddenly empty; if that is meant, say --confirm-deletions"
    elif emptied:
        file = known[emptied[0]].file
        why = f"{file} is still there but says nothing any more; remove the file, or say --confirm-deletions"
    elif len(gone) + before > allowed:
        earlier = f" with {before} that went just before" if before else ""
        why = (
            f"{len(gone)} of {len(here)} objects would go at once{earlier}, at most {allowed} may "
            f"(--max-deletions {guards.max_deletions_percent}); if that is meant, say --confirm-deletions"
        )
    else:
        decision.deletions.extend(gone)
        return
    decision.held_back.append(HeldBack(tree.root, tuple(gone), why))
