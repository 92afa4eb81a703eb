"""YAML as kubectl reads it, within bounds, with the line of every field."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.gitops import yaml_reader
from controller.gitops.yaml_reader import Malformed, read_json, read_yaml

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz01-.", max_size=6), inner, max_size=4),
    max_leaves=20,
)


def value(text: str) -> object:
    (document,) = read_yaml(text)
    assert document.complaints == []
    return document.value


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("a", "a"), ("'1'", "1"), ('"true"', "true"), ("1", 1), ("-1", -1), ("0x1F", 31), ("0o7", "0o7"), ("010", 8),
        ("0b11", 3), ("1_000", 1000), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("true", True), ("Yes", True),
        ("off", False), ("~", None), ("null", None), ("2026-01-31", "2026-01-31"), ("12:30:45", "12:30:45"),
        ("2026-01-31T00:00:00Z", "2026-01-31T00:00:00Z"), ("20Gi", "20Gi"), ("-", [None]), ("+", "+"), (".", "."),
        ("9" * 5000, "9" * 5000), ("!!str 1", "1"), ("! 1", "1"), ("!!int 1", 1), ("|\n a\n b", "a\nb"), ("089", 89.0),
        ("[a, {b: c}]", ["a", {"b": "c"}]), ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"c": 3, "b": 1}}),
        ("d: {<<: [{a: 1}, {a: 2, b: 2}]}", {"d": {"a": 1, "b": 2}}), ("&k a: *k", {"a": "a"}),
    ],
)  # fmt: skip
def test_scalars_mean_what_kubectl_takes_them_for(text: str, meaning: object) -> None:
    found = value(text)
    assert found == meaning
    assert type(found) is type(meaning)


@given(JSON_VALUES)
def test_json_means_the_same_read_either_way(wanted: object) -> None:
    text = json.dumps(wanted)
    if "\\u" not in text:  # JSON's escapes of astral characters are not YAML's
        assert next(iter(read_yaml(text))).value == wanted
    assert next(iter(read_json(text))).value == wanted


@given(st.text("ab:-{}[]&*!|>'\"\n #%@,?<0.", max_size=40))
def test_any_text_is_read_or_malformed(text: str) -> None:
    with contextlib.suppress(Malformed):
        for document in read_yaml(text, lines=True):
            json.dumps(document.value)
            assert 1 <= document.line_of(()) <= text.count("\n") + 1


def test_documents_come_with_their_lines() -> None:
    documents = list(read_yaml("a: 1\n---\n\nb:\n  c:\n  - d\n  - e: 1\n", lines=True))
    assert [document.line for document in documents] == [1, 4]
    assert documents[1].line_of(("b", "c", 1, "e")) == 7
    assert documents[1].line_of(("b", "c", 0)) == 6
    assert documents[1].line_of(("b", "missing")) == 4
    assert documents[1].line_of(("elsewhere",)) == 4


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "stands there twice"),
        ("a:\n  1: x\n", 2, "is not a string"),
        ("a: !!python/object:os.system x\n", 1, "is not allowed"),
        ("a: !vault x\n", 1, "is not allowed"),
        ("a: !!int x\n", 1, "is not allowed"),
        ("? [a]\n: b\n", 1, "not a string"),
        ("<<: 1\n", 1, "takes a mapping"),
        ("a: !!set {b}\n", 1, "is not allowed"),
    ],
)
def test_bad_form_is_complained_of(text: str, line: int, message: str) -> None:
    (document,) = read_yaml(text, lines=True)
    assert [entry[0] for entry in document.complaints] == [line]
    assert message in document.complaints[0][2]


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


def merge_bomb(levels: int) -> str:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (bomb(9), 6, "aliases expanded"),
        (merge_bomb(9), 7, "aliases expanded"),
        ("[" * 100_000, 1, "deep"),
        ("- " * 100_000 + "a", 1, "deep"),
        ("? " * 100_000 + "a", 1, "deep"),
        ("[a," * 200 + "]" * 200, 1, "deep"),
        ("a: &a [*a]", 1, "refers to itself"),
        ("a: *b", 1, "not there"),
        ("a: 1\n---\nb: *c", 3, "not there"),
        ("a: [b\n", 2, "expected"),
        ("a: b: c", 1, "mapping values"),
        ("a: '\x01'", 1, "control characters"),
        ("a: {{ x }} y", 1, "expected"),
    ],
)
def test_what_is_malformed_or_boundless_is_refused_at_once(text: str, line: int, message: str) -> None:
    with pytest.raises(Malformed, match=message) as caught:
        list(read_yaml(text))
    assert caught.value.line == line


def test_the_number_of_values_is_bounded() -> None:
    with pytest.raises(Malformed, match="more than"):
        list(read_yaml("[" + "a," * yaml_reader.MAX_VALUES + "]"))


@pytest.mark.parametrize(
    ("text", "line"), [("{", 1), ('{"a":\n1,}', 2), ("[" * 100_000, 1), ('{"a": NaN}', 1), ("1" * 5000, 1), ("", 1)]
)
def test_bad_json_is_refused(text: str, line: int) -> None:
    with pytest.raises(Malformed) as caught:
        list(read_json(text))
    assert caught.value.line == line


def test_json_knows_its_lines_and_its_doubles() -> None:
    (document,) = read_json('{\n "a": {\n  "b": 1,\n  "b": 2}}', lines=True)
    assert document.line_of(("a", "b")) == 3
    assert "'b' stands there twice" in document.complaints[0][2]
