"""/auth, /distribution and /system/df: questions that go to a registry, or over all rooms."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sixhops.dockerd.api import answers, bodies
from sixhops.dockerd.api.images import credentials, credentials_of
from sixhops.dockerd.api.server import Route, route
from sixhops.dockerd.images.transfer.inquiry import describe, log_in

if TYPE_CHECKING:
    from aiohttp import web

    from sixhops.dockerd.api.server import Call
    from sixhops.dockerd.containers.manager import Containers
    from sixhops.dockerd.images.service import Images
    from sixhops.dockerd.images.transfer.pull import PullSettings
    from sixhops.dockerd.volumes import Volumes

__all__ = ["routes"]


def routes(settings: PullSettings, images: Images, containers: Containers, volumes: Volumes) -> list[Route]:
    """Return the routes."""

    async def auth(call: Call) -> web.StreamResponse:
        body = await call.json(bodies.AUTH, status=500)
        agent = settings.agent_for(call.request.headers.get("User-Agent", ""))
        token = await log_in(str(body.get("serveraddress") or ""), credentials(body), settings, agent)
        return await answers.json_answer(call.request, {"IdentityToken": token, "Status": "Login Succeeded"})

    async def distribution(call: Call) -> web.StreamResponse:
        agent = settings.agent_for(call.request.headers.get("User-Agent", ""))
        found = await describe(call["name"], credentials_of(call), settings, agent)
        return await answers.json_answer(call.request, found)

    async def usage(call: Call) -> web.StreamResponse:
        listed = await asyncio.to_thread(images.summaries, {}, everything=False)
        found = await containers.list(True, 0, True, {})
        for image in listed:
            image["Containers"] = sum(entry["ImageID"] == image["Id"] for entry in found)
            image["SharedSize"] = images.shared_size(image["Id"])
        document = {
            "LayersSize": images.layers_size(),
            "Images": listed,
            "Containers": found,
            "Volumes": await asyncio.to_thread(volumes.usage),
            "BuildCache": None,
            "BuilderSize": 0,
        }
        return await answers.json_answer(call.request, document)

    return [
        route("POST", "/auth", auth),
        route("GET", "/distribution/{name:.*}/json", distribution),
        route("GET", "/system/df", usage),
    ]
