"""What is recorded of a gRPC connection whose bytes are made here, in whole and in pieces."""

from __future__ import annotations

import struct
from typing import Any

import hpack
import pytest

from sixhops.harness.scenario.model import Hop
from sixhops.harness.tap.errors import ProtocolError
from sixhops.harness.tap.grpc.calls import CallLog
from sixhops.harness.tap.grpc.frames import PREFACE
from sixhops.harness.tap.recorder import Recorder
from sixhops.harness.tap.values import BYTES_LIMIT, shorten
from sixhops.wire.proto import content_pb2, tasks_pb2

GET = "/containerd.services.tasks.v1.Tasks/Get"
SUBSCRIBE = "/containerd.services.events.v1.Events/Subscribe"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class Wire:
    """Both peers' bytes, fed to a log in pieces of `size` bytes."""

    def __init__(self, size: int = 1 << 20, hop: Hop = Hop.CONTAINERD) -> None:
        self.recorder = Recorder()
        self.log = CallLog(self.recorder, 7, hop)
        self._size = size
        self._encoders = hpack.Encoder(), hpack.Encoder()
        self._feed(self.log.from_client, PREFACE + frame(4, 0, 0))
        self._feed(self.log.from_server, frame(4, 0, 0))

    def _feed(self, feed: Any, data: bytes) -> None:
        for at in range(0, len(data), self._size):
            feed(data[at : at + self._size])

    def ask(self, stream: int, path: str = GET, *headers: tuple[str, str]) -> None:
        listed = [(":path", path), ("content-type", "application/grpc"), *headers]
        self._feed(self.log.from_client, frame(1, 4, stream, self._encoders[0].encode(listed)))

    def send(self, stream: int, data: bytes, *, ends: bool = False) -> None:
        self._feed(self.log.from_client, frame(0, int(ends), stream, struct.pack(">BI", 0, len(data)) + data))

    def answer(self, stream: int, *headers: tuple[str, str], ends: bool = False) -> None:
        listed = [(":status", "200"), ("content-type", "application/grpc"), *headers]
        self._feed(self.log.from_server, frame(1, 4 | int(ends), stream, self._encoders[1].encode(listed)))

    def reply(self, stream: int, data: bytes) -> None:
        self._feed(self.log.from_server, frame(0, 0, stream, struct.pack(">BI", 0, len(data)) + data))

    def end(self, stream: int, status: str = "0") -> None:
        block = self._encoders[1].encode([("grpc-status", status)])
        self._feed(self.log.from_server, frame(1, 5, stream, block))

    def server(self, data: bytes) -> None:
        self._feed(self.log.from_server, data)

    def client(self, data: bytes) -> None:
        self._feed(self.log.from_client, data)

    def seen(self) -> list[str]:
        return [message.summary for message in self.recorder.since(0)]


SIZES = pytest.mark.parametrize("size", [1, 3, 1 << 20])


@SIZES
def test_a_call_is_seen_while_it_is_open_and_when_it_has_ended(size: int) -> None:
    wire = Wire(size)
    wire.ask(1, GET, ("containerd-namespace", "moby"))
    assert wire.seen() == ["Tasks/Get -> ..."]
    wire.send(1, tasks_pb2.GetRequest(container_id="c").SerializeToString(), ends=True)
    (message,) = wire.recorder.since(0)
    assert message.fields["request"] == {"container_id": "c"}
    assert message.fields["complete"] is False
    wire.answer(1)
    wire.reply(1, tasks_pb2.GetResponse().SerializeToString())
    assert wire.seen() == ["Tasks/Get -> ..."]
    wire.end(1)

    (message,) = wire.recorder.since(0)
    assert message.summary == "Tasks/Get -> OK"
    assert message.hop == Hop.CONTAINERD
    fields = message.fields
    assert fields["response"] == {}
    assert (fields["client"], fields["complete"], fields["namespace"]) == (7, True, "moby")
    assert (fields["status"], fields["code"], fields["message"]) == ("OK", 0, "")
    assert (fields["service"], fields["method"]) == ("containerd.services.tasks.v1.Tasks", "Get")


@SIZES
def test_order_is_that_of_beginnings(size: int) -> None:
    wire = Wire(size)
    for stream in (1, 3, 5):
        wire.ask(stream)
    wire.answer(5, ("grpc-status", "5"), ends=True)
    wire.answer(1, ("grpc-status", "0"), ends=True)

    assert wire.seen() == ["Tasks/Get -> OK", "Tasks/Get -> ...", "Tasks/Get -> NOT_FOUND"]


