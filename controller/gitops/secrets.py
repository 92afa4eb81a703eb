"""Secrets of standalone mode: files of Kubernetes Secret manifests in a directory of their own.

Read anew for every transfer. No message says more of a file than its name, and of a Secret than its names: what a YAML
reader says of a broken file may repeat a password.
"""

import base64
import binascii
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from controller import errors
from controller.gitops import yaml_reader
from controller.gitops.yaml_reader import Malformed, Value
from controller.model.manifest import DEFAULT_NAMESPACE
from controller.model.secret import Secret

SUFFIXES = (".yaml", ".yml", ".json")
MAX_FILE_BYTES = 2**20
"""A Secret has at most 1 MiB on an API server too."""
_KNOWN = frozenset({"apiVersion", "kind", "metadata", "type", "data", "stringData", "immutable"})


class SecretFiles:
    """Implements `ports.Secrets` over the files right in a directory; hidden ones and others are passed over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self, paths: Sequence[Path]) -> None:
        """Look at everything once, before anything starts.

        Raises:
            Usage: the directory lies in a tree of manifests (or one in it), others may read or change it or a file in
                it, or a file is not a Secret.

        """
        own = os.path.realpath(self._folder)
        for path in paths:
            tree = os.path.realpath(path)
            if own == tree or own.startswith(tree.rstrip("/") + "/"):
                raise errors.Usage(
                    f"--secrets {self._folder} is inside {path}: manifests are committed and shown around, Secrets are "
                    "not; keep them in a directory of their own"
                )
            if tree.startswith(own.rstrip("/") + "/"):
                raise errors.Usage(f"{path} is inside --secrets {self._folder}: Secrets are kept away from manifests")
        problems = [problem for problem in self._all() if isinstance(problem, str)]
        if problems:
            raise errors.Usage("--secrets: " + "; ".join(problems))

    def read(self, namespace: str, name: str) -> Secret:
        """Return the Secret as it is now. See `ports.Secrets`."""
        found, problems = [], []
        for one in self._all():
            if isinstance(one, str):
                problems.append(one)
            elif (one.namespace, one.name) == (namespace, name):
                found.append(one)
        if len(found) == 1:
            return found[0]
        if found:
            raise errors.DependencyNotReady(f"Secret {namespace}/{name} is there {len(found)} times in --secrets")
        seen = f" ({'; '.join(problems)})" if problems else ""
        raise errors.DependencyNotReady(f"Secret {namespace}/{name} is not in --secrets {self._folder}{seen}")

    def version(self, namespace: str, name: str) -> str:
        """Return a word that changes with any of the files: their places, sizes and times. See `ports.Secrets`."""
        found = []
        try:
            with os.scandir(self._folder) as scan:
                for entry in scan:
                    if not entry.name.startswith(".") and entry.name.endswith(SUFFIXES):
                        facts = entry.stat()
                        found.append(
                            f"{entry.name}/{facts.st_ino}/{facts.st_size}/{facts.st_mtime_ns}/{facts.st_ctime_ns}"
                        )
        except OSError:
            return ""
        return " ".join(sorted(found))

    def _all(self) -> Iterator[Secret | str]:
        """Yield every Secret, and what is wrong with any file."""
        try:
            with os.scandir(self._folder) as scan:
                names = sorted(entry.name for entry in scan)
            if os.stat(self._folder).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                yield f"others may put files into {self._folder}: chmod go-w"
                return
        except OSError as exc:
            yield f"{self._folder} cannot be read: {exc.strerror}"
            return
        for name in names:
            if not name.startswith(".") and name.endswith(SUFFIXES):
                yield from self._file(name)

    def _file(self, name: str) -> Iterator[Secret | str]:
        try:
            descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return
        except OSError as exc:
            yield f"{name} cannot be read: {exc.strerror}"
            return
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                yield f"{name} is not a regular file"
                return
            if facts.st_mode & 0o077:
                yield f"{name} has mode {facts.st_mode & 0o777:04o}, so that others may read it: chmod 600"
                return
            data = _read(descriptor)
        except OSError as exc:
            yield f"{name} cannot be read: {exc.strerror}"
            return
        finally:
            os.close(descriptor)
        yield from _secrets(name, data)


def _read(descriptor: int) -> bytes:
    """Return what a file holds, up to one byte more than is allowed."""
    data = b""
    while len(data) <= MAX_FILE_BYTES and (piece := os.read(descriptor, MAX_FILE_BYTES + 1 - len(data))):
        data += piece
    return data


def _secrets(name: str, data: bytes) -> Iterator[Secret | str]:
    if len(data) > MAX_FILE_BYTES:
        yield f"{name} has more than {MAX_FILE_BYTES} bytes"
        return
    reading = yaml_reader.read_json if name.endswith(".json") else yaml_reader.read_yaml
    try:
        documents = list(reading(data.decode("utf-8-sig")))
    except Malformed as exc:
        yield f"{name} is not well-formed at line {exc.line}"
        return
    except UnicodeDecodeError:
        yield f"{name} is not UTF-8 text"
        return
    for document in documents:
        if document.complaints:
            yield f"{name} says something twice at line {document.complaints[0][0]}"
        elif document.value is not None:
            yield _secret(f"{name} line {document.line}", document.value)


def _secret(place: str, value: Value) -> Secret | str:
    """Return a Secret, or what is wrong with it; of its contents only keys are named."""
    if not isinstance(value, Mapping) or value.get("apiVersion") != "v1" or value.get("kind") != "Secret":
        return f"{place} is no Secret of apiVersion v1"
    if unknown := sorted(str(key)[:40] for key in value.keys() - _KNOWN):
        return f"{place} has the field {unknown[0]}, which a Secret has not"
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    namespace = (metadata.get("namespace") or DEFAULT_NAMESPACE) if isinstance(metadata, Mapping) else None
    kind = value.get("type") or "Opaque"
    if not isinstance(name, str) or not isinstance(namespace, str) or not isinstance(kind, str):
        return f"{place} has no metadata.name, or namespace or type are no text"
    found: dict[str, bytes] = {}
    for block, decode in (("data", _decoded), ("stringData", str.encode)):
        entries = value.get(block) or {}
        if not isinstance(entries, Mapping):
            return f"{place}: {block} is no mapping"
        for key, text in entries.items():
            decoded = decode(text) if isinstance(text, str) else None
            if decoded is None:
                return f"{place}: {block}.{str(key)[:80]} is not {'base64' if block == 'data' else 'text'}"
            found[str(key)] = decoded
    return Secret(namespace, name, kind, found)


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
