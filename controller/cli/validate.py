"""`goldmaster validate`: what is wrong with manifests, where, and what is allowed."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import click

from controller import logs, wiring
from controller.cli import exits, options, screen
from controller.gitops import desired
from controller.gitops.tree import Problem, Tree


@click.command(short_help="Check manifests; for editors, pre-commit and CI.")
@options.paths
@options.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)
def validate(paths: Sequence[Path], output: str) -> int:
    """Check manifests against the schema, its rules, and each other. Needs no state and no network.

    Each PATH is a file, or a directory that is read with everything below it (*.yaml, *.yml, *.json; hidden names are
    left out). Each problem is one line, FILE:LINE: FIELD: what is wrong and what is allowed. Documents of other API
    groups are passed over.

    \b
    # .pre-commit-config.yaml
    - repo: local
      hooks: [{id: goldmaster, name: goldmaster, language: system, entry: goldmaster validate, types: [yaml]}]
    """
    logs.configure(quiet=True)
    trees = wiring.loader(wiring.clock()).load_all(paths)
    problems = problems_of(trees)
    objects = sum(len(tree.objects) for tree in trees)
    if output == "json":
        print(json.dumps({"valid": objects, "problems": [asdict(problem) for problem in problems]}, indent=2))
    else:
        for problem in problems:
            print(replace(problem, file=screen.from_here(problem.file)))
        ignored = sum(tree.ignored for tree in trees)
        others = f", {ignored} of others passed over" if ignored else ""
        screen.warn(f"{objects} valid, {len(problems)} problem{'s' * (len(problems) != 1)}{others}")
    return exits.INVALID if problems else exits.OK


def problems_of(trees: Sequence[Tree]) -> list[Problem]:
    """Return what is wrong within the trees, and between them, in the order of the files."""
    alone = desired.decide(
        {}, trees, desired.Guards(), transition=lambda _key, _old, _new: (), exists=lambda _: False
    ).problems
    return sorted(
        [*(problem for tree in trees for problem in tree.problems), *alone],
        key=lambda problem: (problem.file, problem.line, problem.path),
    )
