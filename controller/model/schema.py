"""The structural schema of a CRD, used the way an API server uses it: defaults applied, unknown fields refused.

The file under crds/ is the only schema. It is translated once to JSON Schema, the one place where the two dialects
differ: int-or-string, RE2 patterns, list types, and strict decoding (`kubectl apply --validate=strict`). Rules written
in CEL are not run here; `rules` states them again.
"""

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.model import conformance, objectmeta
from controller.model.resource import API_VERSION, Kind

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

    Errors = Iterator[ValidationError]

Steps = tuple[str | int, ...]
"""Where a value stands: field names, and indexes into lists."""
Document = Mapping[str, Any]
"""A parsed JSON or YAML object."""

_DROPPED = {"default", "format", "description", "x-kubernetes-list-map-keys", "x-kubernetes-validations"}
_AN = {
    "string": "a string",
    "integer": "a whole number",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
}
_MAX_ERRORS = 200  # of one document: explaining one takes a millisecond, and a hostile one has a hundred thousand
_QUOTED = 120  # characters of a foreign value that a message repeats


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where (`spec.url`), and what is wrong and allowed. `steps` is the path in pieces."""

    path: str
    message: str
    steps: Steps = ()

    @classmethod
    def at(cls, steps: Steps, message: str) -> "Problem":
        """Build one from the pieces of its path."""
        return cls(path_text(steps), message, steps)

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def path_text(steps: Steps) -> str:
    """Write a path as people do: `spec.backupStorages[2]`, `metadata.labels["example.com/team"]`."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.replace("_", "a").replace("-", "a").isalnum():
            text += f".{step}" if text else step
        else:
            text += f'["{step}"]'
    return text


class Schema:
    """What one CRD says about its kind. Building it costs milliseconds; share it. Thread-safe once built."""

    def __init__(self, crd: Document) -> None:
        """Take the parsed CRD document; its storage version counts.

        Raises:
            ValueError: a keyword stands in it that is not understood here, so that nothing is silently unchecked.

        """
        self.kind = Kind(crd["spec"]["names"]["kind"])
        version = next(entry for entry in crd["spec"]["versions"] if entry["storage"])
        structural = version["schema"]["openAPIV3Schema"]
        self.spec: Document = structural["properties"]["spec"]
        self.status: Document = structural["properties"]["status"]
        self._translated = _whole(self.kind, translate(structural))
        self._conforms = conformance.compile_check(self._translated)
        self._reporter: Validator | None = None

    def defaulted(self, document: Document) -> dict[str, Any]:
        """Return a copy with defaults applied, nulls dropped and the status left out, as a create has it."""
        copy = {name: value for name, value in document.items() if name != "status" and value is not None}
        if "spec" in copy:
            copy["spec"] = _defaulted(copy["spec"], self.spec)
        return copy

    def problems(self, document: Document) -> list[Problem]:
        """Return what is wrong with a defaulted document (the first hundreds of it), by path; empty means valid."""
        if self._conforms(document):
            return []
        if self._reporter is None:
            self._reporter = _reporter(self._translated)
        errors = list(itertools.islice(self._reporter.iter_errors(document), _MAX_ERRORS))
        mistyped = {tuple(error.absolute_path) for error in errors if error.validator == "type"}
        found = {
            Problem.at(tuple(error.absolute_path), _message(error))
            for error in errors
            if error.validator != "enum" or tuple(error.absolute_path) not in mistyped
        }
        return sorted(found, key=lambda problem: (problem.path, problem.message))


def _defaulted(value: object, schema: Document) -> object:
    """Copy a value, applying defaults where a field is absent or null, as structural defaulting does."""
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        copy = {name: item for name, item in value.items() if item is not None or not (others or name in known)}
        for name, child in known.items():
            if name not in copy and "default" in child:
                copy[name] = child["default"]
            if name in copy:
                copy[name] = _defaulted(copy[name], child)
        return copy
    if isinstance(value, list):
        return [_defaulted(item, schema.get("items", {})) for item in value]
    if isinstance(value, float) and value.is_integer() and _takes_integers(schema):
        return int(value)
    return value


def _takes_integers(schema: Document) -> bool:
    """Whether 1.0 is 1 here, as it is on an API server."""
    return schema.get("type") == "integer" or bool(schema.get("x-kubernetes-int-or-string"))


