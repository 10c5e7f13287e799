"""What the kernel remembers of connections (conntrack), of which it must forget those of an address that is given back.

Otherwise the next container with the address, or the next one behind a port of UDP, inherits the old one's connections:
packets are let through or translated as they were for it (moby issue 8795). Facts: linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import struct
from typing import TYPE_CHECKING

from sixhops.dockerd.networks.netlinkmessages import DUMP, NESTED, Messages, attribute, attributes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["forget_addresses", "forget_datagrams"]

_NETFILTER = 12
_GET, _DELETE = 0x101, 0x102
_FAMILY = struct.Struct("=BBH")
_ORIGINAL, _REPLY, _ID = 1, 2, 12
_IP, _PROTOCOL = 1, 2
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_NUMBER, _DESTINATION_PORT = 1, 3

#: The kernel does not keep connections, or can't be asked for them, or the engine may not.
_NOT_THERE = frozenset(
    {errno.EPROTONOSUPPORT, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.EAFNOSUPPORT}
)

_log = logging.getLogger(__name__)


def forget_addresses(addresses: Collection[str]) -> None:
    """Forget the connections whose answers come from or go to one of these addresses; blocks for a dump of the table."""
    for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        wanted = {
            address.packed
            for address in (ipaddress.ip_address(text) for text in addresses)
            if address.version == version
        }
        if wanted:
            _forget(family, lambda entry, wanted=wanted: bool(wanted & _ends(entry)))  # type: ignore[misc] # bound now


def forget_datagrams(ports: Collection[int]) -> None:
    """Forget the connections of UDP that were opened to one of these ports of the host; blocks as above."""
    if ports:
        wanted = {(socket.IPPROTO_UDP, port) for port in ports}
        for family in _FAMILIES:
            _forget(family, lambda entry: _opened_to(entry) in wanted)


def _forget(family: int, is_meant: Callable[[dict[int, bytes]], bool]) -> None:
    header = _FAMILY.pack(family, 0, 0)
    try:
        with Messages(_NETFILTER) as messages:
            for body in messages.ask(_GET, header, DUMP):
                entry = attributes_of(body[_FAMILY.size :])
                if is_meant(entry):
                    which = attribute(_ORIGINAL | NESTED, entry[_ORIGINAL]) + attribute(_ID, entry[_ID])
                    try:
                        messages.do(_DELETE, header + which)
                    except FileNotFoundError:
                        continue  # has ended by itself meanwhile
    except OSError as error:
        (_log.debug if error.errno in _NOT_THERE else _log.warning)(
            "connections are not forgotten: %s", error
        )


def _ends(entry: dict[int, bytes]) -> set[bytes]:
    """Return both addresses of an entry's answers."""
    tuples = attributes_of(attributes_of(entry.get(_REPLY, b"")).get(_IP, b""))
    return set(tuples.values())


def _opened_to(entry: dict[int, bytes]) -> tuple[int, int]:
    """Return protocol and port that an entry's connection was opened to."""
    protocol = attributes_of(attributes_of(entry.get(_ORIGINAL, b"")).get(_PROTOCOL, b""))
    port = protocol.get(_DESTINATION_PORT, b"\0\0")
    return protocol.get(_NUMBER, b"\0")[0], int.from_bytes(port[:2], "big")
