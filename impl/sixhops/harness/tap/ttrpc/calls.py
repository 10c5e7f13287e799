"""ttrpc calls as `HopMessage`s: reads both directions of a connection and records what they say.

One message for each call, from its request on; it is finished before the bytes that end it are passed on by whoever
feeds this. Methods of the task service have their bare name (`Create`), others the service's in front
(`Events/Forward`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from sixhops.harness.scenario.model import Hop
from sixhops.harness.tap.decode import decode, decode_bytes, find_method
from sixhops.harness.tap.errors import ProtocolError
from sixhops.harness.tap.grpc.metadata import code_name
from sixhops.harness.tap.recorder import break_off, note_broken
from sixhops.harness.tap.values import BYTES_LIMIT, shorten
from sixhops.wire.proto import rpc_pb2
from sixhops.wire.ttrpc.frames import FrameDecoder, FrameError, FrameType

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from sixhops.harness.exchange import Facet
    from sixhops.harness.tap.recorder import Recorder
    from sixhops.wire.ttrpc.frames import Frame

__all__ = ["TtrpcLog", "container_of"]

_TASK = "Task"
#: Calls that wait for something to happen.
_WAITS = frozenset({"Wait"})
_OPEN_LIMIT = 10_000
#: Messages of a stream that are kept; later ones are counted.
_KEPT = 1000
_HEAD = 64
#: A frame of a stream that only says that its sender will send no more.
_NO_DATA = 0x04


class TtrpcLog:
    """What passes one connection, written to the recorder. `client` is the number that its messages carry.

    `from_client` and `from_server` take the next bytes; ProtocolError when they are not ttrpc.
    """

    def __init__(self, recorder: Recorder, client: int, hop: Hop = Hop.SHIM) -> None:
        self._recorder = recorder
        self._client = client
        self._hop = hop
        self._sides = FrameDecoder(), FrameDecoder()
        self._calls: dict[int, _Call] = {}
        self._head = b""
        self._any = False

    def from_client(self, data: bytes) -> None:
        """Record what the client's next bytes say."""
        if not self._any:
            self._head = (self._head + data)[:_HEAD]
        for frame in self._frames(0, data):
            self._any = True
            if frame.type is FrameType.REQUEST:
                self._begin(frame)
            elif frame.type is FrameType.DATA and frame.stream in self._calls:
                self._calls[frame.stream].request_data(frame)
            elif frame.type is FrameType.RESPONSE:
                raise ProtocolError("a client sent an answer")

    def from_server(self, data: bytes) -> None:
        """Record what the server's next bytes say."""
        for frame in self._frames(1, data):
            call = self._calls.get(frame.stream)
            if frame.type is FrameType.REQUEST:
                raise ProtocolError("a server sent a request")
            if call is None:
                raise ProtocolError(f"an answer on stream {frame.stream}, where nobody asked")
            if frame.type is FrameType.DATA:
                call.response_data(frame)
            else:
                del self._calls[frame.stream]
                call.answer(frame)

    def close(self, reason: str, *, broken: bool) -> None:
        """The connection has ended: finish the calls that are open with `reason` as their `error`.

        `broken` says that the bytes of the connection made no sense, or ended in the middle: that is recorded also when
        no call was open, as a message of its own.
        """
        calls, self._calls = self._calls, {}
        if not break_off(calls.values(), reason) and broken:
            note_broken(self._recorder, self._hop, self._client, reason, None if self._any else self._head)

    @property
    def torn(self) -> bool:
        """Say whether the bytes so far end inside a frame."""
        try:
            for side in self._sides:
                side.end()
        except FrameError:
            return True
        return False

    def _frames(self, side: int, data: bytes) -> list[Frame]:
        try:
            return self._sides[side].feed(data)
        except FrameError as error:
            raise ProtocolError(f"not ttrpc: {error}") from error

    def _begin(self, frame: Frame) -> None:
        if len(self._calls) >= _OPEN_LIMIT:
            raise ProtocolError(f"more than {_OPEN_LIMIT} calls at once")
        former = self._calls.pop(frame.stream, None)
        if former is not None:
            former.break_off("the client began another call on its stream")
        self._calls[frame.stream] = _Call(self._recorder, self._hop, self._client, frame)


