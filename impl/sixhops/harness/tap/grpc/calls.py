"""gRPC calls as `HopMessage`s: reads both directions of a connection and records what they say.

One message for each call, one more for each event that an event stream delivers. A call's message begins with its
headers, can be seen while it is open, and is finished before the bytes that end it are passed on by whoever feeds this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sixhops.harness.scenario.model import Hop
from sixhops.harness.tap.decode import decode_bytes, find_method
from sixhops.harness.tap.grpc.lengthprefixed import Long
from sixhops.harness.tap.grpc.metadata import (
    Status,
    code_name,
    deadline,
    metadata,
    status_of,
    status_of_reset,
)
from sixhops.harness.tap.grpc.session import (
    Answered,
    Begun,
    Ended,
    GoAway,
    HalfClosed,
    Message,
    Reset,
    Session,
)
from sixhops.harness.tap.recorder import break_off, note_broken
from sixhops.harness.tap.values import BYTES_LIMIT, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message as ProtoMessage

    from sixhops.harness.exchange import Facet
    from sixhops.harness.tap.grpc.session import Event, Headers
    from sixhops.harness.tap.recorder import Recorder

__all__ = ["CallLog"]

#: Bytes that are kept of a connection that turns out to be something else.
_HEAD = 64
#: Messages of one direction of a call that are kept, and bytes of them; later ones are counted (`*_omitted`).
_KEPT_MESSAGES = 1000
_KEPT_BYTES = 4 * 1024 * 1024

_SUBSCRIBE = "/containerd.services.events.v1.Events/Subscribe"
#: Unary calls that wait for something to happen.
_WAITS = frozenset({"/containerd.services.tasks.v1.Tasks/Wait"})


class CallLog:
    """What passes one connection, written to the recorder. `client` is the number that its messages carry.

    `from_client` and `from_server` take the next bytes; ProtocolError when they are not HTTP/2 or gRPC. After that,
    and when the connection ends, `close` finishes the calls that are open.
    """

    def __init__(self, recorder: Recorder, client: int, hop: Hop = Hop.CONTAINERD) -> None:
        self._recorder = recorder
        self._client = client
        self._hop = hop
        self._session = Session()
        self._calls: dict[int, _Call] = {}
        self._changed: dict[int, _Call] = {}
        self._head = b""
        self._any = False

    def from_client(self, data: bytes) -> None:
        """Record what the client's next bytes say."""
        if not self._any:
            self._head = (self._head + data)[:_HEAD]
        self._take(self._session.from_client(data))

    def from_server(self, data: bytes) -> None:
        """Record what the server's next bytes say."""
        self._take(self._session.from_server(data))

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
        return self._session.torn

    def _take(self, events: Iterator[Event]) -> None:
        try:
            for event in events:
                self._event(event)
        finally:
            for call in self._changed.values():
                call.show()
            self._changed.clear()

    def _event(self, event: Event) -> None:
        if isinstance(event, GoAway):
            self._refuse(event)
            return
        number = event.stream
        if isinstance(event, Begun):
            self._any = True
            call = self._calls[number] = _Call(self._recorder, self._hop, self._client, event.headers)
        else:
            call = self._calls[number]
        match event:
            case Message():
                call.add(event.by_client, event.data)
            case Answered():
                call.answer_headers = event.headers
            case HalfClosed():
                call.asked = True
            case Ended():
                call.end(event.headers, alone=event.alone)
            case Reset():
                call.reset(event.by_client, event.code)
        if call.over:
            del self._calls[number]
            self._changed.pop(number, None)
        else:
            self._changed[number] = call

    def _refuse(self, event: GoAway) -> None:
        if event.by_client:
            return
        for number in [number for number in self._calls if number > event.last]:
            self._changed.pop(number, None)
            debug = event.debug[:200].decode("utf-8", "replace")
            self._calls.pop(number).break_off(f"the server went away (HTTP/2 error {event.code}, {debug!r})")


class _Side:
    """The messages of one direction of a call, as many as are kept."""

    __slots__ = ("_size", "count", "kept", "kind")

    def __init__(self, kind: type[ProtoMessage] | None) -> None:
        self.kind = kind
        self.kept: list[Any] = []
        self.count = 0
        self._size = 0

    def add(self, data: bytes | Long) -> None:
        self.count += 1
        if self.kept and (len(self.kept) >= _KEPT_MESSAGES or self._size >= _KEPT_BYTES):
            return
        value, removed = self.read(data)
        self._size += len(data) - removed
        self.kept.append(value)

    def read(self, data: bytes | Long) -> tuple[Any, int]:
        """Return a message as it is reported, and how many bytes of it are not."""
        if isinstance(data, Long):
            return {"length": data.length, "sha256": data.sha256, "head": data.head}, 0
        value = data if self.kind is None else decode_bytes(data, self.kind)
        return shorten(value) if len(data) > BYTES_LIMIT else (value, 0)

    def fields(self, name: str, *, streams: bool) -> dict[str, Any]:
        if not self.count:
            return {}
        several = streams or self.count > 1
        result: dict[str, Any] = {name: list(self.kept) if several else self.kept[0]}
        if self.count > len(self.kept):
            result[f"{name}s_omitted"] = self.count - len(self.kept)
        return result


