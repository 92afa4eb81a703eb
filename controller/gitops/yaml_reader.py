"""YAML and JSON text as plain JSON values, as kubectl reads it, within bounds, and with the line of every field.

Values are built from libyaml's events rather than by PyYAML's constructors: depth and size are bounded while they grow
(an alias counts as often as it is used), a key that stands twice is refused, timestamps stay strings, and no tag runs
code.
"""

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_DEPTH = 64
"""Nesting of lists and mappings; manifests need about ten."""
MAX_VALUES = 250_000
"""Values in one file, aliases expanded; a List of a thousand Images has about 30,000."""
MAX_TEXT_BYTES = 4 * 2**20
"""Text in one file, aliases expanded: a short file must not become a large state."""
MAX_COMPLAINTS = 100
"""Of one document; nobody reads more, and every object of the document is asked about each."""

Steps = tuple[str | int, ...]
Value = Any
"""A JSON value."""
Complaint = tuple[int, Steps, str]
"""Line, path, message. The path is empty where the whole document is meant, or lines were not asked for."""
Event = Any
"""One of libyaml's events; PyYAML's stubs do not say which has what."""

_PLAIN = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    **{spelling: True for word in ("true", "yes", "on") for spelling in (word, word.title(), word.upper())},
    **{spelling: False for word in ("false", "no", "off") for spelling in (word, word.title(), word.upper())},
}  # fmt: skip
_NUMBER_START = frozenset("0123456789+-.")
_INTEGER = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]+|0|[1-9][0-9_]*)\Z", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?\Z|[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z"
)
_TAG = "tag:yaml.org,2002:"
_MAX_DIGITS = 40  # of a number: more is no size of anything, and Python's own limit raises another error
_MERGE = object()
_MORE = "and more like these: the rest is not listed"


