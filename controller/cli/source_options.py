"""Options on how http(s) sources are asked. They are many, so a verb gets them as one value."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import click

from controller import errors
from controller.cli import options
from controller.model.url import SourceUrl
from controller.settings import PolitenessSettings, ProxySettings


class ProxyUrl(click.ParamType[SourceUrl]):
    """`http://HOST:PORT` of a proxy."""

    name = "proxy"

    def convert(self, value: options.Value, param: click.Parameter | None, ctx: click.Context | None) -> SourceUrl:
        """Read it. What is refused is not repeated: it may hold a password."""
        if isinstance(value, SourceUrl):
            return value
        if "@" in str(value):
            self.fail("user and password do not belong into it: use --proxy-credentials FILE", param, ctx)
        try:
            url = SourceUrl.parse(str(value))
        except errors.InvalidSpec as exc:
            self.fail(f"a proxy is written http://HOST:PORT: {exc}", param, ctx)
        if url.scheme != "http" or url.path != "/" or url.query:
            self.fail("a proxy is written http://HOST:PORT; it is spoken to in plain HTTP", param, ctx)
        return url


class DirectHost(click.ParamType[str]):
    """A name, an address or a network that is asked without a proxy."""

    name = "host"

    def convert(self, value: options.Value, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read it. Names cover what is below them, with or without a leading dot."""
        text = str(value).lower().removesuffix(".")
        try:
            return str(ip_network(text))
        except ValueError as exc:
            if "/" in text:
                self.fail(f"{exc}; a network is written like 10.0.0.0/8 or fd00::/8", param, ctx)
        name = text.removeprefix(".")
        if not _is_name(name):
            self.fail(
                f"{value!r} is neither a host name (it covers all below it) nor an address or network", param, ctx
            )
        return name


def _is_name(text: str) -> bool:
    try:
        return SourceUrl.parse(f"http://{text}/").authority == text
    except errors.InvalidSpec:
        return False


_POLITENESS = (
    options.option(
        "--origin-connections",
        type=click.IntRange(1, 64),
        default=4,
        show_default=True,
        metavar="N",
        help="Connections at once to one origin (scheme://host:port).",
    ),
    options.option(
        "--origin-requests",
        type=click.IntRange(10, 1_000_000),
        default=1200,
        show_default=True,
        metavar="N",
        help="Requests a minute to one origin, redirects and checksum lists counted.",
    ),
)
_PROXIES = (
    options.option(
        "--http-proxy",
        type=ProxyUrl(),
        metavar="URL",
        help="Ask http sources through this proxy, http://HOST:PORT. The variable HTTP_PROXY is never looked at.",
    ),
    options.option(
        "--https-proxy",
        type=ProxyUrl(),
        metavar="URL",
        help="Tunnel to https sources through this proxy, http://HOST:PORT; TLS is with the source itself.",
    ),
    options.option(
        "--no-proxy",
        "no_proxy",
        type=DirectHost(),
        multiple=True,
        metavar="HOST",
        help="Ask this host and those below it, this address or network, directly. May be repeated; in the variable, "
        "separated by blanks.",
    ),
    options.option(
        "--proxy-credentials",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="A file of one line, user:password, for the proxies; not readable by everybody.",
    ),
    options.option(
        "--proxy-resolves",
        is_flag=True,
        help="Leave names to the proxy: then they are not looked up and judged here, only its own rules are left.",
    ),
)


@dataclass(frozen=True, slots=True)
class Asking:
    """How sources are asked."""

    politeness: PolitenessSettings = field(default_factory=PolitenessSettings)
    proxies: ProxySettings = field(default_factory=ProxySettings)


def asking(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags; the command gets them as `asking`."""

    @functools.wraps(command)
    def with_value(
        *, origin_connections: int, origin_requests: int, proxies: ProxySettings, **rest: options.Value
    ) -> options.Value:
        politeness = PolitenessSettings(origin_connections, origin_requests)
        return command(asking=Asking(politeness, proxies), **rest)

    return options.added(proxied(with_value), _POLITENESS)


def proxied(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags on proxies alone; the command gets them as `proxies`."""

    @functools.wraps(command)
    def with_value(
        *,
        http_proxy: SourceUrl | None,
        https_proxy: SourceUrl | None,
        no_proxy: Sequence[str],
        proxy_credentials: Path | None,
        proxy_resolves: bool,
        **rest: options.Value,
    ) -> options.Value:
        proxies = ProxySettings(http_proxy, https_proxy, tuple(no_proxy), proxy_credentials, proxy_resolves)
        if http_proxy is None and https_proxy is None and (no_proxy or proxy_credentials or proxy_resolves):
            raise errors.Usage(
                "--no-proxy, --proxy-credentials and --proxy-resolves need --http-proxy or --https-proxy"
            )
        return command(proxies=proxies, **rest)

    return options.added(with_value, _PROXIES)
