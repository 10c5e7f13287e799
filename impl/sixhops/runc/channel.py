"""The conversation between the runtime and the process that becomes the container: short typed messages.

    parent                                  child
      | -- GO (maps and rlimits are set) -->   |   (with a mount namespace and no user namespace waited for after the
      |                                         |   mounts, before the process becomes another user)
      | -- FILTER program ---------------->   |   (sent early, used late)
      | -- MADE -------------------------->   |   (to a spare's successor, born before its groups: it can show them)
      | -- JOIN descriptors ------------->   |   (and it can enter them)
      |   <-- BORN pid --------------------   |   (a spare's successor alone: a fork's pid is known)
      |   <-- HOOKS (mounts are done) ------  |
      | -- HOOKS (done) ------------------->  |
      |   <-- READY, or FAILED text --------  |

Either side's end of file is the other's death. Messages keep their bounds (SOCK_SEQPACKET).
"""

from __future__ import annotations

import _socket

from sixhops.linux import passing
from sixhops.runc.errors import RuntimeFault

__all__ = ["BORN", "FAILED", "FILTER", "GO", "HOOKS", "JOIN", "MADE", "READY", "Channel", "open_channel"]

GO, FILTER, MADE, JOIN, BORN, HOOKS, READY, FAILED = b"G", b"F", b"M", b"J", b"B", b"H", b"R", b"E"
_LIMIT = 1 << 16  # twice the largest filter; a larger buffer would be mapped anew each time
_MOST = 64  # descriptors of a message


class Channel:
    """One end. `expect` waits for a kind and keeps what came before it."""

    def __init__(self, socket: _socket.socket | None) -> None:
        """Take the socket; None stands for a channel that is not there yet and can't be used."""
        if socket is not None:
            self._socket = socket
        self._kept: dict[bytes, bytes] = {}

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def send(self, kind: bytes, body: bytes = b"") -> None:
        """Send one message; raises BrokenPipeError if the other side is gone."""
        try:
            self._socket.send(kind + body, _socket.MSG_NOSIGNAL)
        except ConnectionResetError as error:
            raise BrokenPipeError(
                *error.args
            ) from error  # it ended without having read all: told by the next call, once

    def hand(self, kind: bytes, descriptors: tuple[int, ...]) -> None:
        """Send copies of `descriptors`; raises BrokenPipeError if the other side is gone."""
        try:
            passing.send(self._socket, kind, descriptors)
        except ConnectionResetError as error:
            raise BrokenPipeError(*error.args) from error

    def take(self, kind: bytes) -> tuple[int, ...]:
        """Return the descriptors of the next message of this kind, and keep what came before it, as `expect`."""
        while True:
            received, descriptors = passing.receive(self._socket, _LIMIT, _MOST)
            if not received:
                raise RuntimeFault("the runtime's other process is gone")
            if received == kind:
                return tuple(descriptors)
            self._kept[received[:1]] = received[1:]

    def receive(self) -> tuple[bytes, bytes]:
        """Return the next message's kind and body; (b"", b"") at the other side's end."""
        try:
            message = self._socket.recv(_LIMIT)
        except ConnectionResetError:
            # It ended without having read all that we sent. That is told once, before what it said last.
            message = self._socket.recv(_LIMIT)
        return message[:1], message[1:]

    def expect(self, kind: bytes) -> bytes:
        """Return the body of the next message of this kind; raises RuntimeFault if the other side ends first."""
        while kind not in self._kept:
            received, body = self.receive()
            if not received:
                raise RuntimeFault("the runtime's other process is gone")
            self._kept[received] = body
        return self._kept.pop(kind)

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


def open_channel() -> tuple[Channel, Channel]:
    """Return both ends."""
    first, second = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    return Channel(first), Channel(second)
