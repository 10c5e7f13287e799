"""The pull: manifest, configuration and missing layers, several at once, each unpacked while it is still coming in.

Order of things as dockerd 20.10 does them: HEAD for the tag's digest, GET by digest (by tag when that fails),
configuration and layers side by side, at most `concurrency` layers at a time (`download` says how each). Nothing is
registered before everything was verified.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

from sixhops.dockerd.api.gojson import GoJsonError, decode_whole
from sixhops.dockerd.errors import EngineError, not_found, system
from sixhops.dockerd.images.transfer.download import LayerDownload, download_config
from sixhops.dockerd.images.transfer.endpoints import endpoints_for
from sixhops.dockerd.images.transfer.progress import status_line
from sixhops.dockerd.images.transfer.refusals import RemoteError, as_engine_error
from sixhops.dockerd.images.transfer.remote import Remote
from sixhops.dockerd.images.transfer.sources import Source
from sixhops.dockerd.images.unpacking.blob import BlobSink
from sixhops.wire.image import (
    EMPTY_LAYER_DIGEST,
    Descriptor,
    DocumentError,
    Platform,
    SignatureError,
    chain_ids,
    config_of,
    digest_of,
    media,
    parse_config,
    parse_index,
    parse_manifest,
    parse_schema1,
    short,
    verify_pretty,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sixhops.dockerd.images.reference import Reference
    from sixhops.dockerd.images.store import Image, ImageStore
    from sixhops.dockerd.images.transfer.authorization import Credentials
    from sixhops.dockerd.images.transfer.progress import Emit
    from sixhops.linux.forkserver import ForkServer

__all__ = ["ManifestContents", "PullSettings", "Puller"]

_SCHEMA1_TEXT = (
    "Image {name} uses outdated schema1 manifest format. "
    "Please upgrade to a schema2 image for better future compatibility. "
    "More information at https://docs.docker.com/registry/spec/deprecated-schema-v1/"
)
_NOT_CONFORMING = (
    "⚠️ Failed to pull manifest by the resolved digest. This registry does not\n\tappear to conform "
    "to the distribution registry "
    "specification; falling back to\n\tpull by tag.  "
    "This fallback is DEPRECATED, and will be removed in a future\n\trelease.  "
    "Please contact admins of {url}/. ⚠️\n"
)


class ManifestContents(Protocol):
    """Where raw manifests are kept: containerd's content store, under a lease for each image."""

    async def read(self, digest: str, domain: str, repository: str) -> bytes | None:
        """Return the manifest when it is here (and note that `domain`'s `repository` has it too), else None."""
        ...

    async def write(self, digest: str, media_type: str, data: bytes, domain: str, repository: str) -> None:
        """Keep a manifest whose digest was verified."""
        ...

    async def hold(self, image: str, digest: str) -> None:
        """Keep the manifest for as long as the image exists."""
        ...

    async def release(self, image: str) -> None:
        """Let go of the manifests that `hold` kept for an image."""
        ...


@dataclass(slots=True)
class PullSettings:
    """What the daemon's flags say about pulls and pushes; a reload changes it.

    `agent` is the User-Agent without the client's part.
    """

    mirrors: tuple[str, ...]
    insecure: tuple[str, ...]
    platform: Platform
    agent: str
    concurrency: int = 3
    uploads: int = 5
    attempts: int = 5
    retry_delay: float = 5.0

    def agent_for(self, client: str) -> str:
        """Return the User-Agent of requests that a client with this one has caused."""
        escaped = client.replace("(", "\\(").replace(")", "\\)")
        return f"{self.agent} UpstreamClient({escaped})" if client else self.agent


@dataclass(frozen=True, slots=True)
class _Found:
    """A manifest in the end chosen for our platform; `digest` is what the reference resolved to."""

    digest: str
    config: Descriptor | None
    config_bytes: bytes | None
    layers: tuple[Descriptor, ...]


