"""A recording reverse proxy for the engine and registry hops.

What it must never do is change a byte: both sides see each other's bytes in order, as they came, as soon
as they came; the end of either direction is passed on as the end of that direction, since attach and exec
use half-closed connections. `MessageReader` only watches. The one exception is on purpose: a `FaultRule`
changes the answers that it names, and the recorded message says which one did.

A connection is two loops, client to upstream and back, that share a queue of requests waiting for their
answers. A message is recorded before its last byte is passed on, so whoever has the answer finds it in the
recorder.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeAlias

from sixhops.harness.errors import InternalError
from sixhops.harness.tap.http.connection import Connection
from sixhops.harness.tap.http.faults import FaultPlan

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from sixhops.harness.scenario.model import FaultRule, Hop
    from sixhops.harness.tap.recorder import Recorder
    from sixhops.harness.target import Address

__all__ = ["Connector", "HttpTap"]

#: Returns a socket that is connected to the upstream; for upstreams that this thread can't reach by an
#: address.
Connector: TypeAlias = "Callable[[], socket.socket]"

_READ = 256 * 1024


class HttpTap:
    """Records what passes between the clients of `listener` and `upstream`, on a thread of its own.

    `listener` is bound and listening already (it may belong to another network namespace) and is closed by
    `close`. `connector` replaces connecting to `upstream`, when the upstream is in another network namespace.
    Half-close can't be passed on to an upstream with TLS: asyncio has no way to send close_notify alone.
    """

    def __init__(
        self,
        listener: socket.socket,
        upstream: Address,
        hop: Hop,
        recorder: Recorder,
        connector: Connector | None = None,
    ) -> None:
        self._listener = listener
        self._upstream = upstream
        self._hop = hop
        self._recorder = recorder
        self._connector = connector
        self._plan = FaultPlan()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._connections: dict[asyncio.Task[None], Connection] = {}

    def start(self) -> None:
        """Begin to accept connections; returns when it does. Raises InternalError when called twice."""
        if self._thread is not None:
            raise InternalError("the tap was started before")
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name=f"tap-{self._hop}", daemon=True)
        self._thread.start()
        ready.wait()
        if self._failure is not None:
            raise InternalError(f"the {self._hop} tap did not start: {self._failure}")

    def close(self) -> None:
        """Cut every connection, finish what is being recorded, close the listener. May be called twice."""
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None and self._thread is not None and self._thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
            self._thread.join(10)
            if self._thread.is_alive():
                raise InternalError(f"the {self._hop} tap did not stop within 10 s")
        self._listener.close()

    def set_faults(self, rules: Sequence[FaultRule]) -> None:
        """Replace the fault rules and their counters. Every template in them must be resolved."""
        self._plan.replace(rules)

    def __enter__(self) -> HttpTap:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(ready))
        except OSError as error:
            self._failure = error
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._listener.setblocking(False)
        server = await asyncio.start_server(self._accept, sock=self._listener, limit=_READ)
        ready.set()
        await self._stop.wait()
        # A connection that was accepted just now reaches `_accept` two rounds of the loop later. Closing the server
        # before would lose it: asyncio (3.11) then fails to make its transport and leaves its socket open.
        self._loop.remove_reader(self._listener)
        for _ in range(3):
            await asyncio.sleep(0)
        server.close()
        open_ones = dict(self._connections)
        for task in open_ones:
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)
        for connection in open_ones.values():
            # Also those that were cancelled before they ran, and those whose last bytes nobody reads.
            connection.abort()
        # Sockets are closed by callbacks, which the abort has put into the loop's queue.
        await asyncio.sleep(0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not a coroutine: a connection must be in the table as soon as it is accepted, or `close` would miss it.
        connection = Connection(reader, writer, self._connect, self._hop, self._recorder, self._plan)
        task = asyncio.ensure_future(connection.run())
        self._connections[task] = connection
        task.add_done_callback(self._connections.pop)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._connector is not None:
            connected = await asyncio.to_thread(self._connector)
            return await asyncio.open_connection(sock=connected, limit=_READ)
        upstream = self._upstream
        if upstream.unix is not None:
            return await asyncio.open_unix_connection(str(upstream.unix), limit=_READ)
        return await asyncio.open_connection(
            upstream.host,
            upstream.port,
            ssl=upstream.tls,
            server_hostname=upstream.host if upstream.tls else None,
            limit=_READ,
        )
