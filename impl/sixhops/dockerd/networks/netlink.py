"""The few requests of rtnetlink that a container's network needs, written out: links, addresses, routes.

pyroute2 does far more, but takes 175 ms to import and 100 ms for its first socket, on the way to the engine's
readiness; these few attributes take none. Facts: rtnetlink(7), linux/rtnetlink.h, linux/if_link.h, linux/veth.h.
Everything blocks for well under a millisecond; a socket belongs to the network namespace that its thread was
in when it was made.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from dataclasses import dataclass

from sixhops.dockerd.networks.netlinkmessages import (
    ACK,
    DUMP,
    NESTED,
    Messages,
    attribute,
    attributes_of,
)

__all__ = ["Link", "Netlink"]

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")

_NEWLINK, _DELLINK, _GETLINK, _SETLINK = 16, 17, 18, 19
_NEWADDR, _GETADDR = 20, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_EXCL, _CREATE = 0x200, 0x400

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER, _IFLA_TXQLEN = 1, 3, 4, 5, 10, 13
_IFLA_LINKINFO, _IFLA_NET_NS_FD = 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER, _VLAN_ID = 1, 2, 1, 1
_MACVLAN_MODE, _MACVLAN_MODES = 1, {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
_IPVLAN_MODE, _IPVLAN_MODES = 1, {"l2": 0, "l3": 1, "l3s": 2}
_PROTINFO, _HAIRPIN = 12, 4
_BRIDGE_FAMILY = 7
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_BROADCAST = 1, 2, 3, 4
_NO_DUPLICATE_DETECTION = 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_UP = 1
_MAIN_TABLE, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _UNICAST = 254, 3, 0, 1


# the length of the queue that Docker's interfaces have
_NO_QUEUE = struct.pack("=HHI", 8, _IFLA_TXQLEN, 0)


@dataclass(frozen=True, slots=True)
class Link:
    """One network interface."""

    index: int
    name: str
    mac: str


class Netlink(Messages):
    """Links, addresses and routes of the network namespace of the thread that makes it. Errors are OSError."""

    def __init__(self) -> None:
        super().__init__(socket.NETLINK_ROUTE)

    def link(self, name: str) -> Link | None:
        """Return an interface by name, None when there is none."""
        for found in self.links():
            if found.name == name:
                return found
        return None

    def index(self, name: str) -> int | None:
        """Return the number of an interface, None when there is none."""
        try:
            answer = self.ask(_GETLINK, _LINK.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name), ACK)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return int(_LINK.unpack_from(answer[0])[2])

    def links(self) -> list[Link]:
        """Return all interfaces."""
        found = []
        for body in self.ask(_GETLINK, _LINK.pack(0, 0, 0, 0, 0), DUMP):
            _family, _kind, index, _flags, _change = _LINK.unpack_from(body)
            attributes = attributes_of(body[_LINK.size :])
            name = attributes.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode()
            found.append(
                Link(index, name, ":".join(f"{byte:02x}" for byte in attributes.get(_IFLA_ADDRESS, b"")))
            )
        return found

    def addresses(self, index: int | None = None) -> list[ipaddress.IPv4Interface]:
        """Return the IPv4 addresses of an interface, or of all."""
        found = []
        for body in self.ask(_GETADDR, _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0), DUMP):
            _family, prefix, _flags, _scope, owner = _ADDRESS.unpack_from(body)
            local = attributes_of(body[_ADDRESS.size :]).get(_IFA_LOCAL)
            if local is not None and index in (None, owner):
                found.append(ipaddress.IPv4Interface((local, prefix)))
        return found

    def routes(self) -> list[ipaddress.IPv4Network]:
        """Return the destinations of the main table's IPv4 routes, the default route left out."""
        found = []
        for body in self.ask(_GETROUTE, _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0), DUMP):
            prefix, table = body[1], body[4]
            target = attributes_of(body[_ROUTE.size :]).get(_RTA_DST)
            if target is not None and table == _MAIN_TABLE:
                found.append(ipaddress.IPv4Network((target, prefix)))
        return found

    def add_bridge(self, name: str, mac: str) -> None:
        """Make a bridge."""
        info = attribute(_INFO_KIND, b"bridge\0")
        attributes = _text(_IFLA_IFNAME, name) + attribute(_IFLA_ADDRESS, _mac(mac)) + _NO_QUEUE
        self._new_link(attributes + attribute(_IFLA_LINKINFO, info))

    def add_dummy(self, name: str) -> None:
        """Make an interface that leads nowhere, and set it up."""
        info = attribute(_INFO_KIND, b"dummy\0")
        self._new_link(_text(_IFLA_IFNAME, name) + attribute(_IFLA_LINKINFO, info), flags=_UP)

    def add_vlan(self, name: str, number: int, *, parent: int) -> None:
        """Make the interface of a VLAN on the interface with index `parent`, and set it up."""
        data = attribute(_INFO_DATA, attribute(_VLAN_ID, struct.pack("=H", number)))
        attributes = (
            _text(_IFLA_IFNAME, name)
            + _number(_IFLA_LINK, parent)
            + attribute(_IFLA_LINKINFO, attribute(_INFO_KIND, b"vlan\0") + data)
        )
        self._new_link(attributes, flags=_UP)

    def add_veth(
        self, name: str, peer: str, *, peer_namespace: int, peer_mac: str, mtu: int, master: int
    ) -> None:
        """Make a pair: `name` here, up, a port of the bridge with index `master`; `peer` in a descriptor's namespace."""
        other = (
            _LINK.pack(0, 0, 0, 0, 0)
            + _text(_IFLA_IFNAME, peer)
            + attribute(_IFLA_ADDRESS, _mac(peer_mac))
            + _number(_IFLA_MTU, mtu)
            + _NO_QUEUE
            + _number(_IFLA_NET_NS_FD, peer_namespace)
        )
        info = attribute(_INFO_KIND, b"veth\0") + attribute(_INFO_DATA, attribute(_VETH_PEER, other))
        attributes = (
            _text(_IFLA_IFNAME, name)
            + _number(_IFLA_MTU, mtu)
            + _NO_QUEUE
            + _number(_IFLA_MASTER, master)
            + attribute(_IFLA_LINKINFO, info)
        )
        self._new_link(attributes, flags=_UP)

    def add_upon(
        self, name: str, kind: str, mode: str, *, parent: int, namespace: int, mac: str, mtu: int
    ) -> None:
        """Make an interface of kind `macvlan` or `ipvlan` upon another one, in a descriptor's namespace.

        `mode`: as the kind has them (private, vepa, bridge, passthru; l2, l3, l3s).
        """
        modes, kind_of_mode, form = (
            (_MACVLAN_MODES, _MACVLAN_MODE, "=I")
            if kind == "macvlan"
            else (_IPVLAN_MODES, _IPVLAN_MODE, "=H")
        )
        data = attribute(_INFO_DATA, attribute(kind_of_mode, struct.pack(form, modes[mode])))
        attributes = (
            _text(_IFLA_IFNAME, name)
            + _number(_IFLA_LINK, parent)
            + _number(_IFLA_NET_NS_FD, namespace)
            + (attribute(_IFLA_ADDRESS, _mac(mac)) if kind == "macvlan" else b"")
            + (_number(_IFLA_MTU, mtu) if mtu else b"")
            + _NO_QUEUE
            + attribute(_IFLA_LINKINFO, attribute(_INFO_KIND, kind.encode() + b"\0") + data)
        )
        self._new_link(attributes)

    def set_up(self, index: int) -> None:
        """Set an interface up."""
        self.do(_NEWLINK, _LINK.pack(0, 0, index, _UP, _UP), 0)

    def set_hairpin(self, index: int) -> None:
        """Let a port of a bridge send frames back where they came from."""
        attributes = attribute(_PROTINFO | NESTED, attribute(_HAIRPIN, b"\1"))
        self.do(_SETLINK, _LINK.pack(_BRIDGE_FAMILY, 0, index, 0, 0) + attributes, 0)

    def remove(self, index: int) -> None:
        """Remove an interface."""
        self.do(_DELLINK, _LINK.pack(0, 0, index, 0, 0), 0)

    def add_address(
        self, index: int, address: ipaddress.IPv4Interface | ipaddress.IPv6Interface, label: str = ""
    ) -> None:
        """Give an interface an address: IPv4 with the network's broadcast address, IPv6 without looking for duplicates."""
        packed = address.ip.packed
        attributes = attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
        family, flags = socket.AF_INET6, _NO_DUPLICATE_DETECTION
        if isinstance(address, ipaddress.IPv4Interface):
            family, flags = socket.AF_INET, 0
            attributes += attribute(_IFA_BROADCAST, address.network.broadcast_address.packed)
            attributes += _text(_IFA_LABEL, label)
        body = _ADDRESS.pack(family, address.network.prefixlen, flags, 0, index) + attributes
        self.do(_NEWADDR, body, _CREATE | _EXCL)

    def add_default_route(self, index: int, gateway: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
        """Send everything else to a gateway."""
        self.do(_NEWROUTE, _default_route(index, gateway), _CREATE | _EXCL)

    def remove_default_route(
        self, index: int, gateway: ipaddress.IPv4Address | ipaddress.IPv6Address
    ) -> None:
        """Undo `add_default_route`; what is gone already does not matter."""
        try:
            self.do(_DELROUTE, _default_route(index, gateway), 0)
        except OSError as error:
            if error.errno != errno.ESRCH:
                raise

    def _new_link(self, attributes: bytes, flags: int = 0) -> None:
        self.do(_NEWLINK, _LINK.pack(0, 0, 0, flags, flags) + attributes, _CREATE | _EXCL)


def _default_route(index: int, gateway: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    family = socket.AF_INET if gateway.version == 4 else socket.AF_INET6
    header = _ROUTE.pack(family, 0, 0, 0, _MAIN_TABLE, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _UNICAST, 0)
    return header + attribute(_RTA_GATEWAY, gateway.packed) + _number(_RTA_OIF, index)


def _text(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")


def _number(kind: int, number: int) -> bytes:
    return attribute(kind, struct.pack("=I", number))


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
