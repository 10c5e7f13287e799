"""Addresses: which subnet a network gets, and which address in it an endpoint.

One `AddressSpace` has all subnets of the engine: none may overlap with another. Messages and statuses are those of
libnetwork's default IPAM driver (dockerd 20.10); nothing here does I/O.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from sixhops.dockerd.errors import EngineError, not_found, system
from sixhops.dockerd.goquote import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "DEFAULT_POOLS", "Address", "AddressSpace", "IpNetwork", "Subnet",
    "check_pools", "fill", "gateway_of", "mac_of", "parse_pool", "range_of", "subnet_of",
]  # fmt: skip

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_FORBIDDEN = 403
_OVERLAP = "Pool overlaps with other one on this address space"
#: Docker's own pools for networks of one host: (where they are cut from, prefix length of each).
DEFAULT_POOLS = (
    ("172.17.0.0/16", 16),
    ("172.18.0.0/16", 16),
    ("172.19.0.0/16", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16),
    ("172.28.0.0/14", 16),
    ("192.168.0.0/16", 20),
)


def mac_of(octets: bytes) -> str:
    """Return a locally administered hardware address that ends in four octets; a container's are its IPv4 address."""
    return ":".join(f"{byte:02x}" for byte in b"\x02\x42" + octets)


def parse_pool(text: str) -> tuple[str, int]:
    """Return what `base=CIDR,size=N` of --default-address-pool says. Raises ValueError with dockerd's words."""
    fields: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"invalid field '{part}' must be a key=value pair")
        if key not in {"base", "size"}:
            raise ValueError(f"unexpected key '{key}' in '{part}'")
        fields[key] = value
    size = fields.get("size", "0")
    if not size.isdigit():
        raise ValueError(
            f'invalid size value: "{size}" (must be integer): strconv.Atoi: parsing "{size}": invalid syntax'
        )
    return fields.get("base", ""), int(size)


def check_pools(pools: Sequence[tuple[str, int]]) -> None:
    """Check pools of --default-address-pool. Raises ValueError with libnetwork's words."""
    for base, size in pools:
        try:
            network = ipaddress.ip_network(base, strict=False)
        except ValueError as error:
            raise ValueError(f'invalid base pool "{base}": invalid CIDR address: {base}') from error
        if not network.prefixlen <= size <= network.max_prefixlen:
            raise ValueError(f"invalid pools size: {size}")


class Subnet:
    """The addresses of one subnet. The lowest free one of the range is given first."""

    def __init__(self, network: IpNetwork, within: IpNetwork | None = None) -> None:
        """`within` is the range that addresses are given from; those that are asked for may lie outside of it."""
        self.network = network
        self.within = within
        self._taken: set[Address] = {network.network_address}
        if network.version == 4:
            self._taken.add(network.broadcast_address)
        self._fixed = frozenset(self._taken)

    def give(self, wanted: Address | None = None) -> Address:
        """Return a free address, `wanted` if there is one.

        Raises EngineError: 403 when it is taken, 500 when it does not lie here or none is left.
        """
        if wanted is not None:
            if wanted not in self.network:
                raise system("Requested address is out of range")
            if wanted in self._taken:
                raise EngineError(_FORBIDDEN, "Address already in use")
            self._taken.add(wanted)
            return wanted
        area = self.network if self.within is None or not _lies_in(self.within, self.network) else self.within
        first = int(area.network_address)
        for offset in range(area.num_addresses):
            address = type(area.network_address)(first + offset)
            if address not in self._taken:
                self._taken.add(address)
                return address
        raise system("No available addresses on this pool")

    def take(self, address: Address) -> None:
        """Note an address that is in use already."""
        self._taken.add(address)

    def take_back(self, address: Address) -> None:
        """Make an address free again."""
        if address not in self._fixed:
            self._taken.discard(address)


