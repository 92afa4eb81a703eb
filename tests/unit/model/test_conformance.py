"""The quick yes says the same as jsonschema, whatever the document."""

import copy
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from controller.model import conformance
from controller.model.schema import translate
from tests.unit.model.documents import ROOT, SCHEMAS, openapi

CASES = yaml.safe_load((ROOT / "tests/data/manifests/cases.yaml").read_text())["cases"]
MANIFESTS = [case[key] for case in CASES for key in ("manifest", "old", "new") if key in case]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for name, item in value.items():
            found += places(item, (*path, name))
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += places(item, (*path, index))
    return found


@st.composite
def mangled(draw: st.DrawFn) -> dict[str, Any]:
    """A manifest of the table with one place replaced by anything, or by a piece of another manifest."""
    document = copy.deepcopy(draw(st.sampled_from(MANIFESTS)))
    if document["kind"] not in SCHEMAS:
        return dict(document)
    where = draw(st.sampled_from([path for path in places(document) if path]))
    at: Any = document
    for step in where[:-1]:
        at = at[step]
    at[where[-1]] = draw(values)
    if isinstance(at, dict) and draw(st.booleans()):
        at[draw(st.text(max_size=8))] = draw(values)
    return dict(document)


def explained(schema: dict[str, Any], value: object) -> bool:
    """Whether plain jsonschema, with nothing of ours but RE2, finds the value valid."""

    def pattern(_: object, expression: str, text: object, __: object) -> Iterator[Exception]:
        if isinstance(text, str) and not conformance.pattern(expression).search(text):
            yield jsonschema.ValidationError("no match")

    plain = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": pattern})  # type: ignore[no-untyped-call]
    return bool(plain(schema).is_valid(value))


@given(mangled())
def test_the_spec_check_and_jsonschema_agree(document: dict[str, Any]) -> None:
    """A yes is always jsonschema's; so is a no, but for whole numbers written as floats, which go to jsonschema."""
    kind = document["kind"] if document["kind"] in ("Image", "BackupStorage") else "Image"
    schema = translate(openapi(kind)["properties"]["spec"])
    spec = document.get("spec")
    quick, thorough = conformance.compile_check(schema)(spec), explained(schema, spec)
    if quick or not _has_float(spec):
        assert quick is thorough


@given(mangled())
def test_a_document_is_refused_exactly_when_a_problem_is_reported(document: dict[str, Any]) -> None:
    """A no of the quick check leads to an explanation: nothing invalid comes back without a problem."""
    kind = document["kind"] if document["kind"] in ("Image", "BackupStorage") else "Image"
    schema = SCHEMAS[kind]
    whole = translate(openapi(kind)["properties"]["spec"])
    complete = schema.defaulted(document)
    if not schema.problems(complete):
        assert conformance.compile_check(whole)(complete["spec"]) or _has_float(complete["spec"])


def _has_float(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_has_float, value.values()))
    if isinstance(value, list):
        return any(map(_has_float, value))
    return isinstance(value, float)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "string", "format": "date"}, "keywords not understood: format"),
        ({"type": "number"}, "type not understood: number"),
        ({"anyOf": [{"type": "string"}]}, "type not understood: None"),
        ({"type": "object", "properties": {"a": {"type": "array", "items": {"oneOf": []}}}}, "oneOf"),
    ],
)
def test_what_is_not_understood_is_refused_when_it_is_built(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conformance.compile_check(schema)
