"""The way to an origin: its addresses checked and pinned, through a proxy where settings say so, TLS end to end."""

import functools
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import structlog

from controller import errors
from controller.adapters.sources import tls
from controller.adapters.sources.address_policy import AddressPolicy
from controller.adapters.sources.http_limits import HttpLimits
from controller.adapters.sources.proxy import RESOLVES_HINT, Proxies, Proxy
from controller.adapters.sources.resolver import Endpoint, Resolve, resolve_within
from controller.adapters.sources.wire import Patience, Wire
from controller.media.digester import Hasher
from controller.model.delivery import Peer
from controller.model.digest import Algorithm, Digest
from controller.model.secret import Credentials
from controller.model.url import SourceUrl
from controller.ports import Clock, StopToken

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Dialled:
    """An open connection, and who is at its other end.

    `asked` set: a proxy's, which has to be asked for the whole URL.
    """

    wire: Wire
    asked: Proxy | None
    peer: Peer


class Dialler:
    """Connects for one request at a time. Thread-safe."""

    def __init__(
        self,
        policy: AddressPolicy,
        clock: Clock,
        limits: HttpLimits,
        resolve: Resolve,
        proxies: Proxies,
        extra_ca_file: Path | None,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._limits = limits
        self._resolve = resolve
        self._proxies = proxies
        self._extra_ca_file = extra_ca_file

    def dial(
        self, url: SourceUrl, allowed_s: float, told: Credentials | None, patience: Patience, stop: StopToken
    ) -> Dialled:
        """Connect to the origin of `url`, each step within `allowed_s`.

        Raises:
            PolicyDenied: nothing was sent there. SourceUnreachable, ProtocolError, DependencyNotReady, Interrupted.

        """
        proxy = self._proxies.of(url)
        if proxy is None:
            wire = self._first(self._checked(url, patience, stop), url, allowed_s, patience)
        else:
            self._judge_for_proxy(url, patience, stop)
            wire = self._first(self._found(proxy.url, patience, stop), proxy.url, allowed_s, patience)
        try:
            address = wire.peer_address
            if url.scheme == "https":
                if proxy is not None:
                    patience.begin(f"asking the proxy {proxy.url.authority} for {url.authority}", allowed_s)
                    proxy.tunnel(wire, url, self._clock, self._limits)
                patience.begin(f"shaking hands (TLS) with {url.authority}", allowed_s)
                special = told is not None and told.about_tls
                context = tls.context(self._extra_ca_file, told) if special else self.trust
                wire.start_tls(context, url.host.rstrip("."))
            peer = Peer(address, None if proxy is None else proxy.url.authority, _sha256(wire.certificate))
        except BaseException:
            wire.close()
            raise
        return Dialled(wire, proxy if url.scheme == "http" else None, peer)

    @functools.cached_property
    def trust(self) -> ssl.SSLContext:
        """Built once, when first needed: loading the trust store takes some 20 ms."""
        return tls.context(self._extra_ca_file)

    # --- which addresses ------------------------------------------------------------------------------------------

    def _checked(self, url: SourceUrl, patience: Patience, stop: StopToken) -> list[Endpoint]:
        """Return the addresses of a source, all of which the policy allows."""
        endpoints = self._found(url, patience, stop)
        for endpoint in endpoints:
            try:
                self._policy.check(endpoint.address, url.host)
            except errors.PolicyDenied:
                log.info("source.address.denied", host=url.host, address=endpoint.address)
                raise
        return endpoints

    def _judge_for_proxy(self, url: SourceUrl, patience: Patience, stop: StopToken) -> None:
        """Judge as far as it can be done here: the proxy looks the name up again, and may find something else."""
        if self._proxies.judge(url.host):
            return
        try:
            self._checked(url, patience, stop)
        except errors.SourceUnreachable as error:
            error.args = (f"{error}; {RESOLVES_HINT}",)
            raise

    def _found(self, url: SourceUrl, patience: Patience, stop: StopToken) -> list[Endpoint]:
        patience.begin(f"looking up {url.host}", self._limits.dns_timeout_s)
        patience.look()
        literal = _literal(url)
        if literal is not None:
            return [literal]
        found = resolve_within(
            self._resolve,
            url.host,
            url.effective_port,
            timeout_s=self._limits.dns_timeout_s,
            tick_s=self._limits.tick_s,
            clock=self._clock,
            stop=stop,
        )
        if len(found) > self._limits.max_addresses:
            raise errors.PolicyDenied(f"{url.host} has {len(found)} addresses, more than anybody would check")
        return found

    # --- connecting -----------------------------------------------------------------------------------------------

    def _first(self, endpoints: list[Endpoint], url: SourceUrl, allowed_s: float, patience: Patience) -> Wire:
        """Connect to the first address that answers, and make sure that it is the one connected to."""
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
                _must_lead_to(endpoint, wire, url)
            except BaseException:
                wire.close()
                raise
            return wire
        raise failure or errors.SourceUnreachable(f"{url.host} has no address")


def _sha256(certificate: bytes | None) -> Digest | None:
    if certificate is None:
        return None
    hasher = Hasher(Algorithm.SHA256)
    hasher.update(certificate)
    return hasher.digest()


def _literal(url: SourceUrl) -> Endpoint | None:
    """Return the address that a URL names itself, None where it has a name."""
    try:
        address = ipaddress.ip_address(url.host)
    except ValueError:
        return None
    if address.version == 4:
        return Endpoint(socket.AF_INET, (url.host, url.effective_port))
    return Endpoint(socket.AF_INET6, (url.host, url.effective_port, 0, 0))


def _must_lead_to(endpoint: Endpoint, wire: Wire, url: SourceUrl) -> None:
    peer = wire.peer_address
    if _number(peer) != _number(endpoint.address):
        raise errors.PolicyDenied(f"{url.host}: connected to {peer} although {endpoint.address} was asked for")


def _number(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(address.partition("%")[0])
