"""Asking the fork server for workers, from asyncio: their pids are watched by pidfd and reaped here."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

from sixhops.containerd.errors import unknown
from sixhops.linux.forkserver import ForkError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sixhops.linux.forkserver import ForkServer

__all__ = ["Workers"]

log = logging.getLogger(__name__)
CHUNK = 1 << 16


class Workers:
    """The fork server as containerd's services see it. One that died is replaced by what `again` returns."""

    def __init__(self, forks: ForkServer, again: Callable[[], ForkServer]) -> None:
        self._forks = forks
        self._again = again
        # the fork server answers in order, so one at a time speaks with it
        self._turn = asyncio.Lock()
        self._answer: asyncio.Task[asyncio.Future[int]] | None = None
        self._news: asyncio.Future[None] | None = None

    async def start(
        self, module: str, function: str, arguments: dict[str, Any], descriptors: Sequence[int]
    ) -> asyncio.Future[int]:
        """Fork a worker and return its future exit status. RpcError UNKNOWN when there can't be one.

        A caller that is cancelled may have got one all the same; it is reaped when it ends.
        """
        try:
            async with self._turn:
                try:
                    return await self._ask(module, function, arguments, descriptors)
                except ForkError as error:
                    log.warning("%s; starting another", error)
                    self._close()
                    self._forks = self._again()
                    return await self._ask(module, function, arguments, descriptors)
        except (ForkError, OSError) as error:
            raise unknown(f"failed to fork a worker: {error}") from error

    async def _ask(
        self, module: str, function: str, arguments: dict[str, Any], descriptors: Sequence[int]
    ) -> asyncio.Future[int]:
        if self._answer is not None:
            await asyncio.wait([self._answer])  # that of one who was cancelled meanwhile
        while not self._forks.settled():
            await self._some_news()
        self._forks.send(module, function, arguments, descriptors)
        self._answer = asyncio.get_running_loop().create_task(self._receive(f"{module}.{function}"))
        return await asyncio.shield(self._answer)

    async def _receive(self, name: str) -> asyncio.Future[int]:
        while (pid := self._forks.receive(wait=False)) is None:
            await self._some_news()
        return _watch(pid, name)

    async def _some_news(self) -> None:
        """Wait until the fork server has said something, or has gone."""
        if self._news is None:
            self._news = self._readable(self._forks.connection.fileno())
        await asyncio.shield(self._news)

    def _readable(self, descriptor: int) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        news: asyncio.Future[None] = loop.create_future()

        def readable() -> None:
            loop.remove_reader(descriptor)
            self._news = None
            if not news.done():
                news.set_result(None)

        loop.add_reader(descriptor, readable)
        return news

    def prepare(self, module: str, function: str, arguments: dict[str, Any]) -> None:
        """Let the fork server call a function for the good of later workers. It is no error if it can't."""
        try:
            self._forks.prepare(module, function, arguments)
        except (ForkError, OSError) as error:
            log.debug("%s.%s is not prepared: %s", module, function, error)

    def close(self) -> None:
        """Let the fork server end."""
        self._close()

    def _close(self) -> None:
        if self._news is not None:
            asyncio.get_running_loop().remove_reader(self._forks.connection.fileno())
            if not self._news.done():
                self._news.set_result(None)  # whoever waits looks again
            self._news = None
        self._forks.close()

    async def run(
        self, module: str, function: str, arguments: dict[str, Any], descriptors: Sequence[int] = ()
    ) -> bytes:
        """Run a worker to its end and return what it wrote to its last descriptor, which is added here."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            done = await self.start(module, function, arguments, [*descriptors, writer])
        finally:
            os.close(writer)
        parts: list[bytes] = []
        loop = asyncio.get_running_loop()
        os.set_blocking(reader, False)

        def readable() -> None:
            try:
                data = os.read(reader, CHUNK)
            except BlockingIOError:
                return
            if data:
                parts.append(data)
            else:
                loop.remove_reader(reader)

        loop.add_reader(reader, readable)
        try:
            await done
            readable()
        finally:
            loop.remove_reader(reader)
            os.close(reader)
        return b"".join(parts)


def _watch(pid: int, name: str) -> asyncio.Future[int]:
    """Return the future exit status of a worker, which is reaped when it ends."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[int] = loop.create_future()
    descriptor = os.pidfd_open(pid)

    def ended() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        log.debug("worker %d (%s) ended with %d", pid, name, status)
        if not done.cancelled():
            done.set_result(status)

    loop.add_reader(descriptor, ended)
    return done