class Puller:
    """Pulls images into a store. One instance an engine; any number of pulls at once."""

    def __init__(
        self, images: ImageStore, contents: ManifestContents, forks: ForkServer, settings: PullSettings
    ) -> None:
        self._images = images
        self._contents = contents
        self._forks = forks
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._running: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def pull(
        self,
        reference: Reference,
        emit: Emit,
        credentials: Credentials,
        client_agent: str,
        platform: Platform | None,
        meta: Mapping[str, str] | None = None,
    ) -> None:
        """Pull `reference`, or without a tag all of the repository, emitting progress objects.

        Raises EngineError: before the first object it is the request's answer, afterwards it is the stream's
        last object.
        """
        wanted = reference.or_latest()
        agent = self._settings.agent_for(client_agent)
        failure: RemoteError | None = None
        endpoints = await asyncio.to_thread(
            endpoints_for, wanted.domain, self._settings.mirrors, self._settings.insecure
        )
        for endpoint in endpoints:
            try:
                async with Remote(endpoint, wanted, credentials, agent, meta=meta) as remote:
                    names = (
                        [reference]
                        if reference.tag or reference.digest
                        else [reference.tagged(tag) for tag in await remote.list_tags()]
                    )
                    chosen = platform or self._settings.platform
                    news = [await _Pull(self, remote, name, emit, chosen).run() for name in names]
                    text = "Downloaded newer image for" if any(news) else "Image is up to date for"
                    emit({"status": f"Status: {text} {reference.familiar}"})
                    return
            except RemoteError as error:
                failure = error
                # an answer of the registry itself is final, except that a mirror never has the last word
                if error.status and not endpoint.mirror:
                    break
        assert failure is not None
        raise as_engine_error(failure, wanted)

    @property
    def images(self) -> ImageStore:
        """Return the store that is pulled into."""
        return self._images

    @property
    def contents(self) -> ManifestContents:
        """Return where manifests are kept."""
        return self._contents

    def limit(self, concurrency: int) -> None:
        """Let so many layers be fetched at once, from the next one on."""
        self._settings.concurrency = concurrency
        self._slots = asyncio.Semaphore(concurrency)

    @property
    def settings(self) -> PullSettings:
        """Return the daemon's settings for pulls."""
        return self._settings

    def lock_for(self, digest: str) -> asyncio.Lock:
        """Return the lock under which something is fetched: of two pulls of it at once, one downloads and one waits."""
        return self._running.setdefault(digest, asyncio.Lock())

    @property
    def slots(self) -> asyncio.Semaphore:
        """Return the limit of downloads at a time."""
        return self._slots

    @property
    def forks(self) -> ForkServer:
        """Return the parent of unpacking workers."""
        return self._forks


