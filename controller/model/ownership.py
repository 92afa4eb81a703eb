"""Which GitOps tool keeps an object, as the tool's own marks on it say, and which fields appliers hold. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

CLI_MANAGER = "goldmaster-cli"
"""Field manager of what a person's verbs write, so that it is told from what an applier wrote."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""Annotation in which client-side apply (kubectl's, Argo CD's) remembers what it said."""
_TRACKING = "argocd.argoproj.io/tracking-id"
_INSTANCE = "argocd.argoproj.io/instance"
_FLUX = (("kustomize.toolkit.fluxcd.io", "Flux Kustomization"), ("helm.toolkit.fluxcd.io", "Flux HelmRelease"))
_MANAGERS = {
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
}
"""Field managers under which the tools write, for objects whose marks somebody took off."""

Metadata = Mapping[str, Any]


def keeper(metadata: Metadata) -> str | None:
    """Return which tool syncs the object from Git, `Flux Kustomization apps/images`; None where no mark says so."""
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    for prefix, kind in _FLUX:
        if name := labels.get(f"{prefix}/name"):
            return f"{kind} {labels.get(f'{prefix}/namespace', '')}/{name}".replace(" /", " ")
    # tracking-id: APPLICATION:GROUP/KIND:NAMESPACE/NAME
    if name := str(annotations.get(_TRACKING, "")).partition(":")[0] or labels.get(_INSTANCE):
        return f"Argo CD application {name}"
    return next((_MANAGERS[entry["manager"]] for entry in _entries(metadata) if entry["manager"] in _MANAGERS), None)


def applied_fields(metadata: Metadata) -> frozenset[str]:
    """Return the names of the fields of `spec` that an applier has said, and would take away if it ceased to."""
    fields = {
        name.removeprefix("f:")
        for entry in _entries(metadata)
        if entry.get("operation") == "Apply" and entry["manager"] != CLI_MANAGER
        for name in (entry.get("fieldsV1") or {}).get("f:spec") or {}
    }
    try:
        said = json.loads((metadata.get("annotations") or {}).get(LAST_APPLIED) or "{}")
    except ValueError:
        said = {}
    spec = said.get("spec") if isinstance(said, dict) else None
    return frozenset(fields | set(spec if isinstance(spec, dict) else ()))


def _entries(metadata: Metadata) -> Iterator[Mapping[str, Any]]:
    for entry in metadata.get("managedFields") or ():
        if isinstance(entry.get("manager"), str):
            yield entry
