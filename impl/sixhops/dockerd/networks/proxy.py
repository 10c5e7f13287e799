"""The userland proxy: carries connections and datagrams from a published port to the container's.

A process of its own for each published port, as Docker's docker-proxy, forked from the loaded parent
(`linux.forkserver`). It has the port's bound socket, and one end of a pair whose other end the engine keeps: when that
closes, the proxy ends; so it never outlives the engine. One thread, one selector; what was read from a socket is written
before more is read from it, so memory is bounded and a slow reader stops its peer.

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

from sixhops.dockerd.networks.proxyflow import Buffer, Pipe, carry
from sixhops.linux import prctl

__all__ = ["Proxy", "run_program", "work"]

_NAME = "docker-proxy"
#: Where docker-proxy says whether it listens: "0\n", or "1\n" and why not.
_STATUS = 3
_PIECE = 1 << 16
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
class _End:
    """One socket of a connection, `other` the one that it is joined to; `flow` is what has been read from it."""

    socket: socket.socket
    flow: Pipe | Buffer
    connecting: bool = False
    other: _End = field(init=False)
    watched: int = 0


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
            if isinstance(key.data, _End):
                self._close(key.data)
        for inner in self._clients.values():
            inner.close()
        self._selector.close()

    def _handle(self, key: selectors.SelectorKey, events: int) -> None:
        if key.fileobj is self._listener:
            if self._protocol == "udp":
                self._from_client()
            else:
                self._accept()
        elif isinstance(key.data, _End):
            self._move(key.data, events)
        else:
            self._from_container(key)

    # -- streams

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            client, _address = self._listener.accept()
            inner = socket.socket(self._family, client.type, client.proto)
            make = Pipe if self._protocol == "tcp" else Buffer
            near, far = _End(client, make()), _End(inner, make(), connecting=True)
            near.other, far.other = far, near
            for end in (near, far):
                end.socket.setblocking(False)
            try:
                inner.connect(self._target)
            except BlockingIOError:
                self._watch(near)
            except OSError:
                self._close(near)
            else:
                far.connecting = False
                self._watch(near)

    def _move(self, end: _End, events: int) -> None:
        try:
            if end.connecting:
                error = end.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, "connect")
                end.connecting = False
            elif events & selectors.EVENT_WRITE:
                carry(end.other.socket, end.socket, end.other.flow)
            if events & selectors.EVENT_READ:
                carry(end.socket, end.other.socket, end.flow)
        except OSError:
            self._close(end)
            return
        if end.flow.is_shut and end.other.flow.is_shut:
            self._close(end)
        else:
            self._watch(end)

    def _watch(self, end: _End) -> None:
        """Wait for what both sockets of a connection need next: one is read when nothing that it sent is held."""
        for one in (end, end.other):
            events = 0
            if one.connecting or one.other.flow.held:
                events |= selectors.EVENT_WRITE
            if not one.flow.has_ended and not one.flow.held and not (one.connecting or one.other.connecting):
                events |= selectors.EVENT_READ
            if events and not one.watched:
                self._selector.register(one.socket, events, one)
            elif events and events != one.watched:
                self._selector.modify(one.socket, events, one)
            elif one.watched and not events:
                self._selector.unregister(one.socket)
            one.watched = events

    def _close(self, end: _End) -> None:
        for one in (end, end.other):
            if one.watched:
                self._selector.unregister(one.socket)
            one.watched = 0
            one.socket.close()
            one.flow.close()

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
