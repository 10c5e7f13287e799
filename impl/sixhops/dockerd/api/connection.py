"""One client connection: HTTP by aiohttp, until a request takes the connection over (attach, exec start).

Theory of operation: what comes behind a hijacked request is no HTTP, so the reader (`requests`) gives out one request at
a time and keeps the rest. The request's handler then either takes the connection (`take_over`), and the rest are the
stream's first bytes, or it answers as usual (`decline`), and they are read as the next request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sixhops.dockerd.api.requests import BadRequestError, RequestReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sixhops.dockerd.containers.streams.connection import ClientStream

__all__ = ["Connection", "HijackedStream", "Taken", "refuse"]

#: How long a client may take to see that its connection ends, in seconds; Go's server's own number.
_LINGERING = 0.5
_TEXT = "text/plain; charset=utf-8"
#: How much of a client's input may wait for the container, in bytes.
_LONGEST_INPUT = 1 << 18


class HijackedStream:
    """A `ClientStream` over a connection that was taken over: input until half-close, output with back-pressure."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._ended = False
        self._gone = False
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def read(self) -> bytes:
        """Return the next bytes from the client, b"" once it has half-closed or gone."""
        while not self._pieces:
            if self._ended:
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        piece = self._pieces.popleft()
        self._waiting -= len(piece)
        if self._waiting <= _LONGEST_INPUT // 2:
            self._connection.let_in(True)
        return piece

    async def write(self, data: bytes) -> None:
        """Send bytes; returns when there is room again. Raises ConnectionResetError when the client has gone."""
        transport = self._connection.transport
        if self._gone or transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        transport.write(data)
        await self._room.wait()

    def close(self) -> None:
        """End the connection after what was written has gone out; a second call does nothing."""
        if self._connection.transport is not None:
            self._connection.transport.close()

    def feed(self, data: bytes) -> None:
        """Take bytes that arrived."""
        self._pieces.append(data)
        self._waiting += len(data)
        if self._waiting > _LONGEST_INPUT:
            self._connection.let_in(False)
        self._arrived.set()

    def end(self, *, gone: bool = False) -> None:
        """Note that nothing more will arrive; with `gone` nothing can be sent any more either."""
        self._ended = True
        self._arrived.set()
        if gone:
            self._gone = True
            self._room.set()

    def has_room(self, room: bool) -> None:
        """Let writers go on, or wait."""
        if room or self._gone:
            self._room.set()
        else:
            self._room.clear()


class Connection(web.RequestHandler):
    """The protocol of one connection. `common` are headers that all answers of the engine's handlers have."""

    def __init__(
        self,
        manager: web.Server,
        *,
        loop: asyncio.AbstractEventLoop,
        common: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(manager, loop=loop, **settings)
        self.common: Mapping[str, str] = common or {}
        self._stream: HijackedStream | None = None
        #: Whether the head of the present request's answer has been sent.
        self.answer_has_begun = False
        #: Whether the client of the present request waits to be told that its body is wanted.
        self.is_waited_for = False
        #: Whether the client will send no more.
        self.has_half_closed = False
        self._answers_with_stream = False
        self._reader = RequestReader(self, loop)
        # the seam at which aiohttp itself chooses between its two parsers
        self._parser = self._reader  # type: ignore[assignment] # it has the methods that are called

    def take_over(self) -> ClientStream:
        """Give the connection to the caller, who must write the head of the answer himself."""
        stream = HijackedStream(self)
        self._stream = stream
        rest = self._reader.take_rest()
        if rest:
            stream.feed(rest)
        if self.has_half_closed:
            stream.end()
        return stream

    def decline(self) -> None:
        """Go on with HTTP: the request that might have taken the connection over did not."""
        if self._stream is not None:
            return
        self._answers_with_stream = False
        self._reader.finished()
        super().data_received(b"")
        if self.has_half_closed and not self._reader.is_busy:
            self.close()

    def let_in(self, wanted: bool) -> None:
        """Read from the client, or stop reading until the stream has room."""
        if self.transport is None or self.transport.is_closing():
            return
        if wanted and not self.transport.is_reading():
            self.transport.resume_reading()
        elif not wanted and self.transport.is_reading():
            self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Hand data to the stream or to the reader."""
        if self._stream is not None:
            self._stream.feed(data)
        else:
            super().data_received(data)

    def eof_received(self) -> bool | None:  # type: ignore[override] # asyncio: True keeps the transport open
        """Pass a half-close on to the stream; a client that half-closes still gets the answer that it waits for."""
        if self._stream is not None:
            self._stream.end()
            return True
        if self._reader.is_busy and not self._answers_with_stream:
            self._reader.feed_eof()
            self.has_half_closed = True
            return True
        super().eof_received()
        return None

    def let_go_on(self) -> None:
        """Tell a client that waits for it that its body is wanted (RFC 9110, 10.1.1)."""
        if self.is_waited_for and self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.is_waited_for = False

    def wait_for_no_body(self) -> None:
        """Note that what may come of the body after the answer is hardly waited for, as nobody knows whether it comes."""
        self.is_waited_for = False
        self._lingering_time = _LINGERING

    def begin_stream(self) -> None:
        """Note that the answer has no end of its own, so that it ends when the client closes its side."""
        self._answers_with_stream = True
        if self.has_half_closed and self.transport is not None:
            self.transport.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Say what is wrong with bytes that are no request, in Go's words."""
        if isinstance(exc, BadRequestError):
            return refuse(self, exc.code, exc.text, exc.body)
        return super().handle_error(request, status, exc, message)

    def pause_writing(self) -> None:
        """Make the stream's writers wait."""
        super().pause_writing()
        if self._stream is not None:
            self._stream.has_room(False)

    def resume_writing(self) -> None:
        """Let the stream's writers go on."""
        super().resume_writing()
        if self._stream is not None:
            self._stream.has_room(True)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the stream that the client has gone."""
        if self._stream is not None:
            self._stream.end(gone=True)
        super().connection_lost(exc)


def refuse(connection: web.RequestHandler, status: int, reason: str, text: str) -> Taken:
    """Answer what is no HTTP, in the bytes of Go's server, and end the connection."""
    if connection.transport is not None:
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {_TEXT}\r\nConnection: close\r\n\r\n"
        connection.transport.write(f"{head}{text}".encode())
        connection.transport.close()
    return Taken()


class Taken(web.StreamResponse):
    """What a handler returns when the connection is no longer HTTP: nothing is sent for it."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send nothing."""
        del request
        self.force_close()

    async def write_eof(self, data: bytes = b"") -> None:
        """Send nothing."""
