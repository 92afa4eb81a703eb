"""An API server that says what a test wants, and our client of it."""

from collections.abc import Iterator

import pytest

from controller.kube.client import Client
from tests.fakes.clock import FakeClock
from tests.unit.kube import api as fake
from tests.unit.kube.api import Api


@pytest.fixture
def api() -> Iterator[Api]:
    with fake.serving() as found:
        yield found


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    made = Client(api.access(), FakeClock())
    yield made
    made.close()
