"""Carries connections into a stack: `python -m sixhops.harness.stack.forward RULES`, a program of the stack itself.

Rules:
1. One thread; bytes pass unchanged, and each direction ends by itself (half-close), because
   attach and exec end their input while output goes on.
2. Bounded: so many connections, so many bytes for each direction. What is above waits in the kernel.
3. It runs inside the stack, with listening sockets that may come from outside: it ends with the stack, whoever else
   ends, and it reaches nothing but what the rules name.

RULES is JSON, a list of {"listen": descriptor or path of a unix socket, "to": path or [host, port]}.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import sys
from typing import TYPE_CHECKING, Any

from sixhops.linux import prctl

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CONNECTION_LIMIT", "Forwarder", "main"]

#: Connections carried at once, over all rules.
CONNECTION_LIMIT = 256

_BUFFER = 64 * 1024
_CONNECT_TIMEOUT = 5.0

Destination = str | tuple[str, int]


def main() -> None:
    """Serve the rules in argv[1] until the stack ends."""
    prctl.set_name("sixhops-forward")
    forwarder = Forwarder()
    for rule in json.loads(sys.argv[1]):
        to: Destination = rule["to"] if isinstance(rule["to"], str) else (rule["to"][0], rule["to"][1])
        forwarder.add(_listener(rule["listen"]), to)
    while True:
        forwarder.turn()


def _listener(where: int | str) -> socket.socket:
    if isinstance(where, int):
        return socket.socket(fileno=where)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(where)
    listener.listen(128)
    return listener


class Forwarder:
    """All listeners and connections in one selector; `turn` does what is possible now, or waits for it."""

    def __init__(self, limit: int = CONNECTION_LIMIT) -> None:
        self._limit = limit
        self._selector = selectors.DefaultSelector()
        self._listeners: list[tuple[socket.socket, Destination]] = []
        self._accepting = True
        self._connections: set[_Connection] = set()

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, listener: socket.socket, to: Destination) -> None:
        """Carry what connects to `listener` to the unix path or (host, port) `to`."""
        listener.setblocking(False)
        self._listeners.append((listener, to))
        self._selector.register(listener, selectors.EVENT_READ, lambda _: self._accept(listener, to))

    def turn(self, timeout: float | None = None) -> None:
        """Wait, at most `timeout` seconds, until something can be done, and do it."""
        for key, mask in self._selector.select(timeout):
            # An earlier event of this turn may have closed the socket.
            if self._selector.get_map().get(key.fd) is key:
                key.data(mask)

    def close(self) -> None:
        """Close every socket, the listeners too."""
        for connection in list(self._connections):
            connection.close()
        for listener, _ in self._listeners:
            listener.close()
        self._selector.close()

    def _accept(self, listener: socket.socket, to: Destination) -> None:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        try:
            far = _connect(to)
        except OSError:
            near.close()
            return
        self._connections.add(_Connection(self._selector, near, far, self._ended))
        if len(self._connections) >= self._limit:
            self._accepting = False
            for each, _ in self._listeners:
                self._selector.unregister(each)

    def _ended(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        if not self._accepting and len(self._connections) < self._limit:
            self._accepting = True
            waiting, self._listeners = self._listeners, []
            for listener, to in waiting:
                self.add(listener, to)


class _Direction:
    """Bytes on their way from one socket to the other."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.waiting = bytearray()
        self.read_all = False
        self.over = False

    def read(self) -> None:
        data = self.source.recv(_BUFFER)
        self.waiting += data
        self.read_all = not data

    def write(self) -> None:
        if self.waiting:
            try:
                del self.waiting[: self.sink.send(self.waiting)]
            except BlockingIOError:
                return
            except OSError:
                # The sink reads no more; what it has to say may still be on its way back.
                self.waiting.clear()
                self.read_all = True
        if self.read_all and not self.waiting:
            self.over = True
            with contextlib.suppress(OSError):
                self.sink.shutdown(socket.SHUT_WR)


class _Connection:
    """Two sockets with a direction each way."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        near: socket.socket,
        far: socket.socket,
        ended: Callable[[_Connection], None],
    ) -> None:
        self._selector = selector
        self._sockets = (near, far)
        self._ended = ended
        self._directions = (_Direction(near, far), _Direction(far, near))
        for one in self._sockets:
            one.setblocking(False)
        self._watch()

    def close(self) -> None:
        for one in self._sockets:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(one)
            one.close()
        self._ended(self)

    def _act(self, one: socket.socket, mask: int) -> None:
        try:
            for direction in self._directions:
                if direction.over:
                    continue
                if direction.source is one and mask & selectors.EVENT_READ:
                    direction.read()
                    direction.write()
                elif direction.sink is one and mask & selectors.EVENT_WRITE:
                    direction.write()
        except BlockingIOError:
            return
        except OSError:
            # A reset: nothing more can come or go.
            self.close()
            return
        if all(direction.over for direction in self._directions):
            self.close()
        else:
            self._watch()

    def _watch(self) -> None:
        """Ask the selector for just what can be used, or it would wake us for ever."""
        for one in self._sockets:
            mask = 0
            for direction in self._directions:
                if direction.source is one and not direction.read_all and not direction.waiting:
                    mask |= selectors.EVENT_READ
                if direction.sink is one and direction.waiting:
                    mask |= selectors.EVENT_WRITE
            known = self._selector.get_map().get(one.fileno())
            if known is None and mask:
                self._selector.register(one, mask, self._handler(one))
            elif known is not None and not mask:
                self._selector.unregister(one)
            elif known is not None and known.events != mask:
                self._selector.modify(one, mask, known.data)

    def _handler(self, one: socket.socket) -> Callable[[int], Any]:
        return lambda mask: self._act(one, mask)


def _connect(to: Destination) -> socket.socket:
    if not isinstance(to, str):
        return socket.create_connection(to, _CONNECT_TIMEOUT)
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.settimeout(_CONNECT_TIMEOUT)
        connected.connect(to)
    except OSError:
        connected.close()
        raise
    return connected


if __name__ == "__main__":
    main()
