"""The loopback interface of a new network namespace, which the kernel makes but leaves down."""

from __future__ import annotations

import _socket
import fcntl
import struct

__all__ = ["bring_up"]

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_REQUEST = struct.Struct("16sH22x")


def bring_up() -> None:
    """Set `lo` of the current network namespace up. Needs CAP_NET_ADMIN there; raises OSError."""
    link = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC, 0)
    try:
        answer = fcntl.ioctl(link.fileno(), _SIOCGIFFLAGS, _REQUEST.pack(b"lo", 0))
        _, flags = _REQUEST.unpack(answer)
        fcntl.ioctl(link.fileno(), _SIOCSIFFLAGS, _REQUEST.pack(b"lo", flags | _IFF_UP))
    finally:
        link.close()
