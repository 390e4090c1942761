"""Network addresses a crawler keeps away from: loopback, private nets, link-local, and whatever is not public."""

import asyncio
import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver


class PrivateAddressError(OSError):
    """A name or an address leads where no public site is."""


def is_private(address: str) -> bool:
    """Whether a literal address is not one of the public internet. A name is not an address: False."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return not (mapped or found).is_global or found.is_multicast


async def leads_to_private(host: str) -> bool:
    """Whether a host is a private address or a name for one; False where the name is not known."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return is_private(host)
    return any(is_private(str(place[4][0])) for place in found)


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
