"""`--network` of run and create: a network's name, or name=…,alias=…,driver-opt=… fields; and what it means in a create."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sixhops.docker.errors import DockerError

if TYPE_CHECKING:
    from sixhops.docker.flags import Options

__all__ = ["NO_SETTINGS", "Attachment", "attachment", "endpoints", "mode"]


#: The keys of an address and the options that say the same, with their members of IPAMConfig.
_ADDRESSES = {"ip": "IPv4Address", "ip6": "IPv6Address"}
#: The settings of an endpoint without any.
NO_SETTINGS: dict[str, Any] = {
    "IPAMConfig": None,
    "Links": None,
    "Aliases": None,
    "NetworkID": "",
    "EndpointID": "",
    "Gateway": "",
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "MacAddress": "",
    "DriverOpts": None,
}


@dataclass(slots=True)
class Attachment:
    """One network to connect to."""

    target: str
    aliases: list[str] = field(default_factory=list)
    driver_options: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)


def attachment(text: str) -> Attachment:
    """Read one --network. Raises ValueError."""
    if not re.search(r"\w+=\w+", text):
        return Attachment(text)
    found = Attachment("")
    for item in next(csv.reader([text])):
        key, equals, value = item.partition("=")
        key = key.strip().lower()
        if not equals:
            raise ValueError(f"invalid field {item}")
        if key == "name":
            found.target = value.strip().lower()
        elif key == "alias":
            found.aliases.append(value.strip().lower())
        elif key in _ADDRESSES:
            found.addresses[_ADDRESSES[key]] = value.strip().lower()
        elif key == "driver-opt":
            name, inner, setting = value.strip().lower().partition("=")
            if not inner:
                raise ValueError("invalid key value pair format in driver options")
            found.driver_options[name.strip()] = setting.strip()
        else:
            raise ValueError(f"invalid field key {key}")
    if not found.target:
        raise ValueError("network name/id is not specified")
    return found


def mode(options: Options) -> str:
    """Return HostConfig.NetworkMode: the first network, "default" when none is named."""
    chosen: list[Attachment] = options["network"]
    return (chosen[0].target or "default") if chosen else "default"


def endpoints(options: Options) -> dict[str, Any]:
    """Return NetworkingConfig.EndpointsConfig. Raises DockerError for options that contradict one another."""
    chosen: list[Attachment] = options["network"]
    found: dict[str, Any] = {}
    own = [_user_defined(item.target) for item in chosen]
    for index, item in enumerate(chosen):
        settings = _settings(item, options if index == 0 else None)
        if item.target in found:
            raise DockerError(f'network "{item.target}" is specified multiple times')
        # one network without settings of its own needs no endpoint: the engine makes it
        if settings != NO_SETTINGS or len(chosen) > 1:
            found[item.target] = settings
    if any(own) and not all(own):
        raise DockerError(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
        )
    return found


def _user_defined(name: str) -> bool:
    return name not in ("default", "bridge", "host", "none") and not name.startswith("container:")


def _settings(item: Attachment, options: Options | None) -> dict[str, Any]:
    aliases = list(item.aliases)
    links: list[str] = []
    address: dict[str, Any] = {key: value for key, value in item.addresses.items() if value}
    if options is not None:
        if aliases and options["network-alias"]:
            raise DockerError(
                "conflicting options: cannot specify both --network-alias and per-network alias"
            )
        aliases += options["network-alias"]
        if _user_defined(item.target):
            links = options["link"]
        for name, key in _ADDRESSES.items():
            if options[name] and key in address:
                kind = key.removesuffix("Address")
                raise DockerError(
                    f"conflicting options: cannot specify both --{name} and per-network {kind} address"
                )
            if options[name]:
                address[key] = options[name]
        if options["link-local-ip"]:
            address["LinkLocalIPs"] = options["link-local-ip"]
    if not item.target.strip():
        raise DockerError("no name set for network")
    if not _user_defined(item.target):
        if aliases:
            raise DockerError("network-scoped aliases are only supported for user-defined networks")
        if links:
            raise DockerError("links are only supported for user-defined networks")
    return NO_SETTINGS | {
        "IPAMConfig": address or None,
        "Links": links or None,
        "Aliases": aliases or None,
        "DriverOpts": item.driver_options or None,
    }
