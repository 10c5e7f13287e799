"""--subnet, --ip-range, --gateway and --aux-address of `network create`, brought together by subnet."""

from __future__ import annotations

import ipaddress
from typing import Any

from sixhops.docker.errors import DockerError

__all__ = ["configs"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def configs(
    subnets: list[str], ranges: list[str], gateways: list[str], auxiliary: dict[str, str]
) -> list[dict[str, Any]]:
    """Return IPAM.Config, one element a subnet. Raises DockerError for what belongs to no subnet, or to two."""
    if len(subnets) < len(ranges) or len(subnets) < len(gateways):
        raise DockerError("every ip-range or gateway must have a corresponding subnet")
    found: dict[str, dict[str, Any]] = {}
    for subnet in subnets:
        for other in found:
            if _holds(subnet, other) or _holds(other, subnet):
                raise DockerError("multiple overlapping subnet configuration is not supported")
        found[subnet] = {"Subnet": subnet}
    for text in ranges:
        _place(
            found,
            text,
            "IPRange",
            "range",
            "cannot configure multiple ranges ({}, {}) on the same subnet ({})",
        )
    for text in gateways:
        _place(
            found,
            text,
            "Gateway",
            "gateway",
            "cannot configure multiple gateways ({}, {}) for the same subnet ({})",
        )
    for name, text in auxiliary.items():
        places = [subnet for subnet in found if _holds(subnet, text)]
        if not places:
            raise DockerError(f"no matching subnet for aux-address {text}")
        for subnet in places:
            found[subnet].setdefault("AuxiliaryAddresses", {})[name] = text
    return list(found.values())


def _place(found: dict[str, dict[str, Any]], text: str, key: str, name: str, twice: str) -> None:
    matches = [subnet for subnet in found if _holds(subnet, text)]
    if not matches:
        raise DockerError(f"no matching subnet for {name} {text}")
    for subnet in matches:
        if key in found[subnet]:
            raise DockerError(twice.format(text, found[subnet][key], subnet))
        found[subnet][key] = text


def _holds(subnet: str, text: str) -> bool:
    """Tell whether an address, or the first one of a network, is in a subnet."""
    try:
        network = _network(subnet)
    except DockerError as error:
        raise DockerError(f"invalid subnet: {error}") from error
    if "/" in text:
        _network(text)
    try:
        address = ipaddress.ip_address(text.split("/", maxsplit=1)[0])
    except ValueError:
        return False  # docker, too, says of what is no address that it is in no subnet
    return address in network


def _network(text: str) -> Network:
    try:
        if "/" not in text:
            raise ValueError(text)
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise DockerError(f"invalid CIDR address: {text}") from error
