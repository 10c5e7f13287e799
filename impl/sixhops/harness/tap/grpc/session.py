"""Reads HTTP/2 alongside a proxy: bytes of both directions go in, what they say of gRPC calls comes out.

It does no I/O and writes nothing, so whole, torn and gathered input are the same to it, and a proxy that
passes the bytes on changes nothing. It is no judge of HTTP/2 either: only what makes the bytes unreadable, or
what no memory is enough for, is a ProtocolError; priorities, windows, pings and frames of unknown types pass unread.

A connection's header compression depends on all header blocks before, so every block is decoded, also those of
streams that are over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import hpack

from sixhops.harness.tap.errors import ProtocolError
from sixhops.harness.tap.grpc.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    FrameReader,
    fragment,
    settings,
)
from sixhops.harness.tap.grpc.lengthprefixed import Budget, Long, MessageReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.tap.grpc.frames import Frame

__all__ = [
    "Answered",
    "Begun",
    "Ended",
    "Event",
    "GoAway",
    "HalfClosed",
    "Headers",
    "Message",
    "Reset",
    "Session",
]

#: Header names and values in the order of the block, as bytes: what they mean is the reader's affair.
Headers: TypeAlias = "list[tuple[bytes, bytes]]"

#: Bytes of a header list after decompression (C-core takes 16 KiB at most unless told otherwise).
_HEADER_LIST_LIMIT = 256 * 1024
#: Bytes of a compressed header block, and frames that it may be cut into.
_BLOCK_LIMIT = 64 * 1024
_BLOCK_FRAMES = 256
#: The largest table for header compression that a side may ask for; the default is 4096.
_TABLE_LIMIT = 1024 * 1024
#: Calls that are open at once on one connection.
_STREAM_LIMIT = 10_000

_HEADER_TABLE_SIZE = 1
_MAX_FRAME_SIZE = 5


class Begun(NamedTuple):
    """The client has opened a stream: a call begins."""

    stream: int
    headers: Headers


class Answered(NamedTuple):
    """The server's first headers, when more follows them."""

    stream: int
    headers: Headers


class Message(NamedTuple):
    """One gRPC message, decompressed; `Long` when it was too long to keep."""

    stream: int
    by_client: bool
    data: bytes | Long


class HalfClosed(NamedTuple):
    """The client will send no more on the stream."""

    stream: int


class Ended(NamedTuple):
    """The server has ended the stream, with these trailers; `alone` says that no other headers came before."""

    stream: int
    headers: Headers
    alone: bool


class Reset(NamedTuple):
    """One side broke the stream off, with an HTTP/2 error code."""

    stream: int
    by_client: bool
    code: int


class GoAway(NamedTuple):
    """One side says that it will not answer streams beyond `last`. `debug` is the reason that it gives."""

    by_client: bool
    last: int
    code: int
    debug: bytes


Event: TypeAlias = "Begun | Answered | Message | HalfClosed | Ended | Reset | GoAway"


class _Stream:
    """A stream that is not over: what its DATA frames mean in either direction."""

    __slots__ = ("answer", "answered", "request")

    def __init__(self, request: MessageReader) -> None:
        self.request = request
        self.answer: MessageReader | None = None
        self.answered = False


class _Direction:
    """What is known of the bytes of one side."""

    def __init__(self, preface: bytes) -> None:
        self.frames = FrameReader(preface)
        self.decoder = hpack.Decoder(max_header_list_size=_HEADER_LIST_LIMIT)
        self.block = bytearray()
        self.block_stream = 0
        self.block_ends_stream = False
        self.block_frames = 0


