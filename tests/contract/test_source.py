"""What every Source keeps: the fake that engine tests use, http(s) against a real nginx, and files."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller import errors
from controller.adapters.sources.file import FileSource
from controller.adapters.sources.router import SourceRouter
from controller.model.delivery import Peer
from controller.model.url import SourceUrl
from controller.ports import Source
from tests.fakes.clock import FakeClock
from tests.fakes.fetching import NEVER, asking, drain, fetch, http_source
from tests.fakes.nginx import nginx
from tests.fakes.source import FakeSource

DATA = os.urandom(3 * 2**20 + 17)


@dataclass
class Origin:
    """A source, and a way to put versions of bytes where it finds them."""

    source: Source
    url: SourceUrl
    put: Callable[[bytes], None]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder that nginx serves, and where; no URL without nginx, where the tests that want one are left out."""
    served = tmp_path_factory.mktemp("served")
    if shutil.which("nginx") is None:
        yield served, ""
        return
    with nginx(served, tmp_path_factory.mktemp("nginx")) as url:
        yield served, url


@pytest.fixture(
    params=["fake", pytest.param("http", marks=pytest.mark.needs_nginx), "file"],
)
def origin(request: pytest.FixtureRequest, tmp_path: Path, site: tuple[Path, str]) -> Origin:
    if request.param == "fake":
        fake, url = FakeSource(), SourceUrl.parse("http://images.example/golden.img")
        return Origin(fake, url, lambda data: fake.put(url, data))
    if request.param == "file":
        path = tmp_path / "golden.img"
        later = FakeClock(datetime.now(UTC) + timedelta(minutes=1))
        router = SourceRouter({"file": FileSource([tmp_path], later)})
        return Origin(router, SourceUrl.parse(str(path)), lambda data: _replace(path, data))
    served, base = site
    name = f"{tmp_path.name}.img"
    return Origin(http_source(), SourceUrl.parse(f"{base}/{name}"), lambda data: _replace(served / name, data))


def _replace(path: Path, data: bytes) -> None:
    """Put a new file where one may be; nginx makes its ETag of whole seconds and the length, so both move."""
    before = path.stat().st_mtime if path.exists() else 1_700_000_000
    fresh = path.with_suffix(".new")
    fresh.write_bytes(data)
    os.utime(fresh, (before + 10, before + 10))
    fresh.rename(path)


def test_all_bytes_come_and_the_end_is_proven(origin: Origin) -> None:
    origin.put(DATA)
    body = origin.source.open(asking(origin.url), NEVER)
    assert body.offset == 0
    assert body.total_bytes == len(DATA)
    assert body.validator.strong
    assert body.served_by == origin.url.redacted
    away = Peer("192.0.2.1" if isinstance(origin.source, FakeSource) else "127.0.0.1")
    assert body.peer == (None if origin.url.scheme == "file" else away)
    assert not body.complete
    assert drain(body) == DATA
    assert body.complete


def test_a_buffer_is_filled_as_far_as_possible(origin: Origin) -> None:
    """Whoever hashes wants whole buffers: only the last one is short, and 0 comes only at the end."""
    origin.put(DATA)
    body = origin.source.open(asking(origin.url), NEVER)
    buffer = memoryview(bytearray(2**20))
    counts = [body.readinto(buffer) for _ in range(6)]
    body.close()
    assert counts == [2**20, 2**20, 2**20, 17, 0, 0]


@pytest.mark.parametrize("size", [1, 17, 512])
def test_the_size_of_the_buffer_does_not_change_the_bytes(origin: Origin, size: int) -> None:
    origin.put(DATA[:2000])
    assert drain(origin.source.open(asking(origin.url), NEVER), size) == DATA[:2000]


def test_an_empty_source_is_complete_at_once(origin: Origin) -> None:
    origin.put(b"")
    body = origin.source.open(asking(origin.url), NEVER)
    assert body.total_bytes == 0
    assert drain(body) == b""
    assert body.complete


@pytest.mark.parametrize("at", [1, 4096, len(DATA) - 1])
def test_the_rest_of_the_same_version_can_be_had(origin: Origin, at: int) -> None:
    origin.put(DATA)
    first = origin.source.open(asking(origin.url), NEVER)
    first.close()
    body = origin.source.open(asking(origin.url, resume_from=at, etag=first.validator.etag), NEVER)
    assert body.offset == at
    assert body.total_bytes == len(DATA)
    assert body.validator.etag == first.validator.etag
    assert drain(body) == DATA[at:]
    assert body.complete


