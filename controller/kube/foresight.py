"""What applying manifests to a cluster would lead to, by its objects and their statuses. Only reads."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from controller import errors
from controller.kube import objects
from controller.kube.view import ClusterView, Document
from controller.model.admission import Admission, Verdict
from controller.model.backup_storage import BackupStorageSpec, BackupStorageStatus
from controller.model.image import ImageSpec, ImageStatus
from controller.model.ownership import applied_fields
from controller.model.resource import REQUESTED_AT, BackupStorage, Image, Key, Kind, Meta, Resource
from controller.plan.effects import Plan
from controller.plan.image import plan_image
from controller.plan.observed import Limits
from controller.plan.reported import reported

NEW, UNCHANGED = "new", "unchanged"
_NOBODY = str(UUID(int=0))


@dataclass(frozen=True, slots=True)
class Foreseen:
    """One object. `why`: new, unchanged, or which fields would change."""

    key: Key
    why: str
    problems: tuple[str, ...] = ()
    """What the rules say against the change."""
    image: Image | None = None
    """As it would be; None for a storage."""
    plan: Plan | None = None
    """What the operator would do first; None for what does not change, and where the storages are not known."""


def foresee(
    view: ClusterView,
    admission: Admission,
    documents: Iterable[tuple[Key, Document]],
    now: datetime,
    limits: Limits,
) -> Iterator[Foreseen]:
    """Yield what would become of each valid manifest; others have been told of by whoever read them.

    A field of spec that the manifest does not name stays as it is in the cluster, unless an applier had said it: then
    it would be taken away. That is what `kubectl apply`, Flux and Argo CD do, for the fields right below spec.
    """
    changes = [change for key, document in documents if (change := _change(view, admission, key, document))]
    storages = _storages(view, changes, now)
    permits = _Permits(view)
    for change in sorted(changes, key=lambda change: change.key):
        if change.key.kind is not Kind.IMAGE or change.verdict.manifest is None:
            yield Foreseen(change.key, change.why, change.problems)
            continue
        image = _image(change, now)
        planned = None
        if change.why != UNCHANGED and storages is not None:
            observed = reported(image, storages, permits.of(change.key.namespace))
            planned = plan_image(image, observed, now, limits)
        yield Foreseen(change.key, change.why, image=image, plan=planned)


@dataclass(frozen=True, slots=True)
class _Change:
    key: Key
    live: Document | None
    verdict: Verdict
    why: str

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(f"{problem.path}: {problem.message}" for problem in self.verdict.problems)


def _change(view: ClusterView, admission: Admission, key: Key, document: Document) -> _Change | None:
    if admission.review(document).manifest is None:
        return None
    live = view.document(key)
    said = {name: value for name, value in document.items() if name != "status"}
    if live is None:
        return _Change(key, None, admission.review(said), NEW)
    held = applied_fields(live["metadata"])
    before: Mapping[str, Any] = live.get("spec") or {}
    kept = {name: value for name, value in before.items() if name not in held}
    old = {name: live[name] for name in ("apiVersion", "kind")} | {"metadata": said["metadata"], "spec": dict(before)}
    verdict = admission.review(said | {"spec": kept | said["spec"]}, old)
    after = verdict.document.get("spec") or {}
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    changed += [part for part in ("labels", "annotations") if _adds(document["metadata"], live["metadata"], part)]
    return _Change(key, live, verdict, f"changed: {', '.join(changed)}" if changed else UNCHANGED)


def _adds(said: Mapping[str, Any], live: Mapping[str, Any], part: str) -> bool:
    return bool((said.get(part) or {}).items() - (live.get(part) or {}).items())


def _image(change: _Change, now: datetime) -> Image:
    assert change.verdict.manifest is not None  # noqa: S101  asked by the caller
    spec = cast(ImageSpec, change.verdict.manifest.spec)
    meta, status = _meta(change, now), ImageStatus()
    if change.live is not None:
        status = cast(Image, objects.parse(Kind.IMAGE, change.live).resource).status
    return Resource(meta, spec, status)


def _meta(change: _Change, now: datetime) -> Meta:
    manifest = change.verdict.manifest
    annotations = dict(manifest.annotations) if manifest else {}
    if change.live is None:
        return Meta(change.key, _NOBODY, 1, "0", now, annotations, requested_at=annotations.get(REQUESTED_AT))
    meta = objects.parse(change.key.kind, change.live).resource.meta
    annotations = {**meta.annotations, **annotations}
    generation = meta.generation + (change.why not in {UNCHANGED, "changed: labels", "changed: annotations"})
    return replace(meta, generation=generation, annotations=annotations, requested_at=annotations.get(REQUESTED_AT))


def _storages(view: ClusterView, changes: Sequence[_Change], now: datetime) -> list[BackupStorage] | None:
    """Return the storages as they would be; None where we may not see them."""
    try:
        found = {storage.meta.key: storage for storage in view.storages()}
    except errors.ClusterDenied as exc:
        view.warn(f"what would be done is not known, only what would change: {exc}")
        return None
    for change in changes:
        if change.key.kind is Kind.BACKUP_STORAGE and change.verdict.manifest is not None:
            spec = cast(BackupStorageSpec, change.verdict.manifest.spec)
            known = found.get(change.key)
            status = known.status if known is not None else BackupStorageStatus()
            found[change.key] = Resource(_meta(change, now), spec, status)
    return [found[key] for key in sorted(found)]


class _Permits:
    """Judges namespaceSelectors; the labels of a namespace are asked for once, and only where a selector needs them."""

    def __init__(self, view: ClusterView) -> None:
        self._view = view
        self._labels: dict[str, Mapping[str, str] | None] = {}

    def of(self, namespace: str) -> Callable[[BackupStorageSpec], bool | None]:
        def permitted(spec: BackupStorageSpec) -> bool | None:
            if spec.namespace_selector is None:
                return True
            if namespace not in self._labels:
                self._labels[namespace] = self._view.labels(namespace)
            labels = self._labels[namespace]
            return None if labels is None else spec.namespace_selector.matches(labels)

        return permitted
