"""Owners are told of specs that cannot be read here, also by a server that does not take what it is told."""

from datetime import timedelta
from typing import cast

import pytest

from controller import errors
from controller.kube.cache import Cache
from controller.kube.objects import parse
from controller.kube.unreadable import TROUBLE_SOON_S, Unreadable
from controller.model.image import ImageStatus
from controller.model.resource import Image, Kind
from controller.ports import Resources
from tests.fakes.clock import FakeClock
from tests.unit.kube import documents


class Server:
    """Takes statuses of images, but for those that are in trouble."""

    def __init__(self) -> None:
        self.trouble: dict[str, errors.TransientError] = {}
        self.asked: list[str] = []

    def write_image_status(self, image: Image, status: ImageStatus) -> Image:
        assert status.conditions
        self.asked.append(image.meta.key.name)
        if image.meta.key.name in self.trouble:
            raise self.trouble[image.meta.key.name]
        return image


class Told:
    """Three images of a newer CRD, noted and not told of yet."""

    def __init__(self) -> None:
        self.server, self.clock, cache = Server(), FakeClock(), Cache()
        self._unreadable = Unreadable(cache, self.clock)
        for name in ("a", "b", "c"):
            entry = parse(Kind.IMAGE, documents.image(name, spec={"url": "https://h/a", "invented": True}))
            cache.accept(entry)
            self._unreadable.note(entry)

    def tell(self) -> list[str]:
        """Return whose status was written, or tried."""
        self.server.asked = []
        self._unreadable.tell(cast(Resources, self.server))
        return self.server.asked


@pytest.fixture
def told() -> Told:
    return Told()


def test_each_is_told_once(told: Told) -> None:
    assert told.tell() == ["a", "b", "c"]
    assert told.tell() == []


def test_a_server_in_trouble_is_asked_for_one_after_a_while_and_each_has_its_turn(told: Told) -> None:
    """In an outage there may be thousands; and one that is always refused must not keep the others from being told."""
    told.server.trouble = {name: errors.ClusterUnavailable("down") for name in "abc"}
    assert told.tell() == ["a"]
    assert told.tell() == []
    told.clock.advance(TROUBLE_SOON_S)
    assert told.tell() == ["b"]
    told.clock.advance(TROUBLE_SOON_S)
    del told.server.trouble["b"], told.server.trouble["c"]
    assert told.tell() == ["c", "a"]
    told.clock.advance(TROUBLE_SOON_S)
    assert told.tell() == ["b", "a"]


def test_it_is_not_asked_before_it_said(told: Told) -> None:
    told.server.trouble = {"a": errors.ClusterUnavailable("busy", retry_after=timedelta(seconds=60))}
    assert told.tell() == ["a"]
    told.clock.advance(59)
    assert told.tell() == []
    told.clock.advance(1)
    assert told.tell() == ["b", "c", "a"]


def test_one_that_others_write_keeps_nobody_waiting(told: Told) -> None:
    told.server.trouble = {"a": errors.Conflict("changed")}
    assert told.tell() == ["a", "b", "c"]
    told.server.trouble = {}
    assert told.tell() == ["a"]
