"""Websockets as dockerd 20.10 was seen to take and to refuse them: handshakes, and messages however they come."""

from __future__ import annotations

import asyncio

import pytest

from sixhops.dockerd.api.websocket import Event, Messages, WebSocketStream, answer, refusal

GOOD = {
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
MASK = b"\1\2\3\4"


def masked(first: int, data: bytes) -> bytes:
    size = len(data)
    head = bytes((first, 0x80 | size)) if size < 126 else bytes((first, 0xFE)) + size.to_bytes(2)
    return head + MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(data))


class Client:
    """The client's side: what it sends, piece by piece, and what it gets."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.got = b""
        self.is_closed = False

    async def read(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    async def write(self, data: bytes) -> None:
        self.got += data

    def close(self) -> None:
        self.is_closed = True


async def everything(client: Client) -> bytes:
    stream, found = WebSocketStream(client, framed=False), b""
    while data := await stream.read():
        found += data
    await stream.finish()
    return found


def test_answer_is_that_of_the_rfc() -> None:
    assert refusal(GOOD) == b""
    assert answer(GOOD) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("changed", "bytes_"),
    [
        ({"Upgrade": "foo"}, b"HTTP/1.1 400 Bad Request\r\n\r\nnot websocket protocol"),
        ({"Connection": "close"}, b"HTTP/1.1 400 Bad Request\r\n\r\nnot websocket protocol"),
        ({"Sec-WebSocket-Key": ""}, b"HTTP/1.1 400 Bad Request\r\n\r\nmismatch challenge/response"),
        (
            {"Sec-WebSocket-Version": "8"},
            b"HTTP/1.1 400 Bad Request\r\nSec-WebSocket-Version: 13\r\n\r\nmissing or bad WebSocket Version",
        ),
        ({"Sec-WebSocket-Protocol": "a, b"}, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ({"Sec-WebSocket-Key": "abc"}, b""),
        ({"Sec-WebSocket-Protocol": "a"}, b""),
    ],
)
def test_what_is_no_handshake_is_refused(changed: dict[str, str], bytes_: bytes) -> None:
    assert refusal(GOOD | changed) == bytes_


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_messages_however_they_are_cut(size: int) -> None:
    data = masked(0x81, b"word") + masked(0x82, b"") + masked(0x01, b"ab") + masked(0x82, b"x" * 300)
    messages, found = Messages(), b""

    for at in range(0, len(data), size):
        events = messages.feed(data[at : at + size])
        assert {event.kind for event in events} <= {"data"}
        found += b"".join(event.data for event in events)

    assert found == b"wordab" + b"x" * 300


def test_odd_kinds_are_data_and_control_messages_are_not() -> None:
    data = (
        masked(0xF1, b"a") + masked(0x83, b"b") + masked(0x89, b"p") + masked(0x8A, b"q") + masked(0x88, b"")
    )

    assert Messages().feed(data) == [
        Event("data", b"a"),
        Event("data", b"b"),
        Event("ping", b"p"),
        Event("pong", b"q"),
        Event("close"),
    ]


def test_a_ping_is_answered_and_a_close_ends_input() -> None:
    client = Client(masked(0x89, b"hi"), masked(0x81, b"x"), masked(0x88, b""), masked(0x81, b"late"))

    assert asyncio.run(everything(client)) == b"x"
    assert client.got == b"\x8a\x02hi" + b"\x88\x02\x03\xe8"
    assert client.is_closed


def test_who_does_not_mask_is_told_so() -> None:
    client = Client(b"\x81\x01x")

    assert asyncio.run(everything(client)) == b""
    assert client.got == b"\x88\x02\x03\xea" + b"\x88\x02\x03\xe8"


def test_output_comes_out_of_its_frames() -> None:
    async def scene() -> bytes:
        client = Client()
        stream = WebSocketStream(client, framed=True)
        await stream.write(b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0")
        await stream.write(b"\0\0\0\x01!")
        return client.got

    assert asyncio.run(scene()) == b"\x82\x02hi\x82\x01!"
