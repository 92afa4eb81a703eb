"""The http and https source: addresses checked and pinned at every hop, redirects by hand, resume on strong validators.

Nothing of the environment is used: no proxy variables (proxies are settings), no .netrc, no CA bundle variables of
other libraries. The trust store is OpenSSL's default one, to which SSL_CERT_FILE and SSL_CERT_DIR belong.
"""

from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from controller import errors
from controller.adapters.sources import http_answer, http_body, http_exchange
from controller.adapters.sources.address_policy import AddressPolicy
from controller.adapters.sources.dialler import Dialled, Dialler
from controller.adapters.sources.http_answer import ContentRange
from controller.adapters.sources.http_body import HttpBody
from controller.adapters.sources.http_exchange import Head
from controller.adapters.sources.http_limits import HttpLimits
from controller.adapters.sources.politeness import Politeness
from controller.adapters.sources.proxy import Proxies, Proxy
from controller.adapters.sources.resolver import Resolve, system_resolve
from controller.adapters.sources.wire import Patience
from controller.model.delivery import Peer
from controller.model.secret import Credentials
from controller.model.transfer import Validator
from controller.model.url import SourceUrl
from controller.ports import Clock, FetchRequest, StopToken


class HttpSource:
    """Implements `ports.Source` for http and https. Thread-safe; each body has a connection of its own."""

    def __init__(
        self,
        policy: AddressPolicy,
        clock: Clock,
        limits: HttpLimits | None = None,
        *,
        politeness: Politeness | None = None,
        proxies: Proxies | None = None,
        resolve: Resolve = system_resolve,
        extra_ca_file: Path | None = None,
    ) -> None:
        self._clock = clock
        self._limits = limits or HttpLimits()
        self._politeness = politeness or Politeness(clock)
        self._dialler = Dialler(policy, clock, self._limits, resolve, proxies or Proxies(), extra_ca_file)

    def open(self, request: FetchRequest, stop: StopToken) -> HttpBody:
        """Ask for the bytes. See `ports.Source`."""
        named = request.validator is not None and request.validator.strong
        if request.resume_from > 0 and (named or request.whole_bytes is not None):
            body = self._fetch(request, stop)
            if body is not None:
                return body
        body = self._fetch(replace(request, resume_from=0, validator=None, whole_bytes=None), stop)
        if body is None:
            raise AssertionError("only a resume can be refused")
        return body

    def _fetch(self, request: FetchRequest, stop: StopToken) -> HttpBody | None:
        """Follow redirects to a body; None where the rest that was asked for cannot be had."""
        told: list[Proxy] = []
        try:
            return self._follow(request, stop, told)
        except errors.GoldmasterError as error:
            if not told:
                raise
            for proxy in told:
                error.args = (proxy.scrub(str(error)),)
            raise error from None  # what broke may quote what was said

    def _follow(self, request: FetchRequest, stop: StopToken, told: list[Proxy]) -> HttpBody | None:
        """Do it; `told` gets the proxies whose answers were read."""
        url = request.url
        for _ in range(self._limits.max_redirects + 1):
            patience = Patience(self._clock, stop, self._limits)
            with ExitStack() as held:
                held.callback(self._politeness.enter(url.origin, stop, request.namespace).close)
                allowed_s = request.timeouts.connect.total_seconds()
                dialled = self._dialler.dial(url, allowed_s, _told(url, request), patience, stop)
                held.callback(dialled.wire.close)
                if dialled.asked is not None:
                    told.append(dialled.asked)
                head = self._ask(dialled, url, request, patience)
                if head.status not in http_answer.REDIRECTS:
                    body = self._body(dialled, held, head, url, request)
                    patience.begin_body(f"reading from {url.authority}", request.timeouts.stall.total_seconds())
                    return body
                url = http_answer.redirect_target(url, head.headers)
        raise errors.ProtocolError(f"more than {self._limits.max_redirects} redirects")

    # --- asking ---------------------------------------------------------------------------------------------------

    def _ask(self, dialled: Dialled, url: SourceUrl, request: FetchRequest, patience: Patience) -> Head:
        patience.begin(f"waiting for the answer of {url.authority}", request.timeouts.stall.total_seconds())
        headers, limit, proxy = _headers(url, request), self._limits.max_header_bytes, dialled.asked
        if proxy is None:
            return http_exchange.ask(dialled.wire, "GET", url.target, url, headers, limit)
        head = http_exchange.ask(dialled.wire, "GET", url.text, url, headers | proxy.headers, limit)
        if head.status == 407:  # never terminal: the image cannot help it
            raise errors.SourceUnreachable(
                f"the proxy {proxy.url.authority} asks for other credentials than ours (407)"
            )
        return head

    def _body(
        self, dialled: Dialled, held: ExitStack, head: Head, url: SourceUrl, request: FetchRequest
    ) -> HttpBody | None:
        """Return the body, which from then on owns what is held; None where the rest cannot be had."""
        headers, resuming = head.headers, request.resume_from > 0
        if resuming and head.status == 416:
            return self._nothing_left(dialled.peer, held, head, url, request)
        if head.status not in {200, 206}:
            raise self._refusal(head, url)
        if head.status == 206 and not (resuming or request.peek):
            raise errors.ProtocolError("the server answers 206 Partial Content although everything was asked for")
        framing = http_answer.framing(headers, head.http_version)
        http_answer.refuse_encoding(headers)
        validator = http_answer.validator(headers)
        offset, total = 0, framing.length
        if head.status == 206:
            span = ContentRange.parse(http_answer.single(headers, "Content-Range") or "")
            if request.peek:
                span = _first_byte(span)
            elif span is None or not _is_the_rest(span, framing.length, validator, request):
                return None
            offset, total = span.first, span.total
        if request.max_bytes is not None and total is not None and total > request.max_bytes:
            raise errors.TooLarge(f"the source has {total} bytes, maxSize allows {request.max_bytes}")
        return HttpBody(
            held.pop_all(),
            http_body.frame_of(framing, dialled.wire, self._limits),
            offset=offset,
            total_bytes=total,
            validator=validator,
            served_by=url.redacted,
            peer=dialled.peer,
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
    def _nothing_left(
        peer: Peer, held: ExitStack, head: Head, url: SourceUrl, request: FetchRequest
    ) -> HttpBody | None:
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
            peer=peer,
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
    if request.peek:
        headers["Range"] = "bytes=0-0"
    elif request.resume_from > 0:
        headers["Range"] = f"bytes={request.resume_from}-"
        if request.whole_bytes is None and request.validator is not None and request.validator.etag is not None:
            headers["If-Range"] = request.validator.etag
    return headers


def _told(url: SourceUrl, request: FetchRequest) -> Credentials | None:
    """Return the credentials if this hop is the origin that was asked for, and one that they are for."""
    told = request.credentials
    return told if told is not None and url.origin == request.url.origin and told.allows(url) else None


def _first_byte(span: ContentRange | None) -> ContentRange:
    """Return the span of a 206 to somebody who peeks."""
    if span is None or span.first != 0:
        raise errors.ProtocolError("the server answers with another part than was asked for")
    return span


def _is_the_rest(span: ContentRange, length: int | None, validator: Validator, request: FetchRequest) -> bool:
    """Whether a 206 is everything from `resume_from` on, of the version that was named (RFC 9110, 15.3.7)."""
    wanted = request.validator
    if request.whole_bytes is not None:
        same = span.total == request.whole_bytes
    else:
        same = wanted is not None and validator.etag == wanted.etag
    return (
        span.first == request.resume_from
        and span.last == span.total - 1
        and length in {None, span.last - span.first + 1}
        and same
    )
