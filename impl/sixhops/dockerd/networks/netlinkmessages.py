"""The kernel's netlink protocol: messages with a header, attributes in them, answers in several parts.

Facts: netlink(7), linux/netlink.h. What the messages say is in `netlink` (links, addresses, routes) and `conntrack`.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ACK", "DUMP", "NESTED", "Messages", "attribute", "attributes_of"]

NESTED = 1 << 15
ACK, DUMP = 0x4, 0x300

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_REQUEST = 0x1
_ERROR, _DONE = 2, 3
_ANSWER = 1 << 16


class Messages:
    """A socket to the kernel, for the network namespace of the thread that makes it. Errors are OSError."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def do(self, kind: int, body: bytes, flags: int = 0) -> None:
        """Have something done, and wait until it is. Raises OSError when the kernel refuses."""
        self.ask(kind, body, flags | ACK)

    def ask(self, kind: int, body: bytes, flags: int) -> list[bytes]:
        """Return the bodies of all parts of an answer. Raises OSError when the kernel refuses."""
        self._number += 1
        length = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(length, kind, flags | _REQUEST, self._number, 0) + body)
        return self._receive()

    def _receive(self) -> list[bytes]:
        """Return the bodies of an answer up to its end. Raises OSError when the kernel refused."""
        found: list[bytes] = []
        while True:
            data = self._socket.recv(_ANSWER)
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, _flags, number, _port = _HEADER.unpack_from(data, at)
                body = data[at + _HEADER.size : at + length]
                at += (length + 3) & ~3
                if number != self._number:
                    continue
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    (code,) = struct.unpack_from("=i", body)
                    if code:
                        raise OSError(-code, os.strerror(-code))
                    return found
                found.append(body)


def attribute(kind: int, data: bytes) -> bytes:
    """Return one attribute as bytes, filled up to a multiple of four."""
    length = _ATTRIBUTE.size + len(data)
    return _ATTRIBUTE.pack(length, kind) + data + bytes(-length % 4)


def attributes_of(data: bytes) -> dict[int, bytes]:
    """Return attributes by kind, the last one of each; what is cut off is left out."""
    found = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found
