"""Lists: tags, the catalogue, referrers. What is longer than a page goes on under the Link header."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from sixhops.registry.http.calls import Call, document
from sixhops.registry.http.errors import Refusal
from sixhops.registry.http.pull import digest_of
from sixhops.registry.storage.manifests import Stored, name_order, tag_order
from sixhops.wire.image import media

if TYPE_CHECKING:
    from aiohttp import web

_CATALOG_DEFAULT: Final = 100
_PAGE_LIMIT: Final = 1000


async def list_tags(call: Call) -> web.StreamResponse:
    """List a repository's tags, a page at a time when asked (end-8)."""
    mirror = call.registry.mirror
    found = None if mirror is None else await mirror.tags(call.name)
    tags = await asyncio.to_thread(call.registry.manifests.tags, call.name) if found is None else found
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
                call.path(f"/v2/{call.name}/tags/list"), {"last": tags[limit - 1], "n": str(limit)}
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
    limit = min(_CATALOG_DEFAULT, call.registry.config.catalog_limit)
    try:
        asked = int(query.get("n", ""))
    except ValueError:
        asked = limit
    if asked > call.registry.config.catalog_limit:
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
        headers["Link"] = _next_page(call.path("/v2/_catalog"), {"last": found[limit - 1], "n": str(limit)})
    return document({"repositories": found[:limit]}, headers)


async def list_referrers(call: Call) -> web.StreamResponse:
    """List the manifests that name a subject, as an index (end-12); an unknown subject has none."""
    subject = digest_of(call.reference)
    query = call.request.rel_url.query
    kind = query.get("artifactType", "")
    last = query.get("last", "")
    limit = min(_page_size(query.get("n")) or _PAGE_LIMIT, _PAGE_LIMIT)

    mirror = call.registry.mirror
    there = None if mirror is None else await mirror.referrers(call.name, subject)

    def page() -> list[dict[str, Any]]:
        here = call.registry.referrers.of(call.name, subject)
        known = (_descriptor(stored, facts.artifact_type, facts.annotations) for stored, facts in here)
        shown = (
            item
            for item in (known if there is None else there)
            if str(item["digest"]) > last and (not kind or item.get("artifactType") == kind)
        )
        return list(islice(shown, limit + 1))

    entries = await asyncio.to_thread(page)
    headers = {"OCI-Filters-Applied": "artifactType"} if kind else {}
    if len(entries) > limit:
        entries = entries[:limit]
        following = {"last": str(entries[-1]["digest"]), "n": str(limit)} | (
            {"artifactType": kind} if kind else {}
        )
        headers["Link"] = _next_page(call.path(f"/v2/{call.name}/referrers/{subject}"), following)
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
