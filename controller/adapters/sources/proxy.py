"""Proxies by settings: which one a URL goes through, what it is told, and the tunnel through it (RFC 9110, 9.3.6).

A proxy is spoken to in plain HTTP. An http source is asked for by its whole URL; an https source gets a tunnel, in
which TLS is end to end. Only the operator names proxies, so the source policy does not judge where they are.
"""

import base64
import ipaddress
import os
import stat
from pathlib import Path
from urllib.parse import quote

from controller import errors
from controller.adapters.sources import http_answer, http_exchange
from controller.adapters.sources.http_limits import HttpLimits
from controller.adapters.sources.wire import Wire
from controller.model.url import SourceUrl
from controller.ports import Clock
from controller.settings import ProxySettings

MAX_CREDENTIALS_BYTES = 4096
RESOLVES_HINT = "--proxy-resolves would leave names to the proxy"


class Proxy:
    """One proxy, with what it is told of us. Its `repr` shows no credentials."""

    def __init__(self, url: SourceUrl, credentials: str | None) -> None:
        self.url = url
        self._credentials = credentials
        self._pair = None if credentials is None else base64.b64encode(credentials.encode()).decode()
        password = "" if credentials is None else credentials.partition(":")[2]
        self._hidden = tuple(text for text in (self._pair, credentials, password) if text)

    def __repr__(self) -> str:
        return f"Proxy({self.url.authority})"

    @property
    def headers(self) -> dict[str, str]:
        """What goes to the proxy only (RFC 9110, 11.7.2)."""
        return {} if self._pair is None else {"Proxy-Authorization": f"Basic {self._pair}"}

    @property
    def address(self) -> str:
        """The URL that libcurl is told, with the credentials in it: not for people."""
        if self._credentials is None:
            return f"http://{self.url.authority}"
        user, _, password = self._credentials.partition(":")
        return f"http://{quote(user, safe='')}:{quote(password, safe='')}@{self.url.authority}"

    def tunnel(self, wire: Wire, url: SourceUrl, clock: Clock, limits: HttpLimits) -> None:
        """Ask for a connection to the origin of `url`; from then on the wire is that connection.

        Raises:
            SourceUnreachable: the proxy does not open it, or says something before the origin could. Never terminal:
                what a proxy allows changes without a change of the image. Interrupted.

        """
        host = f"[{url.host}]" if ":" in url.host else url.host
        target = f"{host}:{url.effective_port}"
        headers = {"Host": target, "User-Agent": "goldmaster", **self.headers}
        through = f"the proxy {self.url.authority}"
        try:
            head = http_exchange.ask(wire, "CONNECT", target, self.url, headers, limits.max_header_bytes)
        except errors.ProtocolError as error:
            raise errors.SourceUnreachable(f"{through} breaks HTTP: {self.scrub(str(error))}") from None
        if not 200 <= head.status < 300:
            said = http_answer.refusal(head.status, head.headers, clock.now(), limits.max_retry_after_s)
            wait = said.retry_after if isinstance(said, errors.TransientError) else None
            answer = str(said).removeprefix("the server ")
            raise errors.SourceUnreachable(f"{through} opens no way to {url.authority}: it {answer}", retry_after=wait)
        if wire.has_ahead:
            raise errors.SourceUnreachable(f"{through} speaks before {url.authority} could")

    def scrub(self, text: str) -> str:
        """Return `text` without what the proxy was told: a server may repeat it."""
        for hidden in self._hidden:
            text = text.replace(hidden, "***")
        return text


class Proxies:
    """Which URL goes through which proxy. Thread-safe."""

    def __init__(self, settings: ProxySettings | None = None) -> None:
        self._settings = settings or ProxySettings()
        self._networks = tuple(_network(entry) for entry in self._settings.no_proxy)

    def judge(self, host: str) -> bool:
        """Return whether it is left to the proxy to look a host up and to judge it: a name, where that is set.

        Raises:
            PolicyDenied: the name surely means something near the proxy.

        """
        if not self._settings.resolves or _is_address(host):
            return False
        if _is_local(host):
            raise errors.PolicyDenied(
                f"the source policy does not allow {host}: to a proxy it names a host of the proxy's own network"
            )
        return True

    def of(self, url: SourceUrl) -> Proxy | None:
        """Return the proxy for a URL, None for a direct connection.

        Raises:
            DependencyNotReady: its credentials cannot be read; they are read anew each time, so that they can change.

        """
        settings = self._settings
        chosen = settings.https if url.scheme == "https" else settings.http
        if chosen is None or self._is_direct(url.host.rstrip(".")):
            return None
        file = settings.credentials_file
        return Proxy(chosen, None if file is None else read_credentials(file))

    def _is_direct(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            names = (entry.lstrip(".").lower() for entry in self._settings.no_proxy)
            return any(host == name or host.endswith(f".{name}") for name in names)
        return any(network is not None and address in network for network in self._networks)


def read_credentials(file: Path) -> str:
    """Return `user:password`, the one line of a file that only its owner and group may read.

    Raises:
        DependencyNotReady: it cannot be read, others may read it, or it is something else. Shows nothing of it.

    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            mode = os.fstat(descriptor).st_mode
            data = os.read(descriptor, MAX_CREDENTIALS_BYTES + 1) if stat.S_ISREG(mode) else b""
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise errors.DependencyNotReady(f"the proxy's credentials {file} cannot be read: {exc.strerror}") from exc
    if mode & stat.S_IRWXO:
        raise errors.DependencyNotReady(f"everybody may read or change the proxy's credentials {file}: chmod o-rwx")
    text = data.decode(errors="replace").rstrip("\r\n")
    user, colon, _ = text.partition(":")
    if not user or not colon or not text.isprintable() or "\ufffd" in text or len(data) > MAX_CREDENTIALS_BYTES:
        raise errors.DependencyNotReady(f"the proxy's credentials {file} are not one line of user:password")
    return text


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_local(host: str) -> bool:
    """Whether a name surely means something near the proxy: one label, or one of RFC 6761, 6762 and 8375, ICANN."""
    labels = host.rstrip(".").split(".")
    return len(labels) == 1 or labels[-1] in {"localhost", "local", "internal"} or labels[-2:] == ["home", "arpa"]


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry)
    except ValueError:
        return None
