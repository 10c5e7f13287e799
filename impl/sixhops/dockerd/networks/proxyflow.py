"""One direction of a connection through the userland proxy: bytes read from one socket and not yet written to the other."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket

__all__ = ["Buffer", "Pipe", "carry"]

_CAPACITY = 1 << 20
#: How often a connection may go round before others have their turn.
_ROUNDS = 16


class Pipe:
    """Bytes on their way that never enter this process: splice(2) moves them from socket to pipe to socket."""

    __slots__ = ("_reader", "_writer", "has_ended", "held", "is_shut")

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(PermissionError):  # as much as pipe-user-pages-soft leaves
            fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, _CAPACITY)
        self.held = 0
        self.has_ended = False
        self.is_shut = False

    def take(self, source: socket.socket) -> int:
        """Return how many bytes a socket gave, 0 at its end. Raises BlockingIOError, OSError."""
        return os.splice(source.fileno(), self._writer, _CAPACITY)

    def give(self, sink: socket.socket) -> int:
        """Return how many bytes a socket took. Raises BlockingIOError, OSError."""
        return os.splice(self._reader, sink.fileno(), self.held)

    def close(self) -> None:
        """Let go of what is held."""
        os.close(self._reader)
        os.close(self._writer)


class Buffer:
    """Bytes on their way in memory, between sockets that can't be spliced (SCTP)."""

    __slots__ = ("_bytes", "has_ended", "held", "is_shut")

    def __init__(self) -> None:
        self._bytes = b""
        self.held = 0
        self.has_ended = False
        self.is_shut = False

    def take(self, source: socket.socket) -> int:
        """Return how many bytes a socket gave, 0 at its end. Raises BlockingIOError, OSError."""
        self._bytes = source.recv(_CAPACITY)
        return len(self._bytes)

    def give(self, sink: socket.socket) -> int:
        """Return how many bytes a socket took. Raises BlockingIOError, OSError."""
        sent = sink.send(self._bytes)
        self._bytes = self._bytes[sent:]
        return sent

    def close(self) -> None:
        """Let go of what is held."""
        self._bytes = b""


def carry(source: socket.socket, sink: socket.socket, flow: Pipe | Buffer) -> None:
    """Move bytes until a socket would block or others should have their turn; hand on the source's end.

    Raises OSError when the connection is broken.
    """
    try:
        for _ in range(_ROUNDS):
            if not flow.held and not flow.has_ended:
                flow.held = flow.take(source)
                flow.has_ended = not flow.held
            while flow.held:
                flow.held -= flow.give(sink)
            if flow.has_ended:
                break
    except BlockingIOError:
        return
    if flow.has_ended and not flow.is_shut:
        sink.shutdown(socket.SHUT_WR)
        flow.is_shut = True
