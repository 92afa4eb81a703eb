"""The fixtures that tests marked needs_kube use. tests/conftest.py loads this module for all of them."""

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.apiserver import assets

if TYPE_CHECKING:
    from tests.apiserver import cluster

CRDS = Path(__file__).resolve().parents[2] / "crds"
EVENTUALLY_S = 60.0
"""How long a controller may take; they need milliseconds, on a busy machine seconds."""
_numbers = itertools.count(1)
_pause = threading.Event()


def eventually(holds: Callable[[], bool]) -> None:
    """Wait for what a controller of the cluster does in its own time. Raises AssertionError if it does not."""
    deadline = time.monotonic() + EVENTUALLY_S
    while not holds():
        assert time.monotonic() < deadline, f"it still does not hold after {EVENTUALLY_S:g} s"
        _pause.wait(0.02)


@pytest.fixture(scope="session")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator["cluster.Cluster"]:
    """One API server with our CRDs for all tests of this process: give what you make there a name of your own."""
    from tests.apiserver import cluster

    started = cluster.Cluster(assets.find(os.environ), tmp_path_factory.mktemp("kube") / "cluster")
    try:
        started.start(CRDS)
        yield started
    finally:
        started.stop()


@pytest.fixture
def kube_namespace(kube: "cluster.Cluster") -> str:
    """Make a namespace for one test. It stays until the server ends, as emptying it takes longer than most tests."""
    name = f"test-{next(_numbers)}"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    answer = kube.admin.create("/api/v1/namespaces", namespace)
    assert answer.ok, answer.message
    return name
