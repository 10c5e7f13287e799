"""ttrpc over asyncio streams: a client with any number of calls under way, and a server of async handlers.

A handler takes a `Call` and returns the reply's bytes, or raises `RpcError`. Anything else that it raises
is answered UNKNOWN with its text and logged, and the connection goes on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sixhops.wire.ttrpc.calls import Answer, Call, CallClient, CallServer
from sixhops.wire.ttrpc.frames import FrameError
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    Handler = Callable[[Call], Awaitable[bytes]]

__all__ = ["Client", "connect", "serve"]

CHUNK = 1 << 16
log = logging.getLogger(__name__)


async def connect(path: str) -> Client:
    """Return a client connected to the unix socket `path`; OSError when nobody listens."""
    reader, writer = await asyncio.open_unix_connection(path)
    return Client(reader, writer)


class Client:
    """Calls over one connection. `closed` is set once the peer has gone, whoever ended it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.closed = asyncio.Event()
        self._reader = reader
        self._writer = writer
        self._calls = CallClient()
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._task = asyncio.create_task(self._receive())

    async def call(
        self,
        service: str,
        method: str,
        payload: bytes,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it is also told to the server
        metadata: Mapping[str, str] | None = None,
    ) -> bytes:
        """Return the reply; RpcError with its status, DEADLINE_EXCEEDED after `timeout` s, UNAVAILABLE at
        EOF.
        """
        if self.closed.is_set():
            raise RpcError(Code.UNAVAILABLE, "ttrpc: closed")
        stream, data = self._calls.call(service, method, payload, timeout=timeout, metadata=metadata)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[stream] = future
        self._writer.write(data)
        try:
            answer = await asyncio.wait_for(future, timeout)
        except TimeoutError:
            raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded") from None
        finally:
            self._waiting.pop(stream, None)
            self._calls.forget(stream)
        if answer.error is not None:
            raise answer.error
        return answer.payload

    async def _receive(self) -> None:
        reason = "ttrpc: closed"
        try:
            while data := await self._reader.read(CHUNK):
                for answer in self._calls.receive(data):
                    future = self._waiting.get(answer.stream)
                    if future is not None and not future.done():
                        future.set_result(answer)
            self._calls.receive(b"")
        except (OSError, FrameError) as error:
            reason = f"ttrpc: closed: {error}"
        finally:
            self.closed.set()
            self._writer.close()
            for stream, future in self._waiting.items():
                if not future.done():
                    future.set_result(Answer(stream, b"", RpcError(Code.UNAVAILABLE, reason)))

    async def close(self) -> None:
        """End the connection; calls under way fail with UNAVAILABLE."""
        self._task.cancel()
        await asyncio.wait([self._task])


async def serve(path: Path, handler: Handler) -> asyncio.Server:
    """Listen on the unix socket `path` (which must not exist) and answer calls with `handler`."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _serve_connection(reader, writer, handler)

    return await asyncio.start_unix_server(connected, path)


async def _serve_connection(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler
) -> None:
    server = CallServer()
    tasks: set[asyncio.Task[None]] = set()
    try:
        while data := await reader.read(CHUNK):
            calls, refusals = server.receive(data)
            writer.write(refusals)
            for call in calls:
                task = asyncio.create_task(_answer(server, call, writer, handler))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        server.receive(b"")
    except (OSError, FrameError) as error:
        log.warning("ttrpc connection dropped: %s", error)
    except asyncio.CancelledError:
        log.debug("ttrpc connection ends with its server")
    finally:
        for task in tasks:
            task.cancel()
        writer.close()


async def _answer(server: CallServer, call: Call, writer: asyncio.StreamWriter, handler: Handler) -> None:
    try:
        reply = server.answer(call.stream, await asyncio.wait_for(handler(call), call.timeout))
    except RpcError as error:
        reply = server.refuse(call.stream, error)
    except TimeoutError:
        reply = server.refuse(call.stream, RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded"))
    except Exception as error:  # one bad call must not end the others; the peer is told
        log.exception("%s/%s failed", call.service, call.method)
        reply = server.refuse(call.stream, RpcError(Code.UNKNOWN, str(error)))
    if not writer.is_closing():
        writer.write(reply)
