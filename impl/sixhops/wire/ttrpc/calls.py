"""Calls on one connection, both ends, without a socket.

`CallServer` turns received bytes into `Call`s and answers into bytes; `CallClient` turns calls into bytes
and received bytes into answers by stream id. Any number of calls may be under way at once, and answers may
come in any order. Stream ids are odd and grow; a server refuses others with INVALID_ARGUMENT, as
containerd's does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from sixhops.wire.proto import rpc_pb2
from sixhops.wire.ttrpc.frames import Frame, FrameDecoder, FrameError, FrameType, encode_frame, too_long
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Answer", "Call", "CallClient", "CallServer"]


@dataclass(frozen=True, slots=True)
class Call:
    """A request as the server sees it. `timeout` is in seconds, None without one; metadata keeps the last
    value.
    """

    stream: int
    service: str
    method: str
    payload: bytes
    timeout: float | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as the client sees it: `error` is set when the status is not OK."""

    stream: int
    payload: bytes
    error: RpcError | None = None


class CallServer:
    """The server's end of one connection."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder()
        self._last = 0

    def receive(self, data: bytes) -> tuple[list[Call], bytes]:
        """Return the calls that `data` completes, and bytes to send at once (refusals of bad requests).

        An empty `data` means that the peer closed its end. FrameError: the connection must be dropped.
        """
        if not data:
            self._decoder.end()
            return [], b""
        calls: list[Call] = []
        refusals = b""
        for frame in self._decoder.feed(data):
            try:
                call = self._call(frame)
            except RpcError as error:
                refusals += self.refuse(frame.stream, error)
            else:
                calls.append(call)
        return calls, refusals

    def _call(self, frame: Frame) -> Call:
        if frame.oversized is not None:
            raise RpcError(Code.RESOURCE_EXHAUSTED, too_long(frame.oversized))
        if frame.stream % 2 == 0:
            raise RpcError(Code.INVALID_ARGUMENT, "StreamID must be odd for client initiated streams")
        if frame.type is FrameType.DATA:
            raise RpcError(Code.INVALID_ARGUMENT, "StreamID is no longer active")
        if frame.type is not FrameType.REQUEST:
            raise FrameError(f"a client sent a frame of type {frame.type.name}")
        if frame.stream <= self._last:
            raise RpcError(Code.INVALID_ARGUMENT, "StreamID cannot be re-used and must increment")
        self._last = frame.stream
        request = rpc_pb2.Request()
        try:
            request.ParseFromString(frame.payload)
        except DecodeError as error:
            raise RpcError(Code.INVALID_ARGUMENT, f"unmarshal request error: {error}") from error
        return Call(
            stream=frame.stream,
            service=request.service,
            method=request.method,
            payload=request.payload,
            timeout=request.timeout_nano / 1e9 if request.timeout_nano else None,
            metadata={pair.key: pair.value for pair in request.metadata},
        )

    def answer(self, stream: int, payload: bytes) -> bytes:
        """Return the bytes of a successful answer; an empty reply has no body at all, as observed."""
        body = rpc_pb2.Response(payload=payload).SerializeToString()
        try:
            return encode_frame(Frame(FrameType.RESPONSE, stream, body))
        except ValueError as error:
            return self.refuse(stream, RpcError(Code.RESOURCE_EXHAUSTED, str(error)))

    def refuse(self, stream: int, error: RpcError) -> bytes:
        """Return the bytes of a failed answer."""
        status = rpc_pb2.Status(code=int(error.code), message=error.message)
        body = rpc_pb2.Response(status=status).SerializeToString()
        return encode_frame(Frame(FrameType.RESPONSE, stream, body))


class CallClient:
    """The client's end of one connection."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder()
        self._next = 1
        self._open: set[int] = set()

    def call(
        self,
        service: str,
        method: str,
        payload: bytes,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Return the stream id of a new call and the bytes to send; `timeout` (seconds) is told to the
        server.
        """
        request = rpc_pb2.Request(
            service=service,
            method=method,
            payload=payload,
            timeout_nano=int(timeout * 1e9) if timeout is not None else 0,
            metadata=[rpc_pb2.KeyValue(key=key, value=value) for key, value in (metadata or {}).items()],
        )
        stream = self._next
        try:
            data = encode_frame(Frame(FrameType.REQUEST, stream, request.SerializeToString()))
        except ValueError as error:
            raise RpcError(Code.RESOURCE_EXHAUSTED, str(error)) from error
        self._next += 2
        self._open.add(stream)
        return stream, data

    def forget(self, stream: int) -> None:
        """Drop a call whose answer nobody awaits any more; a late answer is then ignored."""
        self._open.discard(stream)

    def receive(self, data: bytes) -> list[Answer]:
        """Return the answers that `data` completes; empty `data` is the end of the stream. FrameError as
        above.
        """
        if not data:
            self._decoder.end()
            return []
        answers = []
        for frame in self._decoder.feed(data):
            if frame.type is FrameType.REQUEST:
                raise FrameError("a server sent a frame of type REQUEST")
            if frame.stream not in self._open:
                continue
            self._open.discard(frame.stream)
            answers.append(_answer(frame))
        return answers


def _answer(frame: Frame) -> Answer:
    if frame.oversized is not None:
        return Answer(frame.stream, b"", RpcError(Code.RESOURCE_EXHAUSTED, too_long(frame.oversized)))
    if frame.type is FrameType.DATA:
        return Answer(frame.stream, b"", RpcError(Code.UNIMPLEMENTED, "streaming is not supported"))
    response = rpc_pb2.Response()
    try:
        response.ParseFromString(frame.payload)
    except DecodeError as error:
        return Answer(frame.stream, b"", RpcError(Code.INTERNAL, f"unmarshal response error: {error}"))
    if response.status.code != Code.OK:
        return Answer(frame.stream, b"", RpcError(response.status.code, response.status.message))
    return Answer(frame.stream, response.payload)
