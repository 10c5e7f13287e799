"""What the API says of networks, and what a create request asks of them."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.errors import EngineError, invalid, system
from sixhops.dockerd.networks.firewall import PublishedPort

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from sixhops.dockerd.networks.manager import Endpoint

__all__ = ["asked_address", "member", "network", "port_key", "published", "settings"]

_PORT = re.compile(r"(\d{1,5})(?:/(tcp|udp))?")
_EPHEMERAL = range(32768, 61000)


def network(
    name: str,
    identity: str,
    created: str,
    driver: str,
    subnet: str,
    members: Mapping[str, Any],
    options: Mapping[str, str],
) -> dict[str, Any]:
    """Return GET /networks/{name}."""
    return {
        "Name": name,
        "Id": identity,
        "Created": created,
        "Scope": "local",
        "Driver": driver,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": [{"Subnet": subnet}] if subnet else []},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": dict(members),
        "Options": dict(options),
        "Labels": {},
    }


def member(endpoint: Endpoint, name: str) -> dict[str, str]:
    """Return the entry of a container in `Containers`."""
    return {
        "Name": name,
        "EndpointID": endpoint.endpoint_id,
        "MacAddress": endpoint.mac,
        "IPv4Address": f"{endpoint.address}/{endpoint.prefix}" if endpoint.address else "",
        "IPv6Address": "",
    }


def settings(
    name: str,
    network_id: str,
    config: Mapping[str, Any],
    endpoint: Endpoint | None,
    last: Mapping[str, Any] | None,
    host_key: str,
) -> dict[str, Any]:
    """Return `NetworkSettings`: with addresses for a live endpoint, emptied without one; SandboxID stays after an exit.

    `host_key` is the SandboxKey of containers in the host's own network.
    """
    own = _addresses(endpoint)
    sandbox = (endpoint.sandbox_id if endpoint else None) or (last or {}).get("sandbox_id") or ""
    key = (endpoint.netns if endpoint else None) or (last or {}).get("netns") or ""
    if sandbox and not key:
        key = host_key
    networks = {}
    if not name.startswith("container:"):
        asked = ((config.get("EndpointsConfig") or {}).get(name)) or {}
        networks[name] = {
            "IPAMConfig": asked.get("IPAMConfig"),
            "Links": asked.get("Links"),
            "Aliases": asked.get("Aliases"),
            # before its first start a container is on no network yet, which dockerd shows by an empty id
            "NetworkID": network_id if last is not None or endpoint is not None else "",
            **_member_order(own),
            "DriverOpts": None,
        }
    is_bridge = name == "bridge"
    top = own if is_bridge else _addresses(None)
    return {
        "Bridge": "",
        "SandboxID": sandbox,
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": _ports(config, endpoint),
        "SandboxKey": key,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": top["EndpointID"],
        "Gateway": top["Gateway"],
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": top["IPAddress"],
        "IPPrefixLen": top["IPPrefixLen"],
        "IPv6Gateway": "",
        "MacAddress": top["MacAddress"],
        "Networks": networks,
    }


def asked_address(config: Mapping[str, Any]) -> str:
    """Return the IPv4 address that a request asks for on the bridge, "" for none."""
    for name in ("bridge", "default"):
        ipam = ((config.get("EndpointsConfig") or {}).get(name) or {}).get("IPAMConfig") or {}
        if ipam.get("IPv4Address"):
            raise invalid("user specified IP address is supported on user defined networks only")
    return ""


def published(config: Mapping[str, Any], address: str, taken: Container[str]) -> tuple[PublishedPort, ...]:
    """Return the ports that a container publishes. Raises EngineError 400, and 500 for a port that is taken."""
    host = config.get("HostConfig") or {}
    bindings: dict[str, list[dict[str, str]]] = dict(host.get("PortBindings") or {})
    if host.get("PublishAllPorts"):
        for port in (config.get("Config") or {}).get("ExposedPorts") or {}:
            bindings.setdefault(port, [{}])
    found: list[PublishedPort] = []
    for text, entries in bindings.items():
        matched = _PORT.fullmatch(text)
        if matched is None:
            raise EngineError(501, f"this engine publishes single tcp and udp ports only, not {text}")
        number, protocol = int(matched[1]), matched[2] or "tcp"
        for entry in entries or [{}]:
            found.append(_bind(entry, number, protocol, address, taken, found))
    return tuple(found)


def _bind(
    entry: Mapping[str, str],
    number: int,
    protocol: str,
    address: str,
    taken: Container[str],
    found: list[PublishedPort],
) -> PublishedPort:
    host_address = entry.get("HostIp") or "0.0.0.0"
    try:
        if ipaddress.ip_address(host_address).version != 4:
            raise EngineError(501, "this engine publishes ports on IPv4 addresses only")
    except ValueError as error:
        raise invalid(f"invalid IP address: {host_address}") from error
    mine = {port_key(port) for port in found}
    wanted = entry.get("HostPort") or ""
    if wanted and not wanted.isdigit():
        raise EngineError(501, f"this engine does not choose from ranges of ports: {wanted}")
    for candidate in (int(wanted),) if wanted and int(wanted) else _EPHEMERAL:
        port = PublishedPort(protocol, host_address, candidate, address, number)
        if port_key(port) not in taken and port_key(port) not in mine:
            return port
    raise system(
        "driver failed programming external connectivity on endpoint: "
        f"Bind for {host_address}:{wanted} failed: port is already allocated"
    )


def port_key(port: PublishedPort) -> str:
    """Return what two published ports can't share."""
    return f"{port.protocol} {port.host_address} {port.host_port}"


def _addresses(endpoint: Endpoint | None) -> dict[str, Any]:
    return {
        "EndpointID": endpoint.endpoint_id if endpoint else "",
        "Gateway": endpoint.gateway if endpoint else "",
        "IPAddress": endpoint.address if endpoint else "",
        "IPPrefixLen": endpoint.prefix if endpoint else 0,
        "MacAddress": endpoint.mac if endpoint else "",
    }


def _member_order(own: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "EndpointID": own["EndpointID"],
        "Gateway": own["Gateway"],
        "IPAddress": own["IPAddress"],
        "IPPrefixLen": own["IPPrefixLen"],
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "MacAddress": own["MacAddress"],
    }


def _ports(config: Mapping[str, Any], endpoint: Endpoint | None) -> dict[str, list[dict[str, str]] | None]:
    if endpoint is None or not endpoint.address:
        return {}
    found: dict[str, list[dict[str, str]] | None] = dict.fromkeys(
        (config.get("Config") or {}).get("ExposedPorts") or {}
    )
    for port in endpoint.ports:
        entries = found.get(f"{port.port}/{port.protocol}") or []
        entry = {"HostIp": port.host_address, "HostPort": str(port.host_port)}
        found[f"{port.port}/{port.protocol}"] = [*entries, entry]
    return dict(sorted(found.items()))
