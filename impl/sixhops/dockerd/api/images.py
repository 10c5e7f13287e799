"""/images and /distribution: pulls with their progress, documents, names, archives."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.api import answers, bodies, gojson
from sixhops.dockerd.api.server import Route, route
from sixhops.dockerd.errors import EngineError, invalid, system
from sixhops.dockerd.images import platforms
from sixhops.dockerd.images import reference as references
from sixhops.dockerd.images.archive.importing import ImportRequest
from sixhops.dockerd.images.transfer.authorization import Credentials
from sixhops.dockerd.images.transfer.progress import encode_line
from sixhops.dockerd.version import API_VERSION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from sixhops.dockerd.api.server import Call
    from sixhops.dockerd.images.service import Images
    from sixhops.dockerd.images.transfer.progress import Emit
    from sixhops.wire.image import Platform

__all__ = ["credentials_of", "routes"]

_PIECE = 1 << 16
_SEARCH_LIMIT = 25


def routes(images: Images) -> list[Route]:
    """Return the routes of a room of images."""

    async def create(call: Call) -> web.StreamResponse:
        platform = platform_of(call)
        name = call.text("fromImage")
        if not name:
            return await import_file_system(call, platform)
        wanted = references.with_tag_or_digest(name, call.text("tag"))
        if wanted.familiar_name == "scratch":
            raise EngineError(403, "'scratch' is a reserved name")
        login, meta = credentials_of(call), meta_headers(call)
        agent = call.request.headers.get("User-Agent", "")
        return await _progress(
            call,
            lambda emit: images.pull(wanted, emit, login, agent, platform, meta),
            failure="early",
        )

    async def import_file_system(call: Call, platform: Platform | None) -> web.StreamResponse:
        wanted = None
        if call.text("repo"):
            wanted = references.parse(call.text("repo"))
            if wanted.digest:
                raise invalid("cannot import digest reference")
            wanted = wanted.tagged(call.text("tag")) if call.text("tag") else wanted
        request = ImportRequest(
            call.text("fromSrc"),
            call.text("message"),
            call.query.get("changes", ()),
            platforms.this_architecture(),
            platform.os if platform is not None else "linux",
        )
        body = call.archive()
        return await _progress(
            call, lambda emit: images.import_image(wanted, request, body, emit), failure="early"
        )

    async def load(call: Call) -> web.StreamResponse:
        body = call.archive()
        quiet = call.flag("quiet", default=True)
        return await _progress(call, lambda emit: images.load(body, emit, quiet=quiet), failure="late")

    async def list_all(call: Call) -> web.StreamResponse:
        filters = call.filters()
        if call.text("filter") and call.version != API_VERSION:
            filters.setdefault("reference", []).append(call.text("filter"))
        found = await asyncio.to_thread(images.summaries, filters, everything=call.flag("all"))
        return await answers.json_answer(call.request, found)

    async def inspect(call: Call) -> web.StreamResponse:
        return await answers.json_answer(call.request, images.inspect(call["name"]))

    async def history(call: Call) -> web.StreamResponse:
        return await answers.json_answer(call.request, images.history(call["name"]))

    async def tag(call: Call) -> web.StreamResponse:
        images.tag(call["name"], call.text("repo"), call.text("tag"))
        return answers.nothing(201)

    async def delete(call: Call) -> web.StreamResponse:
        found = await images.delete(call["name"], force=call.flag("force"), prune=not call.flag("noprune"))
        return await answers.json_answer(call.request, found)

    async def prune(call: Call) -> web.StreamResponse:
        return await answers.json_answer(call.request, await images.prune(call.filters()))

    async def save(call: Call) -> web.StreamResponse:
        texts = [call["name"]] if "name" in call.parameters else call.query.get("names", [])
        async with images.save(texts) as file:
            response = await answers.stream(call.request, "application/x-tar")
            while piece := await asyncio.to_thread(file.read, _PIECE):
                await response.write(piece)
        return response

    async def search(call: Call) -> web.StreamResponse:
        filters = call.filters()
        limit = call.number("limit")
        found = await images.search(
            call.text("term"),
            _SEARCH_LIMIT if limit is None else limit,
            filters,
            credentials_of(call),
            call.request.headers.get("User-Agent", ""),
            meta_headers(call),
        )
        return await answers.json_answer(call.request, found)

    async def push(call: Call) -> web.StreamResponse:
        header = call.request.headers.get("X-Registry-Auth", "")
        login = credentials_of(call) if header else await _credentials_in_body(call)
        try:
            wanted = references.parse(call["name"])
            wanted = wanted.tagged(call.text("tag")) if call.text("tag") else wanted
        except EngineError as error:
            raise system(error.message) from error
        agent = call.request.headers.get("User-Agent", "")
        meta = meta_headers(call)
        return await _progress(
            call, lambda emit: images.push(wanted, emit, login, agent, meta), failure="early"
        )

    return [
        route("POST", "/images/create", create, streams=True),
        route("POST", "/images/load", load, streams=True),
        route("POST", "/images/prune", prune),
        route("GET", "/images/json", list_all),
        route("GET", "/images/search", search),
        route("GET", "/images/get", save, streams=True),
        route("GET", "/images/{name:.*}/get", save, streams=True),
        route("GET", "/images/{name:.*}/json", inspect),
        route("GET", "/images/{name:.*}/history", history),
        route("POST", "/images/{name:.*}/tag", tag),
        route("POST", "/images/{name:.*}/push", push, streams=True),
        route("DELETE", "/images/{name:.*}", delete),
    ]


def credentials_of(call: Call) -> Credentials:
    """Return what X-Registry-Auth says; a header that can't be read counts as none, as dockerd treats it."""
    text = call.request.headers.get("X-Registry-Auth", "")
    if not text:
        return Credentials()
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        value = gojson.decode(data)
    except (binascii.Error, gojson.GoJsonError, ValueError):
        return Credentials()
    return credentials(value) if isinstance(value, dict) else Credentials()


