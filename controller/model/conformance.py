"""A quick yes for valid documents, so that thousands of manifests do not wait for jsonschema.

jsonschema takes half a millisecond per Image and 0.1 s to import. Nearly every document is valid, so this asks only
*is it surely valid?*; a no means *ask jsonschema*, whose verdict counts. A property test compares the two.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

Check = Callable[[object], bool]

_SCALARS: dict[str, type] = {"string": str, "integer": int, "boolean": bool}
_KNOWN = {
    "type", "description", "properties", "required", "additionalProperties", "propertyNames", "items", "maxItems",
    "maxProperties",
    "uniqueItems", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "anyOf",
}  # fmt: skip
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]


class Pattern(Protocol):
    """A compiled RE2 expression."""

    def search(self, text: str) -> object | None:
        """Return a match, None where there is none."""
        ...


@functools.cache
def pattern(expression: str) -> Pattern:
    """Compile an RE2 expression, the dialect that an API server reads `pattern` in."""
    import re2

    compiled: Pattern = re2.compile(expression)
    return compiled


def _matcher(expression: str) -> Callable[[str], bool]:
    """Return a test for one expression; it remembers answers, as manifests repeat durations, names and defaults."""
    compiled = pattern(expression)

    @functools.lru_cache(maxsize=1024)
    def matches(text: str) -> bool:
        return compiled.search(text) is not None

    return matches


def compile_check(schema: Mapping[str, Any]) -> Check:
    """Return a function that says True only of values that the schema surely allows.

    Raises:
        ValueError: the schema has a keyword that is not understood here.

    """
    unknown = schema.keys() - _KNOWN
    if unknown:
        raise ValueError(f"schema keywords not understood: {', '.join(sorted(unknown))}")
    match schema.get("type"):
        case "object":
            return _object(schema)
        case "array":
            return _array(schema)
        case "string" | "integer" | "boolean" as kind:
            return _all(_is(_SCALARS[kind]), _value(schema))
        case None if schema.get("anyOf") == _INT_OR_STRING:
            return _all(lambda value: type(value) is int or type(value) is str, _value(schema))
        case None if schema.keys() <= {"description"}:
            return lambda _: True
        case other:
            raise ValueError(f"schema type not understood: {other}")


def _is(kind: type) -> Check:
    return lambda value: type(value) is kind


def _all(*checks: Check | None) -> Check:
    first, *rest = [check for check in checks if check]
    if not rest:
        return first
    if len(rest) == 1:
        second = rest[0]
        return lambda value: first(value) and second(value)
    return lambda value: first(value) and all(check(value) for check in rest)


def _value(schema: Mapping[str, Any]) -> Check | None:
    """Check what stands beside the type of a scalar; None where nothing does."""
    if "enum" in schema:
        allowed = frozenset(schema["enum"])
        return lambda value: value in allowed
    low, high = schema.get("minimum"), schema.get("maximum")
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength")
    matches = _matcher(schema["pattern"]) if "pattern" in schema else None
    if low is None and high is None and not shortest and longest is None and matches is None:
        return None

    def fits(value: object) -> bool:
        if isinstance(value, str):
            if len(value) < shortest or (longest is not None and len(value) > longest):
                return False
            return matches is None or matches(value)
        return isinstance(value, int) and (low is None or value >= low) and (high is None or value <= high)

    return fits


def _object(schema: Mapping[str, Any]) -> Check:
    fields = {name: compile_check(child) for name, child in schema.get("properties", {}).items()}
    required = tuple(schema.get("required", ()))
    name_fits = compile_check(schema["propertyNames"]) if "propertyNames" in schema else None
    more = schema.get("additionalProperties", True)
    other: Check = compile_check(more) if isinstance(more, Mapping) else lambda _: bool(more)
    most = schema.get("maxProperties")

    def fits(value: object) -> bool:
        if not isinstance(value, dict) or (most is not None and len(value) > most):
            return False
        for name in required:
            if name not in value:
                return False
        for name, item in value.items():
            if not fields.get(name, other)(item) or (name_fits and not name_fits(name)):
                return False
        return True

    return fits


def _array(schema: Mapping[str, Any]) -> Check:
    item_fits = compile_check(schema["items"]) if "items" in schema else lambda _: True
    longest = schema.get("maxItems")
    unique = schema.get("uniqueItems", False)

    def fits(value: object) -> bool:
        if not isinstance(value, list) or (longest is not None and len(value) > longest):
            return False
        return all(map(item_fits, value)) and not (unique and len(set(value)) != len(value))

    return fits
