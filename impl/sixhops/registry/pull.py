"""Reading: manifests, blobs, tags, the catalogue, referrers. Every handler serves GET and HEAD alike."""

from __future__ import annotations

import asyncio
import os
import uuid
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from aiohttp import web

from sixhops.registry.calls import Call, decorate, document, empty
from sixhops.registry.errors import Refusal
from sixhops.registry.manifests import Stored, name_order, tag_order
from sixhops.registry.names import Digest, is_tag, parse_digest
from sixhops.registry.negotiation import accepted, reads
from sixhops.registry.ranges import Unsatisfiable, parse_range
from sixhops.registry.references import read_manifest
from sixhops.wire.image import media

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.registry.blobs import Blob

_CATALOG_DEFAULT: Final = 100
_CATALOG_LIMIT: Final = 1000
_PAGE_LIMIT: Final = 1000
_DEFAULT_PLATFORM: Final = ("linux", "amd64")


def ping() -> web.StreamResponse:
    """Tell that this is a registry of API version 2 (distribution-spec end-1)."""
    return web.Response(body=b"{}", headers={"Content-Type": "application/json; charset=utf-8"})


async def get_manifest(call: Call) -> web.StreamResponse:
    """Serve a manifest by tag or digest (end-3), in a form that the client reads."""
    manifests = call.registry.manifests
    digest, tag = reference_of(call.reference, reading=True)
    if digest is None:
        digest = manifests.resolve(call.name, tag)
        if digest is None:
            raise Refusal("MANIFEST_UNKNOWN", detail={"Tag": tag})
    if any(
        value.strip() in {str(digest), f'"{digest}"'}
        for value in call.request.headers.getall("If-None-Match", ())
    ):
        return empty(304)
    stored = manifests.get(call.name, digest)
    if stored is None:
        raise Refusal("MANIFEST_UNKNOWN", detail={"Name": call.name, "Revision": str(digest)})
    types = accepted(call.request.headers.getall("Accept", ()))
    if not reads(types, stored.media_type):
        stored = _other_form(call, stored, by_tag=bool(tag))
    headers = {
        "Content-Type": stored.media_type,
        "Docker-Content-Digest": str(stored.digest),
        "Etag": f'"{stored.digest}"',
    }
    return web.Response(body=stored.data, headers=headers)


def _other_form(call: Call, stored: Stored, *, by_tag: bool) -> Stored:
    """Return what a client gets that does not accept the stored form, as docker-registry decides.

    OCI forms: nothing. A schema2 image: as it is. A list by tag: the image for linux/amd64, for clients that
    know no lists. By digest never another document, because it would not match.
    """
    if stored.media_type == media.OCI_MANIFEST:
        message = "OCI manifest found, but accept header does not support OCI manifests"
        raise Refusal("MANIFEST_UNKNOWN", message=message)
    if stored.media_type == media.OCI_INDEX:
        message = "OCI index found, but accept header does not support OCI indexes"
        raise Refusal("MANIFEST_UNKNOWN", message=message)
    if stored.media_type != media.DOCKER_LIST or not by_tag:
        return stored
    facts = read_manifest(stored.data, stored.media_type)
    for system, architecture, digest in facts.platforms:
        if (system, architecture) == _DEFAULT_PLATFORM:
            found = call.registry.manifests.get(call.name, digest)
            if found is None:
                raise Refusal("MANIFEST_UNKNOWN", detail={"Name": call.name, "Revision": str(digest)})
            return found
    raise Refusal("MANIFEST_UNKNOWN")


async def get_blob(call: Call) -> web.StreamResponse:
    """Serve a blob, whole or in ranges (end-2), from the page cache straight to the socket."""
    digest = digest_of(call.reference)
    blob = call.registry.blobs.find(call.name, digest)
    if blob is None:
        raise Refusal("BLOB_UNKNOWN", detail=str(digest))
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=31536000",
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": str(digest),
        "Etag": f'"{digest}"',
    }
    asked = call.request.headers
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


async def list_tags(call: Call) -> web.StreamResponse:
    """List a repository's tags, a page at a time when asked (end-8)."""
    tags = await asyncio.to_thread(call.registry.manifests.tags, call.name)
    if tags is None:
        raise Refusal("NAME_UNKNOWN", detail={"name": call.name})
    query = call.request.rel_url.query
    last = query.get("last", "")
    if last:
        tags = [tag for tag in tags if tag_order(tag) > tag_order(last)]
    limit = _page_size(query.get("n"))
    headers = {}
    if limit is not None:
        if 0 < limit < len(tags):
            headers["Link"] = _next_page(
                f"/v2/{call.name}/tags/list", {"last": tags[limit - 1], "n": str(limit)}
            )
        tags = tags[:limit]
    return document({"name": call.name, "tags": tags}, headers)


def _page_size(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refusal("PAGINATION_NUMBER_INVALID", detail={"n": text})
    return int(text)


def _next_page(path: str, query: dict[str, str]) -> str:
    return f'<{path}?{urlencode(query)}>; rel="next"'


async def list_repositories(call: Call) -> web.StreamResponse:
    """List repositories, at most 100 unless `n` says otherwise, as docker-registry pages its catalogue."""
    query = call.request.rel_url.query
    limit = _CATALOG_DEFAULT
    try:
        asked = int(query.get("n", ""))
    except ValueError:
        asked = limit
    if asked > _CATALOG_LIMIT:
        raise Refusal("PAGINATION_NUMBER_INVALID", detail={"n": asked})
    if asked >= 0:
        limit = asked
    last = query.get("last", "")

    def page() -> list[str]:
        names = call.registry.manifests.repositories()
        return list(
            islice((name for name in names if not last or name_order(name) > name_order(last)), limit + 1)
        )

    found = await asyncio.to_thread(page)
    headers = {}
    if 0 < limit < len(found):
        headers["Link"] = _next_page("/v2/_catalog", {"last": found[limit - 1], "n": str(limit)})
    return document({"repositories": found[:limit]}, headers)


async def list_referrers(call: Call) -> web.StreamResponse:
    """List the manifests that name a subject, as an index (end-12); an unknown subject has none."""
    subject = digest_of(call.reference)
    query = call.request.rel_url.query
    kind = query.get("artifactType", "")
    last = query.get("last", "")
    limit = min(_page_size(query.get("n")) or _PAGE_LIMIT, _PAGE_LIMIT)

    def page() -> list[dict[str, Any]]:
        found = call.registry.manifests.referrers(call.name, subject)
        shown = (
            _descriptor(stored, facts.artifact_type, facts.annotations)
            for stored, facts in found
            if str(stored.digest) > last and (not kind or facts.artifact_type == kind)
        )
        return list(islice(shown, limit + 1))

    entries = await asyncio.to_thread(page)
    headers = {"OCI-Filters-Applied": "artifactType"} if kind else {}
    if len(entries) > limit:
        entries = entries[:limit]
        following = {"last": str(entries[-1]["digest"]), "n": str(limit)} | (
            {"artifactType": kind} if kind else {}
        )
        headers["Link"] = _next_page(f"/v2/{call.name}/referrers/{subject}", following)
    index = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": entries}
    return document(index, headers, media.OCI_INDEX)


def _descriptor(stored: Stored, artifact_type: str, annotations: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "mediaType": stored.media_type,
        "digest": str(stored.digest),
        "size": len(stored.data),
    }
    if artifact_type:
        found["artifactType"] = artifact_type
    if annotations:
        found["annotations"] = annotations
    return found


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
