"""/_ping, /version, /info, /events, /auth: the engine itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sixhops.dockerd.api import answers
from sixhops.dockerd.api.gojson import encode
from sixhops.dockerd.api.server import Route, route
from sixhops.dockerd.errors import invalid, system
from sixhops.dockerd.goquote import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp import web

    from sixhops.dockerd.api.server import Call
    from sixhops.dockerd.events import Events
    from sixhops.dockerd.system import System

__all__ = ["routes"]

_UNCACHED = {"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache"}
_SECOND = 10**9
_TIME = re.compile(r"(-?\d+)(?:\.(\d{0,9})\d*)?")


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
    whole, point, fraction = text.partition(".")
    seconds = _int64(whole)
    rest = _int64(fraction) * 10 ** (9 - len(fraction)) if point and len(fraction) <= 9 else 0
    if point and len(fraction) > 9:
        rest = _int64(fraction) // 10 ** (len(fraction) - 9)
    return None if seconds == -1 else seconds * _SECOND + rest


def _int64(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text, re.ASCII):
        raise system(f"strconv.ParseInt: parsing {quote(text)}: invalid syntax")
    if not -(2**63) <= int(text) < 2**63:
        raise system(f"strconv.ParseInt: parsing {quote(text)}: value out of range")
    return int(text)
