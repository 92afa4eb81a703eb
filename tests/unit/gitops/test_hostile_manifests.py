"""Files made to cost more than they weigh: each is judged about as fast as a large file that is right."""

import json
import time
from collections.abc import Callable

import pytest

from controller.gitops import manifest_file, yaml_reader
from controller.gitops.loader import MAX_FILE_BYTES
from controller.gitops.manifest_file import MAX_PROBLEMS, FileContent
from tests.unit.gitops.manifests import ADMISSION, document

HEAD = "apiVersion: goldmaster.dev/v1alpha1\nkind: Image\nmetadata: {name: a}\n"
BOUND_S = 20.0
"""Of processor time: a second on a quiet machine, and air for a busy one. What is quadratic takes minutes."""


def _filled(part: Callable[[int], str], room: int) -> str:
    size = len(part(10**6))
    return "".join(part(number + 10**6) for number in range(room // size))


def _aliases_of_a_wrong_object(room: int) -> str:
    twice = _filled(lambda number: f"  k{number % 3}: 1\n", room // 2)
    return f"kind: List\nitems:\n- &a\n  {HEAD.replace(chr(10), chr(10) + '  ').rstrip()}\n{twice}" + _filled(
        lambda _: "- *a\n", room // 2
    )


def _aliases_of_a_right_object(room: int) -> str:
    one = json.dumps(document("a"))
    return f"kind: List\nitems:\n- &a {one}\n" + _filled(lambda _: "- *a\n", min(room, 40_000))


def _double_keys_far_from_good_objects(room: int) -> str:
    twice = _filled(lambda number: f"  k{number % 3}: 1\n", room // 2)
    good = _filled(lambda number: f"- {json.dumps(document(f'a{number}'))}\n", room // 2 - 100)
    return f"kind: List\nx:\n{twice}items:\n{good}"


def _unknown_fields(room: int) -> str:
    return HEAD + "spec:\n" + _filled(lambda number: f"  k{number}: 1\n", room)


def _double_entries(room: int) -> str:
    entries = _filled(lambda number: f"k{number},", room)
    return HEAD + f"spec: {{url: 'http://h.example/a', backupStorages: [{entries}z,z]}}\n"


def _alike_documents_of_others(room: int) -> str:
    return "# goldmaster\n" + _filled(lambda n: f"---\napiVersion: goldmasters.d{n}/v1\nkind: Image\n", room)


@pytest.mark.parametrize(
    "hostile",
    [
        _aliases_of_a_wrong_object,
        _aliases_of_a_right_object,
        _double_keys_far_from_good_objects,
        _unknown_fields,
        _double_entries,
    ],
)
def test_a_hostile_yaml_file_is_judged_soon_and_in_few_words(hostile: Callable[[int], str]) -> None:
    content = _judged("a.yaml", hostile(MAX_FILE_BYTES - 2000))
    assert 0 < len(content.problems) <= MAX_PROBLEMS


def test_aliases_times_complaints_are_not_multiplied() -> None:
    """Small enough for the bound on values."""
    content = _judged("a.yaml", _aliases_of_a_wrong_object(5_000))
    assert len(content.problems) == MAX_PROBLEMS


def test_many_groups_that_look_like_ours_are_told_apart_soon() -> None:
    assert _judged("a.yaml", _alike_documents_of_others(MAX_FILE_BYTES - 2000)).ignored > 10_000


def test_a_json_object_of_double_keys_is_judged_soon() -> None:
    keys = _filled(lambda number: f'"k{number}":1,"k{number}":1,', MAX_FILE_BYTES - 2000)
    content = _judged("a.json", f'{{"apiVersion": "goldmaster.dev/v1alpha1", "kind": "Image", {keys} "z": 1}}')
    assert len(content.problems) == MAX_PROBLEMS
    assert "more" in content.problems[-1].message


def test_the_last_problem_says_that_there_are_more() -> None:
    content = _judged("a.yaml", _filled(lambda number: f"---\n{HEAD}spec: {number}\n", 50_000))
    assert len(content.problems) == MAX_PROBLEMS
    assert "more problems" in content.problems[-1].message


def test_more_double_keys_than_are_listed_spare_no_object_of_the_document() -> None:
    """The one that is not listed may stand in any of them."""
    keys = "".join(f"    k{number % 2}: 1\n" for number in range(200))
    text = f"kind: List\nitems:\n- x:\n{keys}- {json.dumps(document('a'))}\n"
    assert _judged("a.yaml", text).objects == ()


def test_aliases_do_not_carry_more_text_than_the_bound() -> None:
    """A megabyte of file could otherwise become gigabytes of state."""
    long = "x" * 200_000
    aliased = "".join(f"  goldmaster.dev/a{number}: *l\n" for number in range(50))
    content = _judged("a.yaml", f"x: &l {long}\n{HEAD}y:\n{aliased}")
    (problem,) = content.problems
    assert f"more than {yaml_reader.MAX_TEXT_BYTES} bytes of text" in problem.message
    nested = f"x: &l {long}\na: &a [*l, *l, *l]\nb: [*a, *a, *a, *a, *a, *a, *a]\n"
    with pytest.raises(yaml_reader.Malformed, match="bytes of text"):
        list(yaml_reader.read_yaml(nested))


def _judged(name: str, text: str) -> FileContent:
    assert len(text) <= MAX_FILE_BYTES
    began = time.process_time()
    content = manifest_file.parse(name, text.encode(), ADMISSION)
    assert time.process_time() - began < BOUND_S
    return content
