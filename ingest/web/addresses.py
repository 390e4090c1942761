"""Network addresses that a crawler avoids: loopback, private nets, link-local, and whatever else is not public."""

import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

NAT64 = ipaddress.ip_network("64:ff9b::/96")
NEVER = tuple(ipaddress.ip_network(net) for net in ("::/96", "64:ff9b:1::/48", "fec0::/10"))
"""Nets for old and local use that `ipaddress` takes for public."""


class PrivateAddressError(OSError):
    """A name or an address leads to a place that is not public."""


def is_private(address: str) -> bool:
    """Whether a literal address is not on the public internet. False for a name, which is no address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return not parsed.is_global or parsed.is_multicast
    if any(parsed in net for net in NEVER) or parsed.is_multicast:
        return True
    inner = parsed.ipv4_mapped or parsed.sixtofour
    if parsed in NAT64:
        inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
    return is_private(str(inner)) if inner is not None else not parsed.is_global


def names_private(host: str) -> bool:
    """Whether a host is private by its name alone, for what a name resolves to is in the hands of others."""
    return host == "localhost" or is_private(host)


class PublicResolver(AbstractResolver):
    """Resolves names when a connection is made, and refuses those that lead to a private address."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises PrivateAddressError."""
        results = await self._inner.resolve(host, port, family)
        for result in results:
            if is_private(result["host"]):
                raise PrivateAddressError(f"{host} is {result['host']}, a private address")
        return results

    async def close(self) -> None:
        await self._inner.close()
