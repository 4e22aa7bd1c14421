"""Which addresses of a network are public: those that a server may reach for a client that names them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address

from httpcore2 import SOCKET_OPTION, AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream, ConnectError

_CLOSED = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
        ),
    )
)
"""Special-purpose addresses of IANA's registry (RFC 6890); the last network is multicast, reserved and broadcast."""

_OPEN_V6 = IPv6Network("2000::/3")
"""Global unicast; loopback, link-local, unique local, multicast, mapped and translated addresses lie outside."""

_CLOSED_V6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
"""Parts of it for tunnels, whose addresses hold one of version 4, protocols and documentation."""


def is_public(address: str) -> bool:
    """Return whether an address is that of a host in the public network, rather than of this machine or its network.

    Args:
        address: An address of version 4 or 6, as numbers.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        return not any(found in network for network in _CLOSED)
    # a zone (`%eth0`) belongs to addresses of one link
    return found.scope_id is None and found in _OPEN_V6 and not any(found in network for network in _CLOSED_V6)


class PublicBackend(AsyncNetworkBackend):
    """Opens connections to public hosts only.

    A name is resolved once, and the connection goes to an address that was checked: a name that means another address
    a moment later gains nothing.
    """

    def __init__(self) -> None:
        self._backend = AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Open a connection.

        Raises:
            ConnectError: If the name is not known, or one of its addresses is not public.
        """
        [first, *_] = found = await self._resolve(host, port)
        if not all(map(is_public, found)):
            raise ConnectError("not public")
        return await self._backend.connect_tcp(first, port, timeout, local_address, socket_options)

    @staticmethod
    async def _resolve(host: str, port: int) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise ConnectError("not known") from error
        return [str(address[0]) for *_, address in found]
