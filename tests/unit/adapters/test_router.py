"""The scheme of a URL says which source answers."""

import pytest

from controller import errors
from controller.adapters.sources.router import SourceRouter
from controller.model.url import SourceUrl
from tests.fakes.fetching import NEVER, asking, fetch
from tests.fakes.source import FakeSource


def test_each_scheme_has_its_source() -> None:
    http, file = FakeSource(), FakeSource()
    http.put(SourceUrl.parse("http://h.example/a"), b"http")
    file.put(SourceUrl.parse("/a"), b"file")
    router = SourceRouter({"http": http, "file": file})
    assert fetch(router, asking("http://h.example/a")) == b"http"
    assert fetch(router, asking("/a")) == b"file"


def test_a_scheme_that_nobody_serves_is_denied() -> None:
    with pytest.raises(errors.PolicyDenied, match="https sources are not served here; served: file, http"):
        SourceRouter({"http": FakeSource(), "file": FakeSource()}).open(asking("https://h.example/a"), NEVER)
