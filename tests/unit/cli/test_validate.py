"""validate: one line per problem, fit for editors, pre-commit and CI."""

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Call

GOOD = """apiVersion: goldmaster.dev/v1alpha1
kind: Image
metadata: {name: %s}
spec:
  url: http://images.example/a.qcow2
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(GOOD % "a")
    (tmp_path / "other.yaml").write_text("apiVersion: v1\nkind: ConfigMap\n")
    return tmp_path


def test_right_manifests_are_counted(call: Call, tree: Path) -> None:
    answer = call("validate", tree)
    assert (answer.code, answer.out, answer.err) == (0, "", "1 valid, 0 problems, 1 of others passed over\n")


def test_a_problem_is_a_line_with_its_place(call: Call, tree: Path) -> None:
    (tree / "b.yaml").write_text(GOOD % "b" + "  format: qcow3\n")
    answer = call("validate", tree / "a.yaml", tree / "b.yaml")
    assert answer.code == 3
    assert answer.out.startswith(f"{tree / 'b.yaml'}:6: spec.format: must be one of qcow2, raw, iso, vmdk; got 'qcow3'")
    assert answer.err == "1 valid, 1 problem\n"


def test_two_manifests_of_one_object_are_a_problem(call: Call, tree: Path) -> None:
    (tree / "b.yaml").write_text(GOOD % "a")
    answer = call("validate", tree)
    assert answer.code == 3
    assert answer.out.startswith(f"{tree / 'b.yaml'}:1: metadata.name: stands also in {tree / 'a.yaml'}:1")


def test_json_is_for_programs(call: Call, tree: Path) -> None:
    (tree / "b.yaml").write_text("apiVersion: goldmaster.dev/v1alpha1\nkind: Image\nspec: [\n")
    answer = call("validate", tree, "-o", "json")
    assert answer.code == 3
    (problem,) = json.loads(answer.out)["problems"]
    assert (problem["file"], problem["line"]) == (str(tree / "b.yaml"), 4)


@pytest.mark.parametrize(("path", "code"), [("none", 3), (".", 0)])
def test_a_path_that_is_not_there_is_a_problem(call: Call, tree: Path, path: str, code: int) -> None:
    assert call("validate", tree / path).code == code


def test_paths_come_from_a_variable_too(call: Call, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDMASTER_PATHS", str(tree / "a.yaml"))
    assert call("validate").err.startswith("1 valid")


def test_names_of_files_fields_and_objects_cannot_steer_the_terminal(call: Call, tree: Path) -> None:
    text = (GOOD % '"\\e[2Jb"') + '  "\\e]0;owned\\a": 1\n'
    (tree / "\x1b[31m.yaml").write_text(text)
    for verb in ("validate", "apply", "plan"):
        answer = call(verb, tree, *([] if verb == "validate" else ["--state", tree.parent / "state"]))
        assert answer.code == 3
        assert r"\x1b[31m.yaml:" in answer.out + answer.err
        assert r"\x1b]0;owned" in answer.out + answer.err
        assert (answer.out + answer.err).replace("\n", "").isprintable()
