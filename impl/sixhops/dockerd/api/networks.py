"""/networks: the networks of the engine, and containers put on them and taken off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sixhops.dockerd.api import answers, bodies
from sixhops.dockerd.api.server import Route, route
from sixhops.dockerd.errors import invalid
from sixhops.dockerd.goquote import quote

if TYPE_CHECKING:
    from aiohttp import web

    from sixhops.dockerd.api.server import Call
    from sixhops.dockerd.containers.network.networking import Connections
    from sixhops.dockerd.networks.manager import Networks

__all__ = ["routes"]

_NO_BODY = "got EOF while reading request body"
_BOOLEANS = frozenset({"", "1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"})


def routes(networks: Networks, connections: Connections) -> list[Route]:
    """Return the routes of a room of networks; `connections` leads to containers."""

    async def list_all(call: Call) -> web.StreamResponse:
        return await answers.json_answer(call.request, networks.list_all(call.filters()))

    async def inspect(call: Call) -> web.StreamResponse:
        verbose = call.text("verbose")
        if verbose not in _BOOLEANS:
            raise invalid(
                f"invalid value for verbose: {verbose}: strconv.ParseBool: parsing {quote(verbose)}: invalid syntax"
            )
        found = networks.inspect(call["name"], call.text("scope"))
        return await answers.json_answer(call.request, found)

    async def create(call: Call) -> web.StreamResponse:
        call.require_json()
        body = await call.json(bodies.NETWORK_CREATE, empty=_NO_BODY)
        return await answers.json_answer(call.request, await networks.create(body), 201)

    async def remove(call: Call) -> web.StreamResponse:
        await networks.remove(call["name"])
        return answers.nothing()

    async def prune(call: Call) -> web.StreamResponse:
        gone = await networks.prune(call.filters())
        return await answers.json_answer(call.request, {"NetworksDeleted": gone or None})

    async def connect(call: Call) -> web.StreamResponse:
        call.require_json()
        body = await call.json(bodies.NETWORK_CONNECT, empty=_NO_BODY)
        await connections.connect(call["name"], str(body.get("Container") or ""), body.get("EndpointConfig"))
        return answers.nothing(200)

    async def disconnect(call: Call) -> web.StreamResponse:
        call.require_json()
        body = await call.json(bodies.NETWORK_DISCONNECT, empty=_NO_BODY)
        await connections.disconnect(
            call["name"], str(body.get("Container") or ""), force=bool(body.get("Force"))
        )
        return answers.nothing(200)

    return [
        route("GET", "/networks", list_all),
        route("GET", "/networks/", list_all),
        route("POST", "/networks/prune", prune),
        route("POST", "/networks/create", create),
        route("GET", "/networks/{name:.*}", inspect),
        route("DELETE", "/networks/{name:.*}", remove),
        route("POST", "/networks/{name:.*}/connect", connect),
        route("POST", "/networks/{name:.*}/disconnect", disconnect),
    ]
