"""The worker's side of networks: subnets, bridges, rules and published ports, all on one thread in the order of requests."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.dockerd.errors import EngineError, system
from sixhops.dockerd.networks import conntrack, creation, default_bridge, drivers, resolver, upon
from sixhops.dockerd.networks.firewall import Firewall
from sixhops.dockerd.networks.ipam import Address, AddressSpace, Subnet, mac_of
from sixhops.dockerd.networks.model import Endpoint, Sandbox
from sixhops.dockerd.networks.namespaces import inside, is_used, make_namespace, remove_namespace
from sixhops.dockerd.networks.netlink import Netlink
from sixhops.dockerd.networks.ports import PortError, Ports

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Mapping

    from sixhops.dockerd.networks.creation import Asked
    from sixhops.dockerd.networks.ipam import IpNetwork
    from sixhops.dockerd.networks.model import Network
    from sixhops.dockerd.networks.ports import Binding
    from sixhops.dockerd.networks.settings import NetworkSettings

__all__ = ["Plumbing"]


class Plumbing:
    """What stands for the networks in the kernel. Methods block; only the networks' worker thread calls them."""

    def __init__(self, settings: NetworkSettings) -> None:
        self._settings = settings
        self._space = AddressSpace(settings.pools)
        self._subnets: dict[tuple[str, str], Subnet] = {}
        self._made: set[str] = set()
        self._firewall = Firewall(hairpin=not settings.userland_proxy) if settings.iptables else None
        self._directory = settings.exec_root / "netns"
        self.ports = Ports()

    # -- the engine's own

    def start(self, networks: Iterable[Network], default: Network | None) -> Network | None:
        """Bring up all networks; return the default bridge as it is now, None without one. Raises EngineError 500."""
        self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        if self._settings.ip_forward and self._firewall is None:
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        if self._firewall is not None:
            self._firewall.install()
        bridge = None
        if self._settings.bridge != "none":
            bridge, made = default_bridge.make(self._settings, default, self._space)
            if made:
                self._made.add(bridge.id)
            self._add_rules(bridge)
            self._subnets |= default_bridge.subnets(bridge, self._settings)
        for network in networks:
            self._restore(network)
        return bridge

    def stop(self, networks: Iterable[Network]) -> None:
        """Take down all networks with their rules. Raises EngineError 500."""
        for network in networks:
            self._down(network)
        if self._firewall is not None:
            self._firewall.remove()

    def sweep(self, used: set[str]) -> None:
        """Remove namespaces of containers that did not outlive the last engine: those in which no process is."""
        for path in self._directory.iterdir():
            if str(path) not in used and not is_used(path):
                remove_namespace(path)

    # -- networks

    def create(self, asked: Asked, identity: str, others: list[Network]) -> Network:
        """Give a network its subnets and its bridge. Raises EngineError, with nothing left."""
        creation.check_options(asked, others, _has_interface, identity)
        with Netlink() as netlink:
            routes: list[IpNetwork] = [interface.network for interface in netlink.addresses()]
            routes += netlink.routes()
        network, subnets = creation.allocate(asked, identity, self._space, routes)
        self._subnets |= {(network.id, text): subnet for text, subnet in subnets.items()}
        try:
            self._up(network)
        except OSError as error:
            self._forget(network)
            raise system(os.strerror(error.errno or 0).lower()) from error
        except BaseException:
            self._forget(network)
            raise
        return replace(network, bridge_is_ours=network.id in self._made)

    def remove(self, network: Network) -> None:
        """Take down a network and give back its subnets. Raises EngineError 500."""
        self._down(network)
        self._forget(network)

    # -- sandboxes

    def make_sandbox(self, container: str, *, on_host: bool) -> Sandbox:
        """Make a container's namespace, unless it is the host's own. Raises LinuxError, OSError."""
        identity = secrets.token_hex(32)
        if on_host:
            return Sandbox(container, identity, "")
        path = self._directory / identity[:12]
        make_namespace(path)
        return Sandbox(container, identity, str(path))

    def join(
        self, network: Network, sandbox: Sandbox, endpoint: Endpoint, wanted: Mapping[str, str], mac: str
    ) -> None:
        """Give an endpoint its addresses and its interface. `wanted` are addresses asked for, by member of IPAMConfig.

        Raises EngineError, with nothing left.
        """
        given: list[tuple[str, Address]] = []
        try:
            for version in (4, 6):
                self._address(network, endpoint, wanted, version, given)
            endpoint.mac = mac or (
                mac_of(ipaddress.IPv4Address(endpoint.address).packed) if endpoint.address else ""
            )
            if endpoint.address:
                drivers.attach(
                    network, sandbox, endpoint, self._settings.mtu, hairpin=not self._settings.userland_proxy
                )
        except BaseException as error:
            for subnet, address in given:
                self._subnets[network.id, subnet].take_back(address)
            if isinstance(error, OSError):
                raise system(os.strerror(error.errno or 0).lower()) from error
            raise
        sandbox.endpoints.append(endpoint)

    def leave(self, network: Network | None, sandbox: Sandbox, endpoint: Endpoint) -> None:
        """Undo `join`; what is gone already does not matter."""
        if endpoint.link_rules and self._firewall is not None:
            with contextlib.suppress(EngineError):
                self._firewall.unlink(endpoint.link_rules)
        drivers.detach(sandbox, endpoint)
        if endpoint.bridge:
            # before the addresses are given back: who has them next must not inherit what was let through for this one
            conntrack.forget_addresses([text for text in (endpoint.address, endpoint.address6) if text])
        for entry in network.ipam if network is not None else ():
            for text in filter(None, (endpoint.address, endpoint.address6)):
                address = ipaddress.ip_address(text)
                subnet = self._subnets.get((endpoint.network_id, entry.subnet))
                if subnet is not None and address in subnet.network:
                    subnet.take_back(address)
        if endpoint in sandbox.endpoints:
            sandbox.endpoints.remove(endpoint)

    def lead_out(self, networks: Mapping[str, Network], sandbox: Sandbox, bindings: list[Binding]) -> None:
        """Let the default route and the published ports go by the endpoint that should have them now.

        Raises EngineError, with nothing published.
        """
        old = next((entry for entry in sandbox.endpoints if entry.id == sandbox.way_out), None)
        new = sandbox.gateway_endpoint
        if new is old and (new is None or sandbox.way_out):
            return
        self.withdraw(sandbox, old.bridge if old is not None else "")
        if sandbox.netns:
            drivers.lead_out(sandbox, old, new)
        sandbox.way_out = new.id if new is not None else ""
        if new is not None and bindings and new.bridge and not new.internal:
            self._publish(networks[new.network_id], sandbox, new, bindings)

    def withdraw(self, sandbox: Sandbox, bridge: str) -> None:
        """Publish nothing any more."""
        if self._firewall is not None and bridge:
            with contextlib.suppress(EngineError):
                self._firewall.withdraw(bridge, sandbox.ports)
        self.ports.free(sandbox.ports)
        sandbox.ports = []

    def link(self, endpoint: Endpoint, rules: list[str]) -> None:
        """Let linked containers through. Raises EngineError 500."""
        if self._firewall is not None and rules:
            self._firewall.link(rules)
            endpoint.link_rules = rules

    def remove_sandbox(self, networks: Mapping[str, Network], sandbox: Sandbox) -> None:
        """Take down all of a sandbox; what is gone already does not matter."""
        way_out = next((entry for entry in sandbox.endpoints if entry.id == sandbox.way_out), None)
        if sandbox.ports:
            self.withdraw(sandbox, way_out.bridge if way_out is not None else "")
        for endpoint in list(sandbox.endpoints):
            # before the namespace: the kernel takes its time to clean up one that still has links
            self.leave(networks.get(endpoint.network_id), sandbox, endpoint)
        if sandbox.netns:
            remove_namespace(Path(sandbox.netns))

    def recover(self, networks: Mapping[str, Network], sandbox: Sandbox, *, is_alive: bool) -> None:
        """Take over a sandbox of the last engine: its addresses are in use, its ports are published anew.

        Raises EngineError 500 when somebody has taken a port meanwhile.
        """
        for endpoint in sandbox.endpoints:
            network = networks.get(endpoint.network_id)
            for entry in network.ipam if network is not None else ():
                subnet = self._subnets.get((endpoint.network_id, entry.subnet))
                for text in filter(None, (endpoint.address, endpoint.address6)):
                    if subnet is not None and ipaddress.ip_address(text) in subnet.network:
                        subnet.take(ipaddress.ip_address(text))
        way_out = next((entry for entry in sandbox.endpoints if entry.id == sandbox.way_out), None)
        if way_out is None or not sandbox.ports:
            return
        wanted, sandbox.ports = sandbox.ports, []
        if not is_alive:
            if self._firewall is not None:
                self._firewall.forget(wanted)
            return
        try:
            held = self.ports.hold(wanted)
        except PortError as error:
            raise system(f"ports of container {sandbox.container}: {error}") from error
        if self._firewall is not None and way_out.bridge:
            self._firewall.forget(wanted)
            self._firewall.publish(way_out.bridge, held)
        sandbox.ports = held

    def open_resolver(self, sandbox: Sandbox) -> tuple[socket.socket, socket.socket]:
        """Make the sockets of a sandbox's name server. Raises EngineError, OSError."""
        return inside(sandbox.netns, resolver.listen)

    # -- inside

    def _publish(
        self, network: Network, sandbox: Sandbox, endpoint: Endpoint, bindings: list[Binding]
    ) -> None:
        default = network.options.get("com.docker.network.bridge.host_binding_ipv4") or self._settings.ip
        try:
            ports = self.ports.bind(
                bindings, default, endpoint.address, endpoint.address6, proxied=self._settings.userland_proxy
            )
        except PortError as error:
            raise system(
                f"driver failed programming external connectivity on endpoint {endpoint.names[0]} ({endpoint.id}): {error}"
            ) from error
        try:
            if self._firewall is not None:
                self._firewall.publish(endpoint.bridge, ports)
        except BaseException:
            self.ports.free(ports)
            raise
        # a client of UDP that never stopped sending would go on reaching who had the port before
        conntrack.forget_datagrams({port.host_port for port in ports if port.protocol == "udp"})
        sandbox.ports = ports

    def _address(
        self,
        network: Network,
        endpoint: Endpoint,
        wanted: Mapping[str, str],
        version: int,
        given: list[tuple[str, Address]],
    ) -> None:
        entries = [entry for entry in network.ipam if entry.network.version == version]
        if not entries or (version == 6 and not network.ipv6):
            return
        text = wanted.get(f"IPv{version}Address") or ""
        entry = entries[0]
        if text:
            address = ipaddress.ip_address(text)
            fitting = [entry for entry in entries if address in entry.network]
            if not fitting:
                raise system(f"Invalid address {text}: It does not belong to any of this network's subnets")
            entry = fitting[0]
            found = self._subnets[network.id, entry.subnet].give(address)
        else:
            try:
                found = self._subnets[network.id, entry.subnet].give()
            except EngineError as error:
                raise system(
                    f"no available IPv{version} addresses on this network's address pools: {network.name} ({network.id})"
                ) from error
        given.append((entry.subnet, found))
        gateway = default_bridge.gateway_of(network, entry, self._settings)
        if version == 4:
            endpoint.address, endpoint.prefix, endpoint.gateway = str(found), entry.network.prefixlen, gateway
        else:
            endpoint.address6, endpoint.prefix6, endpoint.gateway6 = (
                str(found),
                entry.network.prefixlen,
                gateway,
            )

    def _up(self, network: Network) -> None:
        if network.config_only or network.driver in {"host", "null"}:
            return
        if network.driver in upon.DRIVERS:
            if upon.make_parent(network):
                self._made.add(network.id)
            return
        if drivers.make_bridge(network):
            self._made.add(network.id)
        try:
            self._add_rules(network)
        except BaseException:
            self._remove_bridge(network)
            raise

    def _add_rules(self, network: Network) -> None:
        if self._firewall is not None:
            self._firewall.add_bridge(drivers.rules_of(network, hairpin=not self._settings.userland_proxy))
        if self._firewall is not None and not network.flag("enable_icc", True):
            # frames that stay on the bridge must pass the rules as well
            with contextlib.suppress(FileNotFoundError):
                Path("/proc/sys/net/bridge/bridge-nf-call-iptables").write_text("1")
        if not self._settings.userland_proxy:
            # without a proxy, what the host sends to its own loopback reaches containers through the rules
            Path(f"/proc/sys/net/ipv4/conf/{network.bridge_name}/route_localnet").write_text("1")

    def _down(self, network: Network) -> None:
        if network.config_only or network.driver in {"host", "null"}:
            return
        if network.driver in upon.DRIVERS:
            if network.id in self._made:
                upon.remove_parent(network)
                self._made.discard(network.id)
            return
        if self._firewall is not None:
            self._firewall.remove_bridge(drivers.rules_of(network, hairpin=not self._settings.userland_proxy))
        self._remove_bridge(network)

    def _remove_bridge(self, network: Network) -> None:
        # one that somebody else made stays
        if network.id in self._made:
            drivers.remove_bridge(network.bridge_name)
            self._made.discard(network.id)

    def _forget(self, network: Network) -> None:
        for entry in network.ipam:
            self._space.release(entry.network)
            self._subnets.pop((network.id, entry.subnet), None)

    def _restore(self, network: Network) -> None:
        """Bring up a network that the state knows: its subnets are the ones that it had."""
        for entry in network.ipam:
            subnet = Subnet(
                entry.network, ipaddress.ip_network(entry.ip_range, strict=False) if entry.ip_range else None
            )
            self._space.reserve(entry.network)
            for text in (entry.gateway, *entry.auxiliary.values()):
                subnet.take(ipaddress.ip_address(text))
            self._subnets[network.id, entry.subnet] = subnet
        try:
            self._up(network)
            if network.bridge_is_ours:
                self._made.add(network.id)
        except OSError as error:
            raise system(f"network {network.name}: {os.strerror(error.errno or 0).lower()}") from error


def _has_interface(name: str) -> bool:
    with Netlink() as netlink:
        return netlink.index(name) is not None
