"""Addresses: which subnet a bridge gets, and which address a container."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from sixhops.dockerd.errors import EngineError, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AddressPool", "choose_subnet", "mac_of"]

#: Docker's local pools: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 onwards.
_POOLS = (
    *(f"172.{number}.0.0/16" for number in range(17, 32)),
    *(f"192.168.{number}.0/20" for number in range(0, 256, 16)),
)


def choose_subnet(wanted: str, used: Iterable[ipaddress.IPv4Network]) -> ipaddress.IPv4Interface:
    """Return the bridge's own address: `wanted` (--bip), or the first of the first free pool.

    Raises EngineError 400 for a `wanted` that is none, 500 when all pools are taken.
    """
    if wanted:
        try:
            return ipaddress.IPv4Interface(wanted)
        except ValueError as error:
            raise invalid(f"invalid CIDR address: {wanted}") from error
    taken = [network for network in used if network.prefixlen]
    for pool in map(ipaddress.IPv4Network, _POOLS):
        if not any(pool.overlaps(network) for network in taken):
            return ipaddress.IPv4Interface((pool.network_address + 1, pool.prefixlen))
    raise EngineError(
        500, "could not find an available, non-overlapping IPv4 address pool among the defaults"
    )


def mac_of(octets: bytes) -> str:
    """Return a locally administered hardware address that ends in four octets; a container's are its IPv4 address."""
    return ":".join(f"{byte:02x}" for byte in b"\x02\x42" + octets)


class AddressPool:
    """The addresses of a bridge's subnet. The lowest free one is given first."""

    def __init__(self, bridge: ipaddress.IPv4Interface) -> None:
        self._network = bridge.network
        self._taken = {bridge.network.network_address, bridge.network.broadcast_address, bridge.ip}
        self._fixed = frozenset(self._taken)

    def give(self, wanted: str = "") -> str:
        """Return a free address, `wanted` if it is not "".

        Raises EngineError 403 when it is taken or none is left, 400 when it can't be.
        """
        if wanted:
            return self._give_exactly(wanted)
        first, count = int(self._network.network_address), self._network.num_addresses
        for offset in range(count):
            address = ipaddress.IPv4Address(first + offset)
            if address not in self._taken:
                self._taken.add(address)
                return str(address)
        raise EngineError(403, "no available IPv4 addresses on this network's address pools: bridge")

    def take(self, text: str) -> None:
        """Note an address that is in use already."""
        self._taken.add(ipaddress.IPv4Address(text))

    def take_back(self, text: str) -> None:
        """Make an address free again."""
        address = ipaddress.IPv4Address(text)
        if address not in self._fixed:
            self._taken.discard(address)

    def _give_exactly(self, text: str) -> str:
        try:
            address = ipaddress.IPv4Address(text)
        except ValueError as error:
            raise invalid(f"invalid IP address: {text}") from error
        if address not in self._network:
            raise invalid("no configured subnet contains the IP address " + text)
        if address in self._taken:
            raise EngineError(403, "Address already in use")
        self._taken.add(address)
        return str(address)
