"""What the daemon's flags say of networks."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sixhops.dockerd.errors import system
from sixhops.dockerd.networks.ipam import check_pools

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["NetworkSettings", "check_settings"]

_FAILED = "Error initializing network controller: "


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """`bridge`: "" for our own docker0, "none" for no bridge at all; `bip` its address with prefix; the rest as the flags.

    `userland_proxy_path` is a program to run for each published port, "" for our own. `pools` are (CIDR, prefix
    length) of --default-address-pool.
    """

    exec_root: Path
    bridge: str = ""
    bip: str = ""
    iptables: bool = True
    masquerade: bool = True
    mtu: int = 1500
    icc: bool = True
    ip: str = "0.0.0.0"
    ip_forward: bool = True
    ipv6: bool = False
    fixed_cidr: str = ""
    fixed_cidr_v6: str = ""
    default_gateway: str = ""
    default_gateway_v6: str = ""
    userland_proxy: bool = True
    userland_proxy_path: str = ""
    host_gateway_ip: str = ""
    pools: Sequence[tuple[str, int]] = field(default_factory=tuple)


def check_settings(settings: NetworkSettings) -> None:
    """Check what the flags say together. Raises EngineError 500, which ends the start."""
    if not settings.iptables and not settings.icc:
        raise system(
            "You specified --iptables=false with --icc=false. ICC=false uses iptables to function. Please set --icc or "
            "--iptables to true"
        )
    if settings.mtu < 0:
        raise system(f'{_FAILED}Error creating default "bridge" network: invalid MTU number: {settings.mtu}')
    try:
        check_pools(settings.pools)
    except ValueError as error:
        raise system(f"{_FAILED}error obtaining controller instance: {error}") from error
    if settings.ipv6 and not settings.fixed_cidr_v6:
        raise system(
            f"{_FAILED}IPv6 is enabled for the default bridge, but no subnet is configured. Specify an IPv6 subnet "
            "using --fixed-cidr-v6"
        )
    for text in (settings.bip, settings.fixed_cidr, settings.fixed_cidr_v6):
        if text and not _is_cidr(text):
            raise system(f"{_FAILED}invalid CIDR address: {text}")
    for text in (settings.default_gateway, settings.default_gateway_v6, settings.ip):
        if text and not _is_address(text):
            raise system(f"{_FAILED}invalid IP address: {text}")


def _is_cidr(text: str) -> bool:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return "/" in text


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
