"""Writing: uploads, manifests, deletions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sixhops.registry.http.calls import BodyError, Call, empty
from sixhops.registry.http.errors import Refusal
from sixhops.registry.http.pull import digest_of, reference_of
from sixhops.registry.http.ranges import Unsatisfiable, parse_chunk
from sixhops.registry.names import Digest, is_repository, parse_digest
from sixhops.registry.storage.manifests import SIZE_LIMIT, digest_bytes
from sixhops.registry.storage.references import SCHEMA1, Facts, Invalid, Unverified, read_manifest
from sixhops.registry.storage.uploads import BusyUpload, Mismatch, UnknownUpload, Upload

if TYPE_CHECKING:
    from aiohttp import web

_OCTETS: Final = "application/octet-stream"


async def start_upload(call: Call) -> web.StreamResponse:
    """Begin an upload (end-4a), take a whole blob (4b, `digest`), or mount one (end-11, `mount`, `from`)."""
    query = call.request.rel_url.query
    if await asyncio.to_thread(_mounted, call, query.get("mount", ""), query.get("from", "")):
        return _created(call, digest_of(query["mount"]))
    if "digest" not in query:
        upload = call.registry.uploads.start(call.name)
        return empty(202, _progress(call, upload))
    digest = _asked_digest(query.get("digest", ""))
    upload = call.registry.uploads.start(call.name)
    async with call.registry.uploads.failing_cancels(upload):
        await _receive(call, upload)
        await _commit(call, upload, digest)
    return _created(call, digest)


def _mounted(call: Call, mount: str, source: str) -> bool:
    """Show the blob here when the other repository shows it; a mount that can't be done becomes an upload.

    docker-registry does so for malformed names as well, and clients rely on 202.
    """
    digest = parse_digest(mount)
    if digest is None or not is_repository(source):
        return False
    blobs = call.registry.blobs
    found = blobs.find(source, digest)
    if found is None:
        return False
    target = Digest("sha256", found.path.parent.name)
    blobs.link(call.name, target, target)
    if digest != target:
        blobs.link(call.name, digest, target)
    return True


async def upload_status(call: Call) -> web.StreamResponse:
    """Tell how far an upload has come (end-13)."""
    return empty(204, _progress(call, _open(call)))


async def continue_upload(call: Call) -> web.StreamResponse:
    """Append a chunk (end-5); with a Content-Range only where the upload has come to."""
    upload = _open(call)
    await _receive(call, upload)
    return empty(202, _progress(call, upload))


async def finish_upload(call: Call) -> web.StreamResponse:
    """Append what the body holds, verify, and show the blob (end-6)."""
    upload = _open(call)
    digest = _asked_digest(call.request.rel_url.query.get("digest", ""))
    await _receive(call, upload)
    await _commit(call, upload, digest)
    return _created(call, digest)


async def cancel_upload(call: Call) -> web.StreamResponse:
    """Drop an upload."""
    upload = _open(call)
    try:
        await call.registry.uploads.cancel(upload)
    except BusyUpload as error:
        raise _busy(call, upload) from error
    return empty(204, {"Docker-Upload-UUID": upload.id})


def _open(call: Call) -> Upload:
    try:
        return call.registry.uploads.open(call.name, call.reference)
    except UnknownUpload as error:
        if not call.reference:
            raise Refusal("BLOB_UPLOAD_UNKNOWN") from error
        raise Refusal("BLOB_UPLOAD_UNKNOWN", detail={}) from error


def _asked_digest(text: str) -> Digest:
    digest = parse_digest(text)
    if digest is None:
        raise Refusal("DIGEST_INVALID", detail="digest parsing failed" if text else "digest missing")
    return digest


async def _receive(call: Call, upload: Upload) -> None:
    request = call.request
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if request.method == "PATCH" and kind not in {"", _OCTETS}:
        raise Refusal("BLOB_UPLOAD_INVALID", status=400, detail="bad Content-Type")
    limit = _expected(call, upload)
    before = upload.size
    try:
        await call.registry.uploads.write(upload, call.chunks(), limit)
    except UnknownUpload as error:
        raise Refusal("BLOB_UPLOAD_UNKNOWN", detail={}) from error
    except BusyUpload as error:
        raise _busy(call, upload) from error
    except BodyError as error:
        progress = _progress(call, upload)
        raise Refusal("BLOB_UPLOAD_INVALID", status=400, detail=str(error), headers=progress) from error
    if limit is not None and upload.size - before != limit:
        raise Refusal("SIZE_INVALID", detail={"Range": limit, "Body": upload.size - before})


def _expected(call: Call, upload: Upload) -> int | None:
    """Return how many bytes Content-Range announces, or None. Raises Refusal when they don't fit."""
    header = call.request.headers.get("Content-Range")
    if header is None:
        return None
    try:
        first, last = parse_chunk(header)
    except Unsatisfiable as error:
        raise _out_of_order(call, upload, header) from error
    if first != upload.size:
        raise _out_of_order(call, upload, header)
    length = last - first + 1
    announced = call.request.content_length
    if announced is not None and announced != length:
        raise Refusal("SIZE_INVALID", detail={"Range": length, "Body": announced})
    return length


