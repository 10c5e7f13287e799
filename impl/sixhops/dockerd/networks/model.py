"""Networks, endpoints and sandboxes as values, and how they are kept as JSON.

A network is what was asked for, completed; its document is in the engine's state. A sandbox is a container's network
namespace with its endpoints, from start to exit; its document is in the container's, so there is no second book that
could disagree.
"""

from __future__ import annotations

import ipaddress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sixhops.dockerd.networks.ipam import IpNetwork

__all__ = ["Endpoint", "IpamConfig", "Network", "PublishedPort", "Sandbox", "network_from", "sandbox_from"]


@dataclass(frozen=True, slots=True)
class IpamConfig:
    """One subnet of a network. `shown_gateway` is what inspect shows, which is "" for one that nobody asked for."""

    subnet: str
    gateway: str
    shown_subnet: str
    shown_gateway: str = ""
    ip_range: str = ""
    auxiliary: dict[str, str] = field(default_factory=dict)
    by_user: bool = True

    @property
    def network(self) -> IpNetwork:
        """The subnet."""
        return ipaddress.ip_network(self.subnet)


@dataclass(frozen=True, slots=True)
class Network:
    """One network. `created` in nanoseconds since 1970; `options` are the driver's, as the user gave them."""

    id: str
    name: str
    driver: str
    created: int
    ipam: tuple[IpamConfig, ...] = ()
    ipam_driver: str = "default"
    ipam_options: dict[str, str] | None = None
    #: what a configuration network was told, which is not carried out
    asked_ipam: tuple[dict[str, Any], ...] = ()
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    config_only: bool = False
    config_from: str = ""
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    #: whether the engine made the bridge, and so removes it
    bridge_is_ours: bool = True

    @property
    def bridge_name(self) -> str:
        """The bridge's interface."""
        return self.options.get("com.docker.network.bridge.name") or f"br-{self.id[:12]}"

    @property
    def is_default_bridge(self) -> bool:
        """Whether it is the network `bridge`, which has no names."""
        return self.driver == "bridge" and self.name == "bridge"

    @property
    def is_user_defined(self) -> bool:
        """Whether it is none of the three that every engine has."""
        return self.name not in {"bridge", "host", "none"}

    @property
    def mtu(self) -> int:
        """The MTU, 0 when nobody said any."""
        return int(self.options.get("com.docker.network.driver.mtu") or 0)

    def flag(self, option: str, default: bool) -> bool:
        """Return a boolean of the bridge driver, by the option's last part."""
        text = self.options.get(f"com.docker.network.bridge.{option}")
        return default if text is None else text in {"1", "t", "T", "true", "TRUE", "True"}

    def restored(self) -> Network:
        """Return it as it is after a start of the engine: gateways count as asked for (libnetwork, reservePools)."""
        if not self.is_user_defined:
            return self
        return replace(
            self,
            ipam=tuple(
                replace(entry, shown_gateway=entry.shown_gateway or entry.gateway) for entry in self.ipam
            ),
        )

    def part(self, version: int) -> IpamConfig | None:
        """Return the first subnet of a version of IP."""
        return next((entry for entry in self.ipam if entry.network.version == version), None)


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port of the host that leads to a port of a container."""

    protocol: str
    host_address: str
    host_port: int
    address: str
    port: int


@dataclass(slots=True)
class Endpoint:
    """A container's place on one network. `link` is the host's end of the pair, `interface` the container's."""

    id: str
    network: str
    network_id: str
    driver: str
    address: str = ""
    prefix: int = 0
    gateway: str = ""
    mac: str = ""
    address6: str = ""
    prefix6: int = 0
    gateway6: str = ""
    link: str = ""
    interface: str = ""
    bridge: str = ""
    internal: bool = False
    names: list[str] = field(default_factory=list)
    #: the first of the names was made up by the engine, so nobody is told of it
    is_unnamed: bool = False
    links: dict[str, str] = field(default_factory=dict)
    #: rules that let linked containers through where others may not speak to one another
    link_rules: list[str] = field(default_factory=list)

    @property
    def known_names(self) -> list[str]:
        """The names that others on its network find it by; its address leads back to the first."""
        return self.names[1:] if self.is_unnamed else self.names


@dataclass(slots=True)
class Sandbox:
    """A container's network namespace: `netns` is "" for the host's own. `container` is the id."""

    container: str
    id: str
    netns: str
    endpoints: list[Endpoint] = field(default_factory=list)
    ports: list[PublishedPort] = field(default_factory=list)
    #: how many interfaces it has had: the next one's number
    interfaces: int = 0
    #: the endpoint that has the default route and the published ports
    way_out: str = ""
    has_resolver: bool = False
    #: the container has no network and inspect shows none
    is_hidden: bool = False

    @property
    def saved(self) -> dict[str, Any]:
        """All of it as JSON."""
        return asdict(self)

    def on(self, network_id: str) -> Endpoint | None:
        """Return the endpoint on a network."""
        return next((entry for entry in self.endpoints if entry.network_id == network_id), None)

    @property
    def gateway_endpoint(self) -> Endpoint | None:
        """Return the endpoint that should have the default route.

        Those with IPv6 come before those without, internal ones last, otherwise the name decides (libnetwork's order).
        """
        able = [entry for entry in self.endpoints if entry.gateway]
        return min(able, key=lambda entry: (entry.internal, not entry.gateway6, entry.network), default=None)


def network_from(document: dict[str, Any]) -> Network:
    """Undo `asdict` of a network."""
    return Network(
        **{
            **document,
            "ipam": tuple(IpamConfig(**entry) for entry in document["ipam"]),
            "asked_ipam": tuple(document["asked_ipam"]),
        }
    )


def sandbox_from(document: dict[str, Any]) -> Sandbox:
    """Undo `Sandbox.saved`."""
    return Sandbox(
        **{
            **document,
            "endpoints": [Endpoint(**entry) for entry in document["endpoints"]],
            "ports": [PublishedPort(**entry) for entry in document["ports"]],
        }
    )