class _Pull:
    """One pull from one endpoint."""

    def __init__(
        self, puller: Puller, remote: Remote, reference: Reference, emit: Emit, platform: Platform
    ) -> None:
        self._puller = puller
        self._remote = remote
        self._reference = reference
        self._emit = emit
        self._platform = platform
        self._claim: Callable[[str], None]

    async def run(self) -> bool:
        """Pull; return whether the name points to another image than before."""
        digest, data, media_type = await self._manifest()
        tag = self._reference.tag or self._reference.canonical
        self._emit({"status": f"Pulling from {self._reference.path}", "id": tag})
        found = await self._choose(digest, data, media_type)
        images = self._puller.images
        with images.layers.claims() as self._claim:
            async with self._puller.lock_for(found.digest):
                image = await self._fetch(found)
        await self._puller.contents.hold(image.id, digest)
        at_digest = self._reference.at(digest)
        previous = images.by_name(self._reference.canonical)
        is_new = previous is None or previous.id != image.id
        if is_new:
            images.name(self._reference, image.id)
        if found.config is not None and images.by_name(at_digest.canonical) is None:
            images.name(at_digest, image.id)
        self._emit({"status": f"Digest: {digest}"})
        return is_new

    async def _manifest(self) -> tuple[str, bytes, str]:
        """Return (digest, bytes, media type) of what the reference names."""
        if self._reference.digest:
            data, kind = await self._by_digest(self._reference.digest)
            return self._reference.digest, data, kind
        tag = self._reference.tag
        digest = await self._remote.head_manifest(tag)
        if digest:
            current = self._puller.images.by_name(self._reference.canonical)
            held = self._puller.images.by_name(self._reference.at(digest).canonical)
            if current is not None and held is not None and current.id == held.id:
                kept = await self._puller.contents.read(digest, self._reference.domain, self._reference.path)
                if kept is not None:
                    return digest, kept, ""
            try:
                data, kind = await self._by_digest(digest, named=False)
            except RemoteError:
                url = self._remote.endpoint.url
                self._emit({"status": _NOT_CONFORMING.format(url=url), "id": "WARNING"})
            else:
                return digest if kind in _SCHEMA1 else digest_of(data), data, kind
        data, kind = await self._remote.get_manifest(tag)
        return digest_of(data) if kind not in _SCHEMA1 else "", data, kind

    async def _by_digest(self, digest: str, *, named: bool = True) -> tuple[bytes, str]:
        """Return a manifest and its media type; only where the digest was `named` by the user or a list must it fit.

        What comes for a digest that a HEAD named is taken for what the tag points to, whatever its digest is.
        """
        async with self._puller.lock_for(f"manifest {digest}"):
            return await self._fetch_manifest(digest, named=named)

    async def _fetch_manifest(self, digest: str, *, named: bool) -> tuple[bytes, str]:
        kept = await self._puller.contents.read(digest, self._reference.domain, self._reference.path)
        if kept is not None:
            return kept, ""
        data, kind = await self._remote.get_manifest(digest)
        if kind in _SCHEMA1:
            return data, kind
        fits = digest_of(data) == digest
        if fits:
            await self._puller.contents.write(
                digest, kind, data, self._reference.domain, self._reference.path
            )
        elif named:
            raise EngineError(500, f"manifest verification failed for digest {digest}")
        else:
            _check_json(data)
        return data, kind

    async def _choose(self, digest: str, data: bytes, kind: str) -> _Found:
        """Go through lists to the manifest of our platform."""
        try:
            kind = kind if kind in _KNOWN else _guess(data)
            if kind in _SCHEMA1:
                return self._schema1(data)
            if kind in media.INDEXES:
                entry = self._fitting(parse_index(data, kind).manifests)
                inner, _kind = await self._by_digest(entry.digest)
                manifest = parse_manifest(inner, entry.media_type)
            else:
                manifest = parse_manifest(data, kind)
        except (DocumentError, SignatureError) as error:
            raise system(str(error)) from error
        return _Found(digest, manifest.config, None, manifest.layers)

    def _fitting(self, entries: Sequence[Descriptor]) -> Descriptor:
        for entry in entries:
            platform = entry.platform
            if platform and (platform.os, platform.architecture) == (
                self._platform.os,
                self._platform.architecture,
            ):
                return entry
        raise not_found(f"no matching manifest for {self._platform} in the manifest list entries")

    def _schema1(self, data: bytes) -> _Found:
        payload, _keys = verify_pretty(data)
        manifest = parse_schema1(payload)
        if self._reference.domain == "docker.io":
            self._emit({"status": _SCHEMA1_TEXT.format(name=self._reference.canonical)})
        layers = [Descriptor(media.DOCKER_LAYER, digest, 0) for digest in reversed(manifest.layers)]
        return _Found(
            digest_of(payload),
            None,
            payload,
            tuple(layer for layer in layers if layer.digest != EMPTY_LAYER_DIGEST),
        )

    async def _fetch(self, found: _Found) -> Image:
        """Bring configuration and layers; register and return the image."""
        images = self._puller.images
        if found.config is not None:
            here = images.by_id(found.config.digest)
            if here is not None:
                return here
        try:
            async with asyncio.TaskGroup() as group:
                config = None
                if found.config is not None:
                    config = group.create_task(download_config(self._remote, found.config))
                diff_ids = group.create_task(self._layers(found.layers, config))
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        data = (
            config.result()
            if config is not None
            else config_of(parse_schema1(found.config_bytes or b""), diff_ids.result())
        )
        return images.add(data)

    async def _layers(self, layers: Sequence[Descriptor], config: asyncio.Task[bytes] | None) -> list[str]:
        """Bring the layers that are not here; return all diff ids, lowest first.

        What a blob unpacked to before tells which layers are here without a download.
        """
        store = self._puller.images.layers
        diff_ids: list[str] = []
        for layer in layers:
            known = [
                diff_id
                for diff_id in store.diff_ids_of_blob(layer.digest)
                if store.get(chain_ids([*diff_ids, diff_id])[-1])
            ]
            if not known:
                break
            diff_ids.append(known[0])
            self._claim(chain_ids(diff_ids)[-1])
            self._note(layer, known[0])
            self._emit(status_line("Already exists", short(layer.digest)))
        missing = layers[len(diff_ids) :]
        for layer in missing:
            self._emit(status_line("Pulling fs layer", short(layer.digest)))
        for layer in missing[self._puller.settings.concurrency :]:
            self._emit(status_line("Waiting", short(layer.digest)))
        sinks: list[BlobSink] = []
        try:
            async with asyncio.TaskGroup() as group:
                downloads = [group.create_task(self._download(layer, sinks)) for layer in missing]
                expected = parse_config(await config).diff_ids if config is not None else ()
                for position, (layer, download) in enumerate(
                    zip(missing, downloads, strict=True), start=len(diff_ids)
                ):
                    sink = await download
                    if expected and (position >= len(expected) or sink.diff_id != expected[position]):
                        raise system("layers from manifest don't match image configuration")
                    self._register(layer, sink, diff_ids)
        finally:
            for sink in sinks:
                await asyncio.to_thread(sink.abandon)
        return diff_ids

    def _register(self, layer: Descriptor, sink: BlobSink, diff_ids: list[str]) -> None:
        parent = chain_ids(diff_ids)[-1] if diff_ids else ""
        diff_ids.append(sink.diff_id)
        self._claim(chain_ids(diff_ids)[-1])
        sink.commit(chain_ids(diff_ids)[-1], parent)
        self._note(layer, sink.diff_id)
        self._emit(status_line("Pull complete", short(layer.digest)))

    def _note(self, layer: Descriptor, diff_id: str) -> None:
        """Remember what a blob unpacks to, and that this repository has it."""
        self._puller.images.sources.add(diff_id, Source(layer.digest, self._reference.name))

    async def _download(self, layer: Descriptor, sinks: list[BlobSink]) -> BlobSink:
        puller = self._puller

        def make_sink(digest: str) -> BlobSink:
            return BlobSink(puller.images.layers, puller.forks, digest)

        async with puller.slots:
            delay = puller.settings.retry_delay
            return await LayerDownload(
                self._remote, layer, self._emit, make_sink, sinks, delay, puller.settings.attempts
            ).run()


_SCHEMA1 = frozenset({media.DOCKER_SCHEMA1, media.DOCKER_SCHEMA1_SIGNED})
_KNOWN = _SCHEMA1 | media.MANIFESTS | media.INDEXES


def _check_json(data: bytes) -> None:
    """Raise EngineError in Go's words when a manifest is no JSON."""
    try:
        decode_whole(data)
    except GoJsonError as error:
        raise system(str(error)) from error


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first failure of tasks that were started together; the others only followed from it."""
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


def _guess(data: bytes) -> str:
    """Return the media type of a manifest that came without one that we know."""
    for kind, parse in (("list", parse_index), ("manifest", parse_manifest)):
        for media_type in media.INDEXES if kind == "list" else media.MANIFESTS:
            try:
                return parse(data, media_type).media_type
            except DocumentError:
                continue
    return media.DOCKER_SCHEMA1_SIGNED