class AddressSpace:
    """All subnets in use, and the pools that new ones come from, each in its turn."""

    def __init__(self, pools: Sequence[tuple[str, int]] = ()) -> None:
        """`pools`: (CIDR, prefix length); Docker's own when there are none for a version of IP."""
        self._pools: dict[int, list[IpNetwork]] = {4: [], 6: []}
        self._next = {4: 0, 6: 0}
        for base, size in pools or DEFAULT_POOLS:
            network = ipaddress.ip_network(base, strict=False)
            self._pools[network.version] += network.subnets(new_prefix=size)
        self._used: list[IpNetwork] = []

    def choose(self, version: int, routes: Iterable[IpNetwork]) -> IpNetwork:
        """Return the next pool that neither a network nor a route of the host uses, and reserve it.

        Pools are taken in turn, so that one that was given back is not given out at once again. Raises EngineError 404.
        """
        pools, start = self._pools[version], self._next[version]
        others = [route for route in routes if route.prefixlen and route.version == version]
        for offset in range(len(pools)):
            index = (start + offset) % len(pools)
            pool = pools[index]
            if not any(_overlap(pool, other) for other in (*self._used, *others)):
                self._next[version] = (index + 1) % len(pools)
                self._used.append(pool)
                return pool
        raise not_found(
            f"could not find an available, non-overlapping IPv{version} address pool among the defaults to assign to "
            "the network"
        )

    def reserve(self, network: IpNetwork) -> None:
        """Take a subnet. Raises EngineError 403 when it overlaps with one that is in use."""
        if any(_overlap(network, used) for used in self._used):
            raise EngineError(_FORBIDDEN, _OVERLAP)
        self._used.append(network)

    def release(self, network: IpNetwork) -> None:
        """Give a subnet back."""
        if network in self._used:
            self._used.remove(network)


def subnet_of(text: str) -> IpNetwork:
    """Return the network of `address/prefix`. Raises EngineError 500 with Go's message."""
    try:
        if "/" not in text:
            raise ValueError(text)
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise system(f"Invalid subnet {text} : invalid CIDR address: {text}") from error


def range_of(text: str, subnet: str) -> IpNetwork:
    """Return an IPRange. Raises EngineError 500."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise system(
            f'failed to parse pool request for address space "LocalDefault" pool {quote(subnet)} subpool {quote(text)}: '
            "Invalid Address SubPool"
        ) from error


def gateway_of(text: str) -> Address | None:
    """Return a gateway that was asked for, None for "". Raises EngineError 500."""
    try:
        return ipaddress.ip_address(text) if text else None
    except ValueError as error:
        raise system(f"invalid gateway address {text} in Ipam configuration") from error


def fill(subnet: Subnet, gateway: Address | None, auxiliary: Mapping[str, str], network: str) -> Address:
    """Take the gateway (None for the first free address) and the auxiliary addresses; return the gateway's.

    `network` is its name. Raises EngineError: 403 for an auxiliary address outside, 500 for others that can't be.
    """
    reserved: dict[str, Address] = {}
    for name, text in auxiliary.items():
        try:
            reserved[name] = ipaddress.ip_address(text)
        except ValueError as error:
            raise system(
                f"non parsable secondary ip address ({name}:{text}) passed for network {network}"
            ) from error
        if reserved[name] not in subnet.network:
            raise EngineError(
                _FORBIDDEN,
                f"auxiliary address: ({name}:{text}) must belong to the master pool: {subnet.network}",
            )
    try:
        found = subnet.give(gateway)
    except EngineError as error:
        raise system(f"failed to allocate gateway ({gateway or ''}): {error.message}") from error
    for name, address in reserved.items():
        try:
            subnet.give(address)
        except EngineError as error:
            raise system(
                f"failed to allocate secondary ip address ({name}:{address}): {error.message}"
            ) from error
    return found


def _overlap(one: IpNetwork, other: IpNetwork) -> bool:
    return one.version == other.version and one.overlaps(other)


def _lies_in(inner: IpNetwork, outer: IpNetwork) -> bool:
    return inner.network_address in outer and inner.broadcast_address in outer
