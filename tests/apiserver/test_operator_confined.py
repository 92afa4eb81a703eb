"""An operator as its manifests describe it: a user without a name. test_overlays.py asserts what else it lacks."""

import json
from pathlib import Path

import pytest

from tests.apiserver import cluster, operating
from tests.apiserver.image_server import ImageServer
from tests.fakes import images as make

pytestmark = pytest.mark.needs_kube
NAMELESS = """
import pwd

def getpwuid(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

pwd.getpwuid = getpwuid
"""
"""What the uid 65532 of manifests/controller/deployment.yaml meets in an image that knows no such user."""


def test_a_user_without_a_name_can_watch(emptied: cluster.Cluster, folder: Path, images: ImageServer) -> None:
    """kopf asks for the name of the user, to tell operators apart; without a watch, changes would wait for a list."""
    (folder / "nameless").mkdir()
    (folder / "nameless" / "sitecustomize.py").write_text(NAMELESS)
    process = operating.OperatorProcess(emptied, folder)
    process.environ = {"PYTHONPATH": str(folder / "nameless")}
    process.start()
    try:
        process.until(lambda: bool(process.said("operator.leads")))
        emptied.kubectl("apply", "-f", "-", stdin=json.dumps(operating.storage("main", process.root / "main")))
        url = images.add("/nameless.raw", make.raw(seed=3))
        emptied.kubectl("apply", "-f", "-", stdin=json.dumps(operating.image("nameless", url)))
        process.until(lambda: operating.ready(emptied.get("image", "nameless")) == ("True", "Succeeded"))
        assert process.said("kube.feed_broke") == []
    finally:
        process.stop()
