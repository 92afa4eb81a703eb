"""Only global unicast addresses are reached unless a range is opened, whatever they are wrapped in."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import errors
from controller.adapters.sources.address_policy import AddressPolicy

CLOSED = AddressPolicy()
GLOBAL = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.0",
    "172.32.0.1",
    "168.63.129.15",
    "192.0.1.1",
    "223.255.255.1",
]
GLOBAL += ["2606:4700::1111", "2a00:1450::1", "2001:4860:4860::8888", "64:ff9b::808:808", "2002:808:808::1"]
GLOBAL += ["::ffff:8.8.8.8"]
DENIED = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "168.63.129.16",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1",
    "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255",
    "::", "::1", "::7f00:1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:a00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:10::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::", "2002:a00:1::1",
    "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
]  # fmt: skip


@pytest.mark.parametrize("address", GLOBAL)
def test_a_global_address_may_be_reached(address: str) -> None:
    CLOSED.check(address, "h.example")


@pytest.mark.parametrize("address", DENIED)
def test_everything_else_is_denied_and_the_message_says_what_would_open_it(address: str) -> None:
    with pytest.raises(errors.PolicyDenied, match="--allow-network"):
        CLOSED.check(address, "h.example")


@pytest.mark.parametrize(
    ("opened", "address"),
    [
        ("127.0.0.0/8", "127.0.0.1"),
        ("127.0.0.0/8", "::ffff:127.0.0.1"),
        ("10.1.0.0/16", "10.1.2.3"),
        ("fd00::/8", "fd00::1"),
        ("fe80::/10", "fe80::1%eth0"),
        ("64:ff9b::/96", "64:ff9b::a00:1"),
        ("0.0.0.0/0", "169.254.169.254"),
    ],
)
def test_an_opened_range_may_be_reached(opened: str, address: str) -> None:
    AddressPolicy((ipaddress.ip_network(opened),)).check(address, "h.example")


@pytest.mark.parametrize(
    ("opened", "address"),
    [
        ("127.0.0.0/8", "::1"),
        ("127.0.0.0/8", "10.0.0.1"),
        ("10.0.0.0/8", "64:ff9b::a00:1"),
        ("10.0.0.0/8", "2002:a00:1::1"),
        ("0.0.0.0/0", "::1"),
        ("::/0", "127.0.0.1"),
    ],
)
def test_opening_one_range_opens_no_other(opened: str, address: str) -> None:
    with pytest.raises(errors.PolicyDenied):
        AddressPolicy((ipaddress.ip_network(opened),)).check(address, "h.example")


def test_a_refusal_names_host_and_reason() -> None:
    with pytest.raises(errors.PolicyDenied, match=r"not allow h\.example: it has an address that is private"):
        CLOSED.check("10.0.0.1", "h.example")
    with pytest.raises(errors.PolicyDenied, match=r"not allow 127\.0\.0\.1: it is loopback; .* 127\.0\.0\.1 would"):
        CLOSED.check("127.0.0.1", "127.0.0.1")
    with pytest.raises(errors.PolicyDenied, match=r"it is loopback; --allow-network 127\.0\.0\.1 would"):
        CLOSED.check("::ffff:127.0.0.1", "::ffff:127.0.0.1")


@pytest.mark.parametrize("address", DENIED)
def test_a_refusal_does_not_tell_where_a_name_leads(address: str) -> None:
    """It lands in a status that whoever wrote the URL reads, and names of the inside are not theirs to look up."""
    with pytest.raises(errors.PolicyDenied) as caught:
        CLOSED.check(address, "h.example")
    said = str(caught.value).replace("6to4", "").replace("NAT64", "")
    assert re.search(r"[0-9]|::", said) is None


@given(st.ip_addresses(v=4))
def test_a_wrapped_address_is_never_freer_than_itself(inside: ipaddress.IPv4Address) -> None:
    """Mapped, NAT64 and 6to4 forms of an address that is denied are denied."""
    forms = [f"::ffff:{inside}", str(ipaddress.IPv6Address(0x64FF9B << 96 | int(inside)))]
    forms.append(str(ipaddress.IPv6Address(0x2002 << 112 | int(inside) << 80)))
    for form in forms:
        assert _allowed(form) == _allowed(str(inside))


@given(st.ip_addresses())
def test_what_python_knows_to_be_private_is_never_allowed(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """An independent table: never looser than the standard library's, which is known to be too loose."""
    if not address.is_global or address.is_multicast:
        assert not _allowed(str(address)) or str(address).startswith("2002:")


def _allowed(address: str) -> bool:
    try:
        CLOSED.check(address, "h.example")
    except errors.PolicyDenied:
        return False
    return True
