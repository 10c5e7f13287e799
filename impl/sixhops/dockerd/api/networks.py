"""/networks: the three networks that every engine has, to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sixhops.dockerd.api import answers, bodies
from sixhops.dockerd.api.server import Route, route
from sixhops.dockerd.errors import EngineError

if TYPE_CHECKING:
    from aiohttp import web

    from sixhops.dockerd.api.server import Call
    from sixhops.dockerd.networks.manager import Networks

__all__ = ["routes"]

_FORBIDDEN = 403
_NOT_IMPLEMENTED = 501


def routes(networks: Networks) -> list[Route]:
    """Return the routes of a room of networks."""

    async def list_all(call: Call) -> web.StreamResponse:
        return await answers.json_answer(call.request, networks.list(call.filters(status=400)))

    async def inspect(call: Call) -> web.StreamResponse:
        return await answers.json_answer(call.request, networks.inspect(call["name"]))

    async def remove(call: Call) -> web.StreamResponse:
        name = networks.inspect(call["name"])["Name"]
        raise EngineError(_FORBIDDEN, f"{name} is a pre-defined network and cannot be removed")

    async def prune(call: Call) -> web.StreamResponse:
        networks.prune()
        return await answers.json_answer(call.request, {"NetworksDeleted": None})

    async def create(call: Call) -> web.StreamResponse:
        call.require_json()
        await call.json(bodies.NETWORK_CREATE, empty="got EOF while reading request body")
        raise EngineError(_NOT_IMPLEMENTED, "this engine has only the networks bridge, host and none")

    async def change(call: Call) -> web.StreamResponse:
        if not await call.raw_body():
            raise EngineError(400, "got EOF while reading request body")
        networks.inspect(call["name"])
        raise EngineError(_NOT_IMPLEMENTED, "this engine does not connect running containers to networks")

    return [
        route("GET", "/networks", list_all),
        route("GET", "/networks/", list_all),
        route("POST", "/networks/prune", prune),
        route("POST", "/networks/create", create),
        route("GET", "/networks/{name}", inspect),
        route("DELETE", "/networks/{name}", remove),
        route("POST", "/networks/{name}/connect", change),
        route("POST", "/networks/{name}/disconnect", change),
    ]