def translate(structural: Document) -> dict[str, Any]:
    """Turn a structural schema into JSON Schema; fields that are not listed become errors, what is dropped is CEL's."""
    schema = {key: value for key, value in structural.items() if key not in _DROPPED}
    schema["description"] = structural.get("description", "")
    schema.pop("x-kubernetes-int-or-string", None)
    if schema.pop("x-kubernetes-list-type", None) == "set":
        schema["uniqueItems"] = True
    if "properties" in schema:
        schema["properties"] = {name: translate(child) for name, child in schema["properties"].items()}
        schema["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), Mapping):
        schema["additionalProperties"] = translate(schema["additionalProperties"])
    if "items" in schema:
        schema["items"] = translate(schema["items"])
    return schema


def _whole(kind: Kind, translated: dict[str, Any]) -> dict[str, Any]:
    """Add what an API server checks of every object; leave out the status, which a manifest does not decide."""
    return {
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", *translated.get("required", ())],
        "additionalProperties": False,
        "properties": {
            "apiVersion": {"type": "string", "enum": [API_VERSION]},
            "kind": {"type": "string", "enum": [kind.value]},
            "metadata": objectmeta.SCHEMA,
            "spec": translated["properties"]["spec"],
        },
    }


def _reporter(translated: Document) -> "Validator":
    """Build the validator that explains. jsonschema is imported only once something is wrong: it takes 0.1 s."""
    import jsonschema

    keywords = {
        "additionalProperties": _check_additional,
        "required": _check_required,
        "pattern": _check_pattern,
        "propertyNames": _check_names,
        "items": _check_items,
    }
    draft = jsonschema.Draft202012Validator
    explaining = jsonschema.validators.extend(draft, keywords)  # type: ignore[no-untyped-call]
    reporter: Validator = explaining(translated)
    return reporter


def _check_additional(validator: "Validator", allowed: object, value: object, schema: Document) -> "Errors":
    from jsonschema.exceptions import ValidationError

    known = schema.get("properties", {})
    for name, item in value.items() if isinstance(value, dict) else ():
        if name in known:
            continue
        if isinstance(allowed, dict):
            for error in validator.evolve(schema=allowed).iter_errors(item):
                error.relative_path.appendleft(name)
                yield error
        else:
            yield ValidationError(f"unknown field{_nearest(str(name), known)}; known: {', '.join(known)}", path=(name,))


def _check_required(_: "Validator", required: Sequence[str], value: object, schema: Document) -> "Errors":
    from jsonschema.exceptions import ValidationError

    if not isinstance(value, dict):
        return
    for name in required:
        if name not in value:
            about = schema.get("properties", {}).get(name, {}).get("description", "")
            yield ValidationError(f"required{_hint(about)}", path=(name,))


def _check_pattern(_: "Validator", pattern: str, value: object, schema: Document) -> "Errors":
    from jsonschema.exceptions import ValidationError

    if isinstance(value, str) and not conformance.pattern(pattern).search(value):
        yield ValidationError(f"{_shown(value)} is not allowed{_hint(schema.get('description', ''))}")


def _check_items(validator: "Validator", items: Document, value: object, schema: Document) -> "Errors":
    """Look at no more entries than there may be: that there are more is a problem of its own."""
    for index, item in enumerate(value[: schema.get("maxItems")] if isinstance(value, list) else ()):
        for error in validator.evolve(schema=items).iter_errors(item):
            error.relative_path.appendleft(index)
            yield error


def _check_names(_: "Validator", names: Document, value: object, _schema: Document) -> "Errors":
    from jsonschema.exceptions import ValidationError

    fits = conformance.compile_check(names)
    for name in value if isinstance(value, dict) else ():
        if not fits(name):
            yield ValidationError(
                f"{_shown(name)} is no key that is allowed{_hint(names['description'])}", path=(name,)
            )


def _message(error: "ValidationError") -> str:
    """Say what is wrong and what is allowed, for the keywords that jsonschema checks itself."""
    value: Any = error.instance
    limit: Any = error.validator_value
    match error.validator:
        case "type":
            return f"must be {_AN[limit]}, got {_shown(value)}"
        case "anyOf":
            return f"must be a whole number or a string, got {_shown(value)}"
        case "enum":
            return f"must be one of {', '.join(limit)}; got {_shown(value)}{_nearest(str(value), limit)}"
        case "minLength":
            return f"must have at least {limit} characters, got {len(value)}"
        case "maxLength":
            return f"must have at most {limit} characters, got {len(value)}"
        case "minimum":
            return f"must be at least {limit}, got {value}"
        case "maximum":
            return f"must be at most {limit}, got {value}"
        case "maxItems" | "maxProperties":
            return f"must have at most {limit} entries, got {len(value)}"
        case "uniqueItems":
            return f"{_shown(_twice(value))} stands there twice"
        case _:
            return error.message


def _twice(value: Sequence[object]) -> object:
    """Return what stands there twice, in one look at each: a list may have as many entries as fit in a file."""
    seen: set[str] = set()
    for item in value:
        text = repr(item)
        if text in seen:
            return item
        seen.add(text)
    return value[0]  # equal and written differently, as 1 and 1.0


def _shown(value: object) -> str:
    """Repeat a foreign value, shortened and escaped; of a URL neither user, password nor query: they may be secret."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    scheme, separator, rest = text.partition("//")
    if separator:
        _, at, rest = rest.rpartition("@")
        path, question, _ = rest.partition("?")
        text = scheme + separator + "…@" * bool(at) + path + "?…" * bool(question)
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"


def _nearest(name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _hint(description: str) -> str:
    """Take from a description its first sentence, which says what the field is and holds."""
    first, _, _ = description.partition(". ")
    return f"; expected: {first[0].lower()}{first[1:].rstrip('.')}" if first else ""
