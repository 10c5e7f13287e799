"""A container as the networks room sees it, and what it may ask of a network."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.errors import invalid, system
from sixhops.dockerd.networks.namespaces import inside
from sixhops.dockerd.networks.resolver import Forwarding, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sixhops.dockerd.networks.model import Network, Sandbox

__all__ = ["Member", "check_settings_of", "forwarding_of"]

_MAC = re.compile(r"(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}")
_HOST_CONFLICT = "container cannot be disconnected from host network or connected to host network"
_NONE_CONFLICT = (
    "container cannot be connected to multiple networks with one of the networks in private (none) mode"
)
SHARED_CONFLICT = (
    "container sharing network namespace with another container or host cannot be connected to any other "
    "network"
)


@dataclass(slots=True)
class Member:
    """A container: `settings` is its own EndpointsConfig, which connecting and disconnecting change.

    `is_unnamed`: the engine made its name up.
    `servers`, `has_ndots`: the name servers that it would have without the embedded one, and whether ndots was asked for.
    """

    id: str
    name: str
    config: dict[str, Any]
    host_config: dict[str, Any]
    settings: dict[str, dict[str, Any]]
    servers: Sequence[str] = ()
    has_ndots: bool = False
    is_unnamed: bool = False

    @property
    def mode(self) -> str:
        """The network mode."""
        return str(self.host_config["NetworkMode"])

    @property
    def is_disabled(self) -> bool:
        """Whether it is to have no network at all."""
        return bool(self.config.get("NetworkDisabled"))

    def mac_for(self, network: str) -> str:
        """Return the hardware address for an endpoint, "" for one of the engine's choice. Raises EngineError 500.

        Docker 20.10 takes it from the container's Config alone, and for the network of its mode only.
        """
        if network != ("bridge" if self.mode in {"", "default"} else self.mode):
            return ""
        text = str(self.config.get("MacAddress") or "")
        if text and not _MAC.fullmatch(text):
            raise system(f"address {text}: invalid MAC address")
        return text.replace("-", ":").lower()


def check_settings_of(
    member: Member,
    network: Network,
    asked: dict[str, Any],
    driver_of: Callable[[str], str],
    *,
    live: bool | None,
) -> None:
    """Check and complete what a container asks of a network: aliases get its short id and its hostname.

    `live`: it is connected now (True) or by its start (None); otherwise it does not run. Raises EngineError 400 and 500.
    """
    ipam = asked.get("IPAMConfig") or {}
    if live and (member.mode == "host" or member.mode.startswith("container:")):
        raise invalid(SHARED_CONFLICT)
    if not network.is_user_defined:
        if ipam.get("IPv4Address") or ipam.get("IPv6Address"):
            raise invalid("user specified IP address is supported on user defined networks only")
        if asked.get("Aliases"):
            raise invalid("network-scoped alias is supported only for containers in user defined networks")
    else:
        _complete_aliases(member, asked)
    for version in (4, 6):
        if ipam.get(f"IPv{version}Address") and not any(
            entry.by_user and entry.network.version == version for entry in network.ipam
        ):
            raise invalid(
                "user specified IP address is supported only when connecting to networks with user configured subnets"
            )
    if live is not None:
        _check_company(member, network, driver_of)
    if live is not False:  # what a container that does not run asks for is looked at when it starts
        _check_addresses(ipam)


def _check_addresses(asked: dict[str, Any]) -> None:
    """Raise EngineError 500 for what is no address; the bracket at the end is dockerd's."""
    for version in (4, 6):
        text = asked.get(f"IPv{version}Address")
        try:
            ipaddress.ip_address(text or "::")
        except ValueError as error:
            raise system(f"Invalid IPv{version} address: {text})") from error


def forwarding_of(member: Member, sandbox: Sandbox) -> Forwarding:
    """Return where a container's other names are looked up: from its own network, or the host's for the host's loopback."""

    def connect(server: str, kind: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET

        def make() -> socket.socket:
            made = socket.socket(family, kind)
            made.setblocking(False)
            return made

        from_host = is_loopback(server) and not member.host_config.get("Dns")
        return make() if from_host else inside(sandbox.netns, make)

    return Forwarding(member.servers, connect, member.has_ndots)


def host_servers() -> list[str]:
    """Return the host's name servers."""
    try:
        lines = Path("/etc/resolv.conf").read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    words = [line.split() for line in lines]
    return [entry[1] for entry in words if len(entry) > 1 and entry[0] == "nameserver"]


def _complete_aliases(member: Member, asked: dict[str, Any]) -> None:
    aliases = list(asked.get("Aliases") or [])
    for name in (member.id[:12], member.config["Hostname"]):
        if name and name not in aliases and name != member.name:
            aliases.append(name)
    asked["Aliases"] = aliases


def _check_company(member: Member, network: Network, driver_of: Callable[[str], str]) -> None:
    others = [name for name in member.settings if name != network.name]
    if network.driver == "host" or any(driver_of(name) == "host" for name in others):
        raise invalid(_HOST_CONFLICT)
    if others and (network.driver == "null" or any(driver_of(name) == "null" for name in others)):
        raise invalid(_NONE_CONFLICT)
