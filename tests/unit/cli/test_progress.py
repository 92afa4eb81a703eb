"""Bars of running transfers, where a person watches."""

import io
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog

from controller.cli import progress
from controller.gitops.loop import Standalone
from controller.model.transfer import Queued, Running, TransferState
from tests.unit.gitops.manifests import image_key


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Transfers:
    """Two images share one transfer, a third waits."""

    def __init__(self) -> None:
        self.states: dict[str, TransferState] = {"shared": Running(2**20, 4 * 2**20), "later": Queued(1)}
        self._owners = {"one": {"shared"}, "two": {"shared"}, "three": {"later"}}

    def owned(self, owner: str) -> frozenset[str]:
        return frozenset(self._owners[owner])

    def state(self, key: str) -> TransferState | None:
        return self.states.get(key)


def instance(transfers: Transfers) -> Standalone:
    images = [
        SimpleNamespace(meta=SimpleNamespace(uid=uid, key=image_key(f"image-{uid}"))) for uid in ("one", "two", "three")
    ]
    fake: Any = SimpleNamespace(
        state=SimpleNamespace(images=lambda: images), engine=SimpleNamespace(transfers=transfers)
    )
    return cast(Standalone, fake)


def test_a_running_transfer_has_one_bar_which_goes_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, transfers = Terminal(), Transfers()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with progress.shown(instance(transfers), verbose=False) as tick:
        tick()
        structlog.get_logger().info("image.status")
        structlog.get_logger().warning("storage.trouble")
        transfers.states["shared"] = Running(3 * 2**20, 4 * 2**20)
        tick()
        transfers.states.clear()
        tick()
    text = terminal.getvalue()
    assert "image-one" in text
    assert "image-two" not in text
    assert "image-three" not in text
    assert "/4.0 MiB" in text
    assert "storage.trouble" in text
    assert "image.status" not in text


@pytest.mark.parametrize("verbose", [False, True])
def test_elsewhere_there_are_log_lines_and_no_bars(monkeypatch: pytest.MonkeyPatch, verbose: bool) -> None:
    stream = Terminal() if verbose else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.shown(instance(Transfers()), verbose=verbose) as tick:
        tick()
        structlog.get_logger().info("image.status")
    assert "image.status" in stream.getvalue()
    assert "image-one" not in stream.getvalue()
