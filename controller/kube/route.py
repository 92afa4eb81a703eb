"""How the API server of a kubeconfig is reached: by which proxy, and by which name it is recognised."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from controller import errors


@dataclass(frozen=True, slots=True)
class Route:
    """The default is the straight one."""

    proxy: str = ""
    """http://host:port of a proxy that opens tunnels (CONNECT); without credentials."""
    authorization: str = field(default="", repr=False)
    """What the proxy, and nobody else, is told as Proxy-Authorization."""
    server_name: str = ""
    """The name in the server's certificate, and of SNI, where it is not that of its URL."""

    @property
    def proxy_headers(self) -> dict[str, str]:
        """What goes to the proxy only."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}


def parse(cluster: Mapping[str, Any]) -> Route:
    """Read proxy-url and tls-server-name of a kubeconfig's cluster, as client-go does.

    Raises:
        Usage: a proxy that we cannot use. Its URL, which may have a password, is not shown.

    """
    server_name = str(cluster.get("tls-server-name") or "")
    if not (url := str(cluster.get("proxy-url") or "")):
        return Route(server_name=server_name)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        raise errors.Usage("proxy-url is no URL") from None
    if parts.scheme != "http" or not host:
        raise errors.Usage("proxy-url: only http://[USER:PASSWORD@]HOST[:PORT] is supported, not https and socks5")
    if not str(cluster["server"]).startswith("https://"):
        raise errors.Usage("proxy-url: only a server of https:// is asked through a proxy")
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Route(f"http://{f'[{host}]' if ':' in host else host}:{port}", authorization, server_name)
