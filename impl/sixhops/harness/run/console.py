"""The terminal of a container that a `runc` step has started: it comes over a --console-socket, and stays open as long
as the scenario wants it.
"""

from __future__ import annotations

import os
import select
import socket
import time
from typing import TYPE_CHECKING

from sixhops.harness.errors import TargetError
from sixhops.harness.run.live import Live
from sixhops.harness.run.program import read_some
from sixhops.harness.tap.values import as_text

if TYPE_CHECKING:
    from pathlib import Path

    from sixhops.harness.exchange import Facet

__all__ = ["Console"]


class Console(Live):
    """A listening console socket at `path`, then the terminal that a runtime sends there."""

    def __init__(self, name: str, timeout: float, path: Path) -> None:
        super().__init__(name, timeout)
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._output = bytearray()
        self._terminal: int | None = None
        self._woken, self._wake = os.pipe()
        self._runtime_ended = False
        self._was_cut = False

    def runtime_ended(self) -> None:
        """Tell that the runtime has ended: what it has not sent by now will not come."""
        with self._changed:
            self._runtime_ended = True
            self._rouse()

    def send(self, data: bytes) -> None:
        """Type `data` on the terminal. Raises TargetError when there is none."""
        view = memoryview(data)
        while view:
            with self._changed:
                if self._terminal is None:
                    raise TargetError(f"the console {self.name} is not open")
                try:
                    view = view[os.write(self._terminal, view) :]
                    continue
                except BlockingIOError:
                    waiter = select.poll()
                    waiter.register(self._terminal, select.POLLOUT)
                except OSError as error:
                    raise TargetError(f"nobody reads the console {self.name}: {error.strerror}") from error
            if not waiter.poll(max(0.0, self.deadline - time.monotonic()) * 1000):
                raise TargetError(f"nobody reads the console {self.name} within its step's time")

    def close_stdin(self) -> None:
        """Type control-D."""
        self.send(b"\x04")

    def _cut(self) -> None:
        with self._changed:
            self._was_cut = True
            self._rouse()

    def _rouse(self) -> None:
        if self._wake >= 0:
            os.write(self._wake, b"x")

    def _perform(self) -> None:
        try:
            terminal = self._accept()
            if terminal is None:
                return
            with self._changed:
                self._terminal = terminal
                self._begun = self._headed = True
                self._changed.notify_all()
            self._read(terminal)
        finally:
            with self._changed:
                if self._terminal is not None:
                    os.close(self._terminal)
                    self._terminal = None
                self._listener.close()
                os.close(self._woken)
                os.close(self._wake)
                self._woken = self._wake = -1
            self._path.unlink(missing_ok=True)

    def _await(self, descriptor: int) -> bool:
        """Return whether `descriptor` can be read; False when we are woken or the time is over."""
        left = max(0.0, self.deadline - time.monotonic())
        ready, _, _ = select.select([descriptor, self._woken], [], [], left)
        return descriptor in ready

    def _accept(self) -> int | None:
        """Return the terminal's descriptor, close-on-exec; None after a cut. Raises TargetError when none comes."""
        while not self._await(self._listener.fileno()):
            if self._was_cut:
                return None
            if self._runtime_ended:
                ready, _, _ = select.select([self._listener], [], [], 0)
                if ready:
                    break
                raise TargetError(f"the runtime has ended and sent no terminal for {self.name}")
            if time.monotonic() >= self.deadline:
                raise TargetError(f"no terminal came for {self.name} within the step's time")
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(max(0.1, self.deadline - time.monotonic()))
            try:
                _, descriptors, _, _ = socket.recv_fds(connection, 4096, 4, socket.MSG_CMSG_CLOEXEC)
            except OSError as error:
                raise TargetError(f"no terminal came over the console socket: {error}") from error
        if len(descriptors) != 1:
            for descriptor in descriptors:
                os.close(descriptor)
            raise TargetError(f"the console socket got {len(descriptors)} descriptors instead of one")
        os.set_blocking(descriptors[0], False)
        return descriptors[0]

    def _read(self, terminal: int) -> None:
        while not self._was_cut:
            if not self._await(terminal):
                if self._was_cut:
                    return
                if time.monotonic() >= self.deadline:
                    raise TargetError(f"the console {self.name} was open longer than its step's time")
                # The runtime has ended; the container goes on.
                os.read(self._woken, 16)
                continue
            try:
                data = read_some(terminal)
            except BlockingIOError:
                continue
            if not data:
                return
            with self._changed:
                self._output += data
                self._changed.notify_all()

    def _facets(self) -> dict[str, Facet]:
        return {"output": as_text(bytes(self._output))}

    def _progress(self) -> int:
        return len(self._output)
