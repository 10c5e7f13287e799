"""The userland proxy: carries connections and datagrams from a published port to the container's.

A process of its own for each published port, as Docker's docker-proxy, forked from the loaded parent
(`linux.forkserver`). It has the port's bound socket, and one end of a pair whose other end the engine keeps: when that
closes, the proxy ends; so it never outlives the engine. One thread, one selector; a slow reader stops the reading of its
peer, so memory is bounded.

What it is for: connections that the packet filter's rules don't see, which is the loopback and IPv6.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from sixhops.linux import prctl

__all__ = ["Proxy", "run_program", "work"]

_NAME = "docker-proxy"
#: Where docker-proxy says whether it listens: "0\n", or "1\n" and why not.
_STATUS = 3
_PIECE = 1 << 16
#: How much may wait for one side before the other is no longer read.
_HIGH = 1 << 20
#: How long a client of UDP is remembered, in seconds; docker-proxy's own.
_UDP_IDLE = 90.0


def work(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Worker of the fork server: descriptors are the listening socket and the engine's pair.

    `arguments`: `protocol` (tcp, udp or sctp), `address` and `port` of the container.
    """
    prctl.set_name(_NAME)
    listener, control = (socket.socket(fileno=descriptor) for descriptor in descriptors)
    Proxy(listener, control, arguments["protocol"], (arguments["address"], arguments["port"])).run()
    return 0


def run_program(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Worker of the fork server: becomes the program of --userland-proxy-path, which binds the port itself.

    `arguments`: `words`, its command line; the descriptor is where it says whether it listens.
    """
    words = arguments["words"]
    prctl.die_with_parent(signal.SIGTERM)
    os.dup2(descriptors[0], _STATUS, inheritable=True)
    try:
        os.execv(words[0], words)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        os.write(_STATUS, f"1\nfork/exec {words[0]}: {reason}".encode())
        return 1


@dataclass(eq=False, slots=True)
class _Side:
    """One half of a connection; `waiting` has been read from the other half."""

    socket: socket.socket
    waiting: bytearray = field(default_factory=bytearray)
    peer: _Side | None = None
    connecting: bool = False
    has_ended: bool = False
    is_shut: bool = False


class Proxy:
    """Serves one listening socket until the control socket closes."""

    def __init__(
        self, listener: socket.socket, control: socket.socket, protocol: str, target: tuple[str, int]
    ) -> None:
        self._listener = listener
        self._control = control
        self._protocol = protocol
        self._target = target
        self._family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._selector = selectors.DefaultSelector()
        self._clients: dict[Any, socket.socket] = {}
        self._used: dict[Any, float] = {}

    def run(self) -> None:
        """Serve; return when the engine has closed its end."""
        for owned in (self._listener, self._control):
            owned.setblocking(False)
            self._selector.register(owned, selectors.EVENT_READ)
        while True:
            for key, events in self._selector.select(_UDP_IDLE / 2):
                if key.fileobj is self._control:
                    self._end()
                    return
                self._handle(key, events)
            self._forget_idle()

    def _end(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, _Side) and key.data.peer is not None:
                key.data.peer.socket.close()
            if isinstance(key.fileobj, socket.socket) and key.fileobj not in (self._listener, self._control):
                key.fileobj.close()
        self._selector.close()

    def _handle(self, key: selectors.SelectorKey, events: int) -> None:
        if key.fileobj is self._listener:
            if self._protocol == "udp":
                self._from_client()
            else:
                self._accept()
        elif isinstance(key.data, _Side):
            self._move(key.data, events)
        else:
            self._from_container(key)

    # -- streams

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            client, _address = self._listener.accept()
            outer, inner = _Side(client), _Side(socket.socket(self._family, client.type, client.proto))
            outer.peer, inner.peer, inner.connecting = inner, outer, True
            for side in (outer, inner):
                side.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                inner.socket.connect(self._target)
            self._selector.register(inner.socket, selectors.EVENT_WRITE, inner)

    def _move(self, side: _Side, events: int) -> None:
        peer = side.peer
        assert peer is not None
        try:
            if side.connecting:
                error = side.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, "connect")
                side.connecting = False
            if events & selectors.EVENT_READ and not side.has_ended:
                data = side.socket.recv(_PIECE)
                peer.waiting += data
                side.has_ended = not data
                self._send(peer)
            if events & selectors.EVENT_WRITE:
                self._send(side)
        except BlockingIOError:
            pass
        except OSError:
            self._close(side, peer)
            return
        if side.is_shut and peer.is_shut:
            self._close(side, peer)
            return
        for half in (side, peer):
            self._watch(half)

    @staticmethod
    def _send(side: _Side) -> None:
        if side.connecting:
            return
        peer = side.peer
        assert peer is not None
        if side.waiting:
            with contextlib.suppress(BlockingIOError):
                sent = side.socket.send(side.waiting)
                del side.waiting[:sent]
        if not side.waiting and peer.has_ended and not side.is_shut:
            side.socket.shutdown(socket.SHUT_WR)
            side.is_shut = True

    def _watch(self, side: _Side) -> None:
        peer = side.peer
        assert peer is not None
        events = 0
        if side.connecting or side.waiting:
            events |= selectors.EVENT_WRITE
        if not side.connecting and not side.has_ended and len(peer.waiting) < _HIGH:
            events |= selectors.EVENT_READ
        registered = side.socket.fileno() in self._selector.get_map()
        if not events:
            if registered:
                self._selector.unregister(side.socket)
        elif registered:
            self._selector.modify(side.socket, events, side)
        else:
            self._selector.register(side.socket, events, side)

    def _close(self, *sides: _Side) -> None:
        for side in sides:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(side.socket)
            side.socket.close()

    # -- datagrams

    def _from_client(self) -> None:
        with contextlib.suppress(OSError):
            data, client = self._listener.recvfrom(_PIECE)
            inner = self._clients.get(client)
            if inner is None:
                inner = socket.socket(self._family, socket.SOCK_DGRAM)
                inner.setblocking(False)
                inner.connect(self._target)
                self._clients[client] = inner
                self._selector.register(inner, selectors.EVENT_READ, client)
            self._used[client] = time.monotonic()
            inner.send(data)

    def _from_container(self, key: selectors.SelectorKey) -> None:
        client = key.data
        with contextlib.suppress(OSError):
            data = self._clients[client].recv(_PIECE)
            self._used[client] = time.monotonic()
            self._listener.sendto(data, client)

    def _forget_idle(self) -> None:
        limit = time.monotonic() - _UDP_IDLE
        for client in [client for client, used in self._used.items() if used < limit]:
            inner = self._clients.pop(client)
            self._used.pop(client)
            self._selector.unregister(inner)
            inner.close()
