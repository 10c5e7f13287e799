"""A byte pass-through between the clients of a listening socket and an upstream, with somebody who reads alongside.

What it must never do is change a byte: bytes go on as they came, in order; the end of either direction is passed
on as the end of that direction; a side that reads slowly slows the other one down. The `Log` of a connection is told of
bytes before they are passed on, so whoever has an answer finds it recorded. A log that can't make sense of the bytes is
closed, and the bytes go on unread: what they deserve is up to the peers.

Relays live on the loop of a `LoopThread`; their methods are called there, but for those of `LoopThread` itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import traceback
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from sixhops.harness.errors import InternalError
from sixhops.harness.tap.errors import ProtocolError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine
    from pathlib import Path

__all__ = ["Log", "LoopThread", "Relay"]

_Result = TypeVar("_Result")

_STOP_TIMEOUT = 10.0
#: Bytes on their way to a peer above which the other one isn't read any further.
_HIGH_WATER = 1024 * 1024
#: Seconds until a connection that could not be accepted is tried again.
_AGAIN = 0.1


class Log(Protocol):
    """Reads one connection. The first two raise ProtocolError when the bytes make no sense."""

    def from_client(self, data: bytes) -> None:
        """Take the client's next bytes."""
        ...

    def from_server(self, data: bytes) -> None:
        """Take the server's next bytes."""
        ...

    @property
    def torn(self) -> bool:
        """Say whether the bytes so far end in the middle of something."""
        ...

    def close(self, reason: str, *, broken: bool) -> None:
        """Take no more: the connection has ended, or (`broken`) its bytes made no sense."""
        ...


class LoopThread:
    """An asyncio loop on a thread of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; InternalError when called twice."""
        if self._thread is not None:
            raise InternalError(f"the {self._name} was started before")
        self._loop = loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(loop,), name=self._name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run `work` on the loop and return its result, from any other thread."""
        if self._loop is None:
            work.close()
            raise InternalError(f"the {self._name} was not started")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_STOP_TIMEOUT)

    def stop(self, last: Coroutine[Any, Any, None]) -> None:
        """Run `last`, then end the thread. Does nothing when it doesn't run."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None or not thread.is_alive():
            last.close()
            return
        try:
            self.call(last)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_STOP_TIMEOUT)
        if thread.is_alive():
            raise InternalError(f"the {self._name} did not stop within {_STOP_TIMEOUT:g} s")

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.close()


class Relay:
    """Serves `listener` (a unix socket that is bound and listens) until `close`; the upstream is the unix socket at
    the path that `upstream` returns.

    `make_log` gets the number of the connection, from 1. `server_ended` is called when the upstream has ended its side
    of a connection, before the client is told; `idle` when the last connection has ended.
    """

    def __init__(
        self,
        listener: socket.socket,
        upstream: Callable[[], Path],
        make_log: Callable[[int], Log],
        server_ended: Callable[[], None] = lambda: None,
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._listener = listener
        self._upstream = upstream
        self._make_log = make_log
        self.server_ended = server_ended
        self._idle = idle
        self._loop = asyncio.get_running_loop()
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[_Connection] = set()
        self._closed = False
        listener.setblocking(False)
        self._listen()

    @property
    def connections(self) -> int:
        """The number of connections that are being served."""
        return len(self._open) + len(self._tasks)

    def close_listener(self) -> None:
        """Accept no more; what was accepted is served on."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()

    async def close(self) -> None:
        """Accept no more and cut all connections; returns when they are closed and their logs are."""
        self.close_listener()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self._open):
            connection.abort("the tap was closed")
        # Sockets are closed by callbacks, which the abort has put into the loop's queue.
        await asyncio.sleep(0)

    def _listen(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            # No descriptor or no memory is left, and whoever waits stays in the queue: look again in a while.
            self._loop.remove_reader(self._listener.fileno())
            self._loop.call_later(_AGAIN, self._listen)
            return
        self._count += 1
        task = self._loop.create_task(self._connect(accepted, self._count))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, accepted: socket.socket, number: int) -> None:
        connection = _Connection(self, self._make_log(number))
        try:
            await self._loop.create_unix_connection(lambda: connection.server, str(self._upstream()))
            await self._loop.connect_accepted_socket(lambda: connection.client, accepted)
        except OSError:
            # Nobody is there: the client learns of it as by a server that ends, and nothing was said.
            self.server_ended()
            accepted.close()
        except BaseException:
            accepted.close()
            connection.abort("the tap was closed")
            raise

    def began(self, connection: _Connection) -> None:
        """Note that a connection stands; called by the connection."""
        self._open.add(connection)

    def ended(self, connection: _Connection) -> None:
        """Note that a connection has ended; called by the connection."""
        self._open.discard(connection)
        if not self.connections:
            self._idle()


class _Connection:
    """A client's connection and the one to the upstream that belongs to it."""

    def __init__(self, relay: Relay, log: Log) -> None:
        self._relay = relay
        self._log: Log | None = log
        self.client = _End(self, log.from_client)
        self.server = _End(self, log.from_server)
        self.client.other, self.server.other = self.server, self.client
        self._over = False

    def read(self, feed: Callable[[bytes], None], data: bytes) -> None:
        if self._log is None:
            return
        try:
            feed(data)
        except ProtocolError as error:
            self._close_log(str(error), broken=True)
        except Exception:  # noqa: BLE001 - a mistake of the tap's must be seen, and must not end what it looks at
            self._close_log(f"the tap failed: {traceback.format_exc()}", broken=True)

    def _close_log(self, reason: str, *, broken: bool) -> None:
        log, self._log = self._log, None
        if log is not None:
            log.close(reason, broken=broken)

    def begun(self) -> None:
        """Both sockets are there."""
        self._relay.began(self)

    def end_of(self, end: _End) -> None:
        """The peer at `end` sends no more; what follows tells the other one."""
        if end is self.server:
            self._relay.server_ended()

    def ended(self, reason: str) -> None:
        """Both directions have ended."""
        self._finish(reason)
        for end in (self.client, self.server):
            end.close()

    def abort(self, reason: str) -> None:
        """Close both sockets without sending what waits to be sent."""
        self._finish(reason)
        for end in (self.client, self.server):
            end.abort()

    def _finish(self, reason: str) -> None:
        if self._over:
            return
        self._over = True
        log = self._log
        torn = log is not None and log.torn
        self._close_log(f"{reason} in the middle of a frame" if torn else reason, broken=torn)
        self._relay.ended(self)


class _End(asyncio.Protocol):
    """One of the two sockets of a connection."""

    other: _End

    def __init__(self, connection: _Connection, feed: Callable[[bytes], None]) -> None:
        self._connection = connection
        self._feed = feed
        self.transport: asyncio.Transport | None = None
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=_HIGH_WATER)
        if self.other.transport is None:
            # The server's end, which is there first: nothing can be passed on yet.
            self.transport.pause_reading()
        else:
            self._connection.begun()
            self.other.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._connection.read(self._feed, data)
        if self.other.transport is not None:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        self._connection.end_of(self)
        if self.other.ended:
            self._connection.ended("the connection ended")
        elif self.other.transport is not None:
            with contextlib.suppress(OSError):  # it has gone already: `connection_lost` follows
                self.other.transport.write_eof()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended:
            self.ended = True
            self._connection.end_of(self)
        if error is not None:
            self._connection.abort(f"the connection broke: {error}")
        else:
            self._connection.ended("the connection ended")

    def pause_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.resume_reading()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()
