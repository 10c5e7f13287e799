"""Reading manifests and blobs. Every handler serves GET and HEAD alike."""

from __future__ import annotations

import asyncio
import os
import uuid
from typing import TYPE_CHECKING, Final

from aiohttp import web

from sixhops.registry.http.calls import Call, decorate, empty
from sixhops.registry.http.errors import Refusal
from sixhops.registry.http.forms import other_form
from sixhops.registry.http.negotiation import accepted, reads
from sixhops.registry.http.ranges import Unsatisfiable, parse_range
from sixhops.registry.mirroring.mirrored import mirrored_blob
from sixhops.registry.names import Digest, is_tag, parse_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.registry.storage.blobs import Blob


_CONDITIONS: Final = ("Range", "If-Range", "If-Match", "If-None-Match")


def ping() -> web.StreamResponse:
    """Tell that this is a registry of API version 2 (distribution-spec end-1)."""
    return web.Response(body=b"{}", headers={"Content-Type": "application/json; charset=utf-8"})


async def get_manifest(call: Call) -> web.StreamResponse:
    """Serve a manifest by tag or digest (end-3), in a form that the client reads."""
    manifests = call.registry.manifests
    mirror = call.registry.mirror
    digest, tag = reference_of(call.reference, reading=True)
    if digest is None:
        digest = manifests.resolve(call.name, tag) if mirror is None else await mirror.resolve(call.name, tag)
        if digest is None:
            raise Refusal("MANIFEST_UNKNOWN", detail={"Tag": tag})
    if any(
        value.strip() in {str(digest), f'"{digest}"'}
        for value in call.request.headers.getall("If-None-Match", ())
    ):
        return empty(304)
    stored = manifests.get(call.name, digest) if mirror is None else await mirror.manifest(call.name, digest)
    if stored is None:
        raise Refusal("MANIFEST_UNKNOWN", detail={"Name": call.name, "Revision": str(digest)})
    types = accepted(call.request.headers.getall("Accept", ()))
    if not reads(types, stored.media_type):
        stored = await asyncio.to_thread(other_form, call, stored, types, tag)
    headers = {
        "Content-Type": stored.media_type,
        "Docker-Content-Digest": str(stored.digest),
        "Etag": f'"{stored.digest}"',
    }
    return web.Response(body=stored.data, headers=headers)


async def get_blob(call: Call) -> web.StreamResponse:
    """Serve a blob, whole or in ranges (end-2), from the page cache straight to the socket."""
    digest = digest_of(call.reference)
    blob = call.registry.blobs.find(call.name, digest)
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=31536000",
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": str(digest),
        "Etag": f'"{digest}"',
    }
    asked = call.request.headers
    mirror = call.registry.mirror
    if blob is None and mirror is not None:
        if not any(name in asked for name in _CONDITIONS):
            return await mirrored_blob(call, mirror, digest, headers)
        blob = await mirror.fetched(call.name, digest)
    if blob is None:
        raise Refusal("BLOB_UNKNOWN", detail=str(digest))
    if _matches(asked.get("If-None-Match", ""), digest):
        del headers["Content-Type"], headers["Accept-Ranges"]
        return empty(304, headers)
    if "If-Match" in asked and not _matches(asked["If-Match"], digest):
        return empty(412, headers)
    spec = asked.get("Range", "")
    if "If-Range" in asked and not _matches(asked["If-Range"], digest):
        spec = ""
    try:
        ranges = parse_range(spec, blob.size)
    except Unsatisfiable as error:
        outside = {"Content-Range": f"bytes */{blob.size}", "Accept-Ranges": "bytes"}
        raise Refusal("RANGE_INVALID", detail={"Range": str(error)}, headers=outside) from error
    if len(ranges) > 1:
        return await _send_parts(call, blob, ranges, headers)
    if ranges:
        offset, length = ranges[0]
        headers["Content-Range"] = f"bytes {offset}-{offset + length - 1}/{blob.size}"
        return await _send(call, blob, [(b"", offset, length)], 206, headers)
    return await _send(call, blob, [(b"", 0, blob.size)], 200, headers)


def _matches(header: str, digest: Digest) -> bool:
    return any(tag.strip().removeprefix("W/") in {"*", f'"{digest}"'} for tag in header.split(","))


async def _send_parts(
    call: Call, blob: Blob, ranges: Sequence[tuple[int, int]], headers: dict[str, str]
) -> web.StreamResponse:
    boundary = uuid.uuid4().hex
    pieces = []
    for number, (offset, length) in enumerate(ranges):
        head = (
            f"{'' if number == 0 else chr(13) + chr(10)}--{boundary}\r\n"
            f"Content-Range: bytes {offset}-{offset + length - 1}/{blob.size}\r\n"
            f"Content-Type: {headers['Content-Type']}\r\n\r\n"
        )
        pieces.append((head.encode(), offset, length))
    pieces.append((f"\r\n--{boundary}--\r\n".encode(), 0, 0))
    headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    return await _send(call, blob, pieces, 206, headers)


async def _send(
    call: Call, blob: Blob, pieces: Sequence[tuple[bytes, int, int]], status: int, headers: dict[str, str]
) -> web.StreamResponse:
    """Send (bytes before, offset, length) pieces of a file. Raises ConnectionError when the client leaves."""
    response = web.StreamResponse(status=status, headers=headers)
    decorate(call.registry.config, call.request, response)
    response.content_length = sum(len(head) + length for head, _, length in pieces)
    if call.request.method == "HEAD":
        await response.prepare(call.request)
        return response
    with blob.path.open("rb", buffering=0) as file:
        await response.prepare(call.request)
        loop = asyncio.get_running_loop()
        for head, offset, length in pieces:
            if head:
                await response.write(head)
            if length:
                # Reading ahead keeps the loop from waiting for a disk inside of sendfile.
                os.posix_fadvise(file.fileno(), offset, length, os.POSIX_FADV_WILLNEED)
                transport = call.request.transport
                if transport is None:
                    raise ConnectionResetError("the client has left")
                await loop.sendfile(transport, file, offset, length)
        await response.write_eof()
    return response


def digest_of(text: str) -> Digest:
    """Return the digest in a URL. Raises Refusal."""
    digest = parse_digest(text)
    if digest is None:
        raise Refusal("DIGEST_INVALID", detail={})
    return digest


def reference_of(text: str, *, reading: bool) -> tuple[Digest | None, str]:
    """Return (digest, "") or (None, tag). Raises Refusal.

    What cannot be a tag can't exist either: a reader is told that the manifest is unknown, as the
    specification has it; a writer is told what is wrong.
    """
    if ":" in text:
        return digest_of(text), ""
    if is_tag(text):
        return None, text
    if reading:
        raise Refusal("MANIFEST_UNKNOWN", detail={"Tag": text[:140]})
    raise Refusal("TAG_INVALID", message="invalid tag name", detail={"Tag": text[:140]})
