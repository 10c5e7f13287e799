"""Terminals: the socket on which the runtime hands over the master side, and its size."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import socket
import struct
import termios
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.linux.temporary import make_directory, remove_tree

if TYPE_CHECKING:
    from sixhops.shim.loop import Loop

__all__ = ["ConsoleSocket", "resize"]

CONSOLE_SECONDS = 30.0  # how long upstream waits for the terminal


class ConsoleSocket:
    """Where the runtime sends the terminal's master side: a socket under /tmp, as upstream's shim makes
    it.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._directory = make_directory("pty")
        self.path = str(Path(self._directory, "pty.sock"))
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._listener.bind(self.path)
        self._listener.listen(1)
        self._listener.setblocking(False)

    async def receive(self) -> int:
        """Return the master side. TimedOutError when the runtime doesn't send it, OSError when it sends
        none.
        """
        await self._loop.within(self._loop.readable(self._listener.fileno()), CONSOLE_SECONDS)
        connection, _address = self._listener.accept()
        with connection:
            connection.setblocking(False)
            await self._loop.within(self._loop.readable(connection.fileno()), CONSOLE_SECONDS)
            space = socket.CMSG_SPACE(array.array("i").itemsize)
            _name, rights, _flags, _peer = connection.recvmsg(4096, space)
        for level, kind, data in rights:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                (descriptor,) = struct.unpack_from("i", data)
                os.set_inheritable(descriptor, False)
                return int(descriptor)
        raise OSError("the runtime sent no terminal over the console socket")

    def close(self) -> None:
        """Remove the socket."""
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            remove_tree(self._directory)


def resize(master: int, width: int, height: int) -> None:
    """Set the size of a terminal, in characters. OSError when it has gone."""
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", height & 0xFFFF, width & 0xFFFF, 0, 0))
