"""/containers: every operation on containers except those that take the connection over (see `hijack`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sixhops.dockerd.api import answers, bodies, older
from sixhops.dockerd.api.gojson import encode
from sixhops.dockerd.api.server import Route, route
from sixhops.dockerd.containers.checks.kernel import this_kernel
from sixhops.dockerd.containers.streams.connection import LogOptions
from sixhops.dockerd.errors import EngineError, invalid
from sixhops.dockerd.images import platforms

if TYPE_CHECKING:
    from aiohttp import web

    from sixhops.dockerd.api.server import Call
    from sixhops.dockerd.containers.manager import Containers

__all__ = ["routes"]

#: A body of so many bytes holds no JSON object that says anything.
_NO_OBJECT = 7
_CONFLICT = 409
#: Between these the kernel takes CPU shares; clients before API 1.19 count on being corrected.
_LEAST_SHARES, _MOST_SHARES = 2, 1 << 18
_CONDITIONS = frozenset({"not-running", "next-exit", "removed"})


def routes(containers: Containers, *, experimental: bool = False) -> list[Route]:
    """Return the routes of a room of containers; an experimental engine has checkpoints."""

    async def create(call: Call) -> web.StreamResponse:
        call.require_json()
        body = await call.json(bodies.CREATE, status=500)
        _adjust(call, body)
        platform = "" if call.is_older_than("1.41") else call.text("platform")
        if platform:
            platforms.parse(platform)
        identity, warnings = await containers.create(body, call.text("name"), platform)
        return await answers.json_answer(call.request, {"Id": identity, "Warnings": warnings}, 201)

    async def list_all(call: Call) -> web.StreamResponse:
        filters = call.filters()
        limit = call.number("limit") or 0
        found = await containers.list(call.flag("all"), limit, call.flag("size"), filters)
        return await answers.json_answer(call.request, found)

    async def inspect(call: Call) -> web.StreamResponse:
        found = await containers.inspect(call["name"], call.flag("size"))
        return await answers.json_answer(call.request, older.inspect_document(call, found))

    async def top(call: Call) -> web.StreamResponse:
        found = await containers.top(call["name"], call.text("ps_args"))
        return await answers.json_answer(call.request, found)

    async def start(call: Call) -> web.StreamResponse:
        body: dict[str, Any] = {}
        length = call.request.content_length
        is_chunked = length is None and "Transfer-Encoding" in call.request.headers
        if is_chunked or (length or 0) > _NO_OBJECT:
            if not call.is_older_than("1.24"):
                raise invalid(
                    "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"
                )
            call.require_json()
            body = await call.json(bodies.CREATE, status=500)
        if call.text("checkpoint") and not experimental:
            raise invalid("checkpoint is only supported in experimental mode")
        # dockerd does not look at this operation's detachKeys
        await containers.start(
            call["name"],
            body,
            checkpoint=call.text("checkpoint"),
            checkpoint_directory=call.text("checkpoint-dir"),
        )
        return answers.nothing()

    async def stop(call: Call) -> web.StreamResponse:
        await containers.stop(call["name"], call.number("t"))
        return answers.nothing()

    async def restart(call: Call) -> web.StreamResponse:
        await containers.restart(call["name"], call.number("t"))
        return answers.nothing()

    async def kill(call: Call) -> web.StreamResponse:
        try:
            await containers.kill(call["name"], call.text("signal"))
        except EngineError as error:
            # to end what has ended was no error before API 1.20
            if error.status != _CONFLICT or not call.is_older_than("1.20"):
                raise
        return answers.nothing()

    async def pause(call: Call) -> web.StreamResponse:
        await containers.pause(call["name"])
        return answers.nothing()

    async def unpause(call: Call) -> web.StreamResponse:
        await containers.unpause(call["name"])
        return answers.nothing()

    async def rename(call: Call) -> web.StreamResponse:
        await containers.rename(call["name"], call.text("name"))
        return answers.nothing()

    async def resize(call: Call) -> web.StreamResponse:
        height, width = size_of(call)
        await containers.resize(call["name"], height, width)
        return answers.nothing(200)

    async def remove(call: Call) -> web.StreamResponse:
        await containers.remove(
            call["name"], force=call.flag("force"), volumes=call.flag("v"), link=call.flag("link")
        )
        return answers.nothing()

    async def wait(call: Call) -> web.StreamResponse:
        condition = call.text("condition")
        if call.is_older_than("1.30"):
            # no conditions, and no answer before the end
            ended = await (await containers.wait(call["name"], "not-running"))
            return await answers.json_answer(call.request, ended)
        if condition not in _CONDITIONS:
            condition = "not-running"  # dockerd takes an unknown word for the usual condition
        outcome = await containers.wait(call["name"], condition)
        response = await answers.stream(call.request, "application/json")
        await response.write(encode(await outcome))
        return response

    async def logs(call: Call) -> web.StreamResponse:
        options = LogOptions(
            stdout=call.flag("stdout"),
            stderr=call.flag("stderr"),
            follow=call.flag("follow"),
            timestamps=call.flag("timestamps"),
            details=call.flag("details"),
            since=call.text("since"),
            until=call.text("until"),
            tail=call.text("tail", "all"),
        )
        if not (options.stdout or options.stderr):
            raise invalid("Bad parameters: you must choose at least one stream")
        reader = await containers.logs(call["name"], options)
        response = await answers.stream(call.request)
        async for piece in reader:
            await response.write(piece)
        return response

    async def stats(call: Call) -> web.StreamResponse:
        wanted = call.flag("stream", default=True)
        once = call.flag("one-shot") and not call.is_older_than("1.41")
        if wanted and once:
            raise invalid("cannot have stream=true and one-shot=true")
        found = await containers.stats(call["name"], wanted, once)
        if not wanted:
            return await answers.json_answer(call.request, older.stats_sample(call, await anext(found)))
        # what does not end has no type (observed)
        response = await answers.stream(call.request, "")
        async for sample in found:
            await response.write(encode(older.stats_sample(call, sample)))
        return response

    async def prune(call: Call) -> web.StreamResponse:
        found = await containers.prune(call.filters(status=400))
        return await answers.json_answer(call.request, found)

    async def update(call: Call) -> web.StreamResponse:
        call.require_json()
        body = await call.json(bodies.UPDATE, status=500)
        if call.is_older_than("1.40"):
            body.pop("PidsLimit", None)
        warnings = await containers.update(call["name"], body)
        return await answers.json_answer(call.request, {"Warnings": warnings or None})

    return [
        route("POST", "/containers/create", create),
        route("POST", "/containers/prune", prune),
        route("GET", "/containers/json", list_all),
        route("GET", "/containers/{name:.*}/json", inspect),
        route("GET", "/containers/{name:.*}/top", top),
        route("GET", "/containers/{name:.*}/logs", logs, streams=True),
        route("GET", "/containers/{name:.*}/stats", stats, streams=True),
        route("POST", "/containers/{name:.*}/start", start),
        route("POST", "/containers/{name:.*}/stop", stop),
        route("POST", "/containers/{name:.*}/restart", restart),
        route("POST", "/containers/{name:.*}/kill", kill),
        route("POST", "/containers/{name:.*}/pause", pause),
        route("POST", "/containers/{name:.*}/unpause", unpause),
        route("POST", "/containers/{name:.*}/rename", rename),
        route("POST", "/containers/{name:.*}/update", update),
        route("POST", "/containers/{name:.*}/resize", resize),
        route("POST", "/containers/{name:.*}/wait", wait, streams=True),
        route("DELETE", "/containers/{name:.*}", remove),
    ]


def _adjust(call: Call, body: dict[str, Any]) -> None:
    """Take out of a create request what the client's version of the API does not have, and fill in what it expects.

    Source: moby 20.10, `postContainersCreate` in api/server/router/container.
    """
    host = body.get("HostConfig")
    if host is None:
        return
    shares = host.get("CpuShares") or 0
    if call.is_older_than("1.19") and shares > 0:
        host["CpuShares"] = min(max(shares, _LEAST_SHARES), _MOST_SHARES)
    if call.is_older_than("1.25"):
        host["AutoRemove"] = False  # such clients remove containers themselves
    if call.is_older_than("1.40"):
        for entry in host.get("Mounts") or []:
            (entry.get("BindOptions") or {}).pop("NonRecursive", None)
        host["KernelMemoryTCP"] = 0
        host["IpcMode"] = host.get("IpcMode") or "shareable"
    if call.is_older_than("1.41") and not this_kernel().unified:
        host["CgroupnsMode"] = host.get("CgroupnsMode") or "host"


def size_of(call: Call) -> tuple[int, int]:
    """Return height and width of a resize. EngineError 400."""
    sizes = []
    for name in ("h", "w"):
        value = call.number(name, status=400)
        if value is None:
            raise invalid('strconv.Atoi: parsing "": invalid syntax')
        sizes.append(value)
    return sizes[0], sizes[1]
