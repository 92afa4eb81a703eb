"""One request and the head of its answer, spoken by urllib3 over a connection that is already checked and open.

urllib3 and http.client write the request and parse status line and headers. They never see a name to resolve, a
proxy, a redirect to follow, or the body.
"""

import email.errors
import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from urllib3.connection import HTTPConnection
from urllib3.util.response import assert_header_parsing

from controller import errors
from controller.adapters.sources import foreign_errors
from controller.adapters.sources.http_answer import Headers
from controller.adapters.sources.wire import Wire
from controller.model.url import SourceUrl

_MULTIPART_DEFECTS = (
    email.errors.NoBoundaryInMultipartDefect,
    email.errors.InvalidMultipartContentTransferEncodingDefect,
)
"""What the parser of mail misses in a multipart/* body, which is not there yet: the headers are fine. urllib3 itself
passes over the other two of this kind."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers. `http_version` is 10 or 11."""

    status: int
    http_version: int
    headers: Headers


def ask(
    wire: Wire, method: str, target: str, url: SourceUrl, headers: Mapping[str, str], max_header_bytes: int
) -> Head:
    """Send `method target` without a body and read the head of the answer; its body stays in the wire.

    `url`: whom the wire leads to, for messages.

    Raises:
        ProtocolError: not HTTP, or more than `max_header_bytes`. SourceUnreachable, Interrupted.

    """
    connection = _Connection(url, _Handle(wire, max_header_bytes))
    try:
        connection.request(method, target, headers=headers, preload_content=False, decode_content=False)
        response = connection.head()
        response.msg.defects = [defect for defect in response.msg.defects if not isinstance(defect, _MULTIPART_DEFECTS)]
        assert_header_parsing(response.msg)
    except foreign_errors.FOREIGN as exc:
        raise foreign_errors.translate(exc, f"reading the answer of {url.authority}") from exc
    return Head(response.status, response.version, response.msg)


class _Connection(HTTPConnection):
    """Uses the open wire instead of connecting."""

    def __init__(self, url: SourceUrl, handle: "_Handle") -> None:
        super().__init__(url.host, url.effective_port)
        self._handle = handle

    def connect(self) -> None:
        self.sock = cast("socket.socket", self._handle)

    def head(self) -> http.client.HTTPResponse:
        """Parse the head of the answer. urllib3's own `getresponse` would log the whole URL where headers are odd."""
        return super(HTTPConnection, self).getresponse()


class _Handle:
    """What http.client needs of a socket. It does not own the wire: http.client closes early where it sees fit."""

    def __init__(self, wire: Wire, max_header_bytes: int) -> None:
        self._wire = wire
        self._left = max_header_bytes

    def makefile(self, _mode: str) -> "_Handle":
        return self

    def sendall(self, data: bytes) -> None:
        self._wire.send(data)

    def readline(self, limit: int) -> bytes:
        line = self._wire.readline(min(limit, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise errors.ProtocolError("the answer has more headers than any honest server sends")
        return line

    def settimeout(self, _seconds: float | None) -> None:
        """Patience is the wire's."""

    def flush(self) -> None:
        """Nothing is buffered."""

    def close(self) -> None:
        """Leave the wire to its owner."""
