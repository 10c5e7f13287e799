"""What the engine holds in memory for each container beside its document: lock, streams, log and those who wait."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.streams.stdio import Fanout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sixhops.dockerd.containers.files import ContainerFiles
    from sixhops.dockerd.containers.life.exec import Exec
    from sixhops.dockerd.containers.logs.drivers import Log
    from sixhops.dockerd.containers.model import Container
    from sixhops.dockerd.containers.streams.stdio import Stdin, Stdio
    from sixhops.dockerd.networks.model import Sandbox

__all__ = ["Held", "Waiters"]


class Waiters:
    """Those who wait for a container to end or to go."""

    def __init__(self) -> None:
        self._for_exit: set[asyncio.Future[int]] = set()
        self._for_stop: set[asyncio.Future[int]] = set()
        self._for_removal: set[asyncio.Future[int]] = set()

    def exit(self) -> asyncio.Future[int]:
        """Return the exit code of the current or next run, when it has ended."""
        return self._new(self._for_exit)

    def stop(self) -> asyncio.Future[int]:
        """Return the exit code of the run after which the container is not started again by its restart policy."""
        return self._new(self._for_stop)

    def removal(self) -> asyncio.Future[int]:
        """Return the last exit code, when the container has been removed."""
        return self._new(self._for_removal)

    def exited(self, code: int, *, restarts: bool) -> None:
        """The run is over; `restarts` says that the restart policy will start another."""
        self._resolve(self._for_exit, code)
        if not restarts:
            self._resolve(self._for_stop, code)

    def removed(self, code: int) -> None:
        """The container has gone: nobody has anything left to wait for."""
        for group in (self._for_exit, self._for_stop, self._for_removal):
            self._resolve(group, code)

    @staticmethod
    def _new(group: set[asyncio.Future[int]]) -> asyncio.Future[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        group.add(future)
        future.add_done_callback(group.discard)
        return future

    @staticmethod
    def _resolve(group: set[asyncio.Future[int]], code: int) -> None:
        for future in list(group):
            if not future.done():
                future.set_result(code)


class Held:
    """A container and its company. `lock` is taken by whoever changes its state."""

    def __init__(self, container: Container, files: ContainerFiles, log: Log | None) -> None:
        """`log` is None for the log driver `none`."""
        self.container = container
        self.files = files
        self.log = log
        self.lock = asyncio.Lock()
        self.output = Fanout()
        self.waiters = Waiters()
        self.stdio: Stdio | None = None
        self.sandbox: Sandbox | None = None
        self.linked: tuple[str, ...] = ()
        self.execs: dict[str, Exec] = {}
        #: the checkpoint that the start under way goes on from, "" for a beginning
        self.checkpoint = ""
        self.delay = 0.0
        self.restarting: asyncio.Task[None] | None = None
        self.checks: asyncio.Task[None] | None = None
        self.is_being_removed = False
        #: the run's end is the last: the restart policy has been overruled
        self.exits_for_good = False
        #: a restart of the user's is under way: its stop removes nothing
        self.is_restarting = False
        self.finish_log: Callable[[], None] = _nothing
        self._settled = asyncio.Event()
        self._settled.set()
        self._stdin_ready: asyncio.Future[Stdin | None] | None = None

    @property
    def document(self) -> dict[str, Any]:
        """The container's Config."""
        return self.container.config

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """While a run's end is dealt with, those who look at the container's state wait (see `settled`)."""
        self._settled.clear()
        try:
            yield
        finally:
            self._settled.set()

    async def settled(self) -> None:
        """Wait until no run's end is under way: a client that has seen one finds all of it done.

        dockerd does the same, as it holds the container's lock all the while (daemon/monitor.go of moby 20.10).
        """
        await self._settled.wait()

    async def stdin(self) -> Stdin | None:
        """Return the program's stdin, waiting for the container to start."""
        if self.stdio is not None and self.stdio.stdin is not None and self.container.state.has_process:
            return self.stdio.stdin
        if self._stdin_ready is None:
            self._stdin_ready = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._stdin_ready)

    def stdin_is_ready(self) -> None:
        """The program runs: attached clients may write."""
        if self._stdin_ready is not None and not self._stdin_ready.done():
            self._stdin_ready.set_result(self.stdio.stdin if self.stdio else None)
        self._stdin_ready = None


def _nothing() -> None:
    """Before the first run there is nothing to finish."""
