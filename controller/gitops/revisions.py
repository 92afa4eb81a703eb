"""Which commit each manifest of a tree comes from: the bytes that were read are compared, whatever a tool says."""

import os
from dataclasses import replace

from controller.gitops.tree import Tree
from controller.model import git
from controller.model.git import Committed


def revised(tree: Tree, committed: Committed | None) -> Tree:
    """Return the tree with the revision of each of its files; without any where it lies in no working copy.

    A file whose bytes are in the commit that is checked out has that commit for its revision. Any other one (changed,
    new, ignored, in a submodule, or rewritten by a filter on its way into the working copy) has it with `-dirty`.
    """
    if committed is None:
        return tree
    files = {wanted.file for wanted in tree.objects}
    return replace(
        tree,
        revisions={
            file: committed.revision if _is_committed(file, tree, committed) else committed.revision + git.DIRTY
            for file in files
        },
    )


def _is_committed(file: str, tree: Tree, committed: Committed) -> bool:
    folder, name = os.path.split(file)
    shown = os.path.join(os.path.realpath(folder), name)
    real = os.path.realpath(file)
    blob = committed.blobs.get(os.path.relpath(real, committed.top))
    if blob is None or blob not in tree.blobs.get(file, frozenset()):
        return False
    link = committed.blobs.get(os.path.relpath(shown, committed.top), "")
    return real == shown or link.startswith(git.LINK)
