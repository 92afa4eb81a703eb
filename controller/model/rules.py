"""The CEL rules of crds/*.yaml, stated again in Python for the mode without an API server.

Each rule stands where its `x-kubernetes-validations` entry stands and carries the same message; a test compares the
two, and one table of cases (tests/data/manifests) drives both. They are asked only about a document whose schema is
satisfied and whose defaults are applied, as on an API server.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from controller.model import quantity
from controller.model.resource import Kind
from controller.model.schema import Document, Problem, Steps


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule at the value `at`; `field`, relative to it, is what the problem names. `holds` may assume the schema.

    A last step that ends in `[]` means each item of that list.
    """

    at: Steps
    message: str
    holds: Callable[[Any], bool]
    field: Steps = ()


@dataclass(frozen=True, slots=True)
class ChangeRule:
    """A transition rule: `holds(new, old)`; asked only where the value is in both."""

    at: Steps
    message: str
    holds: Callable[[Any, Any], bool]
    field: Steps = ()


def _within(low: str, high: str) -> Callable[[str], bool]:
    least, most = quantity.parse_duration(low), quantity.parse_duration(high)
    return lambda text: least <= quantity.parse_duration(text) <= most


def _backoff_grows(retry: Document) -> bool:
    return quantity.parse_duration(retry["initialBackoff"]) <= quantity.parse_duration(retry["maxBackoff"])


def _climbs_no_path(url: str) -> bool:
    plain = url.replace("%2e", ".").replace("%2E", ".") + "/"
    return url.startswith("http") or "/../" not in plain


def _climbs_nowhere(name: str) -> bool:
    return "/../" not in f"/{name}/" and "/./" not in f"/{name}/"


def _mirrors_are_pinned(spec: Document) -> bool:
    promised = "checksumFrom" in spec or spec.get("checksum", "").startswith(("sha256:", "sha512:"))
    return promised or not spec.get("mirrors")


def _plain_segments(path: str) -> bool:
    return "/../" not in f"{path}/" and "/./" not in f"{path}/" and "//" not in path


def _values_where_they_belong(requirements: list[dict[str, Any]]) -> bool:
    return all((one["operator"] in {"In", "NotIn"}) == bool(one.get("values")) for one in requirements)


