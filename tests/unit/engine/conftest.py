"""The engine over fakes, for the tests beside this file."""

from collections.abc import Iterator

import pytest

from tests.unit.engine.engine_bench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.engine.stop()