def _out_of_order(call: Call, upload: Upload, header: str) -> Refusal:
    progress = _progress(call, upload)
    return Refusal(
        "BLOB_UPLOAD_INVALID", status=416, detail={"Content-Range": header[:140]}, headers=progress
    )


def _busy(call: Call, upload: Upload) -> Refusal:
    detail = "another request is changing this upload"
    return Refusal("BLOB_UPLOAD_INVALID", status=416, detail=detail, headers=_progress(call, upload))


async def _commit(call: Call, upload: Upload, digest: Digest) -> None:
    try:
        await call.registry.uploads.commit(upload, digest)
    except Mismatch as error:
        raise Refusal("DIGEST_INVALID", detail={"Digest": str(digest), "Reason": {}}) from error
    except UnknownUpload as error:
        raise Refusal("BLOB_UPLOAD_UNKNOWN", detail={}) from error
    except BusyUpload as error:
        raise _busy(call, upload) from error


def _progress(call: Call, upload: Upload) -> dict[str, str]:
    # "0-0" for nothing yet: docker-registry's clients know it; the specification has no form for an empty
    # range.
    return {
        "Docker-Upload-UUID": upload.id,
        "Location": call.url(f"/v2/{call.name}/blobs/uploads/{upload.id}"),
        "Range": f"0-{max(upload.tell() - 1, 0)}",
    }


def _created(call: Call, digest: Digest) -> web.Response:
    return empty(
        201,
        {"Docker-Content-Digest": str(digest), "Location": call.url(f"/v2/{call.name}/blobs/{digest}")},
    )


async def put_manifest(call: Call) -> web.StreamResponse:
    """Store a manifest under a tag or its digest, after all that it refers to was found here (end-7)."""
    digest, tag = reference_of(call.reference, reading=False)
    try:
        data = await call.body(SIZE_LIMIT)
    except BodyError as error:
        raise Refusal("MANIFEST_INVALID", detail=str(error)) from error
    if data is None:
        raise Refusal("MANIFEST_INVALID", detail="http: request body too large")
    kind = call.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in SCHEMA1 and not call.registry.config.schema1:
        raise Refusal(
            "MANIFEST_INVALID", detail="schema1 manifests are not enabled (compatibility.schema1.enabled)"
        )
    try:
        facts = read_manifest(data, kind)
    except Unverified as error:
        raise Refusal("MANIFEST_UNVERIFIED") from error
    except Invalid as error:
        raise Refusal("MANIFEST_INVALID", detail=str(error)) from error
    found = digest_bytes(facts.canonical, "sha256" if digest is None else digest.algorithm)
    if digest is not None and found != digest:
        raise Refusal("DIGEST_INVALID")
    await asyncio.to_thread(_store, call, facts, data, found, tag)
    headers = {
        "Docker-Content-Digest": str(found),
        "Location": call.url(f"/v2/{call.name}/manifests/{found}"),
    }
    if facts.subject is not None:
        headers["OCI-Subject"] = str(facts.subject)
    return empty(201, headers)


def _store(call: Call, facts: Facts, data: bytes, digest: Digest, tag: str) -> None:
    registry = call.registry
    with registry.manifests.locked():
        _store_checked(call, facts, data, digest, tag)


def _store_checked(call: Call, facts: Facts, data: bytes, digest: Digest, tag: str) -> None:
    registry = call.registry
    missing = [item for item in facts.blobs if registry.blobs.find(call.name, item) is None]
    missing += [item for item in facts.manifests if not registry.manifests.has(call.name, item)]
    if missing:
        first, *others = (Refusal("MANIFEST_BLOB_UNKNOWN", detail=str(item)) for item in missing)
        for other in others:
            first.add(other)
        raise first
    registry.manifests.put(call.name, facts, data, digest, tag or None)


async def delete_manifest(call: Call) -> web.StreamResponse:
    """Drop a tag, or a manifest and the tags that point to it (end-9)."""
    digest, tag = reference_of(call.reference, reading=True)
    _may_delete(call)
    manifests = call.registry.manifests
    if digest is None:
        gone = await asyncio.to_thread(manifests.untag, call.name, tag)
    else:
        gone = await asyncio.to_thread(manifests.delete, call.name, digest)
    if not gone:
        raise Refusal("MANIFEST_UNKNOWN")
    return empty(202)


async def delete_blob(call: Call) -> web.StreamResponse:
    """Stop showing a blob in this repository (end-10)."""
    digest = digest_of(call.reference)
    _may_delete(call)
    if not await asyncio.to_thread(call.registry.blobs.unlink, call.name, digest):
        raise Refusal("BLOB_UNKNOWN")
    return empty(202)


def _may_delete(call: Call) -> None:
    if not call.registry.config.delete:
        raise Refusal("UNSUPPORTED")
