"""The samples: taken by the server and by `goldmaster validate`, and one of each kind of Image among them."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from controller.cli.validate import validate
from controller.model.image import DeletionPolicy, MediaType
from tests.apiserver import cluster

SAMPLES = Path(__file__).resolve().parents[2] / "manifests" / "samples"
FILES = sorted(path for path in SAMPLES.glob("*.yaml") if path.name != "kustomization.yaml")


def specs() -> list[dict[str, Any]]:
    documents = [yaml.safe_load(path.read_text()) for path in FILES]
    return [document["spec"] for document in documents if document["kind"] == "Image"]


@pytest.mark.needs_kube
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_the_server_takes_it_without_a_warning(kube: cluster.Cluster, file: Path) -> None:
    said = kube.kubectl("apply", "--server-side", "--warnings-as-errors", "--dry-run=server", "-f", str(file)).stdout
    assert "serverside-applied" in said


def test_standalone_mode_takes_them_all() -> None:
    done = CliRunner().invoke(validate, [str(SAMPLES)])
    assert done.exit_code == 0, done.output
    assert f"{len(FILES)} valid, 0 problems" in done.output


def test_there_is_one_of_each_kind() -> None:
    assert {spec.get("mediaType", "RootVolumeTemplate") for spec in specs()} == {kind.value for kind in MediaType}
    assert {spec.get("deletionPolicy", "Delay") for spec in specs()} == {policy.value for policy in DeletionPolicy}
    for field in ("checksum", "checksumFrom", "mirrors", "secretRef", "maxSize", "retry", "timeouts"):
        assert any(field in spec for spec in specs()), field
    assert any("signature" in spec.get("checksumFrom", {}) for spec in specs())


def test_nothing_in_them_is_taken_on_trust() -> None:
    """Who copies a sample copies its habits."""
    assert all("checksum" in spec or "checksumFrom" in spec for spec in specs())
