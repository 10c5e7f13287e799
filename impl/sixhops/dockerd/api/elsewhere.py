"""What this engine is not: a builder. It answers as dockerd does as far as that needs no builder, and refuses to build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from sixhops.dockerd import goduration
from sixhops.dockerd.api import answers
from sixhops.dockerd.api.server import Route, route
from sixhops.dockerd.errors import EngineError, invalid, system
from sixhops.dockerd.goquote import quote

if TYPE_CHECKING:
    from sixhops.dockerd.api.server import Call

__all__ = ["routes"]

_NOT_IMPLEMENTED = 501
_NO_BUILDER = "this engine has no builder"
#: What an entry of the builder's cache is told by.
_FIELDS = frozenset({"id", "parent", "type", "description", "inuse", "shared", "private"})
_FILTERS = _FIELDS | {"unused-for", "until", "label", "label!"}
_NO_UPGRADE = "no upgrade proto in request"


def routes() -> list[Route]:
    """Return the routes of what is not here."""
    return [
        route("POST", "/session", _session),
        route("POST", "/grpc", _grpc),
        route("POST", "/build", _no_builder),
        route("POST", "/build/prune", _prune_builds),
        route("POST", "/build/cancel", _cancel_build),
    ]


async def _session(call: Call) -> web.StreamResponse:
    protocol = call.request.headers.get("Upgrade", "")
    if not protocol:
        raise invalid(_NO_UPGRADE)
    if protocol != "h2c":
        raise invalid(f"protocol {protocol} not supported")
    raise EngineError(_NOT_IMPLEMENTED, _NO_BUILDER)


async def _grpc(call: Call) -> web.StreamResponse:
    protocol = call.request.headers.get("Upgrade", "")
    if not protocol:
        raise system(_NO_UPGRADE)
    if protocol != "h2c":
        raise system(f"protocol {protocol} not supported")
    raise EngineError(_NOT_IMPLEMENTED, _NO_BUILDER)


async def _no_builder(call: Call) -> web.StreamResponse:
    version = call.text("version")
    if version not in {"", "1", "2"}:
        raise system(f"invalid version {quote(version)}")
    raise EngineError(_NOT_IMPLEMENTED, _NO_BUILDER)


async def _prune_builds(call: Call) -> web.StreamResponse:
    filters = call.filters(prefix="could not parse filters: ")
    try:
        call.number("keep-storage")
    except EngineError as error:
        text = call.text("keep-storage")
        raise system(
            f"keep-storage is in bytes and expects an integer, got {text}: {error.message}"
        ) from error
    _check_prune(filters)
    return await answers.json_answer(call.request, {"CachesDeleted": None, "SpaceReclaimed": 0})


def _check_prune(filters: dict[str, list[str]]) -> None:
    """Refuse filters of a cache's prune. Raises EngineError 500."""
    failed = "failed to prune build cache: "
    for key in filters:
        if key not in _FILTERS:
            raise invalid(f"{failed}Invalid filter '{key}'")
    until, unused = filters.get("until", []), filters.get("unused-for", [])
    if until and unused:
        raise invalid(f'{failed}conflicting filters: "until" and "unused-for"')
    if len(until + unused) > 1 or any(len(filters.get(key, ())) > 1 for key in _FIELDS):
        raise invalid(f"{failed}filters expect only one value")
    for text in until + unused:
        try:
            goduration.parse(text)
        except goduration.DurationError as error:
            key = quote("unused-for" if unused else "until")
            raise system(f"{failed}{key} filter expects a duration (e.g., '24h'): {error}") from error


async def _cancel_build(call: Call) -> web.StreamResponse:
    if not call.text("id"):
        raise system("build ID not provided")
    return web.Response(content_type="application/json")
