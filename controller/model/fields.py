"""Typed access to one JSON object: every wrong value raises InvalidSpec that names where it stands."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

from controller import errors
from controller.model.schema import Steps, path_text

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)\Z", re.ASCII)


class Fields:
    """One object at `path`. A null counts as absent. `reject_unknown` refuses what nobody asked for."""

    __slots__ = ("_asked", "_object", "_path")

    def __init__(self, value: object, path: Steps) -> None:
        """Take the parsed JSON value.

        Raises:
            InvalidSpec: it is not an object.

        """
        self._path = path
        self._asked: set[str] = set()
        if not isinstance(value, Mapping):
            raise _invalid(path, f"must be a mapping, got {type(value).__name__}")
        self._object: Mapping[str, Any] = value

    def fail(self, name: str, message: str) -> NoReturn:
        """Raise InvalidSpec about a field."""
        raise _invalid((*self._path, name), message)

    def _take(self, name: str, kind: type[T]) -> T | None:
        self._asked.add(name)
        value = self._object.get(name)
        if value is None:
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.fail(name, f"must be of type {kind.__name__}, got {type(value).__name__}")
        return value

    def need(self, name: str, value: T | None) -> T:
        """Insist on a field that one of the readers below gave."""
        if value is None:
            self.fail(name, "required")
        return value

    def text(self, name: str) -> str | None:
        """Return a string, None where absent."""
        return self._take(name, str)

    def boolean(self, name: str) -> bool | None:
        """Return a bool, None where absent."""
        return self._take(name, bool)

    def integer(self, name: str) -> int | None:
        """Return an int, None where absent."""
        return self._take(name, int)

    def choice(self, name: str, choices: type[E]) -> E | None:
        """Return a member of `choices`, None where absent."""
        value = self._take(name, str)
        if value is None:
            return None
        try:
            return choices(value)
        except ValueError:
            self.fail(name, f"must be one of {', '.join(choices)}; got {value[:80]!r}")

    def parsed(self, name: str, parse: Callable[[str], T]) -> T | None:
        """Return what `parse` makes of a string, None where absent; its InvalidSpec gets the path put before it."""
        value = self._take(name, str)
        return None if value is None else self._parse(name, parse, value)

    def size(self, name: str, parse: Callable[[str | int], int]) -> int | None:
        """Return a size given as integer or string, None where absent."""
        self._asked.add(name)
        value = self._object.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            self.fail(name, f"must be a whole number or a string, got {type(value).__name__}")
        return self._parse(name, parse, value)

    def _parse(self, name: str | int, parse: Callable[[Any], T], value: str | int) -> T:
        try:
            return parse(value)
        except errors.InvalidSpec as exc:
            raise _invalid((*self._path, name), str(exc)) from exc

    def time(self, name: str) -> datetime | None:
        """Return an RFC 3339 time in UTC, None where absent."""
        return self.parsed(name, parse_time)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of strings, empty where absent."""
        items = self._take(name, list) or []
        for index, item in enumerate(items):
            if not isinstance(item, str):
                raise _invalid((*self._path, name, index), f"must be of type str, got {type(item).__name__}")
        return tuple(items)

    def parsed_all(self, name: str, parse: Callable[[str], T]) -> tuple[T, ...]:
        """Return what `parse` makes of each string of a list, nothing where absent."""
        items = self.texts(name)
        inner = Fields(dict(enumerate(items)), (*self._path, name))
        return tuple(inner._parse(index, parse, item) for index, item in enumerate(items))

    def mapping(self, name: str) -> dict[str, str]:
        """Return a mapping of strings to strings, empty where absent."""
        entries = self._take(name, dict) or {}
        for key, value in entries.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise _invalid((*self._path, name, str(key)), f"must be of type str, got {type(value).__name__}")
        return dict(entries)

    def child(self, name: str) -> "Fields | None":
        """Return a nested object, None where absent."""
        value = self._take(name, dict)
        return None if value is None else Fields(value, (*self._path, name))

    def children(self, name: str) -> "Iterator[Fields]":
        """Yield the objects of a list, nothing where absent."""
        for index, item in enumerate(self._take(name, list) or ()):
            yield Fields(item, (*self._path, name, index))

    def reject_unknown(self) -> None:
        """Refuse fields that no reader was asked for: no field is accepted and ignored."""
        unknown = sorted(str(name) for name in self._object if name not in self._asked)
        if unknown:
            self.fail(unknown[0], "unknown field")


def _invalid(field: Steps, message: str) -> errors.InvalidSpec:
    return errors.InvalidSpec(f"{path_text(field)}: {message}", field=field)


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time; the result is in UTC. Raises InvalidSpec."""
    if _RFC3339.match(text):
        try:
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise errors.InvalidSpec(f"must be a time such as 2026-01-31T12:00:00Z, got {text[:40]!r}")


def format_time(value: datetime) -> str:
    """Write an aware time as RFC 3339 in UTC, with a fraction of a second only where there is one."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