async def _credentials_in_body(call: Call) -> Credentials:
    """Return what the body says, which is where clients before 2014 put it. Raises EngineError 400."""
    try:
        value = await call.value(bodies.AUTH)
    except EngineError as error:
        raise invalid(f"Bad parameters and missing X-Registry-Auth: {error.message}") from error
    return credentials(value) if isinstance(value, dict) else Credentials()


def meta_headers(call: Call) -> dict[str, str]:
    """Return the X-Meta- headers of a request, which go on to the registry."""
    return {name: value for name, value in call.request.headers.items() if name.lower().startswith("x-meta-")}


def credentials(value: dict[str, Any]) -> Credentials:
    """Return credentials from an AuthConfig document; `auth` stands for user and password."""
    user, password = str(value.get("username") or ""), str(value.get("password") or "")
    packed = value.get("auth")
    if not user and isinstance(packed, str) and packed:
        try:
            user, _, password = base64.b64decode(packed).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user = password = ""
    return Credentials(
        user, password, str(value.get("identitytoken") or ""), str(value.get("registrytoken") or "")
    )


def platform_of(call: Call) -> Platform | None:
    """Return what `platform` of a request means, None for "" and before API 1.32. Raises EngineError 400."""
    text = call.text("platform")
    if not text or call.is_older_than("1.32"):
        return None
    platform = platforms.parse(text)
    if platform.os != "linux":
        raise invalid("operating system is not supported")
    return platform


async def _progress(
    call: Call, work: Callable[[Emit], Awaitable[None]], *, failure: str
) -> web.StreamResponse:
    """Run `work` and send what it emits, line by line. It is cancelled when the client goes away.

    An error before the first line is the request's answer with `failure` "early"; otherwise it is the stream's last object.
    """
    lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def run() -> None:
        try:
            await work(lines.put_nowait)
        finally:
            lines.put_nowait(None)

    task = asyncio.ensure_future(run())
    response: web.StreamResponse | None = None
    try:
        while (line := await lines.get()) is not None:
            if response is None:
                response = await answers.stream(call.request, "application/json")
            await response.write(encode_line(line))
        try:
            await task
        except EngineError as error:
            if response is None and failure == "early":
                raise
            if response is None:
                response = await answers.stream(call.request, "application/json")
            detail = {"errorDetail": {"message": error.message}, "error": error.message}
            await response.write(encode_line(detail))
        return response or await answers.stream(call.request, "application/json")
    finally:
        task.cancel()
        await asyncio.wait([task])
