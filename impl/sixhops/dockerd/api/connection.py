"""One client connection: HTTP by aiohttp, until a request takes the connection over (attach, exec start).

Theory of operation: aiohttp parses everything that it is given, and what comes behind the head of a hijacked request is no
HTTP. So this protocol looks at the beginning of each piece of data: from a head that may be hijacked on, bytes behind that
request are kept back. The request's handler then either takes the connection (`take_over`), and they are the stream's
first bytes, or it answers as usual, and they go on to the parser as the next request.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

if TYPE_CHECKING:
    from sixhops.dockerd.containers.streams import ClientStream

__all__ = ["Connection", "HijackedStream", "Taken", "refuse"]

_HIJACKABLE = re.compile(rb"POST [^ ?]*/(?:containers/[^ ?]+/attach|exec/[^/ ?]+/start)[? ]")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_TEXT = "text/plain; charset=utf-8"
_TOO_LARGE = (431, "Request Header Fields Too Large", "431 Request Header Fields Too Large")
#: What aiohttp's parser says (in part, in lower case), and what Go's server answers then.
_BODY_ERRORS = (
    ("chunk size overflow", "http chunk length too large"),
    ("chunk size", "invalid byte in chunk length"),
    ("chunk data", "malformed chunked encoding"),
)
_HEAD_ERRORS = (
    ("missing 'host'", (400, "Bad Request", "400 Bad Request: missing required Host header")),
    ("got more than", _TOO_LARGE),
    ("invalid header token", (400, "Bad Request", "400 Bad Request: invalid header name")),
    ("transfer-encoding", (501, "Not Implemented", "Unsupported transfer encoding")),
)
_END = b"\r\n\r\n"
_LONGEST_HEAD = 1 << 16
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
    """The protocol of one connection."""

    def __init__(self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, **settings: Any) -> None:
        super().__init__(manager, loop=loop, **settings)
        self._stream: HijackedStream | None = None
        #: Whether the head of the present request's answer has been sent.
        self.answer_has_begun = False
        self._head = b""
        self._kept: bytes | None = None
        self._half_closed = False

    def take_over(self) -> ClientStream:
        """Give the connection to the caller, who must write the head of the answer himself."""
        stream = HijackedStream(self)
        self._stream = stream
        if self._kept:
            stream.feed(self._kept)
        self._kept = None
        if self._half_closed:
            stream.end()
        return stream

    def decline(self) -> None:
        """Go on with HTTP: the request that might have taken the connection over did not."""
        kept, self._kept = self._kept, None
        if kept:
            self.data_received(kept)

    def let_in(self, wanted: bool) -> None:
        """Read from the client, or stop reading until the stream has room."""
        if self.transport is None or self.transport.is_closing():
            return
        if wanted and not self.transport.is_reading():
            self.transport.resume_reading()
        elif not wanted and self.transport.is_reading():
            self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Hand data to the stream, to the parser, or keep it back."""
        if self._stream is not None:
            self._stream.feed(data)
            return
        if self._kept is not None:
            self._kept += data
            return
        if self._head or _may_be_post(data):
            data = self._head + data
            self._head = b""
            split = _split(data)
            if split is None and len(data) < _LONGEST_HEAD:
                self._head = data
                return
            if split is not None and split >= 0:
                # set first: the parser may run the request's handler before it returns
                self._kept = data[split:]
                data = data[:split]
        super().data_received(data)

    def eof_received(self) -> bool | None:  # type: ignore[override] # asyncio: True keeps the transport open
        """Pass a half-close on to the stream; an ordinary client that half-closes has gone."""
        if self._stream is not None:
            self._stream.end()
            return True
        if self._kept is not None:
            self._half_closed = True
            return True
        super().eof_received()
        return None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Say what is wrong with bytes that aiohttp can't read, in Go's words as far as they can be told apart."""
        if exc is None or not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        said = f"{message or ''} {exc}".lower()
        for mark, text in _BODY_ERRORS:
            if mark in said:
                body = f'{{"message":"{text}"}}\n'
                return refuse(self, 500, "Internal Server Error", body, "application/json")
        for mark, (code, reason, text) in _HEAD_ERRORS:
            if mark in said:
                return refuse(self, code, reason, text)
        return refuse(self, 400, "Bad Request", "400 Bad Request")

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


def refuse(connection: web.RequestHandler, status: int, reason: str, text: str, kind: str = _TEXT) -> Taken:
    """Answer what is no HTTP, in the bytes of Go's server, and end the connection."""
    if connection.transport is not None:
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n"
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


def _may_be_post(data: bytes) -> bool:
    return data.startswith(b"POST ") or (0 < len(data) < 5 and b"POST ".startswith(data))


def _split(data: bytes) -> int | None:
    """Return where the request at the beginning of `data` ends if it may be hijacked, -1 if it may not, None if its end
    has not arrived yet.
    """
    line = data.find(b"\r\n")
    if line < 0:
        return None
    if not _HIJACKABLE.match(data[: line + 2]):
        return -1
    head = data.find(_END)
    if head < 0:
        return None
    fields = data[line : head + 2]
    if _CHUNKED.search(fields):
        return _end_of_chunks(data, head + len(_END))
    length = _LENGTH.search(fields)
    end = head + len(_END) + (int(length[1]) if length else 0)
    return end if len(data) >= end else None


def _end_of_chunks(data: bytes, at: int) -> int | None:
    while True:
        line = data.find(b"\r\n", at)
        if line < 0:
            return None
        try:
            size = int(data[at:line].partition(b";")[0], 16)
        except ValueError:
            return -1  # the parser says what is wrong with it
        at = line + 2 + size + 2
        if size == 0:
            return at if len(data) >= at else None
