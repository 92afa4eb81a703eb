"""Which addresses a source may live at. The decision is made on the address that is connected to, never on a name.

The table is our own: `ipaddress.is_global` calls wrapped loopback and metadata addresses global, and differs between
patch levels of Python. It follows the IANA special-purpose registries (RFC 6890) of 2026.
"""

import ipaddress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from controller import errors

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

DENIED_V4 = tuple(
    (IPv4Network(network), what)
    for network, what in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by carriers, clusters and a cloud's metadata service"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's metadata service"),
        ("169.254.0.0/16", "link-local, where metadata services live"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments and a cloud's metadata service"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarks"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
GLOBAL_V6 = IPv6Network("2000::/3")
"""The only global unicast space: loopback, ::a.b.c.d, fc00::/7, fe80::/10, fec0::/10, 5f00::/16, ff00::/8 not in it."""
DENIED_V6 = tuple(
    (IPv6Network(network), what)
    for network, what in (
        ("2001::/23", "protocol assignments, Teredo among them"),
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
    )
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Global unicast addresses, and what `--allow-network` opens."""

    allowed_networks: tuple[IpNetwork, ...] = ()

    def check(self, address: str, host: str) -> None:
        """Return if `address` (numeric, as a resolver or getpeername gives it) may be connected to for `host`.

        Raises:
            PolicyDenied: it may not; says why and what would open it. The message reaches whoever wrote the URL: it
                names the address only where the URL does, or anybody could ask for the inside of our network's DNS.

        """
        ip = _unmapped(ipaddress.ip_address(address.partition("%")[0]))
        if any(ip.version == network.version and ip in network for network in self.allowed_networks):
            return
        why = _objection(ip)
        if why is not None:
            told = f"it is {why}" if _is_number(host) else f"it has an address that is {why}"
            opening = f"--allow-network {ip}" if _is_number(host) else "--allow-network with its network"
            raise errors.PolicyDenied(f"the source policy does not allow {host}: {told}; {opening} would open it")


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _unmapped(ip: IpAddress) -> IpAddress:
    """Return the IPv4 address that the kernel connects to for ::ffff:a.b.c.d."""
    return IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _MAPPED else ip


def _objection(ip: IpAddress) -> str | None:
    """Say what speaks against an address, None if nothing does."""
    if isinstance(ip, IPv4Address):
        return next((what for network, what in DENIED_V4 if ip in network), None)
    if ip in _NAT64:
        return _wrapped("NAT64", IPv4Address(int(ip) & 0xFFFFFFFF))
    if ip in _SIX_TO_FOUR:
        return _wrapped("6to4", IPv4Address((int(ip) >> 80) & 0xFFFFFFFF))
    if ip not in GLOBAL_V6:
        return "not global unicast"
    return next((what for network, what in DENIED_V6 if ip in network), None)


def _wrapped(how: str, inside: IPv4Address) -> str | None:
    why = _objection(inside)
    return None if why is None else f"{how} for an address that is {why}"
