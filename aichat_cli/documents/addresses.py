"""Which machines of the internet may be asked: what an address or a name tells before anybody is connected to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_EMBEDDING_NETWORKS = tuple(map(IPv6Network, ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")))
_NOT_PUBLIC = tuple(map(IPv6Network, ("3fff::/20",)))
_NOT_PUBLIC_V4 = frozenset({IPv4Address("168.63.129.16"), IPv4Address("192.0.0.192")})
"""What clouds tell their own machines at, though the addresses look public."""

_LOCAL_ENDINGS = (".localhost", ".local", ".internal", ".intranet", ".lan", ".home", ".corp", ".home.arpa")


def is_public(address: str) -> bool:
    """Whether an address is one of the internet's, also of the IPv4 address that an IPv6 address wraps."""
    plain = ip_address(address.partition("%")[0])
    if isinstance(plain, IPv4Address):
        return plain.is_global and not plain.is_multicast and plain not in _NOT_PUBLIC_V4
    wrapped = _wrapped(plain)
    if wrapped is not None:
        return is_public(str(wrapped))
    return plain in _GLOBAL_UNICAST and plain.is_global and not any(plain in network for network in _NOT_PUBLIC)


def is_local_name(host: str) -> bool:
    """Whether a name that is not found here, and that a proxy would look up, cannot be one of the internet's.

    It has one part, or an ending that no public name has, or a number for it: an address that is not read here.
    """
    name = host.lower().rstrip(".")
    return name.endswith(_LOCAL_ENDINGS) or "." not in name or name.rpartition(".")[2][:1].isdigit()


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if address.teredo:
        return address.teredo[1]
    if any(address in network for network in _EMBEDDING_NETWORKS):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None