class _Call:
    """One call while it passes."""

    def __init__(self, recorder: Recorder, hop: Hop, client: int, frame: Frame) -> None:
        self._client = client
        self._error: str | None = None
        request = rpc_pb2.Request()
        try:
            request.ParseFromString(frame.payload)
        except DecodeError:
            self._error = "the request can't be read"
        if frame.oversized is not None:
            self._error = f"a request of {frame.oversized} bytes"
        self._service, self._method = request.service, request.method
        self._known = known = find_method(request.service, request.method) if request.method else None
        self._metadata = {pair.key: pair.value for pair in request.metadata}
        self._timeout = request.timeout_nano / 1e9 if request.timeout_nano else None
        self._streams = known is not None and (known.client_streaming or known.server_streaming)
        self._requests: list[Any] = []
        self._responses: list[Any] = []
        self._left_out = 0
        if self._error is not None and frame.oversized is None:
            self._requests.append(shorten(frame.payload)[0])
        elif self._error is None and not (known is not None and known.client_streaming):
            self._requests.append(self._read(request.payload, known.request if known else None))
        lasting = self._streams or self._method in _WAITS
        self._message = recorder.begin(hop, lasting=lasting)
        self._message.update(f"{self._name} -> ...", self._fields({"complete": False, "status": ""}))

    def request_data(self, frame: Frame) -> None:
        """Take a message that the client sends later on."""
        self._data(self._requests, frame, self._known.request if self._known else None)

    def response_data(self, frame: Frame) -> None:
        """Take a message that the server sends before it ends the call."""
        self._data(self._responses, frame, self._known.response if self._known else None)

    def answer(self, frame: Frame) -> None:
        """The server has ended the call."""
        response = rpc_pb2.Response()
        fields: dict[str, Any] = {"complete": True}
        try:
            response.ParseFromString(frame.payload)
        except DecodeError:
            fields["response"] = shorten(frame.payload)[0]
            self._finish(
                "?", {**fields, "complete": False, "status": "", "error": "the answer can't be read"}
            )
            return
        if frame.oversized is not None:
            self._finish(
                "?", {"complete": False, "status": "", "error": f"an answer of {frame.oversized} bytes"}
            )
            return
        code = response.status.code
        fields |= {"status": code_name(code), "code": code, "message": response.status.message}
        if response.status.details:
            fields["details"] = decode(response.status)["details"]
        if not self._streams and (code == 0 or response.payload):
            self._responses.append(
                self._read(response.payload, self._known.response if self._known else None)
            )
        self._finish(code_name(code), fields)

    def break_off(self, error: str) -> None:
        """The connection has ended before the call did."""
        self._finish("no answer", {"complete": False, "status": "", "error": error})

    @property
    def _name(self) -> str:
        if not self._method:
            return "?"
        service = self._service.rpartition(".")[2]
        return self._method if service == _TASK else f"{service}/{self._method}"

    def _data(self, kept: list[Any], frame: Frame, kind: type[Message] | None) -> None:
        if frame.flags & _NO_DATA:
            return
        self._streams = True
        if len(kept) < _KEPT:
            kept.append(self._read(frame.payload, kind))
        else:
            self._left_out += 1
        if not self._message.is_lasting:
            self._message.lasts()
        self._message.update(f"{self._name} -> ...", self._fields({"complete": False, "status": ""}))

    @staticmethod
    def _read(data: bytes, kind: type[Message] | None) -> Any:
        value = data if kind is None else decode_bytes(data, kind)
        return shorten(value)[0] if len(data) > BYTES_LIMIT else value

    def _finish(self, outcome: str, more: dict[str, Any]) -> None:
        self._message.finish(f"{self._name} -> {outcome}", self._fields(more))

    def _fields(self, more: dict[str, Any]) -> dict[str, Facet]:
        fields: dict[str, Any] = {
            "call": self._name,
            "service": self._service,
            "method": self._method,
            "request_metadata": self._metadata,
            "client": self._client,
        }
        for name, values in (("request", self._requests), ("response", self._responses)):
            if values:
                fields[name] = list(values) if self._streams else values[0]
        if self._left_out:
            fields["messages_omitted"] = self._left_out
        namespace = self._metadata.get("containerd-namespace-ttrpc")
        if namespace is not None:
            fields["namespace"] = namespace
        if self._timeout is not None:
            fields["deadline"] = self._timeout
        container = container_of(self._requests[0] if self._requests else None)
        if container:
            fields["container"] = container
        if self._error is not None:
            fields["error"] = self._error
        return fields | more


def container_of(request: Any) -> str:
    """Return the id of the container that a decoded request is about, "" when it names none."""
    if not isinstance(request, dict):
        return ""
    envelope = request.get("envelope")
    if isinstance(envelope, dict):
        return container_of(envelope.get("event"))
    found = request.get("container_id") or request.get("id") or ""
    return found if isinstance(found, str) else ""
