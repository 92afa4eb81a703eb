"""What tests of sources share: requests with short patience, and reading a body to its end."""

import threading
from datetime import timedelta
from ipaddress import ip_network

from controller.adapters.clock import SystemClock
from controller.adapters.sources.address_policy import AddressPolicy
from controller.adapters.sources.http import HttpSource
from controller.adapters.sources.http_limits import HttpLimits
from controller.adapters.sources.politeness import Politeness
from controller.model.image import Timeouts
from controller.model.transfer import Validator
from controller.model.url import SourceUrl
from controller.ports import Body, Clock, FetchRequest, Source

LOOPBACK = AddressPolicy((ip_network("127.0.0.0/8"), ip_network("::1/128")))
NEVER = threading.Event()
"""A stop token that nobody sets."""
QUICK = HttpLimits(tick_s=0.02)


def http_source(
    clock: Clock | None = None, limits: HttpLimits = QUICK, politeness: Politeness | None = None
) -> HttpSource:
    """Return an HTTP source that may use loopback and looks around often."""
    return HttpSource(LOOPBACK, clock or SystemClock(), limits, politeness=politeness)


def asking(
    url: SourceUrl | str,
    *,
    resume_from: int = 0,
    etag: str | None = None,
    whole_bytes: int | None = None,
    peek: bool = False,
    max_bytes: int | None = None,
    stall_s: float = 60,
    connect_s: float = 60,
    namespace: str = "",
) -> FetchRequest:
    """Return a request for a URL."""
    return FetchRequest(
        url=SourceUrl.parse(url) if isinstance(url, str) else url,
        timeouts=Timeouts(connect=timedelta(seconds=connect_s), stall=timedelta(seconds=stall_s)),
        resume_from=resume_from,
        validator=None if etag is None else Validator(etag),
        whole_bytes=whole_bytes,
        peek=peek,
        max_bytes=max_bytes,
        namespace=namespace,
    )


def drain(body: Body, buffer_bytes: int = 2**16) -> bytes:
    """Read to the end and close."""
    buffer = memoryview(bytearray(buffer_bytes))
    data = b""
    try:
        while count := body.readinto(buffer):
            data += buffer[:count]
    finally:
        body.close()
    return data


def fetch(source: Source, request: FetchRequest) -> bytes:
    """Open, read to the end, close."""
    return drain(source.open(request, NEVER))
