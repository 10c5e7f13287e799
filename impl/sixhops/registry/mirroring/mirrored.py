"""Serving a blob while it is still being fetched from another registry."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from aiohttp import web

from sixhops.registry.http.calls import Call, decorate
from sixhops.registry.http.errors import Refusal
from sixhops.registry.mirroring.remote import RemoteError

if TYPE_CHECKING:
    from sixhops.registry.mirroring.mirror import Mirror
    from sixhops.registry.names import Digest

_log = logging.getLogger("sixhops.registry.mirroring.mirror")


async def mirrored_blob(
    call: Call, mirror: Mirror, digest: Digest, headers: dict[str, str]
) -> web.StreamResponse:
    """Answer GET and HEAD of a blob that is not here yet.

    When it breaks off or turns out to be another blob, the connection is cut, so that the client never takes what it
    got for whole. Raises Refusal; ConnectionError when the client leaves.
    """
    if call.request.method == "HEAD":
        size = await mirror.size(call.name, digest)
        if size is None:
            raise Refusal("BLOB_UNKNOWN", detail=str(digest))
        response = _response(call, headers, size)
        await response.prepare(call.request)
        return response
    download = await mirror.blob(call.name, digest)
    if download is None:
        raise Refusal("BLOB_UNKNOWN", detail=str(digest))
    try:
        descriptor = os.open(download.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        # It was so small that all of it is here by now.
        found = call.registry.blobs.find(call.name, digest)
        if found is None:
            raise Refusal("UNAVAILABLE", detail="the other registry's blob broke off") from None
        descriptor = os.open(found.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        response = _response(call, headers, download.size)
        await response.prepare(call.request)
        async for piece in download.follow(descriptor):
            await response.write(piece)
        await response.write_eof()
    except RemoteError as error:
        transport = call.request.transport
        if transport is not None:
            # Else the connection would be kept for a next request, and the client would wait for the rest.
            transport.abort()
        _log.warning("%s %s was cut: %s", call.request.method, call.request.path, error)
    finally:
        os.close(descriptor)
    return response


def _response(call: Call, headers: dict[str, str], size: int | None) -> web.StreamResponse:
    response = web.StreamResponse(status=200, headers=headers)
    decorate(call.registry.config, call.request, response)
    if size is None:
        response.enable_chunked_encoding()
    else:
        response.content_length = size
    return response
