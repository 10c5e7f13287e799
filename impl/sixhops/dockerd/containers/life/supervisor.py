"""What happens to containers by itself: exits that containerd reports, restarts by policy, automatic removal, reconciling.

`Supervisor` owns the background tasks; the API's operations (`manager`) call it where they need the same steps.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containerd.client import ContainerdError, TaskEvent
from sixhops.dockerd.containers.life import restore
from sixhops.dockerd.containers.life.stopping import next_delay, should_restart
from sixhops.dockerd.containers.lifecycle import Status
from sixhops.dockerd.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sixhops.dockerd.containerd.client import Containerd, TaskExit
    from sixhops.dockerd.containers.held import Held
    from sixhops.dockerd.containers.life.exec import Execs
    from sixhops.dockerd.containers.life.health import Health
    from sixhops.dockerd.containers.life.running import Runner
    from sixhops.dockerd.containers.life.stopping import Stopper
    from sixhops.dockerd.containers.model import Container
    from sixhops.dockerd.containers.registry import Registry
    from sixhops.dockerd.containers.settings import ContainerSettings
    from sixhops.dockerd.events import Events
    from sixhops.dockerd.images.layers import LayerStore
    from sixhops.dockerd.volumes import Volumes

__all__ = ["Supervisor"]

_log = logging.getLogger(__name__)
_NOT_MODIFIED = 304


class Supervisor:
    """Watches over the containers of a registry."""

    def __init__(
        self,
        registry: Registry,
        layers: LayerStore,
        volumes: Volumes,
        containerd: Containerd,
        runner: Runner,
        stopper: Stopper,
        health: Health,
        execs: Execs,
        events: Events,
        *,
        settings: ContainerSettings,
    ) -> None:
        self._registry = registry
        self._layers = layers
        self._volumes = volumes
        self._containerd = containerd
        self._runner = runner
        self._stopper = stopper
        self._health = health
        self._execs = execs
        self._events = events
        self._settings = settings
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False

    async def begin(self) -> None:
        """Follow containerd's events, and bring the registry into line with what runs."""
        await self._containerd.ready()
        subscribed = asyncio.Event()
        self._spawn(self._listen(subscribed))
        await subscribed.wait()
        await restore.restore(
            self._registry,
            self._containerd,
            self._runner,
            self,
            live=self._settings.live_restore,
            restarts=self._settings.restarts,
        )

    async def end(self) -> None:
        """Stop what runs (unless live-restore) and cancel all tasks."""
        self._is_closing = True
        running = [held for held in self._registry if held.container.state.is_running]
        if not self._settings.live_restore:
            await asyncio.gather(*(self._shut_down(held) for held in running))
        # an exit that is being dealt with (automatic removal, say) is dealt with to its end
        for held in self._registry:
            async with held.lock:
                if held.restarting is not None:
                    held.restarting.cancel()
            self._health.end(held)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def start(self, held: Held) -> None:
        """Start a container; the caller holds the lock. Raises EngineError; one with AutoRemove has gone then."""
        try:
            await self._runner.start(held)
        except EngineError:
            if held.container.host_config["AutoRemove"] and held.container.state.status is Status.CREATED:
                await self.remove(held, with_volumes=True)
            raise

    async def remove(self, held: Held, *, with_volumes: bool) -> None:
        """Remove a container that does not run; the caller holds the lock."""
        held.is_being_removed = True
        container = held.container
        # what an engine that dies now leaves can only be removed
        before, container.state.status = container.state.status, Status.DEAD
        self._registry.save(container)
        container.state.status = Status.REMOVING
        self._health.end(held)
        try:
            await asyncio.to_thread(self._remove_files, held)
        except OSError as error:
            container.state.status = Status.DEAD
            held.is_being_removed = False
            raise EngineError(
                500, f'container {container.id}: driver "overlay2" failed to remove root filesystem: {error}'
            ) from error
        except BaseException:
            container.state.status = before
            self._registry.save(container)
            held.is_being_removed = False
            raise
        self._registry.remove(held)
        self._execs.forget(held)
        if with_volumes:
            await self._remove_volumes(container)
        self._emit(held, "destroy")
        # a removal that succeeds is no error, whatever a start was before
        container.state.error = ""
        held.waiters.removed(container.state.exit_code)
        held.output.end()

    def _remove_files(self, held: Held) -> None:
        self._layers.remove_writable(held.container.layer)
        if held.log is not None:
            held.log.close()
        held.files.remove(self._layers.removals)  # an engine that died may have removed some of it

    async def _remove_volumes(self, container: Container) -> None:
        """Remove a container's anonymous volumes, but for those that another one has."""
        for point in container.mounts:
            if point.type == "volume" and point.anonymous:
                try:
                    await asyncio.to_thread(self._volumes.remove_unused, point.name)
                except OSError as error:
                    _log.error("volume %s of container %s: %s", point.name, container.id, error)

    async def _listen(self, subscribed: asyncio.Event) -> None:
        """Follow containerd's events for ever; after a break, look for exits that were missed."""
        while True:
            try:
                stream = self._containerd.events()
                subscribed.set()
                async for event in stream:
                    self._handle(event)
            except ContainerdError as error:
                _log.warning("events of containerd: %s; waiting for it", error)
            await self._containerd.ready()
            self._spawn(restore.catch_up(self._registry, self._containerd, self))

    def _handle(self, event: TaskExit | TaskEvent) -> None:
        if event.container not in self._registry:
            return
        held = self._registry.find(event.container)
        if isinstance(event, TaskEvent):
            if event.kind == "oom":
                held.container.state.oom_killed = True
                self._emit(held, "oom")
        elif event.process == event.container:
            self._spawn(self.exited(held, event))
        else:
            self._spawn(self._execs.exited(event))

    # -- what `restore` does with containers

    async def exited(self, held: Held, event: TaskExit) -> None:
        """Deal with the end of a program."""
        async with held.lock:
            state = held.container.state
            if not state.has_process:
                return
            with held.ending():
                await self._runner.exited(
                    held, event, lambda held: should_restart(held) and not self._is_closing
                )
            if state.has_process:
                return
            restarts = state.status is Status.RESTARTING
            if restarts:
                held.restarting = asyncio.create_task(self._restart_later(held))
            held.waiters.exited(state.exit_code, restarts=restarts)
            if not restarts:
                await self._remove_automatically(held)

    async def stop(self, held: Held) -> None:
        """Stop a container that outlived the last engine."""
        await self._shut_down(held)

    async def start_by_policy(self, held: Held) -> None:
        """Start a container as its restart policy says, after a restart of the engine."""
        async with held.lock:
            try:
                await self._runner.start(held)
            except EngineError as error:
                _log.warning("start of container %s: %s", held.container.id, error)

    async def remove_by_itself(self, held: Held) -> None:
        """Remove a container that should have gone with its end."""
        async with held.lock:
            try:
                await self.remove(held, with_volumes=True)
            except EngineError as error:
                _log.warning("removal of container %s: %s", held.container.id, error)

    async def _remove_automatically(self, held: Held) -> None:
        """Remove a container that has ended, if it is one that goes by itself; the caller holds the lock."""
        if held.container.host_config["AutoRemove"] and not held.is_being_removed and not held.is_restarting:
            await self.remove(held, with_volumes=True)

    async def _restart_later(self, held: Held) -> None:
        await asyncio.sleep(next_delay(held))
        async with held.lock:
            state = held.container.state
            if state.status is not Status.RESTARTING:
                return
            held.restarting = None
            try:
                await self._runner.start(held, by_policy=True)
            except EngineError as error:
                _log.warning("restart of container %s: %s", held.container.id, error)
                state.status, state.finished_at = Status.EXITED, time.time_ns()
                self._registry.save(held.container)
                held.waiters.exited(state.exit_code, restarts=False)
                await self._remove_automatically(held)

    async def _shut_down(self, held: Held) -> None:
        """Stop a container because the engine ends or has come back; that is no stop of the user's."""
        by_user = held.container.state.stopped_by_user
        try:
            await self._stopper.stop(held, None)
        except EngineError as error:
            if error.status != _NOT_MODIFIED:
                _log.warning("stop of container %s: %s", held.container.id, error)
        held.container.state.stopped_by_user = by_user
        if held.container.id in self._registry:
            self._registry.save(held.container)

    def _emit(self, held: Held, action: str) -> None:
        self._events.emit("container", action, held.container.id, held.container.attributes)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a task of the containers room failed", exc_info=task.exception())
