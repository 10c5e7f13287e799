"""What the API does with images: each operation with the events that it causes."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sixhops.dockerd.errors import EngineError, invalid, not_found, system
from sixhops.dockerd.images import archive, documents
from sixhops.dockerd.images import reference as references

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from sixhops.dockerd.events import Events
    from sixhops.dockerd.images.progress import Emit
    from sixhops.dockerd.images.pull import Puller
    from sixhops.dockerd.images.reference import Reference
    from sixhops.dockerd.images.remote import Credentials
    from sixhops.dockerd.images.store import Image, ImageStore
    from sixhops.linux.forkserver import ForkServer
    from sixhops.wire.image import Platform

    #: from an image's id to (container id, is running) of those made from it
    Users = Callable[[str], Sequence[tuple[str, bool]]]

__all__ = ["Images"]

_PRUNE_FILTERS = frozenset({"dangling", "label", "label!", "until"})


class Images:
    """The images of one engine, for its API."""

    def __init__(
        self,
        store: ImageStore,
        puller: Puller,
        forks: ForkServer,
        events: Events,
        users: Users,
        lease: Callable[[], AbstractAsyncContextManager[None]],
        temporary: Path,
    ) -> None:
        """`lease` guards what a pull writes into containerd; `temporary` is a directory for archives on their way."""
        self._store = store
        self._puller = puller
        self._forks = forks
        self._events = events
        self._users = users
        self._lease = lease
        self._temporary = temporary
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
            return documents.inspect(self._store, self._find(text))
        except EngineError as error:
            if error.status == 404:
                raise not_found(f"no such image: {text}: {error.message}") from error
            raise

    def history(self, text: str) -> list[dict[str, Any]]:
        """Return GET /images/{name}/history. Raises EngineError 404 and 400."""
        return documents.history(self._store, self._find(text))

    async def pull(
        self,
        reference: Reference,
        emit: Emit,
        credentials: Credentials,
        agent: str,
        platform: Platform | None,
    ) -> None:
        """Pull; see `Puller.pull`. Tells of it when it has succeeded."""
        async with self._lease():
            await self._puller.pull(reference, emit, credentials, agent, platform)
        image = self._store.by_name(reference.or_latest().canonical)
        self._tell("pull", reference.or_latest().familiar, reference.familiar_name, image)

    def tag(self, text: str, repository: str, tag: str) -> None:
        """Give an image another name. Raises EngineError 404, and 500 for a name that can't be, as dockerd does."""
        image = self._store.resolve(text)
        try:
            reference = references.with_tag_or_digest(repository, tag).or_latest()
        except EngineError as error:
            raise system(error.message) from error
        self._store.name(reference, image.id, by_user=True)
        self._tell("tag", image.id, reference.familiar, image)

    async def delete(self, text: str, *, force: bool, prune: bool) -> list[dict[str, str]]:
        """Remove a name or an image. Raises EngineError 404, 400 and 409."""
        if not text.strip():
            raise invalid("image name cannot be blank")
        image = self._store.resolve(text)
        users = [(container, image.id, running) for container, running in self._users(image.id)]
        entries = await asyncio.to_thread(self._store.delete, text, users, force=force, prune=prune)
        if any("Untagged" in entry for entry in entries):
            self._tell("untag", image.id, image.id, None)
        for entry in entries:
            # layers are deleted too, but only images have events
            if entry.get("Deleted") == image.id:
                self._tell("delete", image.id, image.id, None)
                await self._puller.contents.release(image.id)
        return entries

    async def prune(self, filters: dict[str, list[str]]) -> dict[str, Any]:
        """Remove images that nobody uses: those without a name, or with `dangling=false` all. Raises EngineError 400."""
        for key in filters:
            if key not in _PRUNE_FILTERS:
                raise invalid(f"Invalid filter '{key}'")
        if "until" in filters:
            raise EngineError(501, "this engine does not prune by time yet")
        dangling = filters.get("dangling", ["true"])[-1] not in {"0", "false"}
        asked = {key: values for key, values in filters.items() if key.startswith("label")}
        if dangling:
            asked["dangling"] = ["true"]
        gone: list[dict[str, str]] = []
        reclaimed = 0
        for image in documents.passing(self._store, asked, everything=False):
            if self._users(image.id):
                continue
            sizes = {layer.chain_id: layer.size for layer in self._store.layers.chain(image.chain_id)}
            for text in [name.familiar for name in self._store.names(image.id)] or [image.id]:
                if self._store.by_id(image.id) is None:
                    break
                entries = await self.delete(text, force=False, prune=True)
                gone += entries
                reclaimed += sum(sizes.get(entry.get("Deleted", ""), 0) for entry in entries)
        self._events.emit("image", "prune", "", {"reclaimed": str(reclaimed)})
        return {"ImagesDeleted": gone or None, "SpaceReclaimed": reclaimed}

    async def load(self, body: AsyncIterator[bytes], emit: Emit, *, quiet: bool) -> None:
        """Bring in the images of an archive, saying which. Raises EngineError 500 for one that can't be read."""
        with tempfile.NamedTemporaryFile(dir=self._temporary, prefix="load-") as file:
            async for piece in body:
                await asyncio.to_thread(file.write, piece)
            file.flush()
            loaded = await archive.load(Path(file.name), self._store, self._forks, emit, quiet=quiet)
        for image, names in loaded:
            for name in names:
                emit({"stream": f"Loaded image: {name.familiar}\n"})
                self._tell("load", image.id, name.familiar, image)
            if not names:
                emit({"stream": f"Loaded image ID: {image.id}\n"})
                self._tell("load", image.id, image.id, image)

    @contextlib.asynccontextmanager
    async def save(self, texts: Sequence[str]) -> AsyncIterator[IO[bytes]]:
        """Give a file with an archive of images, at its beginning. Raises EngineError 404 and 500."""
        for text in texts:
            try:
                self._store.resolve(text)
            except EngineError as error:
                raise EngineError(error.status, f"No such image: {text}") from error
        with tempfile.TemporaryFile(dir=self._temporary, prefix="save-") as file:
            await asyncio.to_thread(archive.save, texts, self._store, file)
            file.seek(0)
            for text in texts:
                image = self._store.resolve(text)
                self._tell("save", image.id, image.id, image)
            yield file

    def _find(self, text: str) -> Image:
        try:
            return self._store.resolve(text)
        except EngineError as error:
            if error.status == 400:
                raise invalid(f"no such image: {text}: {error.message}") from error
            raise

    def _tell(self, action: str, actor: str, name: str, image: Image | None) -> None:
        labels = ((image.config.get("config") or {}).get("Labels") or {}) if image is not None else {}
        self._events.emit("image", action, actor, {**labels, "name": name})
