"""ttrpc over asyncio: a client with any number of calls under way, and a server of async handlers.

A handler takes a `Call` and returns the reply's bytes, or raises `RpcError`. Anything else that it raises
is answered UNKNOWN with its text and logged, and the connection goes on.
"""

from __future__ import annotations

import asyncio
import logging
import socket
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
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        await asyncio.get_running_loop().sock_connect(raw, path)
    except BaseException:
        raw.close()
        raise
    return Client(raw)


class Client:
    """Calls over one connection. `closed` is set once the peer has gone, whoever ended it.

    It reads and writes the socket itself: with asyncio's streams each answer would wait for two more turns of the loop.
    """

    def __init__(self, raw: socket.socket) -> None:
        """`raw` is a connected socket that does not block."""
        self.closed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._socket = raw
        self._calls = CallClient()
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._unsent = bytearray()
        self._loop.add_reader(raw.fileno(), self._read)

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
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting[stream] = future
        self._send(data)
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

    def _send(self, data: bytes) -> None:
        if self._unsent:
            self._unsent += data
        elif rest := self._pass_on(data):
            self._unsent += rest
            self._loop.add_writer(self._socket.fileno(), self._flush)

    def _flush(self) -> None:
        self._unsent[:] = self._pass_on(self._unsent)
        if not self._unsent:
            self._loop.remove_writer(self._socket.fileno())

    def _pass_on(self, data: bytes | bytearray) -> bytes | bytearray:
        """Send what the socket takes of `data`; return the rest."""
        try:
            return data[self._socket.send(data) :]
        except BlockingIOError:
            return data
        except OSError:
            return b""  # the peer has gone, which is read after what it has said before

    def _read(self) -> None:
        try:
            data = self._socket.recv(CHUNK)
            answers = self._calls.receive(data)
        except BlockingIOError:
            return
        except (OSError, FrameError) as error:
            self._end(f"ttrpc: closed: {error}")
            return
        for answer in answers:
            future = self._waiting.get(answer.stream)
            if future is not None and not future.done():
                future.set_result(answer)
        if not data:
            self._end("ttrpc: closed")

    def _end(self, reason: str) -> None:
        if self.closed.is_set():
            return
        self.closed.set()
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        for stream, future in self._waiting.items():
            if not future.done():
                future.set_result(Answer(stream, b"", RpcError(Code.UNAVAILABLE, reason)))

    async def close(self) -> None:
        """End the connection; calls under way fail with UNAVAILABLE."""
        self._end("ttrpc: closed")


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
