"""The userland proxies of one engine: a process for each published port, made and ended with it.

Each is our own (see `proxy`), or the program of --userland-proxy-path, which has docker-proxy's command line.
"""

from __future__ import annotations

import os
import signal
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
#: How long a program may take until it listens, in seconds; dockerd's own number.
_PATIENCE = 16.0
_LONGEST_WORD = 4096


class Proxies:
    """Belongs to the event loop's thread, which is the one that speaks to the fork server."""

    def __init__(self, helpers: ForkServer, program: str = "") -> None:
        """`program` is the path of --userland-proxy-path, "" for our own."""
        self._helpers = helpers
        self._program = program
        self._running: dict[PublishedPort, tuple[int, socket.socket | None]] = {}

    def start(
        self, ports: Sequence[PublishedPort], socket_of: Callable[[PublishedPort], socket.socket]
    ) -> None:
        """Start a proxy for each port; blocks for the time of the forks. Raises EngineError 500, with none left."""
        started: list[PublishedPort] = []
        try:
            for port in ports:
                if self._program:
                    self._start_program(port, socket_of(port))
                else:
                    self._start(port, socket_of(port))
                started.append(port)
        except ForkError as error:
            self.stop(started)
            raise system(f"Error starting userland proxy: {error}") from error
        except OSError as error:
            self.stop(started)
            raise system(str(error)) from error

    def stop(self, ports: Sequence[PublishedPort]) -> None:
        """End the proxies of ports; those that there are none of don't matter."""
        ending = [self._running.pop(port) for port in ports if port in self._running]
        for pid, control in ending:
            if control is None:
                os.kill(pid, signal.SIGINT)
            else:
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

    def _start_program(self, port: PublishedPort, listener: socket.socket) -> None:
        """Start the user's program. Raises OSError with what it says when it can't listen."""
        # it binds the port itself; ours was only to find out whether it is free
        listener.close()
        words = [self._program, "-proto", port.protocol]
        words += ["-host-ip", port.host_address, "-host-port", str(port.host_port)]
        words += ["-container-ip", port.address, "-container-port", str(port.port)]
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                pid = self._helpers.fork(_MODULE, "run_program", {"words": words}, (theirs.fileno(),))
            ours.settimeout(_PATIENCE)
            try:
                said = _all(ours)
            except TimeoutError:
                said = "1\nTimed out proxy starting the userland proxy"
        if said.startswith("0"):
            self._running[port] = (pid, None)
            return
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise OSError(said.partition("\n")[2] or "the program ended without a word")


def _all(connection: socket.socket) -> str:
    """Return what a program says before it closes its end, or "0" at once when it listens."""
    data = b""
    while (
        not data.startswith(b"0") and len(data) < _LONGEST_WORD and (piece := connection.recv(_LONGEST_WORD))
    ):
        data += piece
    return data.decode(errors="replace")
