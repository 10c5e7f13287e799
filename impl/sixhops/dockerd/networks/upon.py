"""The interfaces that macvlan and ipvlan networks lie upon: the host's own, a VLAN's, or one that leads nowhere.

Messages and order of the checks are libnetwork's (drivers/macvlan, drivers/ipvlan; setup and vlan helpers).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from sixhops.dockerd.errors import system
from sixhops.dockerd.networks.netlink import Netlink

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.dockerd.networks.model import Network

__all__ = ["DRIVERS", "check_parent", "make_parent", "remove_parent"]

#: The drivers, with what the interface that leads nowhere is called by.
DRIVERS = {"macvlan": "dm", "ipvlan": "di"}
_HIGHEST = 4094


def check_parent(driver: str, parent: str, exists: Callable[[str], bool]) -> None:
    """Check the option `parent`: an interface, or `eth0.10` for a VLAN that is made on one. Raises EngineError 500."""
    if parent == "lo":
        raise system(f"loopback interface is not a valid {driver} parent link")
    if parent and not exists(parent):
        _vlan(driver, parent, exists)


def make_parent(network: Network) -> bool:
    """Make the interface that a network lies upon, unless it is there; return whether it was made.

    Raises EngineError 500, OSError.
    """
    name = _parent(network)
    with Netlink() as netlink:
        if netlink.index(name) is not None:
            return False
        if not network.options.get("parent"):
            netlink.add_dummy(name)
            return True
        below, number = _vlan(network.driver, name, lambda other: netlink.index(other) is not None)
        index = netlink.index(below)
        try:
            netlink.add_vlan(name, number, parent=index or 0)
        except OSError as error:
            raise system(
                f"failed to create {name} vlan link: {os.strerror(error.errno or 0).lower()}"
            ) from error
    return True


def remove_parent(network: Network) -> None:
    """Undo `make_parent`; what is gone already does not matter."""
    with Netlink() as netlink:
        index = netlink.index(_parent(network))
        if index is not None:
            netlink.remove(index)


def _parent(network: Network) -> str:
    return network.options.get("parent") or f"{DRIVERS[network.driver]}-{network.id[:12]}"


def _vlan(driver: str, name: str, exists: Callable[[str], bool]) -> tuple[str, int]:
    """Return what is below a VLAN's interface, and its number. Raises EngineError 500."""
    if "." not in name:
        raise system(f"invalid subinterface vlan name {name}, example formatting is eth0.10")
    below, *rest = name.split(".")
    if len(rest) != 1:
        raise system(
            "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received "
            + name
        )
    if not re.fullmatch(r"[+-]?[0-9]+", rest[0]):
        raise system(f"unable to parse a valid vlan id from: {rest[0]} (ex. eth0.10 for vlan 10)")
    if not exists(below):
        found = "does was not found" if driver == "macvlan" else "was not found"
        raise system(f"-o parent interface {found} on the host: {below}")
    if not 1 <= int(rest[0]) <= _HIGHEST:
        raise system(f"vlan id must be between 1-{_HIGHEST}, received: {int(rest[0])}")
    return below, int(rest[0])
