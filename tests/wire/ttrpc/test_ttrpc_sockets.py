import asyncio
import socket
import threading
from pathlib import Path

import pytest

from sixhops.wire.ttrpc import aio, blocking
from sixhops.wire.ttrpc.calls import Call, CallServer
from sixhops.wire.ttrpc.status import Code, RpcError


async def echo(call: Call) -> bytes:
    if call.method == "Fail":
        raise RpcError(Code.NOT_FOUND, "no such thing")
    if call.method == "Break":
        raise KeyError("oops")
    if call.method == "Hang":
        await asyncio.Event().wait()
    return call.payload


def answer_in_reverse(connection: socket.socket) -> None:
    server = CallServer()
    calls: list[Call] = []
    while len(calls) < 2:
        calls += server.receive(connection.recv(1 << 16))[0]
    for call in reversed(calls):
        connection.sendall(server.answer(call.stream, call.payload))
    connection.close()


def test_blocking_client_with_two_calls_under_way() -> None:
    ours, theirs = socket.socketpair()
    peer = threading.Thread(target=answer_in_reverse, args=[theirs])
    peer.start()

    with blocking.BlockingClient(ours) as client:
        first = client.begin("s", "m", b"1", timeout=20)
        second = client.begin("s", "m", b"2", timeout=20)
        assert client.finish(first, 20) == b"1"
        assert client.finish(second, 20) == b"2"
        peer.join(5)
        with pytest.raises(RpcError) as caught:
            client.call("s", "m", b"", timeout=20)
    assert caught.value.code is Code.UNAVAILABLE


def test_blocking_client_times_out() -> None:
    ours, theirs = socket.socketpair()

    with blocking.BlockingClient(ours) as client, theirs, pytest.raises(RpcError) as caught:
        client.call("s", "m", b"", timeout=0.01)

    assert caught.value.code is Code.DEADLINE_EXCEEDED


def test_blocking_client_without_a_server(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        blocking.connect(str(tmp_path / "none.sock"))


def test_asyncio_client_and_server(tmp_path: Path) -> None:
    async def scenario() -> list[object]:
        server = await aio.serve(tmp_path / "s.sock", echo)
        client = await aio.connect(str(tmp_path / "s.sock"))
        seen: list[object] = []
        replies = asyncio.gather(*(client.call("s", "m", str(i).encode(), timeout=20) for i in range(20)))
        seen.append(await replies == [str(i).encode() for i in range(20)])
        for method in ("Fail", "Break", "Hang"):
            try:
                await client.call("s", method, b"", timeout=0.05 if method == "Hang" else 20)
            except RpcError as error:
                seen.append((method, error.code))
        seen.append(await client.call("s", "m", b"still here", timeout=20))
        await client.close()
        server.close()
        try:
            await client.call("s", "m", b"")
        except RpcError as error:
            seen.append(error.code)
        return seen

    assert asyncio.run(scenario()) == [
        True,
        ("Fail", Code.NOT_FOUND),
        ("Break", Code.UNKNOWN),
        ("Hang", Code.DEADLINE_EXCEEDED),
        b"still here",
        Code.UNAVAILABLE,
    ]


def test_asyncio_server_drops_a_connection_that_speaks_something_else(tmp_path: Path) -> None:
    async def scenario() -> bytes:
        server = await aio.serve(tmp_path / "s.sock", echo)
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s.sock")
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        data = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        server.close()
        return data

    assert asyncio.run(scenario()) == b""


def test_asyncio_client_fails_its_calls_when_the_server_goes(tmp_path: Path) -> None:
    async def scenario() -> Code:
        async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_unix_server(hang_up, tmp_path / "s.sock")
        client = await aio.connect(str(tmp_path / "s.sock"))
        with pytest.raises(RpcError) as caught:
            await client.call("s", "m", b"", timeout=20)
        await asyncio.wait_for(client.closed.wait(), 20)
        server.close()
        return caught.value.code

    assert asyncio.run(scenario()) is Code.UNAVAILABLE
