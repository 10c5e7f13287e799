"""A real gRPC client and server with the tap between them: what both see, and what is recorded."""

from __future__ import annotations

import errno
import os
import random
import socket
import struct
import threading
import time
from concurrent import futures
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from sixhops.harness.scenario.model import Hop
from sixhops.harness.tap.grpc.frames import PREFACE
from sixhops.harness.tap.grpc.tap import GrpcTap
from sixhops.harness.tap.recorder import Recorder
from sixhops.wire.proto import content_pb2, rpc_pb2, tasks_pb2, types_pb2
from sixhops.wire.proto.services import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sixhops.harness.exchange import HopMessage

WAIT = 20.0
TASKS = "/containerd.services.tasks.v1.Tasks/"
CONTENT = "/containerd.services.content.v1.Content/"
EVENTS = "/containerd.services.events.v1.Events/Subscribe"


def same(data: bytes) -> bytes:
    return data


class Services(grpc.GenericRpcHandler):
    """Answers paths with handlers that take and give bytes; notes what it was asked."""

    def __init__(self) -> None:
        self.seen: dict[str, dict[str, Any]] = {}
        self.cancelled = threading.Event()
        self.going = threading.Event()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        path = details.method
        self.seen[path] = dict(details.invocation_metadata)
        table: dict[str, grpc.RpcMethodHandler] = {
            TASKS + "Get": grpc.unary_unary_rpc_method_handler(self.get),
            TASKS + "Kill": grpc.unary_unary_rpc_method_handler(self.refuse),
            TASKS + "Wait": grpc.unary_unary_rpc_method_handler(self.wait),
            CONTENT + "Read": grpc.unary_stream_rpc_method_handler(self.read),
            CONTENT + "Write": grpc.stream_stream_rpc_method_handler(self.write),
            EVENTS: grpc.unary_stream_rpc_method_handler(self.subscribe),
            "/some.Thing/Collect": grpc.stream_unary_rpc_method_handler(self.collect),
            "/some.Thing/Echo": grpc.unary_unary_rpc_method_handler(lambda data, _: data),
        }
        return table.get(path)

    def get(self, _data: bytes, context: grpc.ServicerContext) -> bytes:
        context.send_initial_metadata((("first", "1"), ("blob-bin", b"\0\xff")))
        context.set_trailing_metadata((("last", "z"),))
        answer = tasks_pb2.GetResponse()
        answer.process.id = "one"
        answer.process.pid = 7
        return answer.SerializeToString()

    def refuse(self, _data: bytes, context: grpc.ServicerContext) -> bytes:
        status = rpc_pb2.Status(code=5, message="no such täsk: not found")
        pack(status.details.add(), tasks_pb2.GetRequest(container_id="x"))
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(grpc.StatusCode.NOT_FOUND, status.message)
        raise AssertionError

    def wait(self, _data: bytes, context: grpc.ServicerContext) -> bytes:
        context.add_callback(self.cancelled.set)
        self.going.set()
        self.cancelled.wait(WAIT)
        return b""

    def read(self, data: bytes, _context: grpc.ServicerContext) -> Iterator[bytes]:
        request = content_pb2.ReadContentRequest.FromString(data)
        for number in range(request.size):
            yield content_pb2.ReadContentResponse(offset=number, data=b"x").SerializeToString()

    def write(self, parts: Iterator[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
        for part in parts:
            request = content_pb2.WriteContentRequest.FromString(part)
            yield content_pb2.WriteContentResponse(offset=request.offset).SerializeToString()

    def subscribe(self, _data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(self.cancelled.set)
        for topic in ("/tasks/create", "/tasks/start"):
            yield types_pb2.Envelope(topic=topic, namespace="moby").SerializeToString()
        self.cancelled.wait(WAIT)

    def collect(self, parts: Iterator[bytes], _context: grpc.ServicerContext) -> bytes:
        return b"".join(parts)


class Place:
    """A gRPC server, a tap before it, and the recorder."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self.services = Services()
        self.upstream = directory / "up.sock"
        self.path = directory / "tap.sock"
        self._stack = stack
        self.start_server()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen(128)
        self.recorder = Recorder()
        self.tap = stack.enter_context(GrpcTap(listener, self.upstream, self.recorder))

    def start_server(self) -> None:
        pool = self._stack.enter_context(futures.ThreadPoolExecutor(8))
        self.server = grpc.server(
            pool, handlers=[self.services], options=[("grpc.max_receive_message_length", -1)]
        )
        self.server.add_insecure_port(f"unix:{self.upstream}")
        self.server.start()
        self._stack.callback(lambda: self.server.stop(0).wait(WAIT))

    def channel(self, **options: Any) -> grpc.Channel:
        local = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", -1),
            *options.items(),
        ]
        return self._stack.enter_context(grpc.insecure_channel(f"unix:{self.path}", options=local))

    def raw(self) -> socket.socket:
        client = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        client.settimeout(WAIT)
        client.connect(str(self.path))
        return client

    def messages(self) -> list[HopMessage]:
        return self.recorder.since(0, WAIT)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(stack, tmp_path)


GET = tasks_pb2.GetRequest(container_id="c", exec_id="").SerializeToString()


def test_a_unary_call_passes_and_is_recorded(place: Place) -> None:
    call = place.channel().unary_unary(TASKS + "Get")
    answer, ended = call.with_call(
        GET, timeout=WAIT, metadata=(("containerd-namespace", "moby"), ("x-bin", b"\1\2"))
    )

    assert tasks_pb2.GetResponse.FromString(answer).process.pid == 7
    assert dict(ended.initial_metadata())["blob-bin"] == b"\0\xff"
    assert dict(ended.trailing_metadata())["last"] == "z"
    (message,) = place.messages()
    assert message.hop == Hop.CONTAINERD
    assert message.summary == "Tasks/Get -> OK"
    fields = message.fields
    assert fields["call"] == "Tasks/Get"
    assert fields["kind"] == "unary"
    assert fields["namespace"] == "moby"
    assert fields["request"] == {"container_id": "c"}
    assert fields["response"] == {"process": {"id": "one", "pid": 7}}
    assert fields["request_metadata"] == {"containerd-namespace": "moby", "x-bin": b"\1\2"}
    assert fields["response_metadata"] == {"first": "1", "blob-bin": b"\0\xff"}
    assert fields["trailers"] == {"last": "z"}
    assert fields["complete"] is True
    # grpc rounds a time-out up to a few digits before it sends it.
    assert 0 < fields["deadline"] <= WAIT * 1.1  # type: ignore[operator]
    assert place.services.seen[TASKS + "Get"]["x-bin"] == b"\1\2"


def test_a_status_passes_with_message_and_details(place: Place) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        place.channel().unary_unary(TASKS + "Kill")(b"", timeout=WAIT)

    error = caught.value
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error.details() == "no such täsk: not found"
    raw = dict(error.trailing_metadata())["grpc-status-details-bin"]
    assert rpc_pb2.Status.FromString(raw).details[0].type_url.endswith("GetRequest")
    (message,) = place.messages()
    assert message.summary == "Tasks/Kill -> NOT_FOUND"
    assert message.fields["code"] == 5
    assert message.fields["message"] == "no such täsk: not found"
    assert message.fields["details"] == [
        {"@type": "containerd.services.tasks.v1.GetRequest", "container_id": "x"}
    ]


def test_an_unknown_method_keeps_its_bytes(place: Place) -> None:
    assert place.channel().unary_unary("/some.Thing/Echo")(b"\xff\0", timeout=WAIT) == b"\xff\0"
    with pytest.raises(grpc.RpcError) as caught:
        place.channel().unary_unary("/some.Thing/Else")(b"", timeout=WAIT)

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    first, second = place.messages()
    assert (first.summary, first.fields["request"], first.fields["response"]) == (
        "Thing/Echo -> OK",
        b"\xff\0",
        b"\xff\0",
    )
    assert second.summary == "Thing/Else -> UNIMPLEMENTED"
    assert second.fields["client"] != first.fields["client"]


def test_a_server_stream(place: Place) -> None:
    request = content_pb2.ReadContentRequest(size=3).SerializeToString()
    assert len(list(place.channel().unary_stream(CONTENT + "Read")(request, timeout=WAIT))) == 3

    (message,) = place.messages()
    assert message.summary == "Content/Read -> OK"
    assert message.fields["kind"] == "server_stream"
    assert message.fields["request"] == {"size": 3}
    assert message.fields["response"] == [
        {"data": b"x"},
        {"offset": 1, "data": b"x"},
        {"offset": 2, "data": b"x"},
    ]


def test_a_client_stream(place: Place) -> None:
    call = place.channel().stream_unary("/some.Thing/Collect")
    assert call(iter([b"a", b"b", b"c"]), timeout=WAIT) == b"abc"

    (message,) = place.messages()
    assert message.summary == "Thing/Collect -> OK"
    assert message.fields["kind"] == "client_stream"
    assert message.fields["request"] == [b"a", b"b", b"c"]
    assert message.fields["response"] == b"abc"


def test_a_conversation_goes_on_in_both_directions(place: Place) -> None:
    turn = threading.Semaphore(1)
    answers = []

    def requests() -> Iterator[bytes]:
        for number in range(3):
            assert turn.acquire(timeout=WAIT)
            yield content_pb2.WriteContentRequest(offset=number).SerializeToString()

    for answer in place.channel().stream_stream(CONTENT + "Write")(requests(), timeout=WAIT):
        answers.append(content_pb2.WriteContentResponse.FromString(answer).offset)
        turn.release()

    assert answers == [0, 1, 2]
    (message,) = place.messages()
    assert message.fields["kind"] == "bidi"
    assert message.fields["request"] == [{}, {"offset": 1}, {"offset": 2}]


def test_a_cancelled_call_is_cancelled_at_the_server_too(place: Place) -> None:
    call = place.channel().unary_unary(TASKS + "Wait").future(b"", timeout=WAIT)
    assert place.services.going.wait(WAIT)
    (open_one,) = place.recorder.since(0)
    assert open_one.summary == "Tasks/Wait -> ..."
    call.cancel()
    assert place.services.cancelled.wait(WAIT)

    (message,) = place.messages()
    assert message.summary == "Tasks/Wait -> CANCELLED"
    assert message.fields["cancelled"] is True


def test_a_deadline_reaches_the_server(place: Place) -> None:
    channel = place.channel()
    assert (
        channel.unary_unary("/some.Thing/Echo")(b"", timeout=WAIT) == b""
    )  # what follows need not connect first

    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(TASKS + "Wait")(b"", timeout=0.5)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert place.services.cancelled.wait(WAIT)
    *_, message = place.messages()
    # what is left of it when the call is sent, which grpc rounds up
    assert 0 < message.fields["deadline"] <= 0.6  # type: ignore[operator]


def test_events_of_a_subscription_are_messages_of_their_own(place: Place) -> None:
    call = place.channel().unary_stream(EVENTS)(b"", timeout=WAIT)
    assert next(call)
    assert next(call)
    seen = [message.summary for message in place.recorder.since(0)]
    call.cancel()

    assert seen == ["Events/Subscribe -> ...", "event /tasks/create", "event /tasks/start"]


def test_compressed_messages_are_read(place: Place) -> None:
    text = b"a" * 5000
    call = place.channel().unary_unary("/some.Thing/Echo")
    assert call(text, timeout=WAIT, compression=grpc.Compression.Gzip) == text

    (message,) = place.messages()
    assert message.fields["request"]["length"] == 5000  # type: ignore[index,call-overload]


def test_a_large_message_passes_whole_and_is_recorded_by_digest(place: Place) -> None:
    blob = random.Random(1).randbytes(24 * 1024 * 1024)
    assert place.channel().unary_unary("/some.Thing/Echo")(blob, timeout=60) == blob

    (message,) = place.messages()
    assert message.fields["request"]["length"] == len(blob)  # type: ignore[index,call-overload]


def test_a_call_is_recorded_before_its_answer_is_there(place: Place) -> None:
    call = place.channel().unary_unary(TASKS + "Get")
    for number in range(50):
        call(GET, timeout=WAIT)
        done = [message for message in place.recorder.since(0) if message.fields["complete"]]
        assert len(done) == number + 1


def test_many_clients_at_once(place: Place) -> None:
    def talk(_: int) -> None:
        call = place.channel().unary_unary("/some.Thing/Echo")
        for number in range(20):
            assert call(b"%d" % number, timeout=WAIT) == b"%d" % number

    with futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(talk, range(8)))

    messages = place.messages()
    assert len(messages) == 160
    assert len({message.fields["client"] for message in messages}) == 8


def test_a_server_that_comes_back_is_found_again(place: Place) -> None:
    place.server.stop(0).wait(WAIT)
    place.upstream.unlink(missing_ok=True)
    client = place.raw()
    assert client.recv(100) == b""
    place.start_server()

    assert place.channel().unary_unary("/some.Thing/Echo")(b"x", timeout=WAIT) == b"x"


def frame(length: int, kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", length)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


SETTINGS = frame(0, 4, 0, 0)
BAD = {
    "random bytes": random.Random(2).randbytes(4000),
    "text": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20,
    "a frame of 64 MiB less a byte": PREFACE + SETTINGS + frame(0xFFFFFF, 0, 0, 1, b"x" * 1000),
    "random frames": PREFACE + SETTINGS + random.Random(3).randbytes(4000),
    "headers that can't be decompressed": PREFACE + SETTINGS + frame(4, 1, 4, 1, b"\xff\xff\xff\xff"),
    "data for nobody": PREFACE + SETTINGS + frame(1, 0, 0, 9, b"x"),
    "a torn frame": PREFACE + SETTINGS + frame(100, 1, 4, 1, b"x" * 20),
    "a torn preface": PREFACE[:10],
    "nothing": b"",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_bytes_end_their_connection_and_no_other(place: Place, name: str) -> None:
    other = place.channel().unary_unary("/some.Thing/Echo")
    assert other(b"before", timeout=WAIT) == b"before"
    client = place.raw()
    client.sendall(BAD[name])
    client.shutdown(socket.SHUT_WR)
    while client.recv(65536):
        pass

    assert other(b"after", timeout=WAIT) == b"after"
    messages = place.messages()
    assert [message.summary for message in messages if message.fields["complete"]] == ["Thing/Echo -> OK"] * 2
    assert len(messages) == (2 if name == "nothing" else 3)


@pytest.mark.parametrize("seed", range(5))
def test_bytes_that_are_not_http2_pass_unchanged(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    blobs = [chance.randbytes(chance.randrange(1, 200_000)) for _ in range(2)]
    both_sides(tmp_path, blobs[0], blobs[1])


def test_http2_passes_unchanged_although_nobody_understands_it(tmp_path: Path) -> None:
    there = PREFACE + SETTINGS + frame(5, 200, 7, 3, b"?????") + b"\0\0"
    both_sides(tmp_path, there, SETTINGS + frame(3, 0, 1, 1, b"abc"))


def both_sides(directory: Path, there: bytes, back: bytes) -> None:
    """Send bytes in both directions at once, and compare what comes out on the other side of the tap."""
    got = []
    with socket.socket(socket.AF_UNIX) as server, ExitStack() as stack:
        server.bind(str(directory / "up.sock"))
        server.listen()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(directory / "tap.sock"))
        listener.listen()
        stack.enter_context(GrpcTap(listener, directory / "up.sock", Recorder()))

        def serve() -> None:
            with server.accept()[0] as connection:
                exchange(connection, back, got.append)

        thread = threading.Thread(target=serve)
        thread.start()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(directory / "tap.sock"))
            exchange(client, there, got.append)
        thread.join(WAIT)
    assert sorted(got) == sorted([there, back])


def exchange(connection: socket.socket, data: bytes, put: Callable[[bytes], None]) -> None:
    connection.settimeout(WAIT)

    def send() -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    received = b""
    while part := connection.recv(65536):
        received += part
    sender.join(WAIT)
    put(received)


def test_a_peer_that_does_not_read_slows_the_other_one_down(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, ExitStack() as stack:
        server.bind(str(tmp_path / "up.sock"))
        server.listen()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "tap.sock"))
        listener.listen()
        stack.enter_context(GrpcTap(listener, tmp_path / "up.sock", Recorder()))
        client = stack.enter_context(socket.socket(socket.AF_UNIX))
        client.connect(str(tmp_path / "tap.sock"))
        client.setblocking(False)
        connection = stack.enter_context(server.accept()[0])
        sent = 0
        piece = os.urandom(65536)
        stuck = threading.Event()
        while sent < 64 * 1024 * 1024:
            try:
                sent += client.send(piece)
            except BlockingIOError:
                if stuck.wait(0.3) or not _writable(client):
                    break
        assert sent < 16 * 1024 * 1024
        connection.settimeout(WAIT)
        received = 0
        while received < sent:
            received += len(connection.recv(1 << 20))


def _writable(connection: socket.socket) -> bool:
    import select

    return bool(select.select([], [connection], [], 0)[1])


def test_a_connection_that_could_not_be_accepted_is_not_lost(tmp_path: Path) -> None:
    class Full(socket.socket):
        """No descriptor is left, twice."""

        failures = 2

        def accept(self) -> tuple[socket.socket, Any]:
            if self.failures:
                self.failures -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    with socket.socket(socket.AF_UNIX) as server, ExitStack() as stack:
        server.bind(str(tmp_path / "up.sock"))
        server.listen()
        server.settimeout(WAIT)
        listener = Full(socket.AF_UNIX)
        listener.bind(str(tmp_path / "tap.sock"))
        listener.listen()
        stack.enter_context(GrpcTap(listener, tmp_path / "up.sock", Recorder()))
        client = stack.enter_context(socket.socket(socket.AF_UNIX))
        client.settimeout(WAIT)
        client.connect(str(tmp_path / "tap.sock"))
        client.sendall(b"hello")
        connection = stack.enter_context(server.accept()[0])
        connection.settimeout(WAIT)
        assert connection.recv(100) == b"hello"
        assert listener.failures == 0


@pytest.mark.parametrize("server_goes", [True, False])
def test_a_peer_that_vanishes_in_the_middle_of_a_call(place: Place, server_goes: bool) -> None:
    channel = place.channel()
    call = channel.unary_unary(TASKS + "Wait").future(b"", timeout=WAIT)
    assert place.services.going.wait(WAIT)
    if server_goes:
        place.server.stop(0)
    else:
        channel.close()
    with pytest.raises((grpc.RpcError, grpc.FutureCancelledError)):
        call.result(WAIT)

    deadline = time.monotonic() + WAIT
    with place.recorder._changed:
        # The client is not told of what it has done itself, so the message may end a little later.
        while place.recorder._open:
            assert place.recorder._changed.wait(deadline - time.monotonic())
    (message,) = place.messages()
    assert message.summary.startswith("Tasks/Wait -> ")


def test_close_finishes_what_is_open(place: Place) -> None:
    call = place.channel().unary_unary(TASKS + "Wait").future(b"", timeout=WAIT)
    assert place.services.going.wait(WAIT)
    place.tap.close()
    place.tap.close()

    (message,) = place.messages()
    assert message.summary == "Tasks/Wait -> no answer"
    assert message.fields["error"] == "the tap was closed"
    call.cancel()


@pytest.fixture(scope="module")
def conversation(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a real client sends when it makes two calls."""
    directory = tmp_path_factory.mktemp("conversation")
    said = bytearray()
    with ExitStack() as stack:
        place = Place(stack, directory)
        between = stack.enter_context(socket.socket(socket.AF_UNIX))
        between.bind(str(directory / "between.sock"))
        between.listen()

        def carry(source: socket.socket, sink: socket.socket, copy: bytearray | None) -> None:
            while part := source.recv(65536):
                if copy is not None:
                    copy += part
                sink.sendall(part)
            sink.shutdown(socket.SHUT_WR)

        def serve() -> None:
            client = stack.enter_context(between.accept()[0])
            server = place.raw()
            server.settimeout(None)
            back = threading.Thread(target=carry, args=(server, client, None), daemon=True)
            back.start()
            carry(client, server, said)
            back.join(WAIT)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with grpc.insecure_channel(f"unix:{directory}/between.sock") as channel:
            channel.unary_unary("/some.Thing/Echo")(b"x" * 300, timeout=WAIT)
            channel.unary_unary(TASKS + "Get")(GET, timeout=WAIT, metadata=(("a-bin", b"\0\1"),))
        thread.join(WAIT)
    return bytes(said)


@pytest.mark.parametrize("seed", range(40))
def test_corrupted_conversations_disturb_nobody(place: Place, conversation: bytes, seed: int) -> None:
    chance = random.Random(seed)
    raw = bytearray(conversation)
    for _ in range(chance.randrange(1, 8)):
        raw[chance.randrange(len(PREFACE), len(raw))] = chance.randrange(256)
    if seed % 4 == 0:
        del raw[chance.randrange(len(raw)) :]
    other = place.channel().unary_unary("/some.Thing/Echo")
    assert other(b"before", timeout=WAIT) == b"before"
    client = place.raw()
    # In pieces, so that frames are torn; the server may hang up before the end.
    with suppress(BrokenPipeError, ConnectionResetError):
        for at in range(0, len(raw), 50):
            client.sendall(raw[at : at + 50])
        if seed % 2:
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
    client.close()

    assert other(b"after", timeout=WAIT) == b"after"
    seen = [message.summary for message in place.recorder.since(0)]
    assert seen.count("Thing/Echo -> OK") >= 2
    assert not [m for m in place.recorder.since(0) if "the tap failed" in str(m.fields.get("error"))]
