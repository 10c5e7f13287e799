"""Checkpoints of containers, which an engine has that was started with --experimental: made, listed, removed.

Rules and messages: daemon/checkpoint.go of moby 20.10; compared with dockerd 20.10.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sixhops.dockerd.containerd import checkpoints
from sixhops.dockerd.containerd.client import ContainerdError
from sixhops.dockerd.errors import EngineError, system

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.dockerd.containerd.client import Containerd
    from sixhops.dockerd.containers.held import Held

__all__ = ["Checkpoints", "existing"]

_CHARACTERS: Final = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
_NAME: Final = re.compile(f"{_CHARACTERS}+")


class Checkpoints:
    """The checkpoints of all containers. `tell` emits a container's event."""

    def __init__(
        self, find: Callable[[str], Held], containerd: Containerd, tell: Callable[[Held, str], None]
    ) -> None:
        self._find = find
        self._containerd = containerd
        self._tell = tell

    async def create(self, text: str, body: dict[str, Any]) -> None:
        """Write down a running container's state. Raises EngineError 404 and 500; then there is no checkpoint."""
        held = self._find(text)
        name = str(body.get("CheckpointID") or "")
        if not held.container.state.is_running:
            raise system(f"Container {text} not running")
        if not _NAME.fullmatch(name):
            raise system(f"Invalid checkpoint ID ({name}), only {_CHARACTERS} are allowed")
        try:
            place = await asyncio.to_thread(_fresh, _folder(held, body.get("CheckpointDir")), name, text)
        except EngineError as error:
            raise system(f"cannot checkpoint container {text}: {error.message}") from error
        try:
            await checkpoints.save(
                self._containerd,
                held.container.id,
                place,
                lambda action: self._tell(held, action),
                ends=bool(body.get("Exit")),
            )
        except (ContainerdError, OSError) as error:
            await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
            raise system(f"Cannot checkpoint container {text}: {error}") from error
        self._tell(held, "checkpoint")

    async def list(self, text: str, directory: str) -> list[dict[str, str]]:
        """Return the checkpoints of a container, or those in `directory`. Raises EngineError 404 and 500."""
        held = self._find(text)
        folder = await asyncio.to_thread(existing, _folder(held, directory), "", text)
        return [{"Name": path.name} for path in sorted(folder.iterdir()) if path.is_dir()]

    async def remove(self, text: str, name: str, directory: str) -> None:
        """Remove a checkpoint. Raises EngineError 404 and 500."""
        held = self._find(text)
        place = await asyncio.to_thread(existing, _folder(held, directory), name, text)
        await asyncio.to_thread(shutil.rmtree, place)


def existing(folder: Path, name: str, container: str) -> Path:
    """Return where a checkpoint is; `container` is how messages call whose it is. Raises EngineError 500."""
    place = folder / name
    if not place.exists():
        raise system(f"checkpoint {name} does not exist for container {container}")
    if not place.is_dir():
        raise system(f"{place} exists and is not a directory")
    return place


def _fresh(folder: Path, name: str, container: str) -> Path:
    place = folder / name
    if place.is_dir():
        raise system(f"checkpoint with name {name} already exists for container {container}")
    if place.exists():
        raise system(f"{place} exists and is not a directory")
    try:
        place.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise system(f"mkdir {error.filename}: {(error.strerror or '').lower()}") from error
    return place


def _folder(held: Held, asked: object) -> Path:
    return Path(asked) if isinstance(asked, str) and asked else held.files.checkpoints