def test_nothing_left_to_fetch_is_a_complete_empty_rest(origin: Origin) -> None:
    origin.put(DATA)
    first = origin.source.open(asking(origin.url), NEVER)
    first.close()
    body = origin.source.open(asking(origin.url, resume_from=len(DATA), etag=first.validator.etag), NEVER)
    assert body.offset == len(DATA)
    assert body.validator.etag == first.validator.etag
    assert drain(body) == b""
    assert body.complete


def test_the_rest_of_any_version_of_one_length_can_be_had(origin: Origin) -> None:
    """For whoever proves the whole by its digest; no validator is named."""
    origin.put(DATA)
    body = origin.source.open(asking(origin.url, resume_from=4096, whole_bytes=len(DATA)), NEVER)
    assert (body.offset, body.total_bytes) == (4096, len(DATA))
    assert drain(body) == DATA[4096:]
    assert body.complete


def test_a_version_of_another_length_starts_over(origin: Origin) -> None:
    origin.put(DATA)
    for other in (len(DATA) + 1, len(DATA) - 1):
        body = origin.source.open(asking(origin.url, resume_from=4096, whole_bytes=other), NEVER)
        assert body.offset == 0
        assert drain(body) == DATA


def test_who_only_peeks_learns_the_same_of_the_version(origin: Origin) -> None:
    origin.put(DATA)
    whole, peeked = (origin.source.open(asking(origin.url, peek=peek), NEVER) for peek in (False, True))
    assert (peeked.offset, peeked.total_bytes, peeked.validator) == (0, len(DATA), whole.validator)
    assert peeked.served_by == whole.served_by
    whole.close()
    peeked.close()


def test_a_changed_source_starts_over(origin: Origin) -> None:
    origin.put(DATA)
    first = origin.source.open(asking(origin.url), NEVER)
    first.close()
    origin.put(DATA[::-1])
    body = origin.source.open(asking(origin.url, resume_from=100, etag=first.validator.etag), NEVER)
    assert body.offset == 0
    assert body.validator.etag != first.validator.etag
    assert drain(body) == DATA[::-1]


def test_a_shorter_source_starts_over(origin: Origin) -> None:
    """What is held already is longer than the source is now."""
    origin.put(DATA)
    first = origin.source.open(asking(origin.url), NEVER)
    first.close()
    origin.put(DATA[:50])
    body = origin.source.open(asking(origin.url, resume_from=1000, etag=first.validator.etag), NEVER)
    assert body.offset == 0
    assert drain(body) == DATA[:50]


@pytest.mark.parametrize("etag", [None, 'W/"1"', '"another"'])
def test_without_the_strong_validator_of_this_version_it_starts_over(origin: Origin, etag: str | None) -> None:
    origin.put(DATA)
    body = origin.source.open(asking(origin.url, resume_from=100, etag=etag), NEVER)
    assert body.offset == 0
    assert drain(body) == DATA


def test_what_is_not_there_is_not_found(origin: Origin) -> None:
    with pytest.raises(errors.SourceNotFound):
        origin.source.open(asking(origin.url), NEVER)


def test_too_much_is_refused_before_the_first_byte(origin: Origin) -> None:
    origin.put(DATA)
    with pytest.raises(errors.TooLarge, match=str(len(DATA))):
        origin.source.open(asking(origin.url, max_bytes=len(DATA) - 1), NEVER)
    assert fetch(origin.source, asking(origin.url, max_bytes=len(DATA))) == DATA


def test_a_set_stop_token_means_not_to_begin(origin: Origin) -> None:
    origin.put(DATA)
    stop = threading.Event()
    stop.set()
    with pytest.raises(errors.Interrupted):
        origin.source.open(asking(origin.url), stop)


def test_a_stop_ends_a_read(origin: Origin) -> None:
    origin.put(bytes(64 * 2**20))
    stop = threading.Event()
    body = origin.source.open(asking(origin.url), stop)
    buffer = memoryview(bytearray(2**20))
    assert body.readinto(buffer) == 2**20
    stop.set()
    with pytest.raises(errors.Interrupted):
        drain(body)
    body.close()
    assert not body.complete


def test_close_may_be_called_twice_and_at_any_time(origin: Origin) -> None:
    origin.put(DATA)
    body = origin.source.open(asking(origin.url), NEVER)
    body.close()
    body.close()
    assert not body.complete
