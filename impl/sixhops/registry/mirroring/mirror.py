"""A pull-through mirror: what is not here is fetched from another registry, verified, kept and served.

As docker-registry's mirror does: a tag is asked for each time and its last known value is used when the other
registry can't be reached; content by digest is fetched once. Nothing can be pushed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from sixhops.registry.http.errors import Refusal
from sixhops.registry.mirroring.downloads import Download
from sixhops.registry.mirroring.remote import RemoteError
from sixhops.registry.names import Digest, is_tag, parse_digest
from sixhops.registry.storage.manifests import digest_bytes, tag_order
from sixhops.registry.storage.references import SCHEMA1, Facts, Invalid, Unverified, read_manifest
from sixhops.wire.image import media

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sixhops.registry.mirroring.remote import Remote
    from sixhops.registry.storage.blobs import Blob, BlobStore
    from sixhops.registry.storage.files import Staging
    from sixhops.registry.storage.manifests import ManifestStore, Stored

_ACCEPT: Final = ", ".join(sorted(media.MANIFESTS | media.INDEXES | SCHEMA1))
_PAGES: Final = 1000
#: How long content is kept that was fetched once, as in docker-registry.
KEPT_SECONDS: Final = 7 * 86400.0

_log = logging.getLogger("sixhops.registry.mirroring.mirror")


class Mirror:
    """Content of `remote`, kept in the stores. Methods raise Refusal when what is asked for can't be had."""

    def __init__(self, remote: Remote, staging: Staging, blobs: BlobStore, manifests: ManifestStore) -> None:
        self._remote = remote
        self._staging = staging
        self._blobs = blobs
        self._manifests = manifests
        self._downloads: dict[tuple[str, Digest], Download] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop what is being fetched."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._remote.close()

    async def resolve(self, repository: str, tag: str) -> Digest | None:
        """Return what a tag points to in the other registry, or pointed to when it could last be asked."""
        path = f"{repository}/manifests/{tag}"
        try:
            headers = await self._remote.head(path, repository, _ACCEPT)
            digest = parse_digest(headers.get("docker-content-digest", ""))
            if digest is None:
                data, kind = await self._remote.content(path, repository, _ACCEPT)
                digest = digest_bytes(_facts(data, kind).canonical, "sha256")
        except RemoteError as error:
            known = self._manifests.resolve(repository, tag)
            if known is None:
                _must_be_missing(error)
                return None
            _log.warning("%s:%s as it was known: %s", repository, tag, error)
            return known
        if await self.manifest(repository, digest) is None:
            return None
        await asyncio.to_thread(self._manifests.tag, repository, tag, digest)
        return digest

    async def manifest(self, repository: str, digest: Digest) -> Stored | None:
        """Return a manifest by digest; what it refers to may come later."""
        found = self._manifests.get(repository, digest)
        if found is not None:
            return found
        try:
            data, kind = await self._remote.content(f"{repository}/manifests/{digest}", repository, _ACCEPT)
            facts = _facts(data, kind)
            if digest_bytes(facts.canonical, digest.algorithm) != digest:
                raise RemoteError(f"{repository}: the other registry's manifest {digest} has other content")
        except RemoteError as error:
            _must_be_missing(error)
            return None
        await asyncio.to_thread(self._keep, repository, facts, data, digest)
        return self._manifests.get(repository, digest)

    def _keep(self, repository: str, facts: Facts, data: bytes, digest: Digest) -> None:
        with self._manifests.locked():
            self._manifests.put(repository, facts, data, digest, None)

    async def size(self, repository: str, digest: Digest) -> int | None:
        """Return the size of a blob that is not here; None when the other registry has none."""
        try:
            headers = await self._remote.head(f"{repository}/blobs/{digest}", repository)
        except RemoteError as error:
            _must_be_missing(error)
            return None
        length = headers.get("content-length", "")
        if not length.isdecimal():
            await self.fetched(repository, digest)
            found = self._blobs.find(repository, digest)
            return None if found is None else found.size
        return int(length)

    async def blob(self, repository: str, digest: Digest) -> Download | None:
        """Return a download to follow; None when the other registry has no such blob."""
        key = (repository, digest)
        download = self._downloads.get(key)
        if download is None:
            download = self._downloads[key] = Download(self._staging.new())
            task = asyncio.create_task(self._fetch(key, download))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            await download.begun()
        except RemoteError as error:
            _must_be_missing(error)
            return None
        return download

    async def _fetch(self, key: tuple[str, Digest], download: Download) -> None:
        try:
            await download.run(self._remote, self._blobs, *key)
        finally:
            del self._downloads[key]

    async def fetched(self, repository: str, digest: Digest) -> Blob | None:
        """Return a blob once all of it is here."""
        download = await self.blob(repository, digest)
        if download is None:
            return None
        try:
            await download.finished()
        except RemoteError as error:
            _must_be_missing(error)
            return None
        return self._blobs.find(repository, digest)

    async def tags(self, repository: str) -> list[str] | None:
        """Return the other registry's tags, or None when it can't be asked or knows no such repository."""
        found = await self._listed(
            f"{repository}/tags/list", repository, "tags", lambda tag: isinstance(tag, str) and is_tag(tag)
        )
        return None if found is None else sorted(found, key=tag_order)

    async def referrers(self, repository: str, subject: Digest) -> list[dict[str, Any]] | None:
        """Return the descriptors of what refers to `subject` there, or None when that can't be known."""
        found = await self._listed(
            f"{repository}/referrers/{subject}",
            repository,
            "manifests",
            lambda item: isinstance(item, dict) and parse_digest(str(item.get("digest"))) is not None,
        )
        return None if found is None else sorted(found, key=lambda item: str(item["digest"]))

    async def _listed(self, path: str, repository: str, member: str, usable: Any) -> list[Any] | None:
        found: list[Any] = []
        try:
            async for document in self._pages(path, repository):
                entries = document.get(member) if isinstance(document, dict) else None
                found += [item for item in entries or [] if usable(item)]
        except RemoteError as error:
            _log.info("%s: %s", path, error)
            return None
        return found

    async def _pages(self, path: str, repository: str) -> AsyncIterator[Any]:
        for _ in range(_PAGES):
            document, path = await self._remote.document(path, repository)
            yield document
            if not path:
                return


def _facts(data: bytes, kind: str) -> Facts:
    try:
        return read_manifest(data, kind)
    except (Invalid, Unverified) as error:
        raise RemoteError(f"the other registry's manifest can't be used: {error}") from error


def _must_be_missing(error: RemoteError) -> None:
    """Raise Refusal for everything that another registry may answer but "not there"."""
    if error.status == 404:
        return
    if error.status == 429:
        headers = {"Retry-After": error.retry_after} if error.retry_after else {}
        raise Refusal("TOOMANYREQUESTS", detail=str(error), headers=headers) from error
    if error.status in {401, 403}:
        raise Refusal("DENIED", detail=str(error)) from error
    raise Refusal("UNAVAILABLE", detail=str(error)) from error
