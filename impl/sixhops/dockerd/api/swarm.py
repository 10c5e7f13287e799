"""Swarm operations as an engine answers them that is in no swarm: it reads the request as far as ever, and then says so.

The order of checks is dockerd's (api/server/router/swarm/cluster_routes.go): the body, then the version, then the swarm.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sixhops.dockerd.api import swarmbodies
from sixhops.dockerd.api.server import Route, parse_bool, route
from sixhops.dockerd.errors import EngineError, invalid, system
from sixhops.dockerd.goquote import quote

if TYPE_CHECKING:
    from typing import NoReturn

    from aiohttp import web

    from sixhops.dockerd.api.gojson import Struct
    from sixhops.dockerd.api.server import Call, Handler

__all__ = ["routes"]

_NO_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to '
    "swarm and try again."
)
_UNAVAILABLE = 503
_NOT_IMPLEMENTED = 501
_NO_BODY = "got EOF while reading request body"
_UINT64 = range(2**64)
_ROTATIONS = ("rotateWorkerToken", "rotateManagerToken", "rotateManagerUnlockKey")


def routes() -> list[Route]:
    """Return the routes."""
    bodies = {"services": swarmbodies.SERVICE, "secrets": swarmbodies.SECRET, "configs": swarmbodies.CONFIG}
    return [
        route("POST", "/swarm/init", _init),
        route("POST", "/swarm/join", _join),
        route("POST", "/swarm/leave", _leave),
        route("GET", "/swarm", _refuse),
        route("GET", "/swarm/unlockkey", _refuse),
        route("POST", "/swarm/update", _update_swarm),
        route("POST", "/swarm/unlock", _with_body(swarmbodies.UNLOCK)),
        route("GET", "/services", _listing(400, _check_status)),
        route("GET", "/services/{id}", _inspect_service),
        route("GET", "/services/{id}/logs", _logs),
        route("GET", "/tasks/{id}/logs", _logs),
        route("DELETE", "/services/{id}", _refuse),
        *(route("GET", f"/{kind}", _listing(500)) for kind in ("nodes", "tasks", "secrets", "configs")),
        *(route("GET", f"/{kind}/{{id}}", _refuse) for kind in ("nodes", "tasks", "secrets", "configs")),
        *(route("DELETE", f"/{kind}/{{id}}", _refuse) for kind in ("nodes", "secrets", "configs")),
        *(route("POST", f"/{kind}/create", _with_body(body, kind)) for kind, body in bodies.items()),
        route("POST", "/services/{id}/update", _update(swarmbodies.SERVICE, "service", tell=True)),
        route("POST", "/nodes/{id}/update", _update(swarmbodies.NODE, "node", tell=True)),
        route("POST", "/secrets/{id}/update", _update(swarmbodies.SECRET, "secret")),
        route("POST", "/configs/{id}/update", _update(swarmbodies.CONFIG, "config")),
    ]


def _no_manager() -> NoReturn:
    raise EngineError(_UNAVAILABLE, _NO_MANAGER)


async def _refuse(call: Call) -> web.StreamResponse:
    del call
    _no_manager()


async def _leave(call: Call) -> web.StreamResponse:
    del call
    raise EngineError(_UNAVAILABLE, "This node is not part of a swarm")


async def _init(call: Call) -> web.StreamResponse:
    body = await call.json(swarmbodies.INIT, empty=_NO_BODY)
    _check_address("ListenAddr", str(body.get("ListenAddr") or ""))
    if (body.get("Spec") or {}).get("Name") not in {None, "", "default"}:
        raise invalid('swarm spec must be named "default"')
    raise EngineError(_NOT_IMPLEMENTED, "this engine can't be part of a swarm")


async def _join(call: Call) -> web.StreamResponse:
    body = await call.json(swarmbodies.JOIN, empty=_NO_BODY)
    _check_address("ListenAddr", str(body.get("ListenAddr") or ""))
    if not body.get("RemoteAddrs"):
        raise invalid("at least 1 RemoteAddr is required to join")
    for address in body["RemoteAddrs"]:
        _check_address("remoteAddr", str(address or ""))
    raise EngineError(_NOT_IMPLEMENTED, "this engine can't be part of a swarm")


def _check_address(what: str, text: str) -> None:
    if not text:
        raise invalid(f'invalid {what} "": invalid empty address')


def _with_body(body: Struct, kind: str = "") -> Handler:
    async def read(call: Call) -> web.StreamResponse:
        found = await call.json(body, empty=_NO_BODY)
        if (
            kind in {"secrets", "configs"}
            and found.get("Templating") is not None
            and call.is_older_than("1.37")
        ):
            raise invalid(
                f"{kind.removesuffix('s')} templating is not supported on the specified API version: {call.version}"
            )
        _no_manager()

    return read


def _update(body: Struct, what: str, *, tell: bool = False) -> Handler:
    """`tell`: whether the message repeats the version that is none."""

    async def read(call: Call) -> web.StreamResponse:
        await call.json(body, empty=_NO_BODY)
        _check_version(call, what, tell=tell)
        _no_manager()

    return read


async def _update_swarm(call: Call) -> web.StreamResponse:
    await call.json(swarmbodies.SWARM, empty=_NO_BODY)
    _check_version(call, "swarm", tell=True)
    for name in _ROTATIONS:
        text = call.text(name)
        if text and parse_bool(text) is None:
            raise invalid(f"invalid value for {name}: {text}")
    _no_manager()


def _check_version(call: Call, what: str, *, tell: bool) -> None:
    text = call.text("version")
    if re.fullmatch("[0-9]+", text, re.ASCII) and int(text) in _UINT64:
        return
    if not tell:
        raise invalid(f"invalid {what} version")
    why = "value out of range" if re.fullmatch("[0-9]+", text, re.ASCII) else "invalid syntax"
    raise invalid(f"invalid {what} version '{text}': strconv.ParseUint: parsing {quote(text)}: {why}")


def _listing(status: int, check: Handler | None = None) -> Handler:
    """`status`: that of filters which can't be read."""

    async def read(call: Call) -> web.StreamResponse:
        call.filters(status=status)
        if check is not None:
            await check(call)
        _no_manager()

    return read


async def _check_status(call: Call) -> web.StreamResponse:
    if not call.is_older_than("1.41"):
        _check_bool(call, "status")
    _no_manager()


async def _inspect_service(call: Call) -> web.StreamResponse:
    _check_bool(call, "insertDefaults")
    _no_manager()


def _check_bool(call: Call, name: str) -> None:
    text = call.text(name)
    if text and parse_bool(text) is None:
        raise invalid(
            f"invalid value for {name}: {text}: strconv.ParseBool: parsing {quote(text)}: invalid syntax"
        )


async def _logs(call: Call) -> web.StreamResponse:
    if not (call.flag("stdout") or call.flag("stderr")):
        raise system("Bad parameters: you must choose at least one stream")
    _no_manager()
