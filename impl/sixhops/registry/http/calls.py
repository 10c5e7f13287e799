"""One request on its way through the registry, and the answers that all handlers share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from sixhops.registry.http.errors import Refusal, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sixhops.registry.mirroring.mirror import Mirror
    from sixhops.registry.settings.config import Config
    from sixhops.registry.storage.blobs import BlobStore
    from sixhops.registry.storage.manifests import ManifestStore
    from sixhops.registry.storage.referrers import Referrers
    from sixhops.registry.storage.uploads import UploadStore

JSON: Final = "application/json; charset=utf-8"
# A client that sends nothing for so long is gone: its upload stays, the connection goes.
IDLE_SECONDS: Final = 60.0


class BodyError(Exception):
    """The request's body broke off or broke its framing; what arrived until then is valid."""


@dataclass(frozen=True, slots=True)
class Registry:
    """What all requests share."""

    config: Config
    blobs: BlobStore
    manifests: ManifestStore
    uploads: UploadStore
    referrers: Referrers
    mirror: Mirror | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One routed request. `name` is the repository, `reference` the path's end (tag, digest, upload)."""

    registry: Registry
    request: web.BaseRequest
    name: str = ""
    reference: str = ""

    def path(self, path: str) -> str:
        """Return a path of the API as clients see it: below the configuration's prefix."""
        return f"{self.registry.config.prefix}{path}"

    def url(self, path: str) -> str:
        """Return `path` as an absolute URL by which this client reaches us, proxies included.

        The configuration may name another host, or want a path alone.
        """
        config = self.registry.config
        path = self.path(path)
        if config.relative_urls:
            return path
        if config.host:
            return f"{config.host}{path}"
        headers = self.request.headers
        scheme = headers.get("X-Forwarded-Proto", "").partition(",")[0].strip() or self.request.scheme
        host = headers.get("X-Forwarded-Host", "").partition(",")[0].strip() or headers.get("Host", "")
        if scheme not in {"http", "https"} or not host:
            return path
        return f"{scheme}://{quote(host, safe='[]:.-_')}{path}"

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives. Raises BodyError."""
        await self._continue()
        content = self.request.content
        try:
            while True:
                async with asyncio.timeout(IDLE_SECONDS):
                    chunk = await content.readany()
                if not chunk:
                    return
                yield chunk
        except TimeoutError as error:
            raise BodyError(f"nothing arrived for {IDLE_SECONDS:g} s") from error
        except (ConnectionError, HttpProcessingError, web.RequestPayloadError) as error:
            raise BodyError(str(error) or "the connection broke") from error

    async def body(self, limit: int) -> bytes | None:
        """Return the whole body, or None when it is longer than `limit` bytes (the rest is not read).

        Raises BodyError.
        """
        if (self.request.content_length or 0) > limit:
            return None
        found = bytearray()
        async for chunk in self.chunks():
            found += chunk
            if len(found) > limit:
                return None
        return bytes(found)

    async def _continue(self) -> None:
        # Only aiohttp's application object answers this; on the low-level server it is ours to do.
        if self.request.headers.get("Expect", "").lower() == "100-continue":
            transport = self.request.transport
            if transport is not None:
                transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def empty(status: int, headers: dict[str, str] | None = None) -> web.Response:
    """Return an answer without content."""
    return web.Response(status=status, headers=headers)


def document(value: object, headers: dict[str, str] | None = None, content_type: str = JSON) -> web.Response:
    """Return a JSON answer as Go would encode it."""
    return web.Response(body=encode(value), headers={"Content-Type": content_type, **(headers or {})})


def refuse(refusal: Refusal) -> web.Response:
    """Return a refusal's answer."""
    headers = {"Content-Type": JSON, **refusal.headers}
    return web.Response(status=refusal.status, body=refusal.body(), headers=headers)


def decorate(config: Config, request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Add the headers that every answer carries; to be called before the answer's first byte leaves."""
    response.headers["Server"] = "sixhops-registry"
    if request.path != "/":
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
    for name, value in config.headers:
        response.headers.add(name, value)