class Session:
    """One HTTP/2 connection between a gRPC client and a server.

    `from_client` and `from_server` take the next bytes of either direction and give events, as an iterator that
    must be exhausted. They raise ProtocolError where the bytes can't be read any further; the session is unusable then.
    """

    def __init__(self) -> None:
        self._client = _Direction(PREFACE)
        self._server = _Direction(b"")
        self._streams: dict[int, _Stream] = {}
        self._last = 0
        self._budget = Budget()

    @property
    def torn(self) -> bool:
        """Say whether either direction stands inside a frame or a header block."""
        sides = (self._client, self._server)
        return any(side.frames.torn or side.block_stream for side in sides)

    def from_client(self, data: bytes) -> Iterator[Event]:
        """Take bytes that the client sent."""
        return self._read(data, self._client, self._server)

    def from_server(self, data: bytes) -> Iterator[Event]:
        """Take bytes that the server sent."""
        return self._read(data, self._server, self._client)

    def _read(self, data: bytes, side: _Direction, other: _Direction) -> Iterator[Event]:
        by_client = side is self._client
        for frame in side.frames.feed(data):
            kind = frame.kind
            if side.block_stream and (kind != CONTINUATION or frame.stream != side.block_stream):
                raise ProtocolError(f"a frame of type {kind} inside a header block")
            if kind == DATA:
                yield from self._data(frame, by_client)
            elif kind == HEADERS:
                side.block_stream = _stream_number(frame)
                side.block_ends_stream = bool(frame.flags & END_STREAM)
                yield from self._block(side, frame, fragment(frame))
            elif kind == CONTINUATION:
                if not side.block_stream:
                    raise ProtocolError("CONTINUATION without a header block before")
                yield from self._block(side, frame, frame.payload)
            elif kind == RST_STREAM:
                if len(frame.payload) != 4:
                    raise ProtocolError(f"RST_STREAM with {len(frame.payload)} bytes")
                if self._forget(_stream_number(frame)):
                    yield Reset(frame.stream, by_client, int.from_bytes(frame.payload))
            elif kind == SETTINGS:
                _take_settings(frame, other)
            elif kind == GOAWAY:
                yield from self._goaway(frame, by_client)
            elif kind == PUSH_PROMISE:
                raise ProtocolError("PUSH_PROMISE: gRPC has no pushed streams")

    def _data(self, frame: Frame, by_client: bool) -> Iterator[Event]:
        number = _stream_number(frame)
        stream = self._streams.get(number)
        if stream is None:
            self._check_known(number)
            return
        reader = stream.request if by_client else stream.answer
        if reader is None:
            raise ProtocolError(f"stream {number}: data before headers")
        try:
            for message in reader.feed(frame.payload):
                yield Message(number, by_client, message)
        except ProtocolError as error:
            raise ProtocolError(f"stream {number}: {error}") from None
        if frame.flags & END_STREAM:
            yield from _end(number, reader, by_client)
            if by_client:
                yield HalfClosed(number)
            else:
                self._forget(number)
                yield Ended(number, [], alone=False)

    def _block(self, side: _Direction, frame: Frame, part: bytes) -> Iterator[Event]:
        side.block += part
        side.block_frames += 1
        if len(side.block) > _BLOCK_LIMIT or side.block_frames > _BLOCK_FRAMES:
            raise ProtocolError(f"a header block of {len(side.block)} bytes in {side.block_frames} frames")
        if not frame.flags & END_HEADERS:
            return
        number, ends = side.block_stream, side.block_ends_stream
        headers = _decompress(side)
        if side is self._client:
            yield from self._client_headers(number, headers, ends)
        else:
            yield from self._server_headers(number, headers, ends)

    def _client_headers(self, number: int, headers: Headers, ends: bool) -> Iterator[Event]:
        if number > self._last:
            if not number % 2:
                raise ProtocolError(f"stream {number}: the client's streams have odd numbers")
            if len(self._streams) >= _STREAM_LIMIT:
                raise ProtocolError(f"more than {_STREAM_LIMIT} calls at once")
            self._last = number
            self._streams[number] = _Stream(MessageReader(headers, self._budget))
            yield Begun(number, headers)
        # What isn't a new stream are trailers of the client, which gRPC has no use for.
        if ends and (stream := self._streams.get(number)) is not None:
            yield from _end(number, stream.request, by_client=True)
            yield HalfClosed(number)

    def _server_headers(self, number: int, headers: Headers, ends: bool) -> Iterator[Event]:
        stream = self._streams.get(number)
        if stream is None:
            self._check_known(number)
            return
        if ends:
            if stream.answer is not None:
                yield from _end(number, stream.answer, by_client=False)
            self._forget(number)
            yield Ended(number, headers, alone=not stream.answered)
        elif not _is_interim(headers):
            if stream.answered:
                raise ProtocolError(f"stream {number}: second headers that don't end it")
            stream.answered = True
            stream.answer = MessageReader(headers, self._budget)
            yield Answered(number, headers)

    def _goaway(self, frame: Frame, by_client: bool) -> Iterator[Event]:
        if len(frame.payload) < 8:
            raise ProtocolError(f"GOAWAY with {len(frame.payload)} bytes")
        last = int.from_bytes(frame.payload[:4]) & 0x7FFFFFFF
        if not by_client:
            for number in [number for number in self._streams if number > last]:
                self._forget(number)
        yield GoAway(by_client, last, int.from_bytes(frame.payload[4:8]), frame.payload[8:])

    def _forget(self, number: int) -> bool:
        stream = self._streams.pop(number, None)
        if stream is None:
            self._check_known(number)
            return False
        stream.request.drop()
        if stream.answer is not None:
            stream.answer.drop()
        return True

    def _check_known(self, number: int) -> None:
        # Frames may still arrive for a stream that the other side has broken off; what nobody opened is a mistake.
        if number > self._last or not number % 2:
            raise ProtocolError(f"a frame for stream {number}, which nobody opened")


def _stream_number(frame: Frame) -> int:
    if not frame.stream:
        raise ProtocolError(f"a frame of type {frame.kind} without a stream")
    return frame.stream


def _end(number: int, reader: MessageReader, by_client: bool) -> Iterator[Message]:
    try:
        body = reader.end()
    except ProtocolError as error:
        raise ProtocolError(f"stream {number}: {error}") from None
    if body is not None:
        yield Message(number, by_client, body)


def _is_interim(headers: Headers) -> bool:
    return any(name == b":status" and value.startswith(b"1") for name, value in headers)


def _decompress(side: _Direction) -> Headers:
    block = bytes(side.block)
    side.block = bytearray()
    side.block_stream = side.block_frames = 0
    try:
        return [(bytes(name), bytes(value)) for name, value in side.decoder.decode(block, raw=True)]
    except hpack.HPACKError as error:
        raise ProtocolError(f"headers that can't be decompressed: {error}") from error


def _take_settings(frame: Frame, other: _Direction) -> None:
    # What a side says here is what it is ready to take, so it is a limit of the other's bytes. A limit is never
    # lowered: until the other side has acknowledged it, it may use the former one.
    for number, value in settings(frame):
        if number == _MAX_FRAME_SIZE:
            other.frames.limit = max(other.frames.limit, min(value, 2**24 - 1))
        elif number == _HEADER_TABLE_SIZE:
            allowed = max(other.decoder.max_allowed_table_size, min(value, _TABLE_LIMIT))
            other.decoder.max_allowed_table_size = allowed