class _Call:
    """One call while it passes; its message is finished when `over` becomes true."""

    def __init__(self, recorder: Recorder, hop: Hop, client: int, headers: Headers) -> None:
        path = next((value for name, value in headers if name == b":path"), b"").decode("latin-1")
        self._path = path
        self._service, _, self._method = path.removeprefix("/").rpartition("/")
        self._known = known = find_method(path)
        self._recorder = recorder
        self._hop = hop
        self._client = client
        self._headers = headers
        self._requests = _Side(known.request if known else None)
        self._responses = _Side(known.response if known else None)
        self._answered_early = False
        self._status: Status | None = None
        self._trailers: dict[str, Facet] | None = None
        self._cancelled = False
        self.answer_headers: Headers = []
        self.asked = False
        self.over = False
        streams = known is not None and (known.client_streaming or known.server_streaming)
        self._message = recorder.begin(hop, lasting=streams or path in _WAITS)

    def add(self, by_client: bool, data: bytes | Long) -> None:
        if by_client:
            self._requests.add(data)
        elif self._path == _SUBSCRIBE:
            self._responses.count += 1
            self._note_event(data)
        else:
            self._answered_early = self._answered_early or not self.asked
            self._responses.add(data)
        if self._known is None and (self._kind() != "unary") and not self._message.is_lasting:
            self._message.lasts()

    def show(self) -> None:
        """Let the recorder report the call as it stands."""
        self._message.update(f"{self._name} -> ...", self._fields(None))

    def end(self, trailers: Headers, *, alone: bool) -> None:
        """The server has ended the call."""
        self._trailers = metadata(trailers)
        self._status = status_of(trailers, trailers if alone else self.answer_headers)
        self._finish(self._status.error)

    def reset(self, by_client: bool, code: int) -> None:
        """One side has broken the call off."""
        if by_client:
            self._cancelled = True
            self._status = Status(1)
            self._finish(None)
        else:
            self._status = status_of_reset(code)
            self._finish(self._status.error)

    def break_off(self, error: str) -> None:
        """The connection has ended before the call did."""
        self._finish(error)

    @property
    def _name(self) -> str:
        if not self._service:
            return "?"
        short = self._service.rpartition(".")[2]
        # A shim may speak gRPC instead of ttrpc; its calls are called the same.
        bare = self._hop == Hop.SHIM and short == "Task"
        return self._method if bare else f"{short}/{self._method}"

    def _finish(self, error: str | None) -> None:
        self.over = True
        outcome = code_name(self._status.code) if self._status is not None else "no answer"
        self._message.finish(f"{self._name} -> {outcome}", self._fields(error))

    def _fields(self, error: str | None) -> dict[str, Facet]:
        headers, status = self._headers, self._status
        asked = metadata(headers)
        kind = self._kind()
        fields: dict[str, Any] = {
            "call": self._name,
            "kind": kind,
            "service": self._service,
            "method": self._method,
            "path": self._path,
            "status": code_name(status.code) if status is not None else "",
            "request_metadata": asked,
            "response_metadata": metadata(self.answer_headers),
            "trailers": self._trailers or {},
            "cancelled": self._cancelled,
            "complete": self._trailers is not None and error is None,
            "client": self._client,
        }
        if status is not None:
            fields |= {"code": status.code, "message": status.message}
            if status.details is not None:
                fields["details"] = status.details
        fields |= self._requests.fields("request", streams=kind in {"client_stream", "bidi"})
        if self._path == _SUBSCRIBE:
            fields["responses"] = self._responses.count
        else:
            fields |= self._responses.fields("response", streams=kind in {"server_stream", "bidi"})
        if "containerd-namespace" in asked:
            fields["namespace"] = asked["containerd-namespace"]
        seconds = deadline(headers)
        if seconds is not None:
            fields["deadline"] = seconds
        if error is not None:
            fields["error"] = error
        return fields

    def _kind(self) -> str:
        if self._known is not None:
            many_requests, many_responses = self._known.client_streaming, self._known.server_streaming
        else:
            many_requests = self._requests.count > 1 or self._answered_early
            many_responses = self._responses.count > 1
        if many_requests:
            return (
                "bidi"
                if many_responses or (self._known is None and self._answered_early)
                else "client_stream"
            )
        return "server_stream" if many_responses else "unary"

    def _note_event(self, data: bytes | Long) -> None:
        value, _ = self._responses.read(data)
        fields: dict[str, Any] = {"direction": "out", "client": self._client}
        topic = "?"
        if isinstance(value, dict) and "topic" in value:
            fields |= value
            topic = str(value["topic"])
        else:
            fields["event"] = value
        self._recorder.note(self._hop, f"event {topic}", fields)
