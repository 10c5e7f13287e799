"""The tap's place on a shim's socket: at the very path that the shim announced, with the shim's own beside it.

    containerd ── /run/containerd/s/<digest> (the tap's) ── /run/containerd/s/.tap-<n> (the shim's, renamed)

So the address that `start` prints, and that the bundle's `address` file keeps for a restarted containerd, is right
as it is, and the shim that removes its socket at the end removes the one that others see. What containerd and other
shims do to find out whether a shim is alive, to connect, must give the same answer as without a tap: when the shim has
gone nobody listens any more, before its clients learn that it has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.harness.tap.relay import Relay
from sixhops.linux.paths import open_in_root

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.harness.tap.relay import Log

__all__ = ["ShimSocket"]

_numbers = itertools.count(1)


class ShimSocket:
    """Takes the place of the socket at `path` of the machine whose root this process reaches at `root`.

    Made on the loop's thread. Raises OSError when nothing is there to take the place of, or it can't be taken; then
    nothing has changed.
    """

    def __init__(self, root: Path, path: Path, make_log: Callable[[int], Log]) -> None:
        # By the directory's descriptor: no link can lead elsewhere, and the path is short enough for a socket's.
        self._directory = _open_directory(root, path.parent)
        self.path = Path(f"/proc/self/fd/{self._directory}") / path.name
        self._real = self.path.with_name(f".tap-{os.getpid()}-{next(_numbers)}")
        self._watch: asyncio.Task[None] | None = None
        self._ended = False
        try:
            listener = _take_place(self.path, self._real)
        except BaseException:
            os.close(self._directory)
            raise
        self._inode = self.path.stat().st_ino
        self._relay = Relay(listener, lambda: self._real, make_log, self._look, self._look)

    @property
    def stands(self) -> bool:
        """Say whether whoever connects to the path still comes here."""
        try:
            return not self._ended and self.path.stat().st_ino == self._inode
        except OSError:
            return False

    @property
    def over(self) -> bool:
        """Say whether the shim has gone, and everybody who was connected to it."""
        return self._ended and not self._relay.connections

    async def close(self) -> None:
        """Cut all connections; the shim can't be reached any more."""
        self._end()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._relay.close()

    def _end(self) -> None:
        """The shim has gone: listen no more."""
        if self._ended:
            return
        self._ended = True
        self._relay.close_listener()
        with contextlib.suppress(OSError):
            self._real.unlink()
        os.close(self._directory)

    def _look(self) -> None:
        """Find out whether the shim is there; if so stay connected, since nothing else may tell of its end."""
        if self._ended:
            return
        watcher = socket.socket(socket.AF_UNIX)
        watcher.setblocking(False)
        try:
            watcher.connect(str(self._real))
        except BlockingIOError:
            # Its queue is full, so it lives; whoever fills the queue will be seen here, or is served by nobody.
            watcher.close()
        except OSError:
            watcher.close()
            self._end()
        else:
            if self._watch is None:
                self._watch = asyncio.get_running_loop().create_task(self._await_end(watcher))
                # Not by the task itself: one that is cancelled before its first step never gets to do it.
                self._watch.add_done_callback(lambda _: watcher.close())
            else:
                watcher.close()

    async def _await_end(self, watcher: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            with contextlib.suppress(OSError):
                while await loop.sock_recv(watcher, 4096):
                    pass
        finally:
            self._watch = None
        self._look()


def _open_directory(root: Path, path: Path) -> int:
    base = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_in_root(base, str(path), os.O_PATH | os.O_DIRECTORY)
    finally:
        os.close(base)


def _take_place(path: Path, real: Path) -> socket.socket:
    """Return a listening socket at `path`, as accessible as what was there and is at `real` now."""
    before = path.stat()
    new = real.with_name(f"{real.name}-new")
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(new))
        try:
            os.chown(new, before.st_uid, before.st_gid)
            new.chmod(before.st_mode & 0o7777)
            listener.listen(128)
            # At no time is there nothing at `path`.
            real.hardlink_to(path)
            new.replace(path)
        except BaseException:
            new.unlink()
            raise
    except BaseException:
        listener.close()
        raise
    return listener
