"""What the fast YAML writer writes is read back as the same value."""

import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from controller.cli import yaml_writer

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=30,
)


@given(VALUES)
def test_any_value_comes_back(value: object) -> None:
    assert yaml.load(yaml_writer.write(value), Loader=yaml.CSafeLoader) == value


@pytest.mark.parametrize(
    "text",
    [
        "true",
        "No",
        "y",
        "null",
        "~",
        "",
        "1",
        "1.5",
        "0x1f",
        "1e3",
        "-",
        "- a",
        "a: b",
        "a #b",
        "2026-01-01",
        "=",
        "<<",
    ],
)
def test_strings_that_look_like_something_else_stay_strings(text: str) -> None:
    for loader in (yaml.CSafeLoader, yaml.SafeLoader):
        assert yaml.load(yaml_writer.write({"a": [text], text: 1}), Loader=loader) == {"a": [text], text: 1}


@pytest.mark.parametrize("character", ["\x1b", "\x7f", "\x9b", "\u200b", "\u202e", "\u2066", "\ufeff", "\U000e0041"])
def test_what_would_not_show_as_it_is_does_not_reach_a_terminal(character: str) -> None:
    """Whoever writes a field of an object neither moves the cursor nor turns the text around of whoever reads it."""
    text = yaml_writer.write({"a": f"x{character}y", f"k{character}": "ü 漢"})
    assert text.replace("\n", "").isprintable()
    assert "ü 漢" in text
    assert yaml.load(text, Loader=yaml.SafeLoader) == {"a": f"x{character}y", f"k{character}": "ü 漢"}


def test_it_reads_as_people_write_it() -> None:
    value = {"kind": "Image", "metadata": {"name": "a"}, "items": [{"x": 1, "y": [True, None]}, [], {}, "b c"]}
    assert yaml_writer.write(value) == (
        'kind: Image\nmetadata:\n  name: a\nitems:\n- x: 1\n  "y":\n  - true\n  - null\n- []\n- {}\n- "b c"\n'
    )


def test_a_thousand_objects_take_no_time() -> None:
    value = [{"spec": {f"field{number}": "text" for number in range(40)}} for _ in range(1000)]
    began = time.thread_time()
    yaml_writer.write(value)
    assert time.thread_time() - began < 3, "a fifth of a second on a quiet machine"
