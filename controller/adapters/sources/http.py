"""The http and https source: addresses checked and pinned at every hop, redirects by hand, resume on strong validators.

Nothing of the environment is used: no proxy variables, no .netrc, no CA bundle variables of other libraries. The
trust store is OpenSSL's default one, to which SSL_CERT_FILE and SSL_CERT_DIR belong.
"""

import functools
import ipaddress
import socket
import ssl
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import structlog

from controller import errors
from controller.adapters.sources import http_answer, http_body, http_exchange, tls
from controller.adapters.sources.address_policy import AddressPolicy
from controller.adapters.sources.http_answer import ContentRange
from controller.adapters.sources.http_body import HttpBody
from controller.adapters.sources.http_exchange import Head
from controller.adapters.sources.http_limits import HttpLimits
from controller.adapters.sources.politeness import Politeness
from controller.adapters.sources.resolver import Endpoint, Resolve, resolve_within, system_resolve
from controller.adapters.sources.wire import Patience, Wire
from controller.model.secret import Credentials
from controller.model.transfer import Validator
from controller.model.url import SourceUrl
from controller.ports import Clock, FetchRequest, StopToken

log = structlog.get_logger()


class HttpSource:
    """Implements `ports.Source` for http and https. Thread-safe; each body has a connection of its own."""

    def __init__(
        self,
        policy: AddressPolicy,
        clock: Clock,
        limits: HttpLimits | None = None,
        *,
        politeness: Politeness | None = None,
        resolve: Resolve = system_resolve,
        extra_ca_file: Path | None = None,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._limits = limits or HttpLimits()
        self._politeness = politeness or Politeness(clock)
        self._resolve = resolve
        self._extra_ca_file = extra_ca_file

    def open(self, request: FetchRequest, stop: StopToken) -> HttpBody:
        """Ask for the bytes. See `ports.Source`."""
        if request.resume_from > 0 and request.validator is not None and request.validator.strong:
            body = self._fetch(request, stop)
            if body is not None:
                return body
        body = self._fetch(replace(request, resume_from=0, validator=None), stop)
        if body is None:
            raise AssertionError("only a resume can be refused")
        return body

    def _fetch(self, request: FetchRequest, stop: StopToken) -> HttpBody | None:
        """Follow redirects to a body; None where the rest that was asked for cannot be had."""
        url = request.url
        for _ in range(self._limits.max_redirects + 1):
            patience = Patience(self._clock, stop, self._limits)
            with ExitStack() as held:
                held.callback(self._politeness.enter(url.origin, stop).close)
                wire = self._connect(url, request, patience, stop)
                held.callback(wire.close)
                head = self._ask(wire, url, request, patience)
                if head.status not in http_answer.REDIRECTS:
                    body = self._body(wire, held, head, url, request)
                    patience.begin_body(f"reading from {url.authority}", request.timeouts.stall.total_seconds())
                    return body
                url = http_answer.redirect_target(url, head.headers)
        raise errors.ProtocolError(f"more than {self._limits.max_redirects} redirects")

    # --- connecting -----------------------------------------------------------------------------------------------

    def _connect(self, url: SourceUrl, request: FetchRequest, patience: Patience, stop: StopToken) -> Wire:
        """Connect to an address that was checked, and make sure that it is the one connected to."""
        patience.begin(f"looking up {url.host}", self._limits.dns_timeout_s)
        patience.look()
        endpoints = self._endpoints(url, stop)
        if len(endpoints) > self._limits.max_addresses:
            raise errors.PolicyDenied(f"{url.host} has {len(endpoints)} addresses, more than anybody would check")
        for endpoint in endpoints:
            self._check(endpoint, url)
        allowed_s = request.timeouts.connect.total_seconds()
        tried = endpoints[: self._limits.max_tried_addresses]
        failure: errors.SourceUnreachable | None = None
        for endpoint in tried:
            patience.begin(f"connecting to {url.authority} at {endpoint.address}", allowed_s / len(tried))
            try:
                wire = Wire.connect(endpoint, patience)
            except errors.SourceUnreachable as exc:
                failure = failure or exc
                continue
            try:
                self._secure(wire, endpoint, url, patience, allowed_s, _told(url, request))
            except BaseException:
                wire.close()
                raise
            return wire
        raise failure or errors.SourceUnreachable(f"{url.host} has no address")

    def _check(self, endpoint: Endpoint, url: SourceUrl) -> None:
        try:
            self._policy.check(endpoint.address, url.host)
        except errors.PolicyDenied:
            log.info("source.address.denied", host=url.host, address=endpoint.address)
            raise

    def _endpoints(self, url: SourceUrl, stop: StopToken) -> list[Endpoint]:
        try:
            address = ipaddress.ip_address(url.host)
        except ValueError:
            return resolve_within(
                self._resolve,
                url.host,
                url.effective_port,
                timeout_s=self._limits.dns_timeout_s,
                tick_s=self._limits.tick_s,
                clock=self._clock,
                stop=stop,
            )
        if address.version == 4:
            return [Endpoint(socket.AF_INET, (url.host, url.effective_port))]
        return [Endpoint(socket.AF_INET6, (url.host, url.effective_port, 0, 0))]

    def _secure(
        self,
        wire: Wire,
        endpoint: Endpoint,
        url: SourceUrl,
        patience: Patience,
        allowed_s: float,
        told: Credentials | None,
    ) -> None:
        peer = wire.peer_address
        if _number(peer) != _number(endpoint.address):
            raise errors.PolicyDenied(f"{url.host}: connected to {peer} although {endpoint.address} was asked for")
        if url.scheme == "https":
            patience.begin(f"shaking hands (TLS) with {url.authority}", allowed_s)
            special = told is not None and told.about_tls
            wire.start_tls(tls.context(self._extra_ca_file, told) if special else self._tls, url.host.rstrip("."))

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        """Built once, when first needed: loading the trust store takes some 20 ms."""
        return tls.context(self._extra_ca_file)

    # --- asking ---------------------------------------------------------------------------------------------------

    def _ask(self, wire: Wire, url: SourceUrl, request: FetchRequest, patience: Patience) -> Head:
        patience.begin(f"waiting for the answer of {url.authority}", request.timeouts.stall.total_seconds())
        return http_exchange.get(wire, url, _headers(url, request), self._limits.max_header_bytes)

    def _body(self, wire: Wire, held: ExitStack, head: Head, url: SourceUrl, request: FetchRequest) -> HttpBody | None:
        """Return the body, which from then on owns what is held; None where the rest cannot be had."""
        headers, resuming = head.headers, request.resume_from > 0
        if resuming and head.status == 416:
            return self._nothing_left(held, head, url, request)
        if head.status not in {200, 206}:
            raise self._refusal(head, url)
        if head.status == 206 and not resuming:
            raise errors.ProtocolError("the server answers 206 Partial Content although everything was asked for")
        framing = http_answer.framing(headers, head.http_version)
        http_answer.refuse_encoding(headers)
        validator = http_answer.validator(headers)
        offset, total = 0, framing.length
        if head.status == 206:
            span = ContentRange.parse(http_answer.single(headers, "Content-Range") or "")
            if span is None or not _is_the_rest(span, framing.length, validator, request):
                return None
            offset, total = span.first, span.total
        if request.max_bytes is not None and total is not None and total > request.max_bytes:
            raise errors.TooLarge(f"the source has {total} bytes, maxSize allows {request.max_bytes}")
        return HttpBody(
            held.pop_all(),
            http_body.frame_of(framing, wire, self._limits),
            offset=offset,
            total_bytes=total,
            validator=validator,
            served_by=url.redacted,
            max_bytes=request.max_bytes,
        )

    def _refusal(self, head: Head, url: SourceUrl) -> errors.GoldmasterError:
        """Return what the answer means; a Retry-After of 429 and 503 (RFC 6585, RFC 9110) holds for all its origin."""
        error = http_answer.refusal(head.status, head.headers, self._clock.now(), self._limits.max_retry_after_s)
        wait = error.retry_after if isinstance(error, errors.TransientError) else None
        if head.status in {429, 503} and wait is not None and wait > timedelta(0):
            self._politeness.pause(url.origin, wait, head.status)
        return error

    @staticmethod
    def _nothing_left(held: ExitStack, head: Head, url: SourceUrl, request: FetchRequest) -> HttpBody | None:
        """Everything is there already, if the source is exactly as long as what is held.

        A server that honours If-Range answers 416 only for the version that was named, so it may leave the ETag out.
        """
        total = http_answer.unsatisfied_total(http_answer.single(head.headers, "Content-Range") or "")
        validator = http_answer.validator(head.headers)
        same = request.validator is not None and validator.etag in {None, request.validator.etag}
        if total != request.resume_from or not same:
            return None
        return HttpBody(
            held.pop_all(),
            http_body.Nothing(),
            offset=request.resume_from,
            total_bytes=total,
            validator=request.validator or validator,
            served_by=url.redacted,
            max_bytes=request.max_bytes,
        )


def _headers(url: SourceUrl, request: FetchRequest) -> dict[str, str]:
    """Return what this hop is told. Built anew from the hop's own URL: nothing said to one origin reaches another."""
    told = _told(url, request)
    headers = dict(told.headers) if told else {}
    headers |= {
        "Host": url.authority,
        "User-Agent": "goldmaster",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    if request.resume_from > 0 and request.validator is not None and request.validator.etag is not None:
        headers["Range"] = f"bytes={request.resume_from}-"
        headers["If-Range"] = request.validator.etag
    return headers


def _told(url: SourceUrl, request: FetchRequest) -> Credentials | None:
    """Return the credentials if this hop is the origin that was asked for, and one that they are for."""
    told = request.credentials
    return told if told is not None and url.origin == request.url.origin and told.allows(url) else None


def _is_the_rest(span: ContentRange, length: int | None, validator: Validator, request: FetchRequest) -> bool:
    """Whether a 206 is everything from `resume_from` on, of the version that was named (RFC 9110, 15.3.7)."""
    wanted = request.validator
    return (
        span.first == request.resume_from
        and span.last == span.total - 1
        and length in {None, span.last - span.first + 1}
        and wanted is not None
        and validator.etag == wanted.etag
    )


def _number(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(address.partition("%")[0])
