"""What is recorded of a ttrpc connection; every case whole, byte by byte and in pieces."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sixhops.harness.scenario.model import Hop
from sixhops.harness.tap.errors import ProtocolError
from sixhops.harness.tap.recorder import Recorder
from sixhops.harness.tap.ttrpc.calls import TtrpcLog, container_of
from sixhops.wire.proto import events_ttrpc_pb2, rpc_pb2, shim_v2_pb2
from sixhops.wire.ttrpc.frames import HEADER, Frame, FrameType, encode_frame

TASK = "containerd.task.v2.Task"
SIZES = pytest.mark.parametrize("size", [1, 7, 1 << 20])


class Wire:
    """Both peers' bytes, fed to a log in pieces of `size` bytes."""

    def __init__(self, size: int = 1 << 20) -> None:
        self.recorder = Recorder()
        self.log = TtrpcLog(self.recorder, 3)
        self._size = size

    def _feed(self, feed: Any, data: bytes) -> None:
        for at in range(0, len(data), self._size):
            feed(data[at : at + self._size])

    def ask(self, stream: int, method: str, payload: bytes = b"", service: str = TASK, **more: Any) -> None:
        request = rpc_pb2.Request(service=service, method=method, payload=payload, **more)
        self.client(Frame(FrameType.REQUEST, stream, request.SerializeToString()))

    def answer(self, stream: int, payload: bytes = b"", code: int = 0, message: str = "") -> None:
        response = rpc_pb2.Response(payload=payload)
        if code:
            response.status.code = code
            response.status.message = message
        self.server(Frame(FrameType.RESPONSE, stream, response.SerializeToString()))

    def client(self, frame: Frame) -> None:
        self._feed(self.log.from_client, encode_frame(frame))

    def server(self, frame: Frame) -> None:
        self._feed(self.log.from_server, encode_frame(frame))

    def seen(self) -> list[str]:
        return [message.summary for message in self.recorder.since(0)]


STATE = shim_v2_pb2.StateRequest(id="c").SerializeToString()


@SIZES
def test_a_call(size: int) -> None:
    wire = Wire(size)
    wire.ask(1, "State", STATE, timeout_nano=2_000_000_000, metadata=[rpc_pb2.KeyValue(key="k", value="v")])
    assert wire.seen() == ["State -> ..."]
    wire.answer(1, shim_v2_pb2.StateResponse(pid=7).SerializeToString())

    (message,) = wire.recorder.since(0)
    assert (message.hop, message.summary) == (Hop.SHIM, "State -> OK")
    assert message.fields == {
        "call": "State",
        "service": TASK,
        "method": "State",
        "request_metadata": {"k": "v"},
        "client": 3,
        "request": {"id": "c"},
        "response": {"pid": 7},
        "container": "c",
        "deadline": 2.0,
        "complete": True,
        "status": "OK",
        "code": 0,
        "message": "",
    }


@SIZES
def test_calls_overlap_and_fail(size: int) -> None:
    wire = Wire(size)
    wire.ask(1, "Wait", STATE)
    wire.ask(3, "Delete", STATE)
    wire.answer(3, code=5, message="container not created: not found")
    wire.answer(1)

    first, second = wire.recorder.since(0)
    assert (first.summary, second.summary) == ("Wait -> OK", "Delete -> NOT_FOUND")
    assert second.fields["message"] == "container not created: not found"
    assert "response" not in second.fields
    assert first.fields["response"] == {}


def test_an_empty_answer_has_no_body() -> None:
    wire = Wire()
    wire.ask(1, "Shutdown")
    wire.server(Frame(FrameType.RESPONSE, 1))
    assert wire.recorder.since(0)[0].fields["response"] == {}


def test_an_event_is_about_its_container() -> None:
    wire = Wire()
    event = events_ttrpc_pb2.ForwardRequest()
    event.envelope.topic = "/tasks/start"
    event.envelope.event.type_url = "containerd.events.TaskStart"
    event.envelope.event.value = b"\x0a\x01c"
    metadata = [rpc_pb2.KeyValue(key="containerd-namespace-ttrpc", value="moby")]
    wire.ask(
        1,
        "Forward",
        event.SerializeToString(),
        "containerd.services.events.ttrpc.v1.Events",
        metadata=metadata,
    )

    (message,) = wire.recorder.since(0)
    assert message.summary == "Events/Forward -> ..."
    assert message.fields["container"] == "c"
    assert message.fields["namespace"] == "moby"


def test_an_unknown_method_keeps_its_bytes() -> None:
    wire = Wire()
    wire.ask(1, "Do", b"\xff", "some.Thing")
    wire.answer(1, b"\0")
    (message,) = wire.recorder.since(0)
    assert message.summary == "Thing/Do -> OK"
    assert (message.fields["request"], message.fields["response"]) == (b"\xff", b"\0")


