"""From the body of a create request to what a network is to be: checked, with messages and statuses of dockerd 20.10."""

from __future__ import annotations

import ipaddress
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.errors import EngineError, not_found, system
from sixhops.dockerd.goquote import quote
from sixhops.dockerd.networks import ipam
from sixhops.dockerd.networks.model import IpamConfig, Network
from sixhops.dockerd.networks.upon import DRIVERS, check_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sixhops.dockerd.networks.ipam import AddressSpace, IpNetwork, Subnet

__all__ = ["PREDEFINED", "Asked", "allocate", "check_options", "new_identity", "read"]

_FORBIDDEN = 403
PREDEFINED = frozenset({"bridge", "host", "none", "default"})
_DRIVERS = frozenset({"bridge", "macvlan", "ipvlan"})
_BOOLEANS = ("enable_icc", "enable_ip_masquerade", "default_bridge")
_BRIDGE = "com.docker.network.bridge."
_MTU = "com.docker.network.driver.mtu"
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_LONGEST_INTERFACE = 15
_MODES = {
    "macvlan": ("macvlan_mode", ("private", "vepa", "bridge", "passthru"), "bridge"),
    "ipvlan": ("ipvlan_mode", ("l2", "l3", "l3s"), "l2"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for, checked as far as it goes without looking at other networks' addresses."""

    name: str
    driver: str
    ipam: Sequence[Mapping[str, Any]]
    ipam_options: dict[str, str] | None
    options: dict[str, str]
    labels: dict[str, str]
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    config_only: bool = False
    config_from: str = ""


def read(body: Mapping[str, Any], find_config: Callable[[str], Network | None]) -> Asked:
    """Check a request; `find_config` returns a configuration network by name. Raises EngineError."""
    name = str(body.get("Name") or "")
    if name in PREDEFINED:
        raise EngineError(_FORBIDDEN, f"operation is not permitted on predefined {name} network ")
    if body.get("Scope") == "swarm":
        raise EngineError(_FORBIDDEN, "cannot create a swarm scoped network when swarm is not active")
    if body.get("Ingress"):
        raise EngineError(_FORBIDDEN, "Ingress network can only be global scope network")
    config_only = bool(body.get("ConfigOnly"))
    source = str((body.get("ConfigFrom") or {}).get("Network") or "")
    driver = str(body.get("Driver") or "bridge")
    asked_ipam = body.get("IPAM") or {}
    if not name.strip():
        raise system(f"invalid name: {name}")
    if config_only:
        driver = "null"
    elif driver in {"host", "null"}:
        raise EngineError(_FORBIDDEN, f'only one instance of "{driver}" network is allowed')
    elif driver == "overlay":
        raise EngineError(
            _FORBIDDEN,
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to '
            "swarm and try again.",
        )
    elif driver not in _DRIVERS:
        raise not_found(f"plugin {quote(driver)} not found")
    if asked_ipam.get("Driver") not in {None, "", "default", "null"}:
        raise not_found(f"plugin {quote(asked_ipam['Driver'])} not found")
    if asked_ipam.get("Driver") == "null":
        raise system("ipv4 pool is empty")
    asked = Asked(
        name,
        driver,
        tuple(asked_ipam.get("Config") or ()),
        asked_ipam.get("Options"),
        dict(body.get("Options") or {}),
        dict(body.get("Labels") or {}),
        bool(body.get("EnableIPv6")),
        bool(body.get("Internal")),
        bool(body.get("Attachable")),
        config_only,
        source,
    )
    return _from_config(asked, find_config) if source else asked


def _from_config(asked: Asked, find_config: Callable[[str], Network | None]) -> Asked:
    config = find_config(asked.config_from)
    if config is None:
        raise not_found(f"configuration network {quote(asked.config_from)} does not exist")
    if asked.ipam or asked.options or asked.labels or asked.ipv6 or asked.internal:
        raise EngineError(
            _FORBIDDEN,
            "user specified configurations are not supported if the network depends on a configuration network",
        )
    return Asked(
        asked.name,
        asked.driver,
        config.asked_ipam,
        config.ipam_options,
        dict(config.options),
        dict(config.labels),
        config.ipv6,
        config.internal,
        asked.attachable,
        config_from=asked.config_from,
    )


def check_options(
    asked: Asked, others: Sequence[Network], interfaces: Callable[[str], bool], identity: str
) -> None:
    """Check the driver's options. `interfaces` tells whether the host has an interface. Raises EngineError."""
    options = asked.options
    mtu = options.get(_MTU)
    if mtu is not None and not re.fullmatch(r"[+-]?[0-9]+", mtu):
        raise system(
            f"failed to parse {_MTU} value: {mtu} (strconv.Atoi: parsing {quote(mtu)}: invalid syntax)"
        )
    if mtu is not None and int(mtu) < 0:
        raise system(f"invalid MTU number: {mtu}")
    if asked.driver == "bridge":
        _check_bridge(asked, others, identity)
    elif asked.driver in _MODES:
        _check_upon(asked, others, interfaces)


def _check_bridge(asked: Asked, others: Sequence[Network], identity: str) -> None:
    for last in _BOOLEANS:
        text = asked.options.get(_BRIDGE + last)
        if text is not None and text not in _TRUE | _FALSE:
            raise system(
                f"failed to parse {_BRIDGE}{last} value: {text} (strconv.ParseBool: parsing {quote(text)}: invalid syntax)"
            )
    binding = asked.options.get(_BRIDGE + "host_binding_ipv4")
    if binding is not None:
        try:
            ipaddress.ip_address(binding)
        except ValueError as error:
            raise system(f"failed to parse {_BRIDGE}host_binding_ipv4 value: {binding} (nil ip)") from error
    name = asked.options.get(_BRIDGE + "name")
    if not name:
        return
    if len(name) > _LONGEST_INTERFACE:
        raise system("failed to check bridge interface existence: numerical result out of range")
    for other in others:
        if other.driver == "bridge" and other.bridge_name == name:
            raise EngineError(
                _FORBIDDEN,
                f"cannot create network {identity} ({name}): conflicts with network {other.id} ({name}): networks have "
                "same bridge name",
            )


def _check_upon(asked: Asked, others: Sequence[Network], interfaces: Callable[[str], bool]) -> None:
    key, modes, default = _MODES[asked.driver]
    mode = asked.options.get(key) or default
    if mode not in modes:
        raise system(
            f"requested {asked.driver} mode '{mode}' is not valid, '{default}' mode is the {asked.driver} driver default"
        )
    parent = asked.options.get("parent") or ""
    for other in others:
        if other.driver == asked.driver and parent and other.options.get("parent") == parent:
            raise system(
                f"network {DRIVERS[asked.driver]}-{other.id[:12]} is already using parent interface {parent}"
            )
    check_parent(asked.driver, parent, interfaces)


def allocate(
    asked: Asked, identity: str, space: AddressSpace, routes: Sequence[IpNetwork]
) -> tuple[Network, dict[str, Subnet]]:
    """Give a network its subnets; return it, and the addresses of each subnet. Raises EngineError, with nothing taken."""
    if asked.config_only:
        return _network(asked, identity, ()), {}
    complete = _complete(asked)
    if asked.driver == "bridge" and len([entry for entry in complete if _version(entry) == 4]) > 1:
        raise EngineError(_FORBIDDEN, "bridge driver doesn't support multiple subnets")
    taken: list[IpNetwork] = []
    entries: list[IpamConfig] = []
    subnets: dict[str, Subnet] = {}
    try:
        for config in complete:
            entry, subnet = _subnet(asked.name, config, space, routes, taken)
            entries.append(entry)
            subnets[entry.subnet] = subnet
    except BaseException:
        for network in taken:
            space.release(network)
        raise
    entries.sort(key=lambda entry: entry.network.version)
    return _network(asked, identity, tuple(entries)), subnets


def _complete(asked: Asked) -> list[Mapping[str, Any]]:
    """Return the configurations with one for IPv4, and with one for IPv6 when that is wanted."""
    found = list(asked.ipam)
    versions = {_version(entry) for entry in found}
    if 4 not in versions:
        found.insert(0, {"version": 4})
    if asked.ipv6 and 6 not in versions:
        found.append({"version": 6})
    return found


def _version(entry: Mapping[str, Any]) -> int:
    if "version" in entry:
        return int(entry["version"])
    return ipam.subnet_of(str(entry.get("Subnet") or "")).version


def _subnet(
    name: str,
    config: Mapping[str, Any],
    space: AddressSpace,
    routes: Sequence[IpNetwork],
    taken: list[IpNetwork],
) -> tuple[IpamConfig, Subnet]:
    text = str(config.get("Subnet") or "")
    asked_gateway = str(config.get("Gateway") or "")
    wanted = ipam.gateway_of(asked_gateway)
    if text:
        network = ipam.subnet_of(text)
        within_text = str(config.get("IPRange") or "")
        within = ipam.range_of(within_text, text) if within_text else None
        space.reserve(network)
    else:
        network, within, within_text = space.choose(int(config["version"]), routes), None, ""
    taken.append(network)
    subnet = ipam.Subnet(network, within)
    auxiliary = dict(config.get("AuxiliaryAddresses") or {})
    gateway = ipam.fill(subnet, wanted, auxiliary, name)
    # inspect shows what was asked for, and what was chosen where nothing was
    shown = asked_gateway if text else str(gateway)
    return (
        IpamConfig(
            str(network), str(gateway), text or str(network), shown, within_text, auxiliary, bool(text)
        ),
        subnet,
    )


def _network(asked: Asked, identity: str, entries: tuple[IpamConfig, ...]) -> Network:
    return Network(
        id=identity,
        name=asked.name,
        driver=asked.driver,
        created=time.time_ns(),
        ipam=entries,
        ipam_options=asked.ipam_options,
        asked_ipam=tuple(dict(entry) for entry in asked.ipam),
        ipv6=asked.ipv6,
        internal=asked.internal,
        attachable=asked.attachable,
        config_only=asked.config_only,
        config_from=asked.config_from,
        options=asked.options,
        labels=asked.labels,
    )


def new_identity() -> str:
    """Return a new id for a network."""
    return secrets.token_hex(32)
