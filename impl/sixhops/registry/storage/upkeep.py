"""What a running registry does unasked: drop uploads that nobody finishes, forget what a mirror has kept for long,
and look whether the storage still is there.

Every round runs in a worker thread and logs what it did; one that fails is logged and does not end the next.
"""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
import time
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sixhops.registry.mirroring.mirror import KEPT_SECONDS
from sixhops.registry.names import is_upload
from sixhops.registry.storage.maintenance import expire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from sixhops.registry.settings.config import Config
    from sixhops.registry.storage.uploads import UploadStore
    from sixhops.wire.image.layout import Layout

_FIRST_ROUND_SECONDS: Final = 60.0
_log = logging.getLogger("sixhops.registry.storage.upkeep")


class Upkeep:
    """The background work of one registry. Make it inside of the event loop; `close` when done."""

    def __init__(self, config: Config, layout: Layout, uploads: UploadStore) -> None:
        self._config = config
        self._layout = layout
        self._uploads = uploads
        self._failures = 0
        self._tasks = []
        if config.purge and not config.read_only:
            # Several registries that start together shall not walk one disk together.
            first = min(random.uniform(0, _FIRST_ROUND_SECONDS), config.purge_interval)
            self._tasks.append(_repeat(first, config.purge_interval, self._purge))
        if config.remote:
            self._tasks.append(_repeat(config.purge_interval, config.purge_interval, self._expire))
        if config.watch_storage:
            self._tasks.append(_repeat(0.0, config.watch_interval, self._look))

    @property
    def healthy(self) -> bool:
        """Tell whether the storage could be used when it was last looked at."""
        return self._failures < self._config.watch_threshold

    async def close(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _purge(self) -> None:
        limit = time.time() - self._config.purge_age
        old = await asyncio.to_thread(lambda: list(old_uploads(self._layout, limit)))
        for repository, identity in old:
            if self._config.purge_dry_run:
                _log.info("upload %s of %s would be dropped", identity, repository)
            elif await self._uploads.expire(repository, identity):
                _log.info("upload %s of %s was dropped", identity, repository)

    async def _expire(self) -> None:
        count = await asyncio.to_thread(expire, self._layout, KEPT_SECONDS)
        _log.info("%d links of the mirror have ended", count)

    async def _look(self) -> None:
        try:
            await asyncio.to_thread(_usable, self._layout.base)
            self._failures = 0
        except OSError as error:
            self._failures += 1
            _log.error("the storage can't be used (%d): %s", self._failures, error)


def old_uploads(layout: Layout, limit: float) -> Iterator[tuple[str, str]]:
    """Yield (repository, upload) of all uploads that began before `limit`, in seconds since the epoch."""
    for directory in layout.repositories.glob("**/_uploads/*"):
        if is_upload(directory.name):
            began = _began(directory)
            if began is not None and began < limit:
                yield str(directory.parent.parent.relative_to(layout.repositories)), directory.name


def _began(directory: Path) -> float | None:
    try:
        text = (directory / "startedat").read_text(encoding="ascii")
        return datetime.fromisoformat(text.strip()).timestamp()
    except (OSError, ValueError):
        # A kill between the folder and its date.
        try:
            return directory.stat().st_mtime
        except FileNotFoundError:
            return None


def _usable(directory: Path) -> None:
    with tempfile.TemporaryFile(dir=directory):
        pass


def _repeat(first: float, interval: float, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    async def run() -> None:
        await asyncio.sleep(first)
        while True:
            try:
                await work()
            except Exception:  # noqa: BLE001 - the next round may do better, and the registry serves on
                _log.exception("upkeep failed")
            await asyncio.sleep(interval)

    return asyncio.create_task(run())
