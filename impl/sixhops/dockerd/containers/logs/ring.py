"""The log mode `non-blocking`: records wait in memory for a file that may be slow, and what does not fit is lost.

So the program never waits for its log. Which records are lost is moby 20.10's rule (daemon/logger/ring.go): one that is too
long for the room that is left, unless it would be alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from sixhops.dockerd.containers.logs.records import Record

__all__ = ["DEFAULT_LIMIT", "Ring"]

#: Bytes that may wait unless max-buffer-size says otherwise; dockerd's own number.
DEFAULT_LIMIT = 1_000_000
_log = logging.getLogger("dockerd")


class Ring:
    """Belongs to the event loop's thread, as does `append`, which writes records and waits for the disk elsewhere."""

    def __init__(self, limit: int, append: Callable[[list[Record]], Awaitable[None]]) -> None:
        """`limit` is how many bytes of output may wait."""
        self._limit = limit
        self._append = append
        self._queue: deque[Record] = deque()
        self._size = 0
        self._task: asyncio.Task[None] | None = None
        self._then: Callable[[], None] | None = None

    def put(self, records: Iterable[Record]) -> None:
        """Queue records, or lose them; never waits."""
        for record in records:
            length = _length(record)
            # a record that is being written has its place until it is
            if self._task is not None and self._size + length > self._limit:
                continue
            self._queue.append(record)
            self._size += length
            if self._task is None:
                self._task = asyncio.create_task(self._drain())

    def finally_(self, call: Callable[[], None] | None) -> None:
        """Call `call` when nothing waits any more, at once if nothing does; None takes an earlier one back."""
        self._then = None
        if self._task is not None:
            self._then = call
        elif call is not None:
            call()

    async def settled(self) -> None:
        """Wait until nothing waits any more."""
        while self._task is not None:
            await asyncio.shield(self._task)

    async def _drain(self) -> None:
        while self._queue:
            batch = list(self._queue)
            self._queue.clear()
            try:
                await self._append(batch)
            except OSError as error:
                # dockerd too goes on with what comes next
                _log.error("Error writing log message: %s", error)
            self._size -= sum(map(_length, batch))
        self._task = None
        if self._then is not None:
            self.finally_(self._then)


def _length(record: Record) -> int:
    return len(record.data.removesuffix(b"\n"))