def test_what_is_no_request() -> None:
    wire = Wire()
    wire.client(Frame(FrameType.REQUEST, 1, b"\xff\xff"))
    wire.answer(1, code=3, message="no")
    (message,) = wire.recorder.since(0)
    assert message.summary == "? -> INVALID_ARGUMENT"
    assert message.fields["request"] == b"\xff\xff"
    assert message.fields["error"] == "the request can't be read"


def test_what_is_no_answer() -> None:
    wire = Wire()
    wire.ask(1, "State", STATE)
    wire.server(Frame(FrameType.RESPONSE, 1, b"\xff\xff"))
    (message,) = wire.recorder.since(0)
    assert message.summary == "State -> ?"
    assert message.fields["complete"] is False
    assert message.fields["response"] == b"\xff\xff"


def test_a_payload_over_the_limit_is_skipped() -> None:
    wire = Wire()
    wire.log.from_client(HEADER.pack(64 << 20, 1, 1, 0))
    for _ in range(64):
        wire.log.from_client(bytes(1 << 20))
    wire.answer(1, code=8, message="too long")
    wire.ask(3, "State", STATE)
    wire.answer(3)
    first, second = wire.recorder.since(0)
    assert first.summary == "? -> RESOURCE_EXHAUSTED"
    assert first.fields["error"] == f"a request of {64 << 20} bytes"
    assert second.summary == "State -> OK"


def test_a_stream_of_messages() -> None:
    wire = Wire()
    wire.ask(1, "Watch", b"", "some.Thing")
    wire.client(Frame(FrameType.DATA, 1, b"more"))
    wire.server(Frame(FrameType.DATA, 1, b"one"))
    wire.server(Frame(FrameType.DATA, 1, b"two"))
    wire.server(Frame(FrameType.DATA, 1, b"", flags=4))
    (message,) = wire.recorder.since(0, 5.0)
    assert message.fields["response"] == [b"one", b"two"]
    assert message.fields["request"] == [b"", b"more"]
    wire.answer(1)
    assert wire.seen() == ["Thing/Watch -> OK"]


def test_a_stream_without_end_is_bounded() -> None:
    wire = Wire()
    wire.ask(1, "Watch", b"", "some.Thing")
    for _ in range(1002):
        wire.server(Frame(FrameType.DATA, 1, b"x"))
    (message,) = wire.recorder.since(0)
    assert len(message.fields["response"]) == 1000  # type: ignore[arg-type]
    assert message.fields["messages_omitted"] == 2


def test_a_stream_that_begins_again() -> None:
    wire = Wire()
    wire.ask(1, "State", STATE)
    wire.ask(1, "Pids", STATE)
    assert wire.seen() == ["State -> no answer", "Pids -> ..."]


def test_the_end_of_the_connection() -> None:
    wire = Wire()
    wire.ask(1, "State", STATE)
    wire.log.from_client(b"\0\0")
    assert wire.log.torn
    wire.log.close("the connection ended", broken=True)
    assert wire.seen() == ["State -> no answer"]
    other = Wire()
    other.ask(1, "State", STATE)
    other.answer(1)
    assert not other.log.torn
    other.log.close("the connection ended", broken=False)
    assert other.seen() == ["State -> OK"]


@pytest.mark.parametrize(
    ("by_client", "data", "text"),
    [
        (True, b"GET / HTTP/1.1\r\n\r\n", "not ttrpc"),
        (True, HEADER.pack(0, 1, 9, 0), "unknown type 9"),
        (True, HEADER.pack(0, 1, 2, 0), "a client sent an answer"),
        (False, HEADER.pack(0, 1, 1, 0), "a server sent a request"),
        (False, HEADER.pack(0, 5, 2, 0), "stream 5, where nobody asked"),
    ],
)
def test_what_makes_no_sense(by_client: bool, data: bytes, text: str) -> None:
    log = TtrpcLog(Recorder(), 1)
    with pytest.raises(ProtocolError, match=text):
        (log.from_client if by_client else log.from_server)(data)


@pytest.mark.parametrize("seed", range(200))
def test_random_bytes_are_read_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    wire = Wire()
    raw = bytearray(
        encode_frame(Frame(FrameType.REQUEST, 1, rpc_pb2.Request(method="State").SerializeToString()))
    )
    raw += chance.randbytes(60)
    for _ in range(chance.randrange(4)):
        raw[chance.randrange(len(raw))] = chance.randrange(256)
    try:
        wire.log.from_client(bytes(raw))
        wire.log.from_server(chance.randbytes(30))
    except ProtocolError as error:
        wire.log.close(str(error), broken=True)
    wire.log.close("over", broken=False)
    assert not wire.recorder._open


@pytest.mark.parametrize(
    ("request_", "container"),
    [
        ({"id": "a"}, "a"),
        ({"container_id": "b", "id": "exec"}, "b"),
        ({"envelope": {"event": {"container_id": "c"}}}, "c"),
        ({"envelope": {}}, ""),
        ({"id": 5}, ""),
        (b"x", ""),
        (None, ""),
    ],
)
def test_container_of(request_: Any, container: str) -> None:
    assert container_of(request_) == container
