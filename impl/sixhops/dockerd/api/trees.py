"""A container's files: /containers/{id}/export, /changes and /archive."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

from aiohttp import web

from sixhops.dockerd.api import answers, bodies
from sixhops.dockerd.api.server import Route, route
from sixhops.dockerd.errors import invalid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sixhops.dockerd.api.server import Call
    from sixhops.dockerd.containers.rootfs.trees import Trees

__all__ = ["routes"]

_TAR = "application/x-tar"
_STAT = "X-Docker-Container-Path-Stat"
_QUALITY = re.compile(r"\s*([\w*]+)\s*(?:;\s*q=([0-9.]+)\s*)?")
#: How zlib is told which format to write; deflate is without a head, as Go's writer does it.
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": -zlib.MAX_WBITS}


def routes(trees: Trees) -> list[Route]:
    """Return the routes of the containers' files."""

    async def export(call: Call) -> web.StreamResponse:
        async with trees.export(call["name"]) as pieces:
            response = await answers.stream(call.request, "application/octet-stream")
            async for piece in pieces:
                await response.write(piece)
        return response

    async def changes(call: Call) -> web.StreamResponse:
        return await answers.json_answer(call.request, await trees.changes(call["name"]))

    async def look(call: Call) -> web.StreamResponse:
        response = answers.nothing(200)
        response.headers[_STAT] = await trees.stat(call["name"], _path(call))
        return response

    async def read(call: Call) -> web.StreamResponse:
        coding = _coding(call.request.headers.get("Accept-Encoding", ""))
        async with trees.read(call["name"], _path(call)) as (header, pieces):
            headers = {_STAT: header} | ({"Content-Encoding": coding} if coding else {})
            return await _tar_answer(call, _packed(pieces, coding), headers)

    async def write(call: Call) -> web.StreamResponse:
        await trees.write(
            call["name"],
            _path(call),
            call.archive(),
            keep_kind=call.flag("noOverwriteDirNonDir"),
            own=call.flag("copyUIDGID"),
        )
        return answers.nothing(200)

    async def copy(call: Call) -> web.StreamResponse:
        if not call.is_older_than("1.24"):
            return answers.nothing(404)
        call.require_json()
        body = await call.json(bodies.COPY, empty="got EOF while reading request body")
        path = str(body.get("Resource") or "")
        if not path:
            raise invalid("Path cannot be empty")
        async with trees.copy(call["name"], path) as pieces:
            return await _tar_answer(call, pieces, {})

    return [
        route("POST", "/containers/{name:.*}/copy", copy, streams=True),
        route("GET", "/containers/{name:.*}/export", export, streams=True),
        route("GET", "/containers/{name:.*}/changes", changes),
        route("HEAD", "/containers/{name:.*}/archive", look),
        route("GET", "/containers/{name:.*}/archive", read, streams=True),
        route("PUT", "/containers/{name:.*}/archive", write, streams=True),
    ]


async def _tar_answer(
    call: Call, pieces: AsyncIterator[bytes], headers: dict[str, str]
) -> web.StreamResponse:
    """Answer with a tar: in one piece with its length when it is short, else piece by piece."""
    head = b""
    async for data in pieces:
        head += data
        if len(head) > answers.BUFFER:
            break
    else:
        return web.Response(body=head, headers={"Content-Type": _TAR} | headers)
    response = await answers.stream(call.request, _TAR, headers=headers)
    await response.write(head)
    async for data in pieces:
        await response.write(data)
    return response


async def _packed(pieces: AsyncIterator[bytes], coding: str) -> AsyncIterator[bytes]:
    packer = zlib.compressobj(wbits=_WINDOWS[coding]) if coding else None
    async for piece in pieces:
        yield packer.compress(piece) if packer else piece
    if packer:
        yield packer.flush()


def _path(call: Call) -> str:
    path = call.text("path")
    if not path:
        raise invalid("bad parameter: pathcannot be empty")
    return path


def _coding(accepted: str) -> str:
    """Return the content coding that a client likes best of those there are; "" for none."""
    best, chosen = 0.0, ""
    for part in accepted.split(","):
        found = _QUALITY.fullmatch(part)
        if found is None or found[1] not in _WINDOWS:
            continue
        quality = float(found[2] or 1)
        if quality > best or (quality == best and found[1] == "gzip"):
            best, chosen = quality, found[1]
    return chosen
