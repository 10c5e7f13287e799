"""What the kernel does for a network and for an endpoint: bridges, pairs of interfaces, interfaces upon others, routes.

Everything blocks for milliseconds and is called on the networks' worker thread. Whatever fails half way is taken back.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.dockerd.errors import system
from sixhops.dockerd.networks.firewall import BridgeRules
from sixhops.dockerd.networks.ipam import mac_of
from sixhops.dockerd.networks.namespaces import inside, set_ipv6
from sixhops.dockerd.networks.netlink import Netlink

if TYPE_CHECKING:
    from sixhops.dockerd.networks.model import Endpoint, Network, Sandbox

__all__ = ["attach", "detach", "lead_out", "make_bridge", "remove_bridge", "rules_of"]

_IPV6_FORWARDING = ("/proc/sys/net/ipv6/conf/default/forwarding", "/proc/sys/net/ipv6/conf/all/forwarding")
_LINK_LOCAL = ipaddress.IPv6Interface("fe80::1/64")
_PREFIX_OPTION = "com.docker.network.container_iface_prefix"


def make_bridge(network: Network) -> bool:
    """Make a network's bridge with its addresses, or complete one that is there; return whether it was made.

    Raises OSError.
    """
    name = network.bridge_name
    with Netlink() as netlink:
        index = netlink.index(name)
        made = index is None
        if index is None:
            netlink.add_bridge(name, mac_of(secrets.token_bytes(4)))
            index = netlink.index(name)
            assert index is not None
        try:
            _complete_bridge(netlink, network, index)
        except BaseException:
            if made:
                netlink.remove(index)
            raise
    return made


def _complete_bridge(netlink: Netlink, network: Network, index: int) -> None:
    four, six = network.part(4), network.part(6) if network.ipv6 else None
    if four is not None:
        wanted = ipaddress.IPv4Interface(f"{four.gateway}/{four.network.prefixlen}")
        if wanted not in netlink.addresses(index):
            netlink.add_address(index, wanted, network.bridge_name)
    if six is not None:
        set_ipv6(network.bridge_name, on=True)
        for path in _IPV6_FORWARDING:
            with contextlib.suppress(FileNotFoundError):
                Path(path).write_text("1")
        for address in (ipaddress.IPv6Interface(f"{six.gateway}/{six.network.prefixlen}"), _LINK_LOCAL):
            with contextlib.suppress(FileExistsError):
                netlink.add_address(index, address)
    # the kernel gives a bridge the least MTU of its ports
    netlink.set_up(index)


def remove_bridge(name: str) -> None:
    """Remove a bridge; one that is gone already does not matter."""
    with Netlink() as netlink:
        index = netlink.index(name)
        if index is not None:
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                netlink.remove(index)


def rules_of(network: Network, *, hairpin: bool) -> BridgeRules:
    """Return what the packet filter's rules for a bridge network depend on."""
    four = network.part(4)
    assert four is not None
    return BridgeRules(
        network.bridge_name,
        four.subnet,
        masquerade=network.flag("enable_ip_masquerade", True),
        icc=network.flag("enable_icc", True),
        internal=network.internal,
        hairpin=hairpin,
    )


def attach(network: Network, sandbox: Sandbox, endpoint: Endpoint, mtu: int, *, hairpin: bool) -> None:
    """Give a sandbox its interface on a network. Raises EngineError 500, OSError, with nothing left."""
    endpoint.interface = f"{network.options.get(_PREFIX_OPTION) or 'eth'}{sandbox.interfaces}"
    namespace = os.open(sandbox.netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if network.driver == "bridge":
            _attach_to_bridge(network, endpoint, namespace, network.mtu or mtu, hairpin=hairpin)
        else:
            _attach_upon(network, endpoint, namespace)
        inside(sandbox.netns, lambda: _dress(endpoint))
    except BaseException:
        if endpoint.link:
            remove_bridge(endpoint.link)
        raise
    finally:
        os.close(namespace)
    sandbox.interfaces += 1


def _attach_to_bridge(
    network: Network, endpoint: Endpoint, namespace: int, mtu: int, *, hairpin: bool
) -> None:
    link = f"veth{secrets.token_hex(4)[:7]}"
    with Netlink() as netlink:
        bridge = netlink.index(network.bridge_name)
        if bridge is None:
            raise system(
                f"failed to create endpoint on network {network.name}: network {network.id} does not exist"
            )
        netlink.add_veth(
            link, endpoint.interface, peer_namespace=namespace, peer_mac=endpoint.mac, mtu=mtu, master=bridge
        )
        endpoint.link, endpoint.bridge = link, network.bridge_name
        if hairpin:
            index = netlink.index(link)
            assert index is not None
            netlink.set_hairpin(index)


def _attach_upon(network: Network, endpoint: Endpoint, namespace: int) -> None:
    parent = network.options.get("parent") or ""
    key, default = {"macvlan": ("macvlan_mode", "bridge"), "ipvlan": ("ipvlan_mode", "l2")}[network.driver]
    with Netlink() as netlink:
        index = netlink.index(parent)
        if index is None:
            raise system(f"failed to find the interface {parent} that network {network.name} is upon")
        try:
            netlink.add_upon(
                endpoint.interface,
                network.driver,
                network.options.get(key) or default,
                parent=index,
                namespace=namespace,
                mac=endpoint.mac,
                mtu=network.mtu,
            )
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise system(f"failed to create the {network.driver} port: {reason}") from error


def detach(sandbox: Sandbox, endpoint: Endpoint) -> None:
    """Take an interface away again; one that is gone already does not matter."""
    if endpoint.link:
        # the host's end goes, and the other with it
        remove_bridge(endpoint.link)
    elif endpoint.interface and sandbox.netns and Path(sandbox.netns).exists():
        with contextlib.suppress(OSError):
            inside(sandbox.netns, lambda: remove_bridge(endpoint.interface))


def lead_out(sandbox: Sandbox, old: Endpoint | None, new: Endpoint | None) -> None:
    """Move a sandbox's default routes from one endpoint to another. Raises OSError."""

    def change() -> None:
        with Netlink() as netlink:
            if old is not None:
                index = netlink.index(old.interface)
                if index is not None:
                    for gateway in filter(None, (old.gateway, old.gateway6)):
                        netlink.remove_default_route(index, ipaddress.ip_address(gateway))
            if new is not None:
                index = netlink.index(new.interface)
                assert index is not None
                for gateway in filter(None, (new.gateway, new.gateway6)):
                    netlink.add_default_route(index, ipaddress.ip_address(gateway))

    if sandbox.netns:
        inside(sandbox.netns, change)


def _dress(endpoint: Endpoint) -> None:
    """Give the interface its addresses and set it up; runs inside."""
    with Netlink() as netlink:
        index = netlink.index(endpoint.interface)
        assert index is not None
        netlink.add_address(
            index, ipaddress.IPv4Interface(f"{endpoint.address}/{endpoint.prefix}"), endpoint.interface
        )
        if endpoint.address6:
            for interface in ("lo", endpoint.interface):
                set_ipv6(interface, on=True)
        netlink.set_up(index)
        if endpoint.address6:
            netlink.add_address(index, ipaddress.IPv6Interface(f"{endpoint.address6}/{endpoint.prefix6}"))
