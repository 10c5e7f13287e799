"""What the API says of networks, and of a container's places on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.times import rfc3339
from sixhops.dockerd.networks.ports import exposed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sixhops.dockerd.networks.model import Endpoint, IpamConfig, Network, Sandbox

__all__ = ["member", "network", "port_list", "settings"]


def network(described: Network, members: Mapping[str, Any]) -> dict[str, Any]:
    """Return GET /networks/{name}."""
    config = (
        [dict(entry) for entry in described.asked_ipam]
        if described.config_only
        else [_ipam(entry) for entry in described.ipam]
    )
    is_user_defined = described.is_user_defined
    return {
        "Name": described.name,
        "Id": described.id,
        "Created": rfc3339(described.created),
        "Scope": "local",
        "Driver": described.driver,
        "EnableIPv6": described.ipv6,
        "IPAM": {
            "Driver": described.ipam_driver,
            "Options": described.ipam_options if is_user_defined else None,
            "Config": config,
        },
        "Internal": described.internal,
        "Attachable": described.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": described.config_from},
        "ConfigOnly": described.config_only,
        "Containers": dict(sorted(members.items())),
        "Options": dict(described.options),
        "Labels": dict(described.labels),
    }


def member(endpoint: Endpoint) -> dict[str, str]:
    """Return the entry of a container in `Containers`."""
    return {
        "Name": endpoint.names[0],
        "EndpointID": endpoint.id,
        "MacAddress": endpoint.mac,
        "IPv4Address": f"{endpoint.address}/{endpoint.prefix}" if endpoint.address else "",
        "IPv6Address": f"{endpoint.address6}/{endpoint.prefix6}" if endpoint.address6 else "",
    }


def settings(
    asked: Mapping[str, Any],
    config: Mapping[str, Any],
    sandbox: Sandbox | None,
    last: Mapping[str, Any] | None,
    host_key: str,
) -> dict[str, Any]:
    """Return `NetworkSettings`: with addresses for a live sandbox, emptied without one; SandboxID stays after an exit.

    `asked` is the container's EndpointsConfig; `host_key` the SandboxKey of containers in the host's own network.
    """
    is_hidden = sandbox.is_hidden if sandbox is not None else bool((last or {}).get("is_hidden"))
    identity = "" if is_hidden else (sandbox.id if sandbox is not None else str((last or {}).get("id") or ""))
    key = (
        "" if is_hidden else (sandbox.netns if sandbox is not None else str((last or {}).get("netns") or ""))
    )
    if identity and not key:
        key = host_key
    live = {endpoint.network: endpoint for endpoint in sandbox.endpoints} if sandbox is not None else {}
    bridge = _addresses(live.get("bridge"))
    return {
        "Bridge": "",
        "SandboxID": identity,
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": _ports(config, sandbox),
        "SandboxKey": key,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": bridge["EndpointID"],
        "Gateway": bridge["Gateway"],
        "GlobalIPv6Address": bridge["GlobalIPv6Address"],
        "GlobalIPv6PrefixLen": bridge["GlobalIPv6PrefixLen"],
        "IPAddress": bridge["IPAddress"],
        "IPPrefixLen": bridge["IPPrefixLen"],
        "IPv6Gateway": bridge["IPv6Gateway"],
        "MacAddress": bridge["MacAddress"],
        "Networks": {
            name: {
                "IPAMConfig": entry.get("IPAMConfig"),
                "Links": entry.get("Links"),
                "Aliases": entry.get("Aliases"),
                # before its first start a container is on no network yet, which dockerd shows by an empty id
                "NetworkID": entry.get("NetworkID") or "",
                **_addresses(live.get(name)),
                "DriverOpts": entry.get("DriverOpts"),
            }
            for name, entry in sorted(asked.items())
        },
    }


def port_list(ports: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return `Ports` of the list's entry from `Ports` of NetworkSettings."""
    found: list[dict[str, Any]] = []
    for key, entries in ports.items():
        number, _, protocol = key.partition("/")
        private = {"PrivatePort": int(number), "Type": protocol}
        if entries is None:
            found.append(private)
        found += [
            {
                "IP": entry["HostIp"],
                "PrivatePort": int(number),
                "PublicPort": int(entry["HostPort"]),
                "Type": protocol,
            }
            for entry in entries or []
        ]
    return found


def _ipam(entry: IpamConfig) -> dict[str, Any]:
    found: dict[str, Any] = {"Subnet": entry.shown_subnet}
    if entry.ip_range:
        found["IPRange"] = entry.ip_range
    if entry.shown_gateway:
        found["Gateway"] = entry.shown_gateway
    if entry.auxiliary:
        found["AuxiliaryAddresses"] = dict(sorted(entry.auxiliary.items()))
    return found


def _addresses(endpoint: Endpoint | None) -> dict[str, Any]:
    return {
        "EndpointID": endpoint.id if endpoint else "",
        "Gateway": endpoint.gateway if endpoint else "",
        "IPAddress": endpoint.address if endpoint else "",
        "IPPrefixLen": endpoint.prefix if endpoint else 0,
        "IPv6Gateway": endpoint.gateway6 if endpoint else "",
        "GlobalIPv6Address": endpoint.address6 if endpoint else "",
        "GlobalIPv6PrefixLen": endpoint.prefix6 if endpoint else 0,
        "MacAddress": endpoint.mac if endpoint else "",
    }


def _ports(config: Mapping[str, Any], sandbox: Sandbox | None) -> dict[str, list[dict[str, str]] | None]:
    """Exposed ports stand there once the container is on a network that could publish them."""
    if sandbox is None or not any(
        endpoint.bridge and not endpoint.internal for endpoint in sandbox.endpoints
    ):
        return {}
    found: dict[str, list[dict[str, str]] | None] = {
        f"{number}/{protocol}": None for number, protocol in exposed(config)
    }
    for port in sandbox.ports:
        entries = found.get(f"{port.port}/{port.protocol}") or []
        entry = {"HostIp": port.host_address, "HostPort": str(port.host_port)}
        found[f"{port.port}/{port.protocol}"] = [*entries, entry]
    return dict(sorted(found.items()))
