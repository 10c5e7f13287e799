"""The commit: what a container has changed becomes the topmost layer of a new image.

As dockerd 20.10 does it (moby, daemon/commit.go): the container stands still meanwhile unless the user says otherwise; the
image's configuration is the one that the request brings, or the container's, with the request's changes made, and filled up
from the container's.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sixhops.dockerd import metrics
from sixhops.dockerd.containers.lifecycle import Status
from sixhops.dockerd.errors import EngineError, conflict, invalid, system
from sixhops.dockerd.images.configuration import changes as change_lines
from sixhops.dockerd.images.configuration.children import EMPTY_TAR, child
from sixhops.dockerd.images.unpacking.blob import BlobSink, VerificationError
from sixhops.wire.image import chain_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.dockerd.containers.held import Held
    from sixhops.dockerd.containers.manager import Containers
    from sixhops.dockerd.containers.rootfs.trees import Trees
    from sixhops.dockerd.events import Events
    from sixhops.dockerd.images.service import Images
    from sixhops.dockerd.images.store import Image, ImageStore
    from sixhops.linux.forkserver import ForkServer

__all__ = ["CommitRequest", "Committer", "merged"]


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """What is asked; `config` is the request's body, None when it has none."""

    container: str
    repository: str
    tag: str
    author: str
    comment: str
    changes: Sequence[str]
    config: dict[str, Any] | None
    pause: bool


class Committer:
    """Commits containers of one engine."""

    def __init__(
        self,
        containers: Containers,
        trees: Trees,
        store: ImageStore,
        images: Images,
        forks: ForkServer,
        events: Events,
    ) -> None:
        self._containers = containers
        self._trees = trees
        self._store = store
        self._images = images
        self._forks = forks
        self._events = events

    async def commit(self, request: CommitRequest) -> str:
        """Make an image of a container; return its id. Raises EngineError."""
        with metrics.CONTAINER_ACTIONS.timed("commit"):
            return await self._commit(request)

    async def _commit(self, request: CommitRequest) -> str:
        if not request.container:
            raise invalid('invalid name or ID supplied: ""')
        held = self._containers.find(request.container)
        container = held.container
        status = container.state.status
        if status is Status.DEAD:
            raise conflict(f"You cannot commit container {container.id} which is Dead")
        if status is Status.REMOVING:
            raise conflict(f"You cannot commit container {container.id} which is being removed")
        async with self._still(held, wanted=request.pause):
            config = change_lines.apply(request.config or container.config, request.changes)
            image = await self._image(held, merged(config, container.config), request)
            name = ""
            if request.repository:
                name = self._images.tag(image.id, request.repository, request.tag)
        attributes = {"comment": request.comment, "imageID": image.id, "imageRef": name}
        self._events.emit("container", "commit", container.id, {**container.attributes, **attributes})
        return image.id

    @contextlib.asynccontextmanager
    async def _still(self, held: Held, *, wanted: bool) -> Any:
        """Pause a container that runs; one that can't be paused is committed as it goes."""
        paused = False
        if wanted and held.container.state.status is not Status.PAUSED:
            with contextlib.suppress(EngineError):
                await self._containers.pause(held.container.id)
                paused = True
        try:
            yield
        finally:
            if paused:
                with contextlib.suppress(EngineError):
                    await self._containers.unpause(held.container.id)

    async def _image(self, held: Held, config: dict[str, Any], request: CommitRequest) -> Image:
        container = held.container
        parent = self._store.by_id(container.image)
        if parent is None:
            raise system(f"failed to get digest {container.image}: no such image")
        sink = BlobSink(self._store.layers, self._forks, "")
        try:
            async with self._trees.layer(held) as pieces:
                async for piece in pieces:
                    await sink.write(piece)
            try:
                sink.size = await sink.finish()
            except VerificationError as error:
                raise system(str(error)) from error
            data = child(
                parent.config,
                config,
                sink.diff_id,
                container=container.id,
                container_settings=container.config,
                author=request.author,
                comment=request.comment,
                now=time.time_ns(),
            )
            with self._store.layers.claims() as claim:
                if sink.diff_id != EMPTY_TAR:
                    chain_id = chain_ids([*parent.diff_ids, sink.diff_id])[-1]
                    claim(chain_id)
                    sink.commit(chain_id, parent.chain_id)
                return self._store.add(data, parent.id)
        finally:
            await asyncio.to_thread(sink.abandon)


def merged(config: dict[str, Any], container: dict[str, Any]) -> dict[str, Any]:
    """Return `config` with what it lacks taken from the container's; a container's volumes stay in any case."""
    found = dict(config)
    found["User"] = config.get("User") or container.get("User") or ""
    found["ExposedPorts"] = (container.get("ExposedPorts") or {}) | (config.get("ExposedPorts") or {})
    environment = list(config.get("Env") or ())
    names = {entry.partition("=")[0] for entry in environment}
    environment += [entry for entry in container.get("Env") or () if entry.partition("=")[0] not in names]
    found["Env"] = environment or config.get("Env") or container.get("Env")
    found["Labels"] = (container.get("Labels") or {}) | (config.get("Labels") or {})
    if not config.get("Entrypoint"):
        if not config.get("Cmd"):
            found["Cmd"] = container.get("Cmd")
        if config.get("Entrypoint") is None:
            found["Entrypoint"] = container.get("Entrypoint")
    found["Healthcheck"] = _merged_health(config.get("Healthcheck"), container.get("Healthcheck"))
    found["WorkingDir"] = config.get("WorkingDir") or container.get("WorkingDir") or ""
    found["Volumes"] = (config.get("Volumes") or {}) | (container.get("Volumes") or {}) or None
    found["StopSignal"] = config.get("StopSignal") or container.get("StopSignal") or ""
    return found


def _merged_health(own: dict[str, Any] | None, other: dict[str, Any] | None) -> dict[str, Any] | None:
    if not own or not other:
        return own or other
    return other | {key: value for key, value in own.items() if value}
