"""Network addresses a crawler keeps away from: loopback, private nets, link-local, and whatever is not public."""

import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

NAT64 = ipaddress.ip_network("64:ff9b::/96")
NEVER = tuple(ipaddress.ip_network(net) for net in ("::/96", "64:ff9b:1::/48", "fec0::/10"))
"""Nets of old and local use that `ipaddress` takes for public."""


class PrivateAddressError(OSError):
    """A name or an address leads where no public site is."""


def is_private(address: str) -> bool:
    """Whether a literal address is not one of the public internet. A name is not an address: False."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv4Address):
        return not found.is_global or found.is_multicast
    if any(found in net for net in NEVER) or found.is_multicast:
        return True
    inner = found.ipv4_mapped or found.sixtofour
    if found in NAT64:
        inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return is_private(str(inner)) if inner is not None else not found.is_global


def names_private(host: str) -> bool:
    """Whether a host says by itself that it is private: what a name resolves to is for others to change."""
    return host == "localhost" or is_private(host)


class PublicResolver(AbstractResolver):
    """Resolves names, and refuses those that lead to a private address: at the moment of connecting, not before."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises PrivateAddressError."""
        found = await self._inner.resolve(host, port, family)
        for one in found:
            if is_private(one["host"]):
                raise PrivateAddressError(f"{host} is {one['host']}, a private address")
        return found

    async def close(self) -> None:
        await self._inner.close()
