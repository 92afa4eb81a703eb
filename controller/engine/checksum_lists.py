"""Ask a publisher's checksum list what the bytes of a transfer must hash to, before any of them is fetched."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from controller import errors
from controller.media import checksum_list
from controller.model.digest import Digest
from controller.model.image import ChecksumFrom, Timeouts
from controller.model.secret import Credentials
from controller.model.url import SourceUrl
from controller.ports import FetchRequest, Source, StopToken


def ask(
    wanted: ChecksumFrom,
    image: SourceUrl,
    timeouts: Timeouts,
    source: Source,
    stop: StopToken,
    credentials: Credentials | None = None,
) -> Digest:
    """Return what the list says about the image.

    Raises:
        FormatRejected, SourceNotFound, TooLarge: of the list; and what `Source.open` and `Body.readinto` raise.

    """
    with _about(f"the checksum list {wanted.url.redacted}"):
        data = fetch(wanted.url, timeouts, source, stop, credentials)
        return checksum_list.find(data, wanted.entry or image.last_segment)


def fetch(
    url: SourceUrl, timeouts: Timeouts, source: Source, stop: StopToken, credentials: Credentials | None = None
) -> bytes:
    """Return a small file, all of it; an origin that the credentials are not for is asked without them.

    Raises:
        TooLarge, and what a Source raises.

    """
    limit = checksum_list.MAX_BYTES
    known = credentials if credentials is not None and credentials.allows(url) else None
    body = source.open(FetchRequest(url, timeouts, credentials=known), stop)
    try:
        if body.total_bytes is not None and body.total_bytes > limit:
            raise errors.TooLarge(f"it has {body.total_bytes} bytes, at most {limit} are read")
        data = _read(body.readinto, limit)
        if not body.complete:
            raise errors.SourceUnreachable("the server did not say how long it is: a cut cannot be told from the end")
        return data
    finally:
        body.close()


def _read(readinto: Callable[[memoryview], int], limit: int) -> bytes:
    buffer = bytearray(limit + 1)
    filled = 0
    while got := readinto(memoryview(buffer)[filled:]):
        filled += got
        if filled > limit:
            raise errors.TooLarge(f"it has more than the {limit} bytes that are read")
    return bytes(buffer[:filled])


@contextmanager
def _about(what: str) -> Iterator[None]:
    """Say of every error which file it is about: the image's own errors look the same."""
    try:
        yield
    except (errors.TransientError, errors.TerminalError) as error:
        error.args = (f"{what}: {error}",)
        raise
