"""The push: layers that the registry lacks, several at once, then the configuration, then the manifest under its tag.

Order of things and lines as dockerd 20.10 has them (moby, distribution/push.go and push_v2.go). Without a tag all tags of
the repository are pushed, one after another; layers that went out for one are not looked for again for the next.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from sixhops.dockerd.errors import EngineError, system
from sixhops.dockerd.images.transfer.endpoints import endpoints_for
from sixhops.dockerd.images.transfer.progress import status_line
from sixhops.dockerd.images.transfer.refusals import RemoteError
from sixhops.dockerd.images.transfer.remote import Remote, Unusable
from sixhops.dockerd.images.transfer.upload import LayerUpload, Target
from sixhops.wire.image import digest_of, media, short

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from sixhops.dockerd.images.layers import Layer
    from sixhops.dockerd.images.reference import Reference
    from sixhops.dockerd.images.store import Image, ImageStore
    from sixhops.dockerd.images.transfer.authorization import Credentials
    from sixhops.dockerd.images.transfer.progress import Emit
    from sixhops.dockerd.images.transfer.pull import PullSettings
    from sixhops.wire.image import Descriptor

__all__ = ["Pusher"]

#: Three spaces, as Go's manifests have them.
_INDENT: Final = 3


class Pusher:
    """Pushes images of a store. One instance an engine; any number of pushes at once."""

    def __init__(self, images: ImageStore, settings: PullSettings) -> None:
        self._images = images
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.uploads)
        self._running: dict[tuple[str, str], asyncio.Lock] = {}

    def limit(self, uploads: int) -> None:
        """Let so many layers be pushed at once, from the next one on."""
        self._settings.uploads = uploads
        self._slots = asyncio.Semaphore(uploads)

    async def push(
        self,
        reference: Reference,
        emit: Emit,
        credentials: Credentials,
        agent: str,
        meta: Mapping[str, str],
    ) -> None:
        """Push `reference`, emitting progress objects. `agent` is the whole User-Agent. Raises EngineError."""
        emit({"status": f"The push refers to repository [{reference.name}]"})
        tagged = self._images.names_in(reference.name)
        if not tagged:
            raise system(f"An image does not exist locally with the tag: {reference.familiar_name}")
        failure: Exception | None = None
        for endpoint in await asyncio.to_thread(endpoints_for, reference.domain, (), self._settings.insecure):
            try:
                async with Remote(
                    endpoint, reference, credentials, agent, actions="push,pull", meta=meta
                ) as remote:
                    target = Target(remote, reference.name, credentials, emit, self._settings.retry_delay)
                    for name, image in self._wanted(reference, tagged):
                        await self._push_tag(target, name, image)
                    return
            except (RemoteError, EngineError) as error:
                failure = error
                # what an endpoint with TLS has answered, one without is not asked again
                if endpoint.url.startswith("https:") and not isinstance(error, Unusable):
                    break
        assert failure is not None
        raise failure if isinstance(failure, EngineError) else system(str(failure))

    def _wanted(
        self, reference: Reference, tagged: Sequence[tuple[Reference, str]]
    ) -> list[tuple[Reference, Image]]:
        if reference.digest:
            raise system("cannot push a digest reference")
        wanted = [
            (name, identity)
            for name, identity in tagged
            if name.tag and (name.tag == reference.tag or not reference.tag)
        ]
        if not wanted:
            raise system(
                f"tag does not exist: {reference.familiar}"
                if reference.tag
                else f"no tags to push for {reference.familiar_name}"
            )
        found = [(name, self._images.by_id(identity)) for name, identity in wanted]
        return [(name, image) for name, image in found if image is not None]

    async def _push_tag(self, target: Target, name: Reference, image: Image) -> None:
        chain = self._images.layers.chain(image.chain_id)  # topmost first, and so the lines are
        for layer in chain:
            target.emit(status_line("Preparing", short(layer.diff_id)))
        different = {layer.diff_id: layer for layer in chain}
        for layer in [*different.values()][self._settings.uploads :]:
            target.emit(status_line("Waiting", short(layer.diff_id)))
        try:
            async with asyncio.TaskGroup() as group:
                uploads = {
                    diff_id: group.create_task(self._upload(target, layer))
                    for diff_id, layer in different.items()
                }
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        layers = [uploads[layer.diff_id].result() for layer in reversed(chain)]
        config = self._images.config_bytes(image.id)
        manifest = _manifest(image.id, len(config), layers)
        if await target.remote.size_of_blob(image.id) is None:
            await _put_blob(target.remote, config, image.id)
        await target.remote.put_manifest(name.tag, manifest, media.DOCKER_MANIFEST)
        digest = digest_of(manifest)
        target.emit({"status": f"{name.tag}: digest: {digest} size: {len(manifest)}"})
        self._images.name(name.at(digest), image.id)
        result = {"Tag": name.tag, "Digest": digest, "Size": len(manifest)}
        target.emit({"progressDetail": {}, "aux": result})

    async def _upload(self, target: Target, layer: Layer) -> Descriptor:
        """Upload one layer; of several pushes of it to one repository, one sends and the others find it there."""
        key = (target.repository, layer.diff_id)
        lock = self._running.setdefault(key, asyncio.Lock())
        try:
            async with lock, self._slots:
                return await LayerUpload(target, layer, self._images.layers, self._images.sources).run()
        finally:
            if not lock.locked():
                self._running.pop(key, None)


def _manifest(config: str, size: int, layers: Sequence[Descriptor]) -> bytes:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media.DOCKER_MANIFEST,
        "config": {"mediaType": media.DOCKER_CONFIG, "size": size, "digest": config},
        "layers": [
            {"mediaType": layer.media_type, "size": layer.size, "digest": layer.digest} for layer in layers
        ],
    }
    return json.dumps(document, indent=_INDENT).encode()


async def _put_blob(remote: Remote, data: bytes, digest: str) -> None:
    async def whole() -> AsyncIterator[bytes]:
        yield data

    location = await remote.send(await remote.begin_upload(), whole())
    await remote.end_upload(location, digest)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first failure of uploads that ran together; the others only followed from it."""
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
