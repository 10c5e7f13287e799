"""After a restart of the engine or of containerd: bring what the documents say into line with what containerd knows.

Engine restart: programs that still run are adopted and go on (live-restore) or are stopped, as dockerd does; what ended
meanwhile is tidied up; restart policies then start what should run. containerd restart: exits that happened while it
was away are caught up with (dockerd 20.10 loses them).
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from sixhops.dockerd.containerd.client import TaskExit, TaskState
from sixhops.dockerd.containers.lifecycle import Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from sixhops.dockerd.containerd.client import Containerd
    from sixhops.dockerd.containers.held import Held
    from sixhops.dockerd.containers.running import Runner

__all__ = ["reconcile"]

#: The exit code of a program of which nobody knows how it ended; dockerd's own.
_UNKNOWN = 255
_GONE = frozenset({"STOPPED", "UNKNOWN"})


async def reconcile(
    everything: Iterable[Held],
    containerd: Containerd,
    runner: Runner,
    *,
    exited: Callable[[Held, TaskExit], Awaitable[None]],
    stop: Callable[[Held], Awaitable[None]],
    start: Callable[[Held], Awaitable[None]],
    first: bool,
    live: bool,
) -> None:
    """Look after every container that should have a process. `first`: the engine has just started."""
    await asyncio.gather(
        *(
            _one(held, containerd, runner, exited=exited, stop=stop, start=start, first=first, live=live)
            for held in everything
            if held.container.state.is_running
        )
    )


async def _one(
    held: Held,
    containerd: Containerd,
    runner: Runner,
    *,
    exited: Callable[[Held, TaskExit], Awaitable[None]],
    stop: Callable[[Held], Awaitable[None]],
    start: Callable[[Held], Awaitable[None]],
    first: bool,
    live: bool,
) -> None:
    container = held.container
    if container.state.status is Status.RESTARTING:
        if first:
            # the wait for the next run died with the last engine
            container.state.status = Status.EXITED
            await start(held)
        return
    async with held.lock:
        # a start or exit that was under way is over now
        pid = container.state.pid
        task = await containerd.task(container.id) if container.state.has_process else None
        is_alive = task is not None and task.status not in _GONE
        if first and is_alive:
            assert task is not None
            await runner.adopt(held, task.pid)
    if is_alive:
        if first and not live:
            await stop(held)
            if _wants_to_run(held):
                await start(held)
        return
    if pid:
        await exited(held, _exit_of(container.id, pid, task))


def _exit_of(identity: str, pid: int, task: TaskState | None) -> TaskExit:
    if task is None:
        return TaskExit(identity, identity, pid, _UNKNOWN, time.time_ns())
    return TaskExit(identity, identity, pid, task.exit_status, task.exited_at)


def _wants_to_run(held: Held) -> bool:
    name = held.container.host_config["RestartPolicy"]["Name"]
    return name in {"always", "unless-stopped"} and not held.container.state.stopped_by_user
