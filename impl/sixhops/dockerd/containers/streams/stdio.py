"""A process's stdin, stdout and stderr: fifos to the shim on one side, the log and attached clients on the other.

Rules: everything happens in the event loop's thread; a fifo is read only when epoll says so (a reader that is there before
the first writer would read an end that is none); a client that does not read stops the program it is attached to, as in
dockerd, once `CLIENT_LIMIT` bytes wait for it, so memory is bounded whatever the client does.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from sixhops.dockerd import metrics
from sixhops.dockerd.containerd.client import ProcessIo
from sixhops.wire.rawstream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Fanout", "Stdin", "Stdio", "Subscription"]

#: How many bytes may wait for one client; dockerd's own number.
CLIENT_LIMIT = 1_000_000
_PIECE = 32 << 10


class Subscription:
    """One client's queue of output, in the order of arrival over all its streams."""

    def __init__(self, fanout: Fanout, streams: frozenset[Stream]) -> None:
        self._fanout = fanout
        self._streams = streams
        self._queue: deque[tuple[Stream, bytes]] = deque()
        self._size = 0
        self._ended = False
        self._waiting: asyncio.Future[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether the client must read before more is taken from the program."""
        return self._size >= CLIENT_LIMIT

    def put(self, stream: Stream, data: bytes) -> None:
        """Queue a piece, if the client wants that stream."""
        if stream in self._streams:
            self._queue.append((stream, data))
            self._size += len(data)
            self._wake()

    def end(self) -> None:
        """Say that nothing more will come."""
        self._ended = True
        self._wake()

    async def get(self) -> tuple[Stream, bytes] | None:
        """Return the next piece, None at the end."""
        while not self._queue:
            if self._ended:
                return None
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        stream, data = self._queue.popleft()
        was_full = self.is_full
        self._size -= len(data)
        if was_full and not self.is_full:
            self._fanout.has_room()
        return stream, data

    def close(self) -> None:
        """Stop listening."""
        self._fanout.drop(self)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Fanout:
    """The output of a container or exec, for any number of clients. Outlives single runs of the container."""

    def __init__(self) -> None:
        self._clients: set[Subscription] = set()
        self._on_room: set[Callable[[], None]] = set()

    def subscribe(self, streams: frozenset[Stream]) -> Subscription:
        """Add a client; it gets what comes from now on."""
        client = Subscription(self, streams)
        self._clients.add(client)
        return client

    def drop(self, client: Subscription) -> None:
        """Remove a client."""
        self._clients.discard(client)
        self.has_room()

    def publish(self, stream: Stream, data: bytes) -> bool:
        """Give a piece to all; return whether there is room for more."""
        for client in self._clients:
            client.put(stream, data)
        return not any(client.is_full for client in self._clients)

    def end(self) -> None:
        """Tell all clients that the run is over; they are forgotten."""
        for client in self._clients:
            client.end()
        self._clients.clear()
        self.has_room()

    def when_room(self, resume: Callable[[], None]) -> None:
        """Call `resume` once, when no client is full any more."""
        self._on_room.add(resume)

    def has_room(self) -> None:
        """Let the paused copiers go on, if no client is full."""
        if any(client.is_full for client in self._clients):
            return
        waiting, self._on_room = self._on_room, set()
        for resume in waiting:
            resume()


class _Copier:
    """Reads one fifo to its end."""

    def __init__(
        self, descriptor: int, take: Callable[[bytes], bool], fanout: Fanout, ended: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._take = take
        self._fanout = fanout
        self._ended = ended
        self._loop.add_reader(descriptor, self._ready)

    def close(self) -> None:
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            self._ended()

    def _ready(self) -> None:
        try:
            data = os.read(self._descriptor, _PIECE)
        except BlockingIOError:
            return
        except OSError:
            metrics.LOG_READ_FAILURES.add()
            data = b""
        if not data:
            self.close()
        elif not self._take(data):
            self._loop.remove_reader(self._descriptor)
            self._fanout.when_room(self._resume)

    def _resume(self) -> None:
        if self._descriptor >= 0:
            self._loop.add_reader(self._descriptor, self._ready)


class Stdin:
    """The write end of a program's stdin."""

    def __init__(self, path: Path) -> None:
        # open for reading as well, so that the shim need not be there yet
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._waiting: asyncio.Future[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can still be written to."""
        return self._descriptor >= 0

    async def write(self, data: bytes) -> None:
        """Write all of `data`, waiting for the program to read; does nothing once closed."""
        left = memoryview(data)
        while left and self._descriptor >= 0:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                await self._room()

    def close(self) -> None:
        """Close it; a second call does nothing."""
        if self._descriptor < 0:
            return
        asyncio.get_running_loop().remove_writer(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        self._wake()

    async def _room(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        loop.add_writer(self._descriptor, self._wake)
        try:
            await self._waiting
        finally:
            if self._descriptor >= 0:
                loop.remove_writer(self._descriptor)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Stdio:
    """The fifos of one run of one process."""

    def __init__(self, directory: Path, prefix: str, *, stdin: bool, terminal: bool) -> None:
        """Make the fifos `<prefix>-stdin` and so on in `directory`; with a terminal there is no stderr."""
        self._directory = directory
        self._paths = {"stdout": directory / f"{prefix}-stdout"}
        if stdin:
            self._paths["stdin"] = directory / f"{prefix}-stdin"
        if not terminal:
            self._paths["stderr"] = directory / f"{prefix}-stderr"
        self.io = ProcessIo(**{name: str(path) for name, path in self._paths.items()}, terminal=terminal)
        self._copiers: list[_Copier] = []
        self._left = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.stdin: Stdin | None = None

    def open(self, take: Callable[[Stream, bytes], bool], fanout: Fanout, *, fresh: bool = True) -> None:
        """Open our ends. `take` gets every piece and returns whether there is room for more.

        `fresh` makes the fifos; without it they are those of a run that outlived the last engine.
        """
        if fresh:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in self._paths.values():
                path.unlink(missing_ok=True)
                os.mkfifo(path, 0o600)
        for stream, name in ((Stream.STDOUT, "stdout"), (Stream.STDERR, "stderr")):
            if name in self._paths:
                descriptor = os.open(self._paths[name], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._left += 1
                self._copiers.append(_Copier(descriptor, partial(take, stream), fanout, self._one_ended))
        if "stdin" in self._paths:
            self.stdin = Stdin(self._paths["stdin"])

    def close(self) -> None:
        """Close our ends and remove the fifos; what was not read is lost."""
        for copier in self._copiers:
            copier.close()
        if self.stdin is not None:
            self.stdin.close()
        for path in self._paths.values():
            path.unlink(missing_ok=True)

    def release(self) -> None:
        """Close our ends and leave the fifos: the engine ends, the program goes on."""
        for copier in self._copiers:
            copier.close()
        if self.stdin is not None:
            self.stdin.close()

    def _one_ended(self) -> None:
        self._left -= 1
        if not self._left and not self.done.done():
            self.done.set_result(None)
