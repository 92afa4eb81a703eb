"""The verdict of an API server on a manifest, without one: schema, defaults, rules, and what only parsing can say."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from controller import errors
from controller.model import manifest, objectmeta, rules
from controller.model.backup_storage import BackupStorageSpec
from controller.model.image import ImageSpec
from controller.model.manifest import Manifest
from controller.model.resource import API_VERSION, GROUP, Kind
from controller.model.schema import Document, Problem, Schema, path_text

AnyManifest = Manifest[ImageSpec] | Manifest[BackupStorageSpec]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a document. `manifest` is there exactly when `problems` is empty."""

    document: dict[str, Any]
    """With defaults applied and without status: what is stored and compared with the next one."""
    problems: tuple[Problem, ...]
    manifest: AnyManifest | None


class Admission:
    """Judges documents by the CRDs it was built from. Thread-safe."""

    def __init__(self, crds: Iterable[Document]) -> None:
        """Take the parsed CRD documents, one per kind."""
        self._schemas = {schema.kind: schema for schema in map(Schema, crds)}

    @staticmethod
    def concerns(document: object) -> bool:
        """Whether a document is of our API group, known or not; others in the same tree are not ours to judge."""
        version = document.get("apiVersion") if isinstance(document, dict) else None
        return isinstance(version, str) and version.partition("/")[0] == GROUP

    def review(self, document: Document, old: Document | None = None) -> Verdict:
        """Judge a document; with `old`, the `Verdict.document` in force until now, also the change.

        All problems of a stage are returned; the later stages (rules, then parsing) are asked only where it found none.
        """
        schema = self._schema(document)
        if isinstance(schema, Problem):
            return Verdict(dict(document), (schema,), None)
        complete = schema.defaulted(document)
        problems = (
            schema.problems(complete) or _metadata_problems(complete) or rules.problems(schema.kind, complete, old)
        )
        if problems:
            return Verdict(complete, tuple(problems), None)
        try:
            parsed: AnyManifest = (
                manifest.parse_image(complete) if schema.kind is Kind.IMAGE else manifest.parse_storage(complete)
            )
        except errors.InvalidSpec as exc:
            path = path_text(exc.field)
            return Verdict(complete, (Problem(path, str(exc).removeprefix(f"{path}: "), exc.field),), None)
        return Verdict(complete, (), parsed)

    def _schema(self, document: Document) -> Schema | Problem:
        if document.get("apiVersion") != API_VERSION:
            return Problem.at(("apiVersion",), f"must be {API_VERSION}, got {str(document.get('apiVersion'))[:80]!r}")
        known = {kind.value: schema for kind, schema in self._schemas.items()}
        kind = document.get("kind")
        if not isinstance(kind, str) or kind not in known:
            return Problem.at(("kind",), f"must be one of {', '.join(known)}; got {str(kind)[:80]!r}")
        return known[kind]


def _metadata_problems(complete: Document) -> list[Problem]:
    message = objectmeta.annotations_problem(complete["metadata"])
    return [Problem.at(("metadata", "annotations"), message)] if message else []
