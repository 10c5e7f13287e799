"""One message with descriptors over a unix socket, for processes that must stay small.

socket.send_fds does the same by way of arrays and enumerations, each of which a fork would get pages of its own for.
"""

from __future__ import annotations

import _socket
import sys

__all__ = ["pair", "receive", "send"]

_WORD = 4  # bytes of a descriptor
_RIGHTS = _socket.SCM_RIGHTS
_LEVEL = _socket.SOL_SOCKET
_CLOSE = _socket.MSG_CMSG_CLOEXEC
_DONT_WAIT = _socket.MSG_DONTWAIT
_NO_SIGNAL = _socket.MSG_NOSIGNAL


def pair() -> tuple[_socket.socket, _socket.socket]:
    """Return both ends of a connection that keeps the bounds of messages; they are closed on exec."""
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)


def send(connection: _socket.socket, data: bytes, descriptors: tuple[int, ...], *, wait: bool = True) -> None:
    """Send one message. Raises OSError: BrokenPipeError if the other side is gone, BlockingIOError if it has read too few of
    those before and it is not to `wait`.
    """
    words = b"".join([descriptor.to_bytes(_WORD, sys.byteorder) for descriptor in descriptors])
    connection.sendmsg([data], [(_LEVEL, _RIGHTS, words)], _NO_SIGNAL if wait else _NO_SIGNAL | _DONT_WAIT)


def receive(
    connection: _socket.socket, limit: int, count: int, *, wait: bool = True
) -> tuple[bytes, list[int]]:
    """Wait for one message; return its bytes (none at the other side's end) and at most `count` descriptors.

    They are closed on exec. Raises OSError; BlockingIOError when there is none and it is not to `wait`.
    """
    space = _socket.CMSG_SPACE(count * _WORD)
    flags = _CLOSE if wait else _CLOSE | _DONT_WAIT
    data, rights, _flags, _address = connection.recvmsg(limit, space, flags)
    found: list[int] = []
    for level, kind, words in rights:
        if level == _LEVEL and kind == _RIGHTS:
            begins = range(0, len(words) - _WORD + 1, _WORD)
            found += [int.from_bytes(words[begin : begin + _WORD], sys.byteorder) for begin in begins]
    return data, found
