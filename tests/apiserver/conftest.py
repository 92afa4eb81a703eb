"""Fixtures of the tests of operator mode: an API server of their own, as an operator reconciles all that is on it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.apiserver import assets, fixtures, image_server

if TYPE_CHECKING:
    from tests.apiserver import cluster, operating


@pytest.fixture(scope="session")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator["cluster.Cluster"]:
    """One API server with our CRDs and RBAC for all operators of this process, one after the other."""
    yield from started(tmp_path_factory.mktemp("operated") / "cluster")


def started(folder: Path) -> Iterator["cluster.Cluster"]:
    """Yield a server in a new folder, with our CRDs and RBAC, and stop it."""
    from tests.apiserver import cluster, operating

    made = cluster.Cluster(assets.find(os.environ), folder)
    try:
        made.start(fixtures.CRDS)
        operating.install_rights(made)
        yield made
    finally:
        made.stop()


@pytest.fixture
def emptied(operated: "cluster.Cluster") -> Iterator["cluster.Cluster"]:
    """The same, without any of our objects before and after."""
    _empty(operated)
    yield operated
    _empty(operated)


@pytest.fixture
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator["cluster.Cluster"]:
    """One for a single test, whose API server may be restarted."""
    yield from started(tmp_path_factory.mktemp("fragile") / "cluster")


@pytest.fixture(scope="module")
def images() -> Iterator[image_server.ImageServer]:
    """A web server with images."""
    with image_server.serving() as server:
        yield server


@pytest.fixture(scope="module")
def operator(
    operated: "cluster.Cluster", tmp_path_factory: pytest.TempPathFactory
) -> Iterator["operating.OperatorProcess"]:
    """One operator for all tests of a module, with the storage `main`, which is the default."""
    from tests.apiserver import operating

    _empty(operated)
    process = operating.OperatorProcess(operated, tmp_path_factory.mktemp("operator")).start()
    main = operating.storage("main", process.root / "main")
    main["metadata"]["annotations"] = {"goldmaster.dev/default": "true"}
    operated.kubectl("apply", "-f", "-", stdin=json.dumps(main))
    yield process
    process.stop()
    _empty(operated)


def _empty(kube: "cluster.Cluster") -> None:
    """Remove every Image and BackupStorage, whether or not an operator is there to let them go."""
    from tests.apiserver import client

    def remove(found: dict[str, dict[str, str]], plural: str) -> client.Answer:
        namespace = found["metadata"].get("namespace")
        scope = f"namespaces/{namespace}/" if namespace else ""
        path = f"/apis/goldmaster.dev/v1alpha1/{scope}{plural}/{found['metadata']['name']}"
        kube.admin.merge(path, {"metadata": {"finalizers": None}})
        return kube.admin.delete(path)

    for plural in ("images", "backupstorages"):
        for found in kube.admin.get(f"/apis/goldmaster.dev/v1alpha1/{plural}").body["items"]:
            remove(found, plural)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where an operator of a test's own keeps its storage and log."""
    return tmp_path
