"""The world that most plans are tried in."""

import pytest

from tests.fakes.world import World, content, spec

A, B = "http://images.example/a", "http://images.example/b"


@pytest.fixture
def world() -> World:
    world = World.of(spec(A))
    world.sources = {A: content(1), B: content(2)}
    return world