class Malformed(Exception):
    """The text is not YAML (or JSON), or beyond the bounds. `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(slots=True)
class Document:
    """One document of a file: its value, and what strict reading finds wrong with its form (line, path, message)."""

    value: Value
    line: int
    complaints: list[Complaint] = field(default_factory=list)
    lines: Mapping[Steps, int] = field(default_factory=dict)
    """The line of each field; only where asked for."""
    _by_place: dict[Steps, list[Complaint]] | None = None

    def complaints_of(self, steps: Steps) -> Sequence[Complaint]:
        """Return what is wrong with the form of one part, and of the whole: what has no path may mean every part."""
        if self._by_place is None:
            self._by_place = {}
            for complaint in self.complaints:
                at = complaint[1]
                for length in range(1, len(at) + 1):
                    self._by_place.setdefault(at[:length], []).append(complaint)
        if not steps:
            return self.complaints
        return [*(entry for entry in self.complaints if not entry[1]), *self._by_place.get(steps, ())]

    def line_of(self, steps: Steps) -> int:
        """Return the line of a field, or of the nearest thing around it that is there."""
        for length in range(len(steps), -1, -1):
            if steps[:length] in self.lines:
                return self.lines[steps[:length]]
        return self.line


def read_yaml(text: str, *, lines: bool = False) -> Iterator[Document]:
    """Yield the documents of a YAML text. Raises Malformed, possibly after documents that are well-formed."""
    reader = _Reader(text, lines=lines)
    try:
        yield from reader.documents()
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        what = " ".join(part for part in (exc.context, exc.problem) if part)
        raise Malformed(mark.line + 1 if mark else 1, what or "not YAML") from exc
    except yaml.YAMLError as exc:
        position = getattr(exc, "position", 0) or 0
        raise Malformed(text.count("\n", 0, position) + 1, getattr(exc, "reason", None) or "not YAML") from exc


def read_json(text: str, *, lines: bool = False) -> Iterator[Document]:
    """Yield the one document of a JSON text. Raises Malformed."""
    twice: list[str] = []

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            twice.extend(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        return value

    try:
        value = json.loads(text, object_pairs_hook=mapping, parse_constant=_no_constant)
    except json.JSONDecodeError as exc:
        raise Malformed(exc.lineno, f"not JSON: {exc.msg}") from exc
    except (ValueError, RecursionError) as exc:
        raise Malformed(1, f"not JSON that fits here: {str(exc)[:80]}") from exc
    complaints: list[Complaint] = [
        (1, (), f"the key {name[:80]!r} stands there twice") for name in twice[:MAX_COMPLAINTS]
    ]
    if len(twice) > MAX_COMPLAINTS:
        complaints[-1] = (1, (), _MORE)
    document = Document(value, 1, complaints)
    if lines:
        with contextlib.suppress(Malformed, StopIteration):  # nearly all JSON is YAML: good enough to find lines
            document.lines = next(iter(read_yaml(text, lines=True))).lines
    yield document


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


class _Reader:
    """Builds values from events, depth first."""

    def __init__(self, text: str, *, lines: bool) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=yaml.CSafeLoader)
        self._record = lines
        self._count = 0
        self._bytes = 0
        self._anchors: dict[str, tuple[Any, int, int]] = {}
        self._open: set[str] = set()
        self._complaints: list[Complaint] = []
        self._lines: dict[Steps, int] = {}

    def documents(self) -> Iterator[Document]:
        for event in self._events:
            if type(event) is not yaml.DocumentStartEvent:
                continue
            self._anchors.clear()
            self._complaints, self._lines = [], {}
            first = next(self._events)
            value = self._value(first, 0, ())
            yield Document(value, first.start_mark.line + 1, self._complaints, self._lines)

    def _value(self, event: Event, depth: int, steps: Steps) -> Value:
        kind = type(event)
        self._count += 1
        if self._count > MAX_VALUES:
            raise Malformed(event.start_mark.line + 1, f"more than {MAX_VALUES} values, aliases expanded")
        if kind is yaml.AliasEvent:
            return self._alias(event)
        if self._record:
            self._lines.setdefault(steps, event.start_mark.line + 1)
        anchor, before = event.anchor, (self._count, self._bytes)
        if anchor is not None:
            self._open.add(anchor)
        value: Value
        if kind is yaml.ScalarEvent:
            value = self._scalar(event, steps)
        else:
            if depth >= MAX_DEPTH:
                raise Malformed(event.start_mark.line + 1, f"nested more than {MAX_DEPTH} deep")
            if event.tag is not None and event.tag not in {f"{_TAG}map", f"{_TAG}seq", "!"}:
                self._complain(event, steps, f"the tag {event.tag[:80]!r} is not allowed")
            value = self._mapping(depth, steps) if kind is yaml.MappingStartEvent else self._sequence(depth, steps)
        if anchor is not None:
            self._open.discard(anchor)
            self._anchors[anchor] = (value, self._count - before[0] + 1, self._bytes - before[1])
        return value

    def _alias(self, event: Event) -> Value:
        line = event.start_mark.line + 1
        if event.anchor in self._open:
            raise Malformed(line, f"*{event.anchor} refers to itself")
        if event.anchor not in self._anchors:
            raise Malformed(line, f"*{event.anchor} refers to an anchor that is not there")
        value, size, text_bytes = self._anchors[event.anchor]
        self._count += size
        self._weigh(event, text_bytes)
        return value

    def _weigh(self, event: Event, text_bytes: int) -> None:
        self._bytes += text_bytes
        if self._bytes > MAX_TEXT_BYTES:
            raise Malformed(event.start_mark.line + 1, f"more than {MAX_TEXT_BYTES} bytes of text, aliases expanded")

    def _mapping(self, depth: int, steps: Steps) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        while type(event := next(self._events)) is not yaml.MappingEndEvent:
            name = self._key(event, depth, steps)
            inner = (*steps, "<<" if name is _MERGE else name) if self._record else steps
            if self._record:
                self._lines.setdefault(inner, event.start_mark.line + 1)
            value = self._value(next(self._events), depth + 1, inner)
            if name is _MERGE:
                sources = value if isinstance(value, list) else [value]
                merged.extend(source for source in sources if isinstance(source, dict))
                if not all(isinstance(source, dict) for source in sources):
                    self._complain(event, steps, "<< takes a mapping, or a list of mappings")
            elif name in result:
                self._complain(event, inner, "stands there twice")
            else:
                result[name] = value
        for source in merged:
            for name, value in source.items():
                result.setdefault(name, value)
        return result

    def _key(self, event: Event, depth: int, steps: Steps) -> Value:
        if type(event) is yaml.ScalarEvent:
            if event.value == "<<" and event.implicit[0]:
                return _MERGE
            text: str = event.value
            self._weigh(event, len(text.encode()))
            if event.implicit[0] and not isinstance(_plain(text), str):
                self._complain(event, steps, f"the key {text[:80]!r} is not a string; put it in quotes")
            if event.anchor is not None:
                self._anchors[event.anchor] = (text, 1, len(text.encode()))
            return text
        value = self._value(event, depth + 1, steps)
        if not isinstance(value, str):
            self._complain(event, steps, "a key is not a string")
        return str(value)[:80]

    def _sequence(self, depth: int, steps: Steps) -> list[Any]:
        result: list[Any] = []
        while type(event := next(self._events)) is not yaml.SequenceEndEvent:
            result.append(self._value(event, depth + 1, (*steps, len(result)) if self._record else steps))
        return result

    def _scalar(self, event: Event, steps: Steps) -> Value:
        text: str = event.value
        self._weigh(event, len(text.encode()))
        tag = event.tag
        if tag is None or tag == "!":
            return _plain(text) if event.implicit[0] and tag is None else text
        if tag == f"{_TAG}str":
            return text
        value = _plain(text)
        kinds: dict[str, Any] = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
        if not tag.startswith(_TAG) or not isinstance(value, kinds.get(tag.removeprefix(_TAG), ())):
            self._complain(event, steps, f"the tag {tag[:80]!r} is not allowed here")
        return value

    def _complain(self, event: Event, steps: Steps, message: str) -> None:
        if len(self._complaints) < MAX_COMPLAINTS:
            self._complaints.append((event.start_mark.line + 1, steps, message))
        else:  # without a path: it may mean any object that is still to come
            self._complaints[-1] = (event.start_mark.line + 1, (), _MORE)


def _plain(text: str) -> Value:
    """Return what an unquoted scalar means: YAML 1.1 without timestamps and sixties, as kubectl reads it."""
    if text in _PLAIN:
        return _PLAIN[text]
    if text[0] not in _NUMBER_START or len(text) > _MAX_DIGITS:
        return text
    if _INTEGER.match(text):
        return _integer(text.replace("_", ""))
    if _FLOAT.match(text):
        return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _integer(text: str) -> int:
    digits = text.lstrip("+-")
    if digits.startswith("0b"):
        value = int(digits[2:] or "0", 2)
    elif digits.startswith("0x"):
        value = int(digits[2:] or "0", 16)
    elif digits.startswith("0"):
        value = int(digits, 8)
    else:
        value = int(digits)
    return -value if text.startswith("-") else value