def test_what_bytes_are_like_that_are_no_message() -> None:
    wire = Wire()
    wire.ask(1)
    wire.send(1, b"\xff\xff", ends=True)
    wire.answer(1, ("grpc-status", "13"), ends=True)
    (message,) = wire.recorder.since(0)
    assert message.fields["request"] == b"\xff\xff"
    assert message.summary == "Tasks/Get -> INTERNAL"


def test_long_bytes_are_shortened() -> None:
    wire = Wire()
    data = bytes(BYTES_LIMIT + 1)
    wire.ask(1, "/containerd.services.content.v1.Content/Write")
    wire.send(1, content_pb2.WriteContentRequest(ref="r", data=data).SerializeToString(), ends=True)
    (message,) = wire.recorder.since(0)
    (request,) = message.fields["request"]  # type: ignore[misc,union-attr]
    assert request["ref"] == "r"  # type: ignore[call-overload,index]
    assert request["data"]["length"] == len(data)  # type: ignore[call-overload,index]
    assert shorten([b"", {"a": b"x" * BYTES_LIMIT}]) == ([b"", {"a": b"x" * BYTES_LIMIT}], 0)


def test_many_messages_are_counted_and_not_kept() -> None:
    wire = Wire()
    wire.ask(1, "/containerd.services.content.v1.Content/Write")
    for _ in range(1005):
        wire.send(1, b"")
    (message,) = wire.recorder.since(0)
    assert len(message.fields["request"]) == 1000  # type: ignore[arg-type]
    assert message.fields["requests_omitted"] == 5


def test_events_are_counted_in_their_subscription() -> None:
    wire = Wire()
    wire.ask(1, SUBSCRIBE)
    wire.send(1, b"", ends=True)
    wire.answer(1)
    wire.reply(1, b"\xff")
    first, event = wire.recorder.since(0)
    assert (first.summary, first.fields["responses"]) == ("Events/Subscribe -> ...", 1)
    assert (event.summary, event.fields["event"]) == ("event ?", b"\xff")


def test_a_call_that_the_client_breaks_off() -> None:
    wire = Wire()
    wire.ask(1)
    wire.client(frame(3, 0, 1, b"\0\0\0\x08"))
    (message,) = wire.recorder.since(0)
    assert message.summary == "Tasks/Get -> CANCELLED"
    assert message.fields["cancelled"] is True


def test_a_call_that_the_server_breaks_off() -> None:
    wire = Wire()
    wire.ask(1)
    wire.server(frame(3, 0, 1, b"\0\0\0\x07"))
    (message,) = wire.recorder.since(0)
    assert message.summary == "Tasks/Get -> UNAVAILABLE"
    assert message.fields["cancelled"] is False
    assert "HTTP/2 error 7" in str(message.fields["error"])


def test_calls_that_the_server_refuses_as_it_goes() -> None:
    wire = Wire()
    wire.ask(1)
    wire.ask(3)
    wire.server(frame(7, 0, 0, struct.pack(">II", 1, 11) + b"calm"))
    assert wire.seen() == ["Tasks/Get -> ...", "Tasks/Get -> no answer"]
    assert "calm" in str(wire.recorder.since(1)[0].fields["error"])


def test_the_end_of_the_connection_finishes_what_is_open() -> None:
    wire = Wire()
    wire.ask(1)
    wire.ask(3, SUBSCRIBE)
    wire.log.close("the connection ended", broken=False)
    assert wire.seen() == ["Tasks/Get -> no answer", "Events/Subscribe -> no answer"]
    assert wire.recorder.since(0)[0].fields["error"] == "the connection ended"


def test_what_is_no_http2_is_recorded_with_its_beginning() -> None:
    recorder = Recorder()
    log = CallLog(recorder, 1)
    with pytest.raises(ProtocolError) as caught:
        log.from_client(b"GET / HTTP/1.1\r\n\r\n")
    log.close(str(caught.value), broken=True)
    (message,) = recorder.since(0)
    assert message.summary == "? -> no answer"
    assert message.fields["request_raw"] == b"GET / HTTP/1.1\r\n\r\n"


def test_a_path_without_a_service() -> None:
    wire = Wire()
    wire.ask(1, "nonsense")
    assert wire.seen() == ["? -> ..."]


def test_a_shim_that_speaks_grpc() -> None:
    wire = Wire(hop=Hop.SHIM)
    wire.ask(1, "/containerd.task.v3.Task/State")
    wire.ask(3, "/containerd.services.ttrpc.events.v1.Events/Forward")
    assert wire.seen() == ["State -> ...", "Events/Forward -> ..."]
    assert wire.recorder.since(0)[0].hop == Hop.SHIM
