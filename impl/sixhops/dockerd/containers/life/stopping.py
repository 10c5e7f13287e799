"""Ending containers: signals, the wait for their effect, and what the restart policy does afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from sixhops.dockerd.containerd.client import ContainerdError
from sixhops.dockerd.containers.checks.signals import parse_signal
from sixhops.dockerd.containers.lifecycle import Operation, Status, check
from sixhops.dockerd.errors import EngineError, system

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.dockerd.containerd.client import Containerd
    from sixhops.dockerd.containers.held import Held
    from sixhops.dockerd.events import Events

__all__ = ["Stopper", "next_delay", "should_restart"]

_log = logging.getLogger(__name__)
SIGKILL, SIGTERM = 9, 15
_DEFAULT_TIMEOUT = 10
#: How long the end of a killed program is waited for, in seconds.
_KILL_PATIENCE = 10.0
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 60.0
#: A run of so many nanoseconds counts as a success: the back-off begins anew.
_LONG_RUN = 10 * 10**9


class Stopper:
    """Sends signals and waits. `save` stores a container's document."""

    def __init__(self, containerd: Containerd, events: Events, save: Callable[[Held], None]) -> None:
        self._containerd = containerd
        self._events = events
        self._save = save

    async def signal(self, held: Held, number: int) -> None:
        """Send a signal. Raises EngineError 409 for a container that does not run, and for containerd's failures."""
        async with held.lock:
            container = held.container
            if container.state.status is Status.RESTARTING:
                self.cancel_restart(held)
                return
            check(container.state.status, Operation.KILL, container.id)
            await self._send(held, number)

    async def stop(self, held: Held, timeout: int | None) -> None:  # noqa: ASYNC109 - the user's, in seconds
        """Ask the program to end, kill it after `timeout` seconds (negative: never).

        Raises EngineError 304 if it does not run.
        """
        container = held.container
        check(container.state.status, Operation.STOP, container.id)
        ended = held.waiters.stop()
        try:
            await self._end(held, timeout, ended)
        finally:
            ended.cancel()
        self._events.emit("container", "stop", container.id, container.attributes)

    async def kill(self, held: Held) -> None:
        """Kill the program and wait for its end. Raises EngineError 500 when it does not end."""
        ended = held.waiters.stop()
        try:
            await self.signal(held, SIGKILL)
            await self._await(held, ended)
        finally:
            ended.cancel()

    def cancel_restart(self, held: Held) -> None:
        """Give up a restart that the policy has planned; the caller holds the lock."""
        state = held.container.state
        if held.restarting is not None:
            held.restarting.cancel()
            held.restarting = None
        state.stopped_by_user = True
        held.exits_for_good = True
        if state.status is Status.RESTARTING:
            state.status = Status.EXITED
            self._save(held)
            held.waiters.exited(state.exit_code, restarts=False)

    async def _end(self, held: Held, timeout: int | None, ended: asyncio.Future[int]) -> None:  # noqa: ASYNC109 - as above
        config = held.container.config
        if timeout is None:
            timeout = config.get("StopTimeout") if config.get("StopTimeout") is not None else _DEFAULT_TIMEOUT
        if await self._try(held, parse_signal(config.get("StopSignal") or "TERM"), ended):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if timeout is None or timeout < 0 else timeout):
                await asyncio.shield(ended)
                return
        if not await self._try(held, SIGKILL, ended):
            await self._await(held, ended)

    async def _try(self, held: Held, number: int, ended: asyncio.Future[int]) -> bool:
        """Send a signal; return whether the container has ended already. The signal counts as the user's stop."""
        async with held.lock:
            state = held.container.state
            if state.status is Status.RESTARTING:
                self.cancel_restart(held)
            if ended.done() or not state.has_process:
                return True
            await self._send(held, number)
        return False

    async def _await(self, held: Held, ended: asyncio.Future[int]) -> None:
        try:
            async with asyncio.timeout(_KILL_PATIENCE):
                await asyncio.shield(ended)
        except TimeoutError:
            raise system(
                f"Cannot kill container {held.container.id}: tried to kill container, but did not receive an exit event"
            ) from None

    async def _send(self, held: Held, number: int) -> None:
        container = held.container
        stop_signal = container.config.get("StopSignal")
        ends = not stop_signal or number in {SIGKILL, parse_signal(stop_signal)}
        # whatever the signal, it is a stop by the user; only one that ends the program overrules the restart policy
        container.state.stopped_by_user = True
        held.exits_for_good = held.exits_for_good or ends
        self._save(held)
        try:
            await self._containerd.kill(container.id, number)
        except ContainerdError as error:
            if error.is_not_found or "already finished" in str(error):
                return  # it has ended by itself; its exit is on the way
            status = 503 if error.is_unavailable else 500
            raise EngineError(status, f"Cannot kill container {container.id}: {error}") from error
        if ends and container.state.status is Status.PAUSED:
            await self._thaw(held)
        self._events.emit("container", "kill", container.id, {**container.attributes, "signal": str(number)})

    async def _thaw(self, held: Held) -> None:
        """Let a paused program go on, since a frozen one does not see a signal; a runtime may have done so itself."""
        container = held.container
        try:
            await self._containerd.resume(container.id)
        except ContainerdError as error:
            _log.warning("Cannot unpause container %s: %s", container.id, error)
            return
        container.state.status = Status.RUNNING
        self._save(held)
        self._events.emit("container", "unpause", container.id, container.attributes)


def should_restart(held: Held) -> bool:
    """Return whether the restart policy wants another run, after one has ended or the engine has started."""
    state = held.container.state
    policy = held.container.host_config["RestartPolicy"]
    if held.exits_for_good:
        return False
    match policy["Name"]:
        case "always":
            return True
        case "unless-stopped":
            return not state.stopped_by_user
        case "on-failure":
            limit = policy["MaximumRetryCount"]
            return state.exit_code != 0 and (limit == 0 or state.restart_count < limit)
        case _:
            return False


def next_delay(held: Held) -> float:
    """Return how many seconds to wait before the next run: doubled each time, from 0.1 to 60, anew after a long run."""
    state = held.container.state
    if held.delay == 0.0 or state.finished_at - state.started_at >= _LONG_RUN:
        held.delay = _FIRST_DELAY
    else:
        held.delay = min(held.delay * 2, _LONGEST_DELAY)
    return held.delay
