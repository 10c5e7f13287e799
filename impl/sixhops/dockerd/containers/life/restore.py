"""After a restart of the engine or of containerd: bring what the documents say into line with what containerd knows.

Engine restart: programs that still run are adopted and go on (live-restore) or are stopped, as dockerd does; what ended
meanwhile is tidied up; then restart policies start what should run, and what goes by itself (AutoRemove) goes. containerd
restart: exits that happened while it was away are caught up with (dockerd 20.10 loses them).
Source: moby 20.10, `restore` in daemon/daemon.go; but a container with AutoRemove that has lived on is left alone, as later
versions do.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from sixhops.dockerd.containerd.client import TaskExit, TaskState
from sixhops.dockerd.containers.life.stopping import should_restart
from sixhops.dockerd.containers.lifecycle import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sixhops.dockerd.containerd.client import Containerd
    from sixhops.dockerd.containers.held import Held
    from sixhops.dockerd.containers.life.running import Runner

__all__ = ["Keeper", "catch_up", "restore"]

#: The exit code of a program of which nobody knows how it ended: when containerd was away, and (dockerd's) the engine.
_UNKNOWN = 255
_FORGOTTEN = 0
_GONE = frozenset({"STOPPED", "UNKNOWN"})


class Keeper(Protocol):
    """What is done with a container that is found in another state than its document says."""

    async def exited(self, held: Held, exit_: TaskExit) -> None:
        """Deal with an exit that nobody saw."""
        ...

    async def stop(self, held: Held) -> None:
        """Stop a container that should not have lived on."""
        ...

    async def start_by_policy(self, held: Held) -> None:
        """Start a container because its restart policy says so."""
        ...

    async def remove_by_itself(self, held: Held) -> None:
        """Remove a container that goes by itself."""
        ...


async def catch_up(everything: Iterable[Held], containerd: Containerd, keeper: Keeper) -> None:
    """Look after every container that has a process, now that containerd is back."""

    async def one(held: Held) -> None:
        async with held.lock:
            identity, pid = held.container.id, held.container.state.pid
            task = await containerd.task(identity) if held.container.state.has_process else None
        if pid and not _is_alive(task):
            await keeper.exited(held, _exit_of(identity, pid, task, _UNKNOWN))

    await asyncio.gather(*(one(held) for held in everything if held.container.state.has_process))


async def restore(
    everything: Iterable[Held],
    containerd: Containerd,
    runner: Runner,
    keeper: Keeper,
    *,
    live: bool,
    restarts: bool = True,
) -> None:
    """Look after every container; call once, when the engine has started. Without `restarts` policies start nothing."""
    found = list(everything)
    await asyncio.gather(
        *(
            _settle(held, containerd, runner, keeper, live=live)
            for held in found
            if held.container.state.is_running
        )
    )
    waiting = [held for held in found if not held.container.state.has_process]
    starts = [
        held
        for held in waiting
        if restarts and held.container.state.started_at and _can_start(held) and should_restart(held)
    ]
    await asyncio.gather(*(keeper.start_by_policy(held) for held in starts))
    await asyncio.gather(
        *(
            keeper.remove_by_itself(held)
            for held in waiting
            if held not in starts and held.container.host_config["AutoRemove"]
        )
    )


async def _settle(held: Held, containerd: Containerd, runner: Runner, keeper: Keeper, *, live: bool) -> None:
    """Bring one container into line: it runs, or it has ended."""
    container, state = held.container, held.container.state
    async with held.lock:
        task = await containerd.task(container.id)
        if task is not None and _is_alive(task):
            await runner.adopt(held, task)
        else:
            await runner.forget(held, _exit_of(container.id, state.pid, task, _FORGOTTEN))
    if state.has_process and not live:
        await keeper.stop(held)
        held.exits_for_good = False
        # dockerd takes its own stop for the user's, so the policy unless-stopped does not start the container again
        state.stopped_by_user = True


def _can_start(held: Held) -> bool:
    return held.container.state.status not in {Status.DEAD, Status.REMOVING}


def _is_alive(task: TaskState | None) -> bool:
    return task is not None and task.status not in _GONE


def _exit_of(identity: str, pid: int, task: TaskState | None, unknown: int) -> TaskExit:
    if task is None:
        return TaskExit(identity, identity, pid, unknown, time.time_ns())
    return TaskExit(identity, identity, pid, task.exit_status, task.exited_at)
