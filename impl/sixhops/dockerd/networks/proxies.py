"""The userland proxies of one engine: a process for each published port (see `proxy`), made and ended with it."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from sixhops.dockerd.errors import system
from sixhops.linux.forkserver import ForkError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sixhops.dockerd.networks.model import PublishedPort
    from sixhops.linux.forkserver import ForkServer

__all__ = ["Proxies"]

_MODULE = "sixhops.dockerd.networks.proxy"


class Proxies:
    """Belongs to the event loop's thread, which is the one that speaks to the fork server."""

    def __init__(self, helpers: ForkServer) -> None:
        self._helpers = helpers
        self._running: dict[PublishedPort, tuple[int, socket.socket]] = {}

    def start(
        self, ports: Sequence[PublishedPort], socket_of: Callable[[PublishedPort], socket.socket]
    ) -> None:
        """Start a proxy for each port; blocks for the time of the forks. Raises EngineError 500, with none left."""
        started: list[PublishedPort] = []
        try:
            for port in ports:
                self._start(port, socket_of(port))
                started.append(port)
        except ForkError as error:
            self.stop(started)
            raise system(f"Error starting userland proxy: {error}") from error

    def stop(self, ports: Sequence[PublishedPort]) -> None:
        """End the proxies of ports; those that there are none of don't matter."""
        ending = [self._running.pop(port) for port in ports if port in self._running]
        for _pid, control in ending:
            control.close()
        for pid, _control in ending:
            os.waitpid(pid, 0)

    def _start(self, port: PublishedPort, listener: socket.socket) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                pid = self._helpers.fork(
                    _MODULE,
                    "work",
                    {"protocol": port.protocol, "address": port.address, "port": port.port},
                    (listener.fileno(), theirs.fileno()),
                )
            except ForkError:
                ours.close()
                raise
        self._running[port] = (pid, ours)
