"""/volumes: named volumes of the local driver."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sixhops.dockerd.api import answers, bodies
from sixhops.dockerd.api.server import Route, route

if TYPE_CHECKING:
    from aiohttp import web

    from sixhops.dockerd.api.server import Call
    from sixhops.dockerd.volumes import Volumes

__all__ = ["routes"]


def routes(volumes: Volumes) -> list[Route]:
    """Return the routes of a room of volumes."""

    async def list_all(call: Call) -> web.StreamResponse:
        filters = call.filters(prefix="error reading volume filters: ", status=400)
        found = await asyncio.to_thread(volumes.list_all, filters)
        return await answers.json_answer(call.request, {"Volumes": found, "Warnings": None})

    async def inspect(call: Call) -> web.StreamResponse:
        return await answers.json_answer(call.request, volumes.inspect(call["name"]))

    async def create(call: Call) -> web.StreamResponse:
        call.require_json()
        body = await call.json(bodies.VOLUME_CREATE, empty="got EOF while reading request body")
        return await answers.json_answer(call.request, volumes.create(body), 201)

    async def remove(call: Call) -> web.StreamResponse:
        await asyncio.to_thread(volumes.remove, call["name"], force=call.flag("force"))
        return answers.nothing()

    async def prune(call: Call) -> web.StreamResponse:
        found = await asyncio.to_thread(volumes.prune, call.filters())
        return await answers.json_answer(call.request, found)

    return [
        route("GET", "/volumes", list_all),
        route("POST", "/volumes/create", create),
        route("POST", "/volumes/prune", prune),
        route("GET", "/volumes/{name:.*}", inspect),
        route("DELETE", "/volumes/{name:.*}", remove),
    ]
