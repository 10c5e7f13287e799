"""The network `bridge`: what the daemon's flags make of it, and the bridge that it is given or makes."""

from __future__ import annotations

import ipaddress
import time
from typing import TYPE_CHECKING

from sixhops.dockerd.errors import system
from sixhops.dockerd.networks import drivers
from sixhops.dockerd.networks.creation import new_identity
from sixhops.dockerd.networks.ipam import Subnet
from sixhops.dockerd.networks.model import IpamConfig, Network
from sixhops.dockerd.networks.netlink import Netlink

if TYPE_CHECKING:
    from sixhops.dockerd.networks.ipam import AddressSpace, IpNetwork
    from sixhops.dockerd.networks.settings import NetworkSettings

__all__ = ["DEFAULT_BRIDGE", "gateway_of", "make", "subnets"]

DEFAULT_BRIDGE = "docker0"
_FAILED = 'Error initializing network controller: Error creating default "bridge" network: '


def make(settings: NetworkSettings, known: Network | None, space: AddressSpace) -> tuple[Network, bool]:
    """Return the network, and whether its bridge was made now. `known`: as it was under the last engine.

    Raises EngineError 500 for a bridge of the user's that is not there, and for addresses that can't be; OSError.
    """
    name = settings.bridge or DEFAULT_BRIDGE
    with Netlink() as netlink:
        index = netlink.index(name)
        if index is None and settings.bridge:
            raise system(f"{_FAILED}bridge device with non default name {name} must be created manually")
        present = netlink.addresses(index) if index is not None else []
        routes: list[IpNetwork] = [interface.network for interface in netlink.addresses()]
        routes += netlink.routes()
    entries = [_four(settings, present[0] if present else None, routes, space)]
    if settings.ipv6:
        entries.append(_six(settings))
        space.reserve(entries[1].network)
    network = Network(
        id=known.id if known is not None else new_identity(),
        name="bridge",
        driver="bridge",
        created=known.created if known is not None else time.time_ns(),
        ipam=tuple(entries),
        ipv6=settings.ipv6,
        options=_options(settings, name),
    )
    made = drivers.make_bridge(network)
    return network, made or not settings.bridge


def subnets(network: Network, settings: NetworkSettings) -> dict[tuple[str, str], Subnet]:
    """Return the addresses of the network, with those taken that are the host's."""
    found = {}
    for entry in network.ipam:
        within = ipaddress.ip_network(entry.ip_range, strict=False) if entry.ip_range else None
        subnet = Subnet(entry.network, within)
        subnet.take(ipaddress.ip_address(entry.gateway))
        for text in (settings.default_gateway, settings.default_gateway_v6):
            if text and ipaddress.ip_address(text) in entry.network:
                subnet.take(ipaddress.ip_address(text))
        found[network.id, entry.subnet] = subnet
    return found


def gateway_of(network: Network, entry: IpamConfig, settings: NetworkSettings) -> str:
    """Return where containers on a network send everything else: the bridge, or what --default-gateway says."""
    if network.is_default_bridge:
        chosen = settings.default_gateway if entry.network.version == 4 else settings.default_gateway_v6
        return chosen or entry.gateway
    return entry.gateway


def _four(
    settings: NetworkSettings,
    present: ipaddress.IPv4Interface | None,
    routes: list[IpNetwork],
    space: AddressSpace,
) -> IpamConfig:
    gateway_is_shown = True
    if settings.bip:
        interface = ipaddress.IPv4Interface(settings.bip)
    elif present is not None:
        interface = present
    else:
        pool = space.choose(4, routes)
        space.release(pool)
        interface = ipaddress.IPv4Interface((int(pool.network_address) + 1, pool.prefixlen))
        gateway_is_shown = False
    space.reserve(interface.network)
    if interface.ip == interface.network.network_address:
        raise system(f"{_FAILED}failed to allocate gateway ({interface.ip}): Address already in use")
    auxiliary = {"DefaultGatewayIPv4": settings.default_gateway} if settings.default_gateway else {}
    if settings.default_gateway and ipaddress.ip_address(settings.default_gateway) not in interface.network:
        raise system(
            f"{_FAILED}auxiliary address: "
            f"(DefaultGatewayIPv4:{settings.default_gateway}) must belong to the master pool: {interface.network}"
        )
    return IpamConfig(
        str(interface.network),
        str(interface.ip),
        str(interface.network),
        str(interface.ip) if gateway_is_shown else "",
        settings.fixed_cidr,
        auxiliary,
        by_user=bool(settings.bip),
    )


def _six(settings: NetworkSettings) -> IpamConfig:
    network = ipaddress.ip_network(settings.fixed_cidr_v6, strict=False)
    gateway = str(network.network_address + 1)
    auxiliary = {"DefaultGatewayIPv6": settings.default_gateway_v6} if settings.default_gateway_v6 else {}
    return IpamConfig(str(network), gateway, str(network), "", "", auxiliary)


def _options(settings: NetworkSettings, name: str) -> dict[str, str]:
    return {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": str(settings.icc).lower(),
        "com.docker.network.bridge.enable_ip_masquerade": str(settings.masquerade).lower(),
        "com.docker.network.bridge.host_binding_ipv4": settings.ip,
        "com.docker.network.bridge.name": name,
        "com.docker.network.driver.mtu": str(settings.mtu),
    }
