"""/containers/{name}/checkpoints, which only an experimental engine has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sixhops.dockerd.api import answers, bodies
from sixhops.dockerd.api.server import Route, route

if TYPE_CHECKING:
    from aiohttp import web

    from sixhops.dockerd.api.server import Call
    from sixhops.dockerd.containers.checkpoints import Checkpoints

__all__ = ["routes"]


def routes(checkpoints: Checkpoints) -> list[Route]:
    """Return the routes."""

    async def create(call: Call) -> web.StreamResponse:
        await checkpoints.create(call["name"], await call.json(bodies.CHECKPOINT, status=500))
        return answers.nothing(201)

    async def list_all(call: Call) -> web.StreamResponse:
        found = await checkpoints.list(call["name"], call.text("dir"))
        return await answers.json_answer(call.request, found or None)

    async def remove(call: Call) -> web.StreamResponse:
        await checkpoints.remove(call["name"], call["checkpoint"], call.text("dir"))
        return answers.nothing()

    return [
        route("GET", "/containers/{name:.*}/checkpoints", list_all),
        route("POST", "/containers/{name:.*}/checkpoints", create),
        route("DELETE", "/containers/{name}/checkpoints/{checkpoint}", remove),
    ]
