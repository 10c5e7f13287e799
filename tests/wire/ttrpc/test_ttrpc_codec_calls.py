import pytest

from sixhops.wire.ttrpc.calls import Answer, CallClient, CallServer
from sixhops.wire.ttrpc.frames import MAXIMUM_LENGTH, Frame, FrameError, FrameType, encode_frame
from sixhops.wire.ttrpc.status import Code, RpcError


def refusal_of(data: bytes, stream: int) -> RpcError:
    client = CallClient()
    while True:
        number, _request = client.call("s", "m", b"")
        if number == stream:
            break
    (answer,) = client.receive(data)
    assert answer.error is not None
    return answer.error


def test_call_arrives_as_sent() -> None:
    client, server = CallClient(), CallServer()

    stream, data = client.call("task", "State", b"payload", timeout=2.0, metadata={"k": "v"})
    (call,), refusals = server.receive(data)

    assert (call.stream, call.service, call.method, call.payload) == (stream, "task", "State", b"payload")
    assert (call.timeout, call.metadata, refusals) == (2.0, {"k": "v"}, b"")


def test_answers_in_another_order_than_the_calls() -> None:
    client, server = CallClient(), CallServer()
    first, one = client.call("s", "m", b"")
    second, two = client.call("s", "m", b"")
    server.receive(one + two)

    answers = client.receive(server.answer(second, b"2") + server.answer(first, b"1"))

    assert answers == [Answer(second, b"2"), Answer(first, b"1")]
    assert (first, second) == (1, 3)


def test_error_answer_carries_code_and_message() -> None:
    client, server = CallClient(), CallServer()
    stream, _data = client.call("s", "m", b"")

    (answer,) = client.receive(
        server.refuse(stream, RpcError(Code.NOT_FOUND, "container not created: not found"))
    )

    assert answer.error is not None
    assert (answer.error.code, answer.error.message) == (Code.NOT_FOUND, "container not created: not found")


def test_observed_error_answer_is_written_byte_for_byte() -> None:
    observed = bytes.fromhex("00000026000000030200") + bytes.fromhex(
        "0a2408051220636f6e7461696e6572206e6f7420637265617465643a206e6f7420666f756e64"
    )

    data = CallServer().refuse(3, RpcError(Code.NOT_FOUND, "container not created: not found"))

    assert data == observed


def test_empty_reply_has_no_body() -> None:
    assert CallServer().answer(15, b"") == bytes.fromhex("000000000000000f0200")


def test_stream_ids_must_be_odd() -> None:
    calls, refusals = CallServer().receive(encode_frame(Frame(FrameType.REQUEST, 2)))

    assert calls == []
    assert b"StreamID must be odd for client initiated streams" in refusals


def test_stream_ids_must_grow() -> None:
    server = CallServer()
    _stream, data = CallClient().call("s", "m", b"")
    server.receive(data)

    calls, refusals = server.receive(data)

    assert calls == []
    assert refusal_of(refusals, 1).message == "StreamID cannot be re-used and must increment"


def test_oversized_request_is_refused_and_the_connection_goes_on() -> None:
    server = CallServer()
    length = MAXIMUM_LENGTH + 5
    header = length.to_bytes(4, "big") + bytes.fromhex("000000010100")

    calls, refusals = server.receive(header + bytes(length))

    assert calls == []
    error = refusal_of(refusals, 1)
    assert error.code is Code.RESOURCE_EXHAUSTED
    assert error.message == "message length 4194309 exceed maximum message size of 4194304"


def test_request_that_is_no_protobuf_is_refused() -> None:
    _calls, refusals = CallServer().receive(encode_frame(Frame(FrameType.REQUEST, 1, b"\xff\xff")))

    assert refusal_of(refusals, 1).code is Code.INVALID_ARGUMENT


def test_response_from_a_client_drops_the_connection() -> None:
    with pytest.raises(FrameError, match="RESPONSE"):
        CallServer().receive(encode_frame(Frame(FrameType.RESPONSE, 1)))


def test_answer_to_a_forgotten_call_is_ignored() -> None:
    client, server = CallClient(), CallServer()
    stream, _data = client.call("s", "m", b"")
    client.forget(stream)

    assert client.receive(server.answer(stream, b"late")) == []


def test_streaming_answer_is_an_error_of_that_call() -> None:
    client = CallClient()
    stream, _data = client.call("s", "m", b"")

    (answer,) = client.receive(encode_frame(Frame(FrameType.DATA, stream, b"x")))

    assert answer.error is not None
    assert answer.error.code is Code.UNIMPLEMENTED


def test_unknown_status_code_becomes_unknown() -> None:
    assert RpcError(99, "x").code is Code.UNKNOWN
    assert repr(RpcError(5, "x")) == "RpcError(NOT_FOUND, 'x')"
