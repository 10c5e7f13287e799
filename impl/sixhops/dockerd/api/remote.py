"""/auth, /distribution and /system/df: questions that go to a registry, or over all rooms."""

from __future__ import annotations

import asyncio
import platform
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.api import answers, bodies
from sixhops.dockerd.api.images import credentials, credentials_of
from sixhops.dockerd.api.server import Route, route
from sixhops.dockerd.errors import EngineError, invalid, system
from sixhops.dockerd.images import reference as references
from sixhops.dockerd.images.remote import Remote, RemoteError, as_engine_error, endpoints_for
from sixhops.wire.image import DocumentError, digest_of, media, parse_config, parse_index, parse_manifest

if TYPE_CHECKING:
    from aiohttp import web

    from sixhops.dockerd.api.server import Call
    from sixhops.dockerd.containers.manager import Containers
    from sixhops.dockerd.images.pull import PullSettings
    from sixhops.dockerd.images.reference import Reference
    from sixhops.dockerd.images.remote import Credentials
    from sixhops.dockerd.images.service import Images
    from sixhops.dockerd.volumes import Volumes

__all__ = ["routes"]

_UNAUTHORIZED = 401
_HUB = ("", "https://index.docker.io/v1/", "index.docker.io", "docker.io")


def routes(settings: PullSettings, images: Images, containers: Containers, volumes: Volumes) -> list[Route]:
    """Return the routes."""

    async def auth(call: Call) -> web.StreamResponse:
        body = await call.json(bodies.AUTH, status=500)
        address = str(body.get("serveraddress") or "")
        host = "docker.io" if address in _HUB else address.partition("://")[2] or address
        wanted = references.Reference(host.partition("/")[0], "library/login")
        await _try(settings, wanted, credentials(body), _check)
        return await answers.json_answer(call.request, {"IdentityToken": "", "Status": "Login Succeeded"})

    async def distribution(call: Call) -> web.StreamResponse:
        wanted = references.parse(call["name"]).or_latest()
        found = await _try(settings, wanted, credentials_of(call), _describe)
        return await answers.json_answer(call.request, found)

    async def usage(call: Call) -> web.StreamResponse:
        listed = await asyncio.to_thread(images.summaries, {}, everything=True)
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


async def _try(settings: PullSettings, wanted: Reference, login: Credentials, action: Any) -> Any:
    """Do something at the first endpoint that answers; mirrors are not asked, since they know no users."""
    failure: RemoteError | None = None
    for endpoint in await asyncio.to_thread(endpoints_for, wanted.domain, (), settings.insecure):
        try:
            async with Remote(endpoint, wanted, login, settings.agent) as remote:
                return await action(remote, wanted)
        except RemoteError as error:
            failure = error
            if error.status:
                break
    assert failure is not None
    if failure.status == _UNAUTHORIZED:
        raise EngineError(_UNAUTHORIZED, str(failure))
    raise as_engine_error(failure, wanted)


async def _check(remote: Remote, wanted: Reference) -> None:
    """Entering a Remote has asked for /v2/ with the credentials."""
    del remote, wanted


async def _describe(remote: Remote, wanted: Reference) -> dict[str, Any]:
    data, kind = await remote.get_manifest(wanted.digest or wanted.tag)
    digest = wanted.digest or digest_of(data)
    platforms: list[dict[str, str]] = []
    try:
        if kind in media.INDEXES:
            entries = parse_index(data, kind).manifests
            platforms += [entry.platform.document() for entry in entries if entry.platform is not None]
        elif kind in media.MANIFESTS:
            config = b""
            async for piece in remote.read_blob(parse_manifest(data, kind).config.digest):
                config += piece
            platforms.append(parse_config(config).platform.document())
        else:
            platforms.append({"architecture": platform.machine(), "os": "linux"})
    except DocumentError as error:
        raise system(str(error)) from error
    if not platforms:
        raise invalid("the manifest names no platform")
    return {
        "Descriptor": {"mediaType": kind, "digest": digest, "size": len(data)},
        "Platforms": platforms,
    }
