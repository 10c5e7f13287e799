"""Attach and exec: the operations that take the connection over, and attach over a websocket.

What is written before the stream is exact, byte for byte (observed on dockerd 20.10): attach sends no common
header at all, exec start sends them but no Date. An error that comes after an exec's connection was taken
over is part of its output.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from sixhops.dockerd.api import answers, bodies, websocket
from sixhops.dockerd.api.connection import Connection, Taken
from sixhops.dockerd.api.containers import size_of
from sixhops.dockerd.api.server import Route, route
from sixhops.dockerd.containers.streams.connection import AttachOptions
from sixhops.dockerd.errors import EngineError, conflict
from sixhops.wire.rawstream import Stream, encode

if TYPE_CHECKING:
    from aiohttp import web

    from sixhops.dockerd.api.server import Call
    from sixhops.dockerd.containers.manager import Containers
    from sixhops.dockerd.containers.streams.connection import ClientStream, Session

__all__ = ["routes"]

_RAW = "Content-Type: application/vnd.docker.raw-stream\r\n"
_UPGRADED = f"HTTP/1.1 101 UPGRADED\r\n{_RAW}Connection: Upgrade\r\nUpgrade: tcp\r\n"
_PLAIN = f"HTTP/1.1 200 OK\r\n{_RAW}"


def routes(containers: Containers) -> list[Route]:
    """Return the routes of a room of containers."""
    sessions: set[asyncio.Task[None]] = set()

    async def run(session: Session, stream: ClientStream) -> None:
        # the handler is cancelled when the client goes; the session notices by itself and ends in its own order
        task = asyncio.create_task(session.run(stream))
        sessions.add(task)
        task.add_done_callback(sessions.discard)
        await asyncio.shield(task)

    async def attach(call: Call) -> web.StreamResponse:
        try:
            session = await containers.attach(call["name"], _options(call))
        except EngineError as error:
            stream = _take(call)
            status = HTTPStatus(error.status)
            head = f"HTTP/1.1 {status.value} {status.phrase}\r\n{_RAW}\r\n"
            await stream.write(f"{head}{error.message}\r\n".encode())
            stream.close()
            return Taken()
        stream = _take(call)
        await stream.write(((_UPGRADED if _upgrade(call) else _PLAIN) + "\r\n").encode())
        await run(session, stream)
        return Taken()

    async def attach_websocket(call: Call) -> web.StreamResponse:
        session = await containers.attach(call["name"], _options(call))
        connection = _take(call)
        refusal = websocket.refusal(call.request.headers)
        if refusal:
            await connection.write(refusal)
            connection.close()
            return Taken()
        await connection.write(websocket.answer(call.request.headers))
        stream = websocket.WebSocketStream(connection, framed=not session.tty)
        await run(session, stream)
        await stream.finish()
        return Taken()

    async def exec_create(call: Call) -> web.StreamResponse:
        call.require_json()
        body = await call.json(bodies.EXEC_CREATE, empty="got EOF while reading request body")
        if not body.get("Cmd"):
            raise EngineError(400, "No exec command specified")
        identity = await containers.exec_create(call["name"], body)
        return await answers.json_answer(call.request, {"Id": identity}, 201)

    async def exec_start(call: Call) -> web.StreamResponse:
        call.require_json()
        body = await call.json(bodies.EXEC_START, empty="got EOF while reading request body")
        detach, tty = bool(body.get("Detach")), bool(body.get("Tty"))
        if detach:
            await asyncio.shield(asyncio.ensure_future(containers.exec_start(call["id"], detach, tty)))
            return answers.nothing(200)
        # start and take over in one operation that a vanishing client can't cut in half
        task = asyncio.create_task(_start_exec(call, containers, tty))
        sessions.add(task)
        task.add_done_callback(sessions.discard)
        await asyncio.shield(task)
        return Taken()

    async def exec_inspect(call: Call) -> web.StreamResponse:
        return await answers.json_answer(call.request, await containers.exec_inspect(call["id"]))

    async def exec_resize(call: Call) -> web.StreamResponse:
        height, width = size_of(call)
        await containers.exec_resize(call["id"], height, width)
        return answers.nothing(200)

    return [
        route("POST", "/containers/{name:.*}/attach", attach, hijacks=True),
        route("GET", "/containers/{name:.*}/attach/ws", attach_websocket, hijacks=True),
        route("POST", "/containers/{name:.*}/exec", exec_create),
        route("POST", "/exec/{id:.*}/start", exec_start, hijacks=True),
        route("POST", "/exec/{id:.*}/resize", exec_resize),
        route("GET", "/exec/{id:.*}/json", exec_inspect),
    ]


async def _start_exec(call: Call, containers: Containers, tty: bool) -> None:
    try:
        session = await containers.exec_start(call["id"], False, tty)
    except EngineError as error:
        is_early = error.status == HTTPStatus.NOT_FOUND or (
            error.status == HTTPStatus.CONFLICT and not error.message.startswith("Error: Exec command")
        )
        if is_early:
            raise
        stream = await _open_exec(call)
        text = f"{error.message}\r\n".encode()
        await stream.write(text if tty else encode(Stream.STDOUT, text))
        stream.close()
        return
    if session is None:
        raise conflict(f"exec {call['id']} was started detached")
    await session.run(await _open_exec(call))


async def _open_exec(call: Call) -> ClientStream:
    stream = _take(call)
    more = call.request.protocol.common if isinstance(call.request.protocol, Connection) else {}
    fields = sorted((answers.COMMON | dict(more)).items())
    head = _UPGRADED if _upgrade(call) else _PLAIN
    head += "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
    await stream.write(head.encode())
    return stream


def _take(call: Call) -> ClientStream:
    connection = call.request.protocol
    assert isinstance(connection, Connection)
    return connection.take_over()


def _upgrade(call: Call) -> bool:
    return "Upgrade" in call.request.headers


def _options(call: Call) -> AttachOptions:
    return AttachOptions(
        stream=call.flag("stream"),
        stdin=call.flag("stdin"),
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
        logs=call.flag("logs"),
        detach_keys=call.text("detachKeys"),
    )
