"""Whose an object is, as the marks of GitOps tools on it say."""

import json
from typing import Any

import pytest

from controller.model import ownership

APPLY = {"operation": "Apply", "fieldsV1": {"f:spec": {"f:url": {}, "f:suspend": {}}}}


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ({}, None),
        ({"labels": {"app.kubernetes.io/instance": "x"}, "managedFields": [{"manager": "kubectl"}]}, None),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "a"}}, "Flux Kustomization a"),
        (
            {"labels": {"helm.toolkit.fluxcd.io/name": "a", "helm.toolkit.fluxcd.io/namespace": "n"}},
            "Flux HelmRelease n/a",
        ),
        ({"labels": {"argocd.argoproj.io/instance": "a"}}, "Argo CD application a"),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "a:g/Image:n/x"}}, "Argo CD application a"),
        ({"managedFields": [{"manager": "kustomize-controller"}]}, "Flux"),
        ({"managedFields": [{"manager": "argocd-controller"}]}, "Argo CD"),
        ({"managedFields": [{"manager": 1}, {}]}, None),
    ],
)
def test_the_keeper_is_named(metadata: dict[str, Any], found: str | None) -> None:
    assert ownership.keeper(metadata) == found


@pytest.mark.parametrize(
    ("metadata", "fields"),
    [
        ({}, set()),
        ({"managedFields": [{"manager": "kustomize-controller", **APPLY}]}, {"url", "suspend"}),
        ({"managedFields": [{"manager": "goldmaster-cli", **APPLY}]}, set()),
        # an update may hold defaults that nobody said
        ({"managedFields": [{"manager": "kubectl-create", **APPLY, "operation": "Update"}]}, set()),
        ({"annotations": {ownership.LAST_APPLIED: json.dumps({"spec": {"checksum": "x"}})}}, {"checksum"}),
        ({"annotations": {ownership.LAST_APPLIED: "{"}}, set()),
        ({"annotations": {ownership.LAST_APPLIED: "[]"}}, set()),
    ],
)
def test_what_appliers_said_is_told_from_what_others_wrote(metadata: dict[str, Any], fields: set[str]) -> None:
    assert ownership.applied_fields(metadata) == fields
