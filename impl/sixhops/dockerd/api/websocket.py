"""Attach over a websocket (RFC 6455): the handshake, and a `ClientStream` whose bytes travel in messages.

As lenient, and as strict, as the library that dockerd uses (golang.org/x/net/websocket): any key will do, reserved bits and
unknown kinds of messages count as data, a client must mask what it sends, and must not choose among protocols. Compared with
dockerd 20.10.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from sixhops.wire.rawstream import Decoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sixhops.dockerd.containers.streams.connection import ClientStream

__all__ = ["Event", "Messages", "WebSocketStream", "answer", "refusal"]

_VERSION: Final = "13"
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BINARY, _CLOSE, _PING, _PONG = 2, 8, 9, 10
_NORMAL, _PROTOCOL_ERROR = 1000, 1002
_LONGEST_CONTROL: Final = 125
_TWO_BYTES, _EIGHT_BYTES = 126, 127


def refusal(headers: Mapping[str, str]) -> bytes:
    """Return what a request is answered that is no handshake, b"" for one that is."""
    protocols = [part.strip() for part in headers.get("Sec-WebSocket-Protocol", "").strip().split(",")]
    more, text = "", ""
    if (
        headers.get("Upgrade", "").lower() != "websocket"
        or "upgrade" not in headers.get("Connection", "").lower()
    ):
        text = "not websocket protocol"
    elif not headers.get("Sec-WebSocket-Key"):
        text = "mismatch challenge/response"
    elif headers.get("Sec-WebSocket-Version") != _VERSION:
        more, text = f"Sec-WebSocket-Version: {_VERSION}\r\n", "missing or bad WebSocket Version"
    elif len(protocols) < 2:
        return b""
    return f"HTTP/1.1 400 Bad Request\r\n{more}\r\n{text}".encode()


def answer(headers: Mapping[str, str]) -> bytes:
    """Return the answer to a handshake."""
    key = headers["Sec-WebSocket-Key"]
    accepted = base64.b64encode(
        hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()
    ).decode()
    protocol = headers.get("Sec-WebSocket-Protocol", "").strip()
    chosen = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accepted}\r\n{chosen}\r\n"
    ).encode()


class Event(NamedTuple):
    """What a client sent: `data`, `ping`, `pong`, `close`, or `unmasked` for a message that breaks the protocol."""

    kind: str
    data: bytes = b""


class Messages:
    """Bytes of a client in, events out; no I/O. Data is given on as it comes, whole message or not."""

    def __init__(self) -> None:
        self._rest = b""
        self._left = 0
        self._mask = b""
        self._control: tuple[str, bytearray] | None = None

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes; return what they complete."""
        events: list[Event] = []
        self._rest += data
        while self._rest:
            if self._left:
                piece, self._rest = self._rest[: self._left], self._rest[self._left :]
                self._left -= len(piece)
                self._payload(self._unmasked(piece), events)
            elif not self._head(events):
                break
        return events

    def _head(self, events: list[Event]) -> bool:
        """Read a message's head; False when it is not there yet."""
        rest = self._rest
        if len(rest) < 2:
            return False
        is_masked, length, size = bool(rest[1] & 0x80), rest[1] & 0x7F, 2
        if length in {_TWO_BYTES, _EIGHT_BYTES}:
            size += 2 if length == _TWO_BYTES else 8
            if len(rest) < size:
                return False
            length = int.from_bytes(rest[2:size]) & (2**63 - 1)
        if is_masked:
            size += 4
            if len(rest) < size:
                return False
            self._mask = rest[size - 4 : size]
        self._rest, self._left = rest[size:], length
        kind = {_CLOSE: "close", _PING: "ping", _PONG: "pong"}.get(rest[0] & 0x0F)
        if not is_masked:
            events.append(Event("unmasked"))
            self._mask = bytes(4)
        elif kind is not None:
            self._control = (kind, bytearray())
            if not length:
                self._payload(b"", events)
        return True

    def _payload(self, data: bytes, events: list[Event]) -> None:
        if self._control is None:
            events.append(Event("data", data))
            return
        kind, gathered = self._control
        gathered += data[: _LONGEST_CONTROL - len(gathered)]
        if not self._left:
            self._control = None
            events.append(Event(kind, bytes(gathered)))

    def _unmasked(self, data: bytes) -> bytes:
        size = len(data)
        mask = (self._mask * (size // 4 + 1))[:size]
        turn = size % 4
        self._mask = self._mask[turn:] + self._mask[:turn]
        return (int.from_bytes(data) ^ int.from_bytes(mask)).to_bytes(size)


def _message(kind: int, data: bytes) -> bytes:
    size = len(data)
    if size < _TWO_BYTES:
        head = bytes((0x80 | kind, size))
    elif size < 1 << 16:
        head = bytes((0x80 | kind, _TWO_BYTES)) + size.to_bytes(2)
    else:
        head = bytes((0x80 | kind, _EIGHT_BYTES)) + size.to_bytes(8)
    return head + data


class WebSocketStream:
    """A `ClientStream` over a connection that was taken over: messages carry either stream's bytes, out of their frames."""

    def __init__(self, under: ClientStream, *, framed: bool) -> None:
        """`framed`: what is written has raw-stream frames."""
        self._under = under
        self._decoder = Decoder() if framed else None
        self._messages = Messages()
        self._pieces: deque[bytes] = deque()
        self._has_ended = False
        self._closing: asyncio.Task[None] | None = None

    async def read(self) -> bytes:
        """Return the next bytes from the client, b"" once it has closed or broken the protocol."""
        while not self._pieces:
            data = b"" if self._has_ended else await self._under.read()
            if not data:
                self._has_ended = True
                return b""
            for event in self._messages.feed(data):
                await self._take(event)
        return self._pieces.popleft()

    async def _take(self, event: Event) -> None:
        if self._has_ended:
            return
        match event.kind:
            case "data":
                if event.data:
                    self._pieces.append(event.data)
            case "ping":
                await self._under.write(_message(_PONG, event.data))
            case "unmasked":
                await self._under.write(_message(_CLOSE, _PROTOCOL_ERROR.to_bytes(2)))
                self._has_ended = True
            case "close":
                self._has_ended = True
            case _:
                pass

    async def write(self, data: bytes) -> None:
        """Send bytes, out of their frames."""
        pieces = [data] if self._decoder is None else [frame.data for frame in self._decoder.feed(data)]
        for piece in pieces:
            await self._under.write(_message(_BINARY, piece))

    def close(self) -> None:
        """Begin to close; `finish` waits for the end of it."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._end())

    async def finish(self) -> None:
        """Return when all is sent."""
        self.close()
        assert self._closing is not None
        await self._closing

    async def _end(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self._under.write(_message(_CLOSE, _NORMAL.to_bytes(2)))
        self._under.close()
