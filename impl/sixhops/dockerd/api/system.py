"""/_ping, /version, /info, /events, /auth: the engine itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sixhops.dockerd.api import answers
from sixhops.dockerd.api.gojson import encode
from sixhops.dockerd.api.server import Route, route
from sixhops.dockerd.errors import invalid, system
from sixhops.dockerd.gotime import TimeError, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp import web

    from sixhops.dockerd.api.server import Call
    from sixhops.dockerd.events import Events
    from sixhops.dockerd.system import System

__all__ = ["routes"]

_UNCACHED = {"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache"}
_SECOND = 10**9


def routes(documents: System, events: Events, features: Callable[[], Mapping[str, bool]]) -> list[Route]:
    """Return the routes of the engine's own documents; `features` are those of daemon.json as it is now."""

    def headers() -> dict[str, str]:
        # which builder a client is to use, where the file says anything about it
        if "buildkit" not in features():
            return _UNCACHED
        return _UNCACHED | {"Builder-Version": "2" if features()["buildkit"] else "1"}

    async def ping(call: Call) -> web.StreamResponse:
        del call
        return answers.guessed("OK", headers())

    async def ping_head(call: Call) -> web.StreamResponse:
        del call
        return answers.plain("", 200, headers())

    async def version(call: Call) -> web.StreamResponse:
        return await answers.json_answer(call.request, await documents.version())

    async def info(call: Call) -> web.StreamResponse:
        found = await documents.info()
        if call.is_older_than("1.25"):
            # before, options were names alone, and there was a driver that executes
            found["SecurityOptions"] = [_name_of(option) for option in found["SecurityOptions"]]
            found["ExecutionDriver"] = "<not supported>"
        return await answers.json_answer(call.request, found)

    async def tell(call: Call) -> web.StreamResponse:
        since, until = _time(call.text("since")), _time(call.text("until"))
        if since is not None and until is not None and since > until:
            raise invalid(
                f"`since` time ({call.text('since')}) cannot be after `until` time ({call.text('until')})"
            )
        found = events.subscribe(since, until, dict(call.filters()))
        response = await answers.stream(call.request, "application/json")
        async for event in found:
            await response.write(encode(event.document()))
        return response

    return [
        route("GET", "/_ping", ping),
        route("HEAD", "/_ping", ping_head),
        route("GET", "/version", version),
        route("GET", "/info", info),
        route("GET", "/events", tell, streams=True),
    ]


def _name_of(option: str) -> str:
    """Return the name in `name=seccomp,profile=default`."""
    members = dict(member.partition("=")[::2] for member in option.split(","))
    return members.get("name", option)


def _time(text: str) -> int | None:
    """Return nanoseconds of `seconds[.fraction]`, None for "". EngineError 500 for another text, as dockerd answers.

    The second before 1970 is what dockerd itself writes for none.
    """
    if not text:
        return None
    try:
        moment = parse_timestamp(text)
    except TimeError as error:
        raise system(str(error)) from error
    return None if moment // _SECOND == -1 else moment
