"""What a branch would do to a cluster, before anybody merges it: `plan` and `validate` with --git and --kube."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver import cluster, operating, person
from tests.fakes.git_repository import GitRepository

pytestmark = [pytest.mark.needs_kube, pytest.mark.needs_git]


def test_the_newest_commit_of_a_branch_is_planned_and_judged_as_it_was_written(
    kube: cluster.Cluster, kube_namespace: str, tmp_path: Path
) -> None:
    admin = person.Person(kube.kubeconfig, kube_namespace)
    url = "https://images.example/a.raw"
    existing = operating.image("existing", url, uuid="0123456789ab4def8123456789abcdef")
    moved = operating.image("existing", url, uuid="1123456789ab4def8123456789abcdef")
    kube.kubectl("apply", "--server-side", "-n", kube_namespace, "-f", "-", stdin=json.dumps(existing))
    repository = GitRepository(tmp_path / "repository")
    repository.commit()
    repository.git("checkout", "--quiet", "-b", "next")

    def push(**documents: dict[str, Any]) -> str:
        for name, document in documents.items():
            repository.write(f"images/{name}.json", json.dumps(document))
        return f"next@sha1:{repository.commit()}"

    def runs(verb: str, *more: str) -> person.Said:
        place = ("--git", str(repository.path), "--branch", "next", "--path", "images", "-n", kube_namespace)
        return admin.runs(verb, *place, "--allow-path", tmp_path, *more)

    first = push(new=operating.image("new", url))
    assert runs("validate").err == f"1 valid, 0 problems in {first}\n"
    (step,) = json.loads(runs("plan", "-o", "json").out)
    assert (step["object"], step["why"]) == (f"{kube_namespace}/new", "new")
    second = push(existing=moved, bad=operating.image("bad", "gopher://x"))
    said = runs("validate")
    place = f"file://{repository.path}//images"
    lines = [line.removeprefix(f"{place}/").partition(":")[0] for line in said.out.splitlines()]
    assert (said.code, lines) == (3, ["bad.json", "bad.json", "existing.json"])
    assert f"{place}/existing.json:1: spec.uuid: the cluster says:" in said.out
    assert said.err == f"1 valid, 3 problems in {second}\n"
    assert runs("plan").code == 3
    assert "NotFound" in kube.kubectl("get", "image", "new", "-n", kube_namespace, check=False).stderr
