"""What this engine is not: a swarm, a builder, a plugin host. It answers as Docker's engine does outside a swarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sixhops.dockerd.api import answers
from sixhops.dockerd.api.server import Route, route
from sixhops.dockerd.errors import EngineError, invalid, not_found

if TYPE_CHECKING:
    from aiohttp import web

    from sixhops.dockerd.api.server import Call

__all__ = ["routes"]

_NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to '
    "swarm and try again."
)
_UNAVAILABLE = 503
_NOT_IMPLEMENTED = 501
_SWARM = ("/swarm", "/swarm/unlockkey", "/nodes", "/services", "/tasks", "/secrets", "/configs")
_SWARM_OBJECTS = ("nodes", "services", "tasks", "secrets", "configs")


def routes() -> list[Route]:
    """Return the routes of what is not here."""

    async def no_swarm(call: Call) -> web.StreamResponse:
        del call
        raise EngineError(_UNAVAILABLE, _NO_SWARM)

    async def no_swarm_with_body(call: Call) -> web.StreamResponse:
        if not await call.raw_body():
            raise invalid("got EOF while reading request body")
        raise EngineError(_UNAVAILABLE, _NO_SWARM)

    async def leave(call: Call) -> web.StreamResponse:
        del call
        raise EngineError(_UNAVAILABLE, "This node is not part of a swarm")

    async def start_swarm(call: Call) -> web.StreamResponse:
        if not await call.raw_body():
            raise invalid("got EOF while reading request body")
        raise EngineError(_NOT_IMPLEMENTED, "this engine can't be part of a swarm")

    async def no_plugins(call: Call) -> web.StreamResponse:
        return await answers.json_answer(call.request, [])

    async def no_plugin(call: Call) -> web.StreamResponse:
        raise not_found(f'plugin "{call["name"]}" not found')

    async def session(call: Call) -> web.StreamResponse:
        if not call.request.headers.get("Upgrade"):
            raise invalid("no upgrade proto in request")
        raise EngineError(_NOT_IMPLEMENTED, "this engine has no builder")

    async def no_builder(call: Call) -> web.StreamResponse:
        del call
        raise EngineError(_NOT_IMPLEMENTED, "this engine has no builder")

    async def prune_builds(call: Call) -> web.StreamResponse:
        return await answers.json_answer(call.request, {"CachesDeleted": None, "SpaceReclaimed": 0})

    return [
        *(route("GET", path, no_swarm) for path in _SWARM),
        *(route("GET", f"/{kind}/{{id}}", no_swarm) for kind in _SWARM_OBJECTS),
        *(route("DELETE", f"/{kind}/{{id}}", no_swarm) for kind in _SWARM_OBJECTS if kind != "tasks"),
        *(
            route("POST", f"/{kind}/create", no_swarm_with_body)
            for kind in ("services", "secrets", "configs")
        ),
        *(route("POST", f"/{kind}/{{id}}/update", no_swarm_with_body) for kind in _SWARM_OBJECTS),
        *(route("POST", f"/swarm/{action}", no_swarm_with_body) for action in ("update", "unlock")),
        *(route("POST", f"/swarm/{action}", start_swarm) for action in ("init", "join")),
        route("POST", "/swarm/leave", leave),
        route("GET", "/plugins", no_plugins),
        route("GET", "/plugins/{name:.*}/json", no_plugin),
        route("POST", "/session", session),
        route("POST", "/build", no_builder),
        route("POST", "/commit", no_builder),
        route("POST", "/build/prune", prune_builds),
    ]