RULES: dict[Kind, tuple[Rule, ...]] = {
    Kind.IMAGE: (
        Rule(
            ("spec",),
            "format iso goes with mediaType ISO, and neither goes without the other",
            lambda spec: "format" not in spec or (spec["format"] == "iso") == (spec["mediaType"] == "ISO"),
            ("format",),
        ),
        Rule(
            ("spec",),
            "an ISO cannot be a system image",
            lambda spec: not (spec["system"] and spec["mediaType"] == "ISO"),
            ("system",),
        ),
        Rule(
            ("spec",),
            "architecture aarch64 does not boot in Legacy mode, use UEFI",
            lambda spec: not (spec.get("bootMode") == "Legacy" and spec["architecture"] == "aarch64"),
            ("bootMode",),
        ),
        Rule(
            ("spec",),
            "give checksum or checksumFrom, not both",
            lambda spec: not ("checksum" in spec and "checksumFrom" in spec),
            ("checksumFrom",),
        ),
        Rule(
            ("spec",),
            "mirrors need a sha256 or sha512 checksum, or checksumFrom: else nothing says what their bytes must be",
            _mirrors_are_pinned,
            ("mirrors",),
        ),
        Rule(
            ("spec",),
            "updatePolicy Import cannot go with a fixed checksum: other bytes would never match it",
            lambda spec: not (spec["updatePolicy"] == "Import" and "checksum" in spec),
            ("updatePolicy",),
        ),
        Rule(
            ("spec",),
            "updatePolicy Import needs an interval: how often to look",
            lambda spec: spec["updatePolicy"] != "Import" or "interval" in spec,
            ("updatePolicy",),
        ),
        Rule(("spec", "interval"), "must be from 10s to 8760h", _within("10s", "8760h")),
        Rule(("spec", "mirrors[]"), "a file URL has no .. in it", _climbs_no_path),
        Rule(("spec", "url"), "a file URL has no .. in it", _climbs_no_path),
        Rule(("spec", "checksumFrom", "url"), "a file URL has no .. in it", _climbs_no_path),
        Rule(("spec", "checksumFrom", "signature", "url"), "a file URL has no .. in it", _climbs_no_path),
        Rule(("spec", "checksumFrom", "entry"), 'must not hold "." or ".." segments', _climbs_nowhere),
        Rule(("spec", "expungeAfter"), "must be from 1s to 8760h", _within("1s", "8760h")),
        Rule(("spec", "retry"), "initialBackoff is at most maxBackoff", _backoff_grows, ("initialBackoff",)),
        Rule(("spec", "retry", "initialBackoff"), "must be from 1s to 24h", _within("1s", "24h")),
        Rule(("spec", "retry", "maxBackoff"), "must be from 1s to 24h", _within("1s", "24h")),
        Rule(("spec", "timeouts", "connect"), "must be from 1s to 5m", _within("1s", "5m")),
        Rule(("spec", "timeouts", "stall"), "must be from 1s to 1h", _within("1s", "1h")),
        Rule(("spec", "timeouts", "total"), "must be from 1s to 720h", _within("1s", "720h")),
    ),
    Kind.BACKUP_STORAGE: (
        Rule(
            ("spec",),
            "type ImageStore needs the block imageStore, and no other type may have it",
            lambda spec: (spec["type"] == "ImageStore") == ("imageStore" in spec),
            ("imageStore",),
        ),
        Rule(("spec", "scrubInterval"), "must be from 1h to 8760h", _within("1h", "8760h")),
        Rule(("spec", "imageStore", "path"), 'must not hold empty, "." or ".." segments', _plain_segments),
        Rule(
            ("spec", "namespaceSelector", "matchLabels"),
            "a label's key has at most 317 characters",
            lambda labels: all(len(key) <= 317 for key in labels),
        ),
        Rule(
            ("spec", "namespaceSelector", "matchExpressions"),
            "values are given with In and NotIn, and with no other operator",
            _values_where_they_belong,
        ),
    ),
}
"""What must hold of a document."""

CHANGE_RULES: dict[Kind, tuple[ChangeRule, ...]] = {
    Kind.IMAGE: (
        ChangeRule(
            ("spec",),
            "uuid is never added, changed or removed after creation",
            lambda new, old: new.get("uuid") == old.get("uuid"),
            ("uuid",),
        ),
    ),
    Kind.BACKUP_STORAGE: (
        ChangeRule(("spec", "type"), "type is never changed after creation", lambda new, old: bool(new == old)),
    ),
}
"""What must hold between a document and the one before it."""

_ABSENT = object()


def problems(kind: Kind, document: Document, old: Document | None = None) -> list[Problem]:
    """Return the rules that a valid, defaulted document breaks; with `old`, also those that the change breaks."""
    found = []
    for rule in RULES[kind]:
        for at, value in _values_at(document, rule.at):
            if value is not _ABSENT and not rule.holds(value):
                found.append(Problem.at(at + rule.field, rule.message))
    for change in CHANGE_RULES[kind] if old is not None else ():
        value, before = _value_at(document, change.at), _value_at(old, change.at)
        if value is not _ABSENT and before is not _ABSENT and not change.holds(value, before):
            found.append(Problem.at(change.at + change.field, change.message))
    return found


def _values_at(document: object, steps: Steps) -> Iterator[tuple[Steps, object]]:
    """Yield the value at a path, or each item of the list there."""
    *before, last = steps
    if not str(last).endswith("[]"):
        yield steps, _value_at(document, steps)
        return
    at = (*before, str(last).removesuffix("[]"))
    items = _value_at(document, at)
    yield from (((*at, index), item) for index, item in enumerate(items if isinstance(items, list) else ()))


def _value_at(document: object, steps: Steps) -> object:
    for step in steps:
        if not isinstance(document, Mapping) or step not in document:
            return _ABSENT
        document = document[step]
    return document
