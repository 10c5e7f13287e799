"""TLS under the API: half-closes, pauses, clients without it; against Python's own TLS as the client."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

import pytest

from certificates import certify
from sixhops.dockerd.api.tls import TlsProtocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BOUND = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certify(tmp_path_factory.mktemp("tls"))


class Client:
    """A TLS client by hand, so that it can say that it ends and go on reading."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, folder: Path) -> None:
        self.reader, self.writer = reader, writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=folder / "cert.pem")
        context.check_hostname = False
        self.tls = context.wrap_bio(self._incoming, self._outgoing)

    async def shake_hands(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._exchange()
            else:
                await self.flush()
                return

    async def flush(self) -> None:
        self.writer.write(self._outgoing.read())
        await self.writer.drain()

    async def _exchange(self) -> None:
        await self.flush()
        data = await asyncio.wait_for(self.reader.read(1 << 16), BOUND)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def send(self, data: bytes) -> None:
        self.tls.write(data)
        await self.flush()

    async def half_close(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        await self.flush()

    async def read(self) -> bytes:
        """Return the next plain bytes, b"" at the end."""
        while True:
            try:
                return self.tls.read(1 << 16)
            except ssl.SSLWantReadError:
                await self._exchange()
            except ssl.SSLZeroReturnError:
                return b""


class Above(asyncio.Protocol):
    """What stands above TLS: it notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.arrived = asyncio.Event()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.told.append(data)
        self.arrived.set()

    def eof_received(self) -> bool:
        self.told.append("end")
        self.arrived.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")
        self.arrived.set()

    async def await_(self, wanted: object) -> None:
        while wanted not in self.told:
            self.arrived.clear()
            await asyncio.wait_for(self.arrived.wait(), BOUND)


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[Above, asyncio.StreamReader, asyncio.StreamWriter]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    above = Above()
    server = await asyncio.get_running_loop().create_server(
        lambda: TlsProtocol(above, context), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield above, reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        if above.told and "lost" not in above.told:
            above.transport.abort()
            await above.await_("lost")
        server.close()
        await server.wait_closed()


def test_a_client_that_half_closes_is_still_answered(folder: Path) -> None:
    async def scene() -> None:
        async with served(folder) as (above, reader, writer):
            client = Client(reader, writer, folder)
            await client.shake_hands()
            await client.send(b"question")
            await client.half_close()
            await above.await_("end")
            above.transport.write(b"answer")
            assert await client.read() == b"answer"
            above.transport.close()
            assert await client.read() == b""
            await above.await_("lost")
            assert above.told == ["made", b"question", "end", "lost"]

    asyncio.run(scene())


def test_large_answers_and_requests_arrive_whole(folder: Path) -> None:
    data = bytes(range(256)) * (1 << 12)

    async def scene() -> None:
        async with served(folder) as (above, reader, writer):
            client = Client(reader, writer, folder)
            await client.shake_hands()
            await client.send(data)
            await client.half_close()
            await above.await_("end")
            assert b"".join(part for part in above.told if isinstance(part, bytes)) == data
            above.transport.writelines([data, b"", data])
            above.transport.close()
            seen = b""
            while piece := await client.read():
                seen += piece
            assert seen == data + data

    asyncio.run(scene())


def test_what_arrives_waits_while_reading_is_paused(folder: Path) -> None:
    async def scene() -> None:
        async with served(folder) as (above, reader, writer):
            client = Client(reader, writer, folder)
            await client.shake_hands()
            await client.send(b"first")
            await above.await_(b"first")
            above.transport.pause_reading()
            assert not above.transport.is_reading()
            await client.send(b"second")
            above.transport.write(b"go on")
            assert await client.read() == b"go on"
            assert above.told == ["made", b"first"]
            above.transport.resume_reading()
            await above.await_(b"second")

    asyncio.run(scene())


def test_a_client_that_vanishes_has_ended(folder: Path) -> None:
    async def scene() -> None:
        async with served(folder) as (above, reader, writer):
            client = Client(reader, writer, folder)
            await client.shake_hands()
            await client.send(b"x")
            await above.await_(b"x")
            writer.transport.abort()
            await above.await_("end")

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (
            b"GET / HTTP/1.1\r\n\r\n",
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
        ),
        (b"\x00\x01", b""),
    ],
)
def test_a_client_without_tls_is_told_so(folder: Path, data: bytes, answer: bytes) -> None:
    async def scene() -> None:
        async with served(folder) as (above, reader, writer):
            writer.write(data)
            assert await asyncio.wait_for(reader.read(), BOUND) == answer
            assert above.told == []

    asyncio.run(scene())
