"""No error of urllib3, http.client, ssl or the system passes the border untranslated."""

import http.client
import inspect
import ssl
from email.errors import HeaderParseError

import pytest
import urllib3
import urllib3.exceptions as theirs

from controller import errors
from controller.adapters.sources import foreign_errors

POOL = urllib3.HTTPConnectionPool("h.example")
EXAMPLES: list[Exception] = [
    theirs.HTTPError("x"),
    theirs.PoolError(POOL, "x"),
    theirs.RequestError(POOL, "/", "x"),
    theirs.SSLError("x"),
    theirs.ProxyError("x", OSError("y")),
    theirs.DecodeError("x"),
    theirs.ProtocolError("x"),
    theirs.MaxRetryError(POOL, "/"),
    theirs.HostChangedError(POOL, "/"),
    theirs.TimeoutStateError("x"),
    theirs.TimeoutError("x"),
    theirs.ReadTimeoutError(POOL, "/", "x"),
    theirs.ConnectTimeoutError("x"),
    theirs.NewConnectionError(POOL, "x"),  # type: ignore[arg-type]
    theirs.NameResolutionError("h", POOL, OSError("y")),  # type: ignore[arg-type]
    theirs.EmptyPoolError(POOL, "x"),
    theirs.FullPoolError(POOL, "x"),
    theirs.ClosedPoolError(POOL, "x"),
    theirs.LocationValueError("x"),
    theirs.LocationParseError("x"),
    theirs.URLSchemeUnknown("x"),
    theirs.ResponseError("x"),
    theirs.ResponseNotChunked("x"),
    theirs.BodyNotHttplibCompatible("x"),
    theirs.IncompleteRead(1, 2),
    theirs.InvalidChunkLength(urllib3.HTTPResponse(b""), b"zz"),
    theirs.InvalidHeader("x"),
    theirs.ProxySchemeUnknown("x"),
    theirs.ProxySchemeUnsupported("x"),
    theirs.HeaderParsingError([HeaderParseError("x")], None),  # type: ignore[list-item]
    theirs.UnrewindableBodyError("x"),
]
TRANSIENT = {
    "PoolError", "RequestError", "ProxyError", "ProtocolError", "MaxRetryError", "HostChangedError", "TimeoutError",
    "ReadTimeoutError", "ConnectTimeoutError", "NewConnectionError", "NameResolutionError", "EmptyPoolError",
    "FullPoolError", "ClosedPoolError", "IncompleteRead", "InvalidChunkLength", "ResponseNotChunked",
}  # fmt: skip


def test_every_exception_of_urllib3_has_an_example_here() -> None:
    """A new urllib3 with a new exception fails this test: decide what it means."""
    found = {
        found.__name__
        for _, found in inspect.getmembers(theirs, inspect.isclass)
        if issubclass(found, Exception) and not issubclass(found, Warning) and found.__module__ == theirs.__name__
    }
    assert {type(example).__name__ for example in EXAMPLES} == found


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_every_exception_of_urllib3_is_caught_and_mapped(example: Exception) -> None:
    assert isinstance(example, foreign_errors.FOREIGN)
    mapped = foreign_errors.translate(example, "reading")
    transient = type(example).__name__ in TRANSIENT
    assert type(mapped) is (errors.SourceUnreachable if transient else errors.ProtocolError)
    assert str(mapped).startswith("reading failed: ")


@pytest.mark.parametrize(
    ("example", "error"),
    [
        (ConnectionResetError(104, "Connection reset by peer"), errors.SourceUnreachable),
        (ConnectionRefusedError(111, "Connection refused"), errors.SourceUnreachable),
        (OSError(113, "No route to host"), errors.SourceUnreachable),
        (TimeoutError(), errors.SourceUnreachable),
        (http.client.RemoteDisconnected("x"), errors.SourceUnreachable),
        (http.client.IncompleteRead(b"x"), errors.SourceUnreachable),
        (http.client.BadStatusLine("x"), errors.ProtocolError),
        (http.client.LineTooLong("x"), errors.ProtocolError),
        (http.client.UnknownProtocol("x"), errors.ProtocolError),
        (http.client.InvalidURL("x"), errors.ProtocolError),
        (ssl.SSLEOFError(8, "EOF occurred"), errors.SourceUnreachable),
        (ssl.SSLZeroReturnError(6, "closed"), errors.SourceUnreachable),
        (ssl.SSLError(1, "[SSL] wrong version number"), errors.ProtocolError),
        (theirs.SSLError(ssl.SSLEOFError(8, "EOF occurred")), errors.SourceUnreachable),
        (theirs.ProtocolError("broken", ConnectionResetError(104, "reset")), errors.SourceUnreachable),
        (theirs.ProtocolError("broken", http.client.LineTooLong("x")), errors.ProtocolError),
    ],
    ids=repr,
)
def test_what_is_below_urllib3_is_mapped_too(example: Exception, error: type[errors.GoldmasterError]) -> None:
    assert isinstance(example, foreign_errors.FOREIGN)
    assert type(foreign_errors.translate(example, "reading")) is error


def test_a_foreign_text_is_short_and_flat() -> None:
    mapped = foreign_errors.translate(http.client.BadStatusLine("\x1b[31m\n" + "x" * 10_000), "reading")
    assert len(str(mapped)) < 400
    assert str(mapped).isprintable()
