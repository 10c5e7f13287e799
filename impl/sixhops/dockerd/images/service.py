"""What the API does with images: each operation with the events that it causes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sixhops.dockerd.errors import EngineError, conflict, invalid, system
from sixhops.dockerd.images import deletion, documents, pruning
from sixhops.dockerd.images import reference as references
from sixhops.dockerd.images.archive import loading, saving
from sixhops.dockerd.images.archive.contents import Contents
from sixhops.dockerd.images.archive.importing import import_image
from sixhops.dockerd.images.transfer.search import check_filters, passes, search
from sixhops.dockerd.images.unpacking.decompression import Decompression

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from sixhops.dockerd.events import Events
    from sixhops.dockerd.images.archive.importing import ImportRequest
    from sixhops.dockerd.images.reference import Reference
    from sixhops.dockerd.images.store import Image, ImageStore
    from sixhops.dockerd.images.transfer.authorization import Credentials
    from sixhops.dockerd.images.transfer.progress import Emit
    from sixhops.dockerd.images.transfer.pull import Puller
    from sixhops.dockerd.images.transfer.push import Pusher
    from sixhops.linux.forkserver import ForkServer
    from sixhops.wire.image import Platform

    #: from an image's id to (container id, is running) of those made from it
    Users = Callable[[str], Sequence[tuple[str, bool]]]

__all__ = ["Images"]

_log = logging.getLogger(__name__)


class Images:
    """The images of one engine, for its API."""

    def __init__(
        self,
        store: ImageStore,
        puller: Puller,
        pusher: Pusher,
        forks: ForkServer,
        events: Events,
        users: Users,
        lease: Callable[[], AbstractAsyncContextManager[None]],
        temporary: Path,
    ) -> None:
        """`lease` guards what a pull writes into containerd; `temporary` is a directory for archives on their way."""
        self._store = store
        self._puller = puller
        self._pusher = pusher
        self._forks = forks
        self._events = events
        self._users = users
        self._lease = lease
        self._temporary = temporary
        self._is_pruning = False
        temporary.mkdir(mode=0o700, parents=True, exist_ok=True)

    def count(self) -> int:
        """Return how many images there are."""
        return len(self._store.all())

    def layers_size(self) -> int:
        """Return the bytes of all layers, each counted once."""
        layers = {layer for image in self._store.all() for layer in self._store.layers.chain(image.chain_id)}
        return sum(layer.size for layer in layers)

    def shared_size(self, identity: str) -> int:
        """Return the bytes of those layers of an image that other images have too."""
        chains = {image.id: set(self._store.layers.chain(image.chain_id)) for image in self._store.all()}
        own = chains.pop(identity, set())
        others = set().union(*chains.values())
        return sum(layer.size for layer in own & others)

    def summaries(self, filters: dict[str, list[str]], *, everything: bool) -> list[dict[str, Any]]:
        """Return GET /images/json. Raises EngineError 400 for an unknown filter."""
        return [
            documents.summary_under(self._store, image, filters)
            for image in documents.passing(self._store, filters, everything=everything)
        ]

    def inspect(self, text: str) -> dict[str, Any]:
        """Return GET /images/{name}/json. Raises EngineError 404 and 400."""
        try:
            image = self._store.resolve(text)
        except EngineError as error:
            raise EngineError(error.status, f"no such image: {text}: {error.message}") from error
        return documents.inspect(self._store, image)

    def history(self, text: str) -> list[dict[str, Any]]:
        """Return GET /images/{name}/history. Raises EngineError 404 and 400."""
        return documents.history(self._store, self._store.resolve(text))

    async def pull(
        self,
        reference: Reference,
        emit: Emit,
        credentials: Credentials,
        agent: str,
        platform: Platform | None,
        meta: Mapping[str, str] | None = None,
    ) -> None:
        """Pull; see `Puller.pull`. Tells of it when it has succeeded."""
        async with self._lease():
            await self._puller.pull(reference, emit, credentials, agent, platform, meta)
        image = self._store.by_name(reference.or_latest().canonical)
        self._tell("pull", reference.familiar, reference.familiar_name, image)

    async def push(
        self,
        reference: Reference,
        emit: Emit,
        credentials: Credentials,
        agent: str,
        meta: Mapping[str, str],
    ) -> None:
        """Push an image, or without a tag all of a repository; see `Pusher.push`. Tells of it when it has succeeded."""
        full_agent = self._puller.settings.agent_for(agent)
        await self._pusher.push(reference, emit, credentials, full_agent, meta)
        image = self._store.by_name(reference.or_latest().canonical)
        self._tell("push", reference.familiar, reference.familiar_name, image)

    def tag(self, text: str, repository: str, tag: str) -> str:
        """Give an image another name; return it in its short form.

        Raises EngineError: 404 for no such image, 500 for a name that can't be, 400 for one that may not.
        """
        image = self._store.resolve(text)
        try:
            reference = references.parse(repository)
            if tag:
                reference = reference.tagged(tag)
        except EngineError as error:
            raise system(error.message) from error
        return self._name(image, reference)

    def _name(self, image: Image, reference: Reference) -> str:
        if reference.digest:
            raise invalid("refusing to create a tag with a digest reference")
        if reference.familiar_name == "sha256":
            raise invalid("refusing to create an ambiguous tag using digest algorithm as name")
        self._store.name(reference.or_latest(), image.id, by_user=True)
        self._tell("tag", image.id, reference.familiar, image)
        return reference.familiar

    async def delete(self, text: str, *, force: bool, prune: bool) -> list[dict[str, str]]:
        """Remove a name or an image. Raises EngineError 404, 400 and 409."""
        if not text.strip():
            raise invalid("image name cannot be blank")
        done = await asyncio.to_thread(
            deletion.delete, self._store, text, self._users, force=force, prune=prune
        )
        for action, image in done.events:
            # what is gone can't be asked for its labels any more
            self._tell(action, image.id, image.id, image if action == "untag" else None)
            if action == "delete":
                await self._puller.contents.release(image.id)
        return done.entries

    async def prune(self, filters: dict[str, list[str]]) -> dict[str, Any]:
        """Remove images that nobody uses: those without a tag, or with `dangling=false` all.

        Raises EngineError 400 for a filter that is none, 409 while another prune goes on.
        """
        if self._is_pruning:
            raise conflict("a prune operation is already running")
        self._is_pruning = True
        try:
            wanted = pruning.selection(self._store, filters, time.time_ns())
            sizes = self._store.layers.sizes()
            gone: list[dict[str, str]] = []
            for texts in wanted:
                for text in texts:
                    try:
                        gone += await self.delete(text, force=False, prune=True)
                    except EngineError as error:
                        _log.debug("failed to prune image %s: %s", text, error.message)
        finally:
            self._is_pruning = False
        reclaimed = sum(sizes.get(entry.get("Deleted", ""), 0) for entry in gone)
        self._events.emit("image", "prune", "", {"reclaimed": str(reclaimed)})
        return {"ImagesDeleted": gone or None, "SpaceReclaimed": reclaimed}

    async def import_image(
        self, name: Reference | None, request: ImportRequest, body: AsyncIterator[bytes], emit: Emit
    ) -> None:
        """Make an image of a tar, and name it; see `importing`. Raises EngineError."""
        image = await import_image(request, body, self._store, self._forks, emit)
        if name is not None:
            self._name(image, name)
        self._tell("import", image.id, image.id, image)
        emit({"status": image.id})

    async def search(
        self,
        term: str,
        limit: int,
        filters: dict[str, list[str]],
        credentials: Credentials,
        agent: str,
        meta: Mapping[str, str],
    ) -> list[dict[str, Any]]:
        """Return GET /images/search. Raises EngineError."""
        check_filters(filters)
        settings = self._puller.settings
        found = await search(term, limit, settings, credentials, settings.agent_for(agent), meta)
        return [entry for entry in found if passes(entry, filters)]

    async def load(self, body: AsyncIterator[bytes], emit: Emit, *, quiet: bool) -> None:
        """Bring in the images of an archive, saying which. Raises EngineError 500 for one that can't be read."""
        with tempfile.NamedTemporaryFile(dir=self._temporary, prefix="docker-import-") as file:
            plain = Decompression()
            async for piece in body:
                file.write(await asyncio.to_thread(plain.feed, piece))
                if plain.damage:
                    break
            file.write(plain.finish())
            file.flush()
            if plain.damage:
                with await asyncio.to_thread(Contents.of, Path(file.name)):
                    # what came of it is a whole tar, so the damage is all that is wrong
                    raise system(f"Error processing tar file({plain.damage}): ")
            loader = loading.Loader(self._store, self._forks, emit, quiet=quiet)
            try:
                await loader.load(Path(file.name))
            finally:
                for image in loader.loaded:
                    self._tell("load", image.id, image.id, image)

    @contextlib.asynccontextmanager
    async def save(self, texts: Sequence[str]) -> AsyncIterator[IO[bytes]]:
        """Give a file with an archive of images, at its beginning. Raises EngineError 404 and 500."""
        plan = saving.plan(texts, self._store)
        with tempfile.TemporaryFile(dir=self._temporary, prefix="save-") as file:
            await asyncio.to_thread(saving.write, plan, self._store, file)
            file.seek(0)
            for saved in plan:
                self._tell("save", saved.image.id, saved.image.id, saved.image)
            yield file

    def _tell(self, action: str, actor: str, name: str, image: Image | None) -> None:
        labels = ((image.config.get("config") or {}).get("Labels") or {}) if image is not None else {}
        self._events.emit("image", action, actor, {**labels, "name": name})
