"""`goldmaster validate`: what is wrong with manifests, where, and what is allowed."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import click

from controller import logs, reading
from controller.cli import exits, git_options, options, running, screen, source_options
from controller.gitops import desired
from controller.gitops.given import Given
from controller.gitops.tree import Problem, Tree
from controller.settings import GitSettings, ProxySettings, SourceSettings


@click.command(short_help="Check manifests; for editors, pre-commit and CI.")
@options.some_paths
@git_options.commit
@options.allow_network
@options.allow_path
@source_options.proxied
@options.secrets
@options.cluster
@options.namespace_of_place
@options.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)
def validate(
    paths: Sequence[Path],
    git: GitSettings | None,
    networks: running.Networks,
    allowed_paths: Sequence[Path],
    proxies: ProxySettings,
    secrets_dir: Path | None,
    place: reading.Place | None,
    namespace: str | None,
    output: str,
) -> int:
    """Check manifests against the schema, its rules, and each other. Needs no state and no network.

    With --git the manifests of the newest commit of a repository are checked, beside those of any PATH, as `apply`
    and `run` would read them; nothing of it is kept.

    With --kube the cluster is asked for its verdict too, by a dry run that writes nothing: its version of the schema,
    what may not change, admission policies, and whether you may apply it. Its problems say so.

    Each PATH is a file, or a directory that is read with everything below it (*.yaml, *.yml, *.json; hidden names are
    left out). Each problem is one line, FILE:LINE: FIELD: what is wrong and what is allowed. Documents of other API
    groups are passed over.

    \b
    # .pre-commit-config.yaml
    - repo: local
      hooks: [{id: goldmaster, name: goldmaster, language: system, entry: goldmaster validate, types: [yaml]}]
    """
    logs.configure(quiet=True)
    policy = SourceSettings(tuple(networks), tuple(allowed_paths), proxies=proxies)
    given = running.given(paths, git, policy, secrets_dir, keep=place is not None)
    problems = problems_of(given.trees)
    if place is not None:
        problems = sorted([*problems, *_of_cluster(place, namespace, given)], key=_order)
    _tell(given, problems, output)
    return exits.INVALID if problems else exits.OK


def _tell(given: Given, problems: Sequence[Problem], output: str) -> None:
    trees = given.trees
    wrong = {(problem.file, problem.line) for problem in problems}
    objects = sum((wanted.file, wanted.line) not in wrong for tree in trees for wanted in tree.objects)
    if output == "json":
        print(json.dumps({"valid": objects, "problems": [asdict(problem) for problem in problems]}, indent=2))
    else:
        for problem in problems:
            print(replace(problem, file=screen.from_here(problem.file)))
        ignored = sum(tree.ignored for tree in trees)
        others = f", {ignored} of others passed over" if ignored else ""
        of = f" in {given.revision}" if given.revision else ""
        screen.warn(f"{objects} valid, {len(problems)} problem{'s' * (len(problems) != 1)}{others}{of}")


def problems_of(trees: Sequence[Tree]) -> list[Problem]:
    """Return what is wrong within the trees, and between them, in the order of the files."""
    alone = desired.decide(
        {}, trees, desired.Guards(), transition=lambda _key, _old, _new: (), exists=lambda _: False
    ).problems
    return sorted(
        [*(problem for tree in trees for problem in tree.problems), *alone],
        key=_order,
    )


def _order(problem: Problem) -> tuple[str, int, str]:
    return problem.file, problem.line, problem.path


def _of_cluster(place: reading.Place, namespace: str | None, given: Given) -> Iterator[Problem]:
    """Yield what the cluster has against each document, also against those that we find wrong ourselves."""
    with reading.cluster(place, screen.warn) as cluster:
        for found in given.said():
            key = cluster.key_of(found.document, namespace)
            if key is None:
                continue
            for path, message in cluster.judge(key, found.document):
                yield Problem(found.file, found.line, path, f"the cluster says: {message}", key.shown)
