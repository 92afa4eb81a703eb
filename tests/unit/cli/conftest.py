"""A command line to call in process, over a state with two images and a storage."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller.adapters.clock import SystemClock
from controller.cli import main
from controller.gitops.desired import Guards
from controller.gitops.loop import default_storage
from controller.gitops.state import State
from controller.model.conditions import Condition, ConditionType
from controller.model.delivery import Delivery, Validator
from controller.model.digest import Algorithm, Digest
from controller.model.image import Content, Format, ImageStatus, Phase, Progress, Ref, RefStatus, Revision
from controller.model.resource import Image
from controller.reasons import Reason
from tests.unit.gitops.manifests import image_key, tree, wanted

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CONTENT = Content(
    sha256=Digest(Algorithm.SHA256, "ab" * 32),
    md5=Digest(Algorithm.MD5, "cd" * 16),
    size_bytes=293641216,
    virtual_size_bytes=8589934592,
    format=Format.QCOW2,
    source_digests=(Digest(Algorithm.SHA256, "ab" * 32),),
)
DELIVERY = Delivery(
    "http://mirror.example/good.qcow2",
    Validator('"v7"', "Thu, 01 Jan 2026 00:00:00 GMT"),
    293641216,
    fetched_bytes=293641216,
)


class Answer:
    """What a command said and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Call = Callable[..., Answer]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        code = main.run([str(argument) for argument in arguments])
        return Answer(code, *capsys.readouterr())

    return run


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("GOLDMASTER_"):
            monkeypatch.delenv(name)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A state where `good` is Ready, `slow` downloads, and the storage `default` was never probed."""
    place = tmp_path / "state"
    with State.open(place, SystemClock()) as state:
        good = wanted("good", labels={"team": "a"}, url="http://images.example/good.qcow2?signature=s3cret")
        state.apply([tree(good, wanted("slow")), default_storage(place)], Guards())
        image = _image(state, "good")
        state.write_image_status(image, _served(image))
        image = _image(state, "slow")
        status = replace(
            image.status,
            phase=Phase.DOWNLOADING,
            progress=Progress(2**20, 2**22),
            attempts=2,
            next_retry_at=SystemClock().now() + timedelta(hours=1),
            queue_position=7,
            conditions=(_ready(False, Reason.SOURCE_UNREACHABLE, "HTTP 503"),),
        )
        state.write_image_status(image, status)
    return place


def _image(state: State, name: str) -> Image:
    found = state.image(image_key(name))
    assert found is not None
    return found


def _served(image: Image) -> ImageStatus:
    path = f"zstore://{image.status.uuid}/{CONTENT.image_id}"
    return replace(
        image.status,
        phase=Phase.READY,
        observed_generation=1,
        current=Revision(CONTENT, "0" * 32, "http://images.example/good.qcow2", NOW, "first use", DELIVERY),
        refs=(Ref("ae840e03a0044b759b0a8c09a141a46b", "default", path, RefStatus.READY, NOW, NOW),),
        create_date=NOW,
        last_op_date=NOW,
        conditions=(_ready(True, Reason.SUCCEEDED, "stored and verified on default"),),
    )


def _ready(status: bool, reason: Reason, message: str) -> Condition:
    return Condition(ConditionType.READY, status, reason, message, 1, NOW)
