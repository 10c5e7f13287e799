"""Starting a container and dealing with its end: the calls to containerd, in dockerd's order, and the tidying up.

`start` and `exited` run under the container's lock. An exit that is reported before Tasks/Start has answered (which is
common with short programs) waits for the lock, so that `start` always precedes `die`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, TypeVar, cast

from sixhops.dockerd import metrics
from sixhops.dockerd.containerd.checkpoints import restored_from
from sixhops.dockerd.containerd.client import UNKNOWN_STATUS, ContainerdError, runc_options
from sixhops.dockerd.containers import checkpoints
from sixhops.dockerd.containers.checks import validation
from sixhops.dockerd.containers.life import volumes
from sixhops.dockerd.containers.life.creation import make_working_directory
from sixhops.dockerd.containers.life.health import UNHEALTHY
from sixhops.dockerd.containers.life.starterror import CANNOT_START, StartError, start_error
from sixhops.dockerd.containers.lifecycle import Operation, Status, check
from sixhops.dockerd.containers.logs.records import LineSplitter
from sixhops.dockerd.containers.network import links
from sixhops.dockerd.containers.network.netfiles import write_files
from sixhops.dockerd.containers.network.networking import member_of
from sixhops.dockerd.containers.specification import namespaces, user
from sixhops.dockerd.containers.specification.initprogram import init_program
from sixhops.dockerd.containers.specification.propagation import root_propagation
from sixhops.dockerd.containers.specification.realtime import prepare_parents
from sixhops.dockerd.containers.specification.spec import Surroundings, make_spec
from sixhops.dockerd.containers.streams.stdio import Stdio
from sixhops.dockerd.errors import EngineError, conflict, system
from sixhops.linux import mounts
from sixhops.linux.libc import LinuxError
from sixhops.wire.rawstream import Stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from sixhops.dockerd.containerd.client import Containerd, TaskExit, TaskState
    from sixhops.dockerd.containers.held import Held
    from sixhops.dockerd.containers.life.health import Health
    from sixhops.dockerd.containers.logs.records import Record
    from sixhops.dockerd.containers.model import Container
    from sixhops.dockerd.containers.settings import ContainerSettings
    from sixhops.dockerd.events import Events
    from sixhops.dockerd.images.layers import LayerStore
    from sixhops.dockerd.networks.manager import Networks
    from sixhops.dockerd.networks.members import Member
    from sixhops.dockerd.volumes import Volumes

__all__ = ["Runner"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

#: How long an ended program's output is waited for, in seconds; a process that it left behind may hold the pipe.
_OUTPUT_PATIENCE = 2.0


class Runner:
    """Runs containers. `find` resolves another container by name (for `container:ID` modes); `save` stores a document."""

    def __init__(
        self,
        settings: ContainerSettings,
        layers: LayerStore,
        volumes: Volumes,
        networks: Networks,
        containerd: Containerd,
        events: Events,
        health: Health,
        find: Callable[[str], Held],
        save: Callable[[Container], None],
    ) -> None:
        self._settings = settings
        self._layers = layers
        self._volumes = volumes
        self._networks = networks
        self._containerd = containerd
        self._events = events
        self._health = health
        self._find = find
        self._save = save

    async def start(self, held: Held, *, by_policy: bool = False) -> None:
        """Start a container; the caller holds its lock. Raises EngineError, having undone everything.

        `by_policy`: the restart policy starts it again; anybody else gives it a new beginning.
        """
        container = held.container
        check(container.state.status, Operation.START, container.id)
        # what was fine at the creation may not be any more
        validation.validate(None, container.host_config, self._settings.runtimes)
        try:
            with metrics.CONTAINER_ACTIONS.timed("start"):
                await self._start(held, by_policy=by_policy)
        except BaseException as error:
            await asyncio.shield(self._undo(held))
            if isinstance(error, EngineError):
                self._failed(container, error)
            raise

    async def _start(self, held: Held, *, by_policy: bool) -> None:
        container = held.container
        identity, host = container.id, container.host_config
        root = await _all(asyncio.to_thread(self._mount_root, container), self._connect(held))
        linked = links.resolve(held, self._find)
        held.linked = linked.environment
        for address, ports in linked.ends:
            assert held.sandbox is not None
            await self._networks.link(held.sandbox, address, ports)
        around = await asyncio.to_thread(self._surroundings, held, root, linked)
        spec = make_spec(container, around)
        checkpoint = self._checkpoint(held)
        prepare_parents(spec["linux"]["cgroupsPath"], self._settings.realtime)
        self._settings.runtimes.check(host["Runtime"])
        if not by_policy:
            container.state.restart_count, container.state.stopped_by_user = 0, False
            held.delay, held.exits_for_good = 0.0, False
        runtime = self._settings.runtimes.get(host["Runtime"])
        options = runc_options(
            runtime.binary,
            str(self._settings.exec_root / f"runtime-{host['Runtime']}"),
            systemd=self._settings.runtimes.systemd,
        )
        bundle = self._settings.exec_root / "containerd" / identity
        try:
            released = await self._create_record(identity, str(bundle), runtime.shim, options, spec)
            try:
                self._open_stdio(held)
                assert held.stdio is not None
                async with restored_from(self._containerd, checkpoint) as descriptor:
                    pid = await self._containerd.create_task(identity, held.stdio.io, options, descriptor)
                    container.state.pid = pid
                    # the process of a task that goes on from a checkpoint is there from now on
                    pid = await self._containerd.start(identity) or pid
            finally:
                (failure,) = await asyncio.gather(released, return_exceptions=True)
                if failure is not None:
                    _log.warning("the lease of %s stands until it expires: %s", identity, failure)
        except ContainerdError as error:
            raise start_error(error) from error
        state = container.state
        state.status, state.pid, state.exit_code, state.error = Status.RUNNING, pid, 0, ""
        state.started_at = time.time_ns()
        self._health.begin(held)
        self._save(container)
        held.stdin_is_ready()
        self._events.emit("container", "start", identity, container.attributes)

    async def exited(
        self, held: Held, exit_: TaskExit, restarts: Callable[[Held], bool] = lambda _held: False
    ) -> None:
        """Tidy up after the program; the caller holds the lock. Does nothing for a run that is over already.

        `restarts` is asked, once the exit code is known, whether the container waits for another run.
        """
        container, state = held.container, held.container.state
        if not state.has_process or (exit_.pid and state.pid and exit_.pid != state.pid):
            return
        # first of all: a probe that ends with the container has failed at nothing
        self._health.end(held)
        # the root is not needed any more, whether the runtime has forgotten the container or not
        unmounted = asyncio.create_task(asyncio.to_thread(self._unmount, held))
        reported = await self._forget_task(container.id)
        if held.stdio is not None:
            await self._drain(held.stdio)
        self._close_output(held)
        if held.log is not None:
            await held.log.settled()
        for exec_ in held.execs.values():
            exec_.container_ended(exit_.status)
        state.status, state.pid, state.exit_code = Status.EXITED, 0, exit_.status
        state.finished_at = exit_.exited_at if exit_.exited_at > 0 else time.time_ns()
        if restarts(held):
            state.status, state.restart_count = Status.RESTARTING, state.restart_count + 1
        # the event carries what the task's removal said, which is unknown when the shim was killed (observed)
        self._events.emit(
            "container", "die", container.id, {**container.attributes, "exitCode": str(reported)}
        )
        await _all(self._disconnect(held), unmounted, self._forget_record(container.id))
        self._save(container)

    async def adopt(self, held: Held, task: TaskState) -> None:
        """Take over a program that outlived the last engine: its fifos, its network and its health check."""
        container, state = held.container, held.container.state
        state.pid = task.pid
        if state.status is not Status.PAUSED or task.status not in {"PAUSED", "PAUSING"}:
            state.status = Status.RUNNING
        if container.endpoint is not None:
            held.sandbox = await self._networks.recover(self._member(held), container.endpoint)
        for point in container.mounts:
            if point.type == "volume":
                await asyncio.to_thread(self._volumes.adopt, point.name, container.id)
        self._open_stdio(held, fresh=False)
        held.stdin_is_ready()
        if state.status is Status.RUNNING:
            self._health.go_on(held)

    async def forget(self, held: Held, exit_: TaskExit) -> None:
        """Note the end of a program that ended while there was no engine; the caller holds the lock. Nothing is told."""
        container, state = held.container, held.container.state
        state.status, state.pid, state.exit_code = Status.EXITED, 0, exit_.status
        state.finished_at = exit_.exited_at if exit_.exited_at > 0 else time.time_ns()
        if state.health is not None:
            state.health["Status"] = UNHEALTHY
        if container.endpoint is not None:
            held.sandbox = await self._networks.recover(
                self._member(held), container.endpoint, is_alive=False
            )
        await self._forget_task(container.id)
        await _all(
            self._disconnect(held),
            asyncio.to_thread(self._unmount, held),
            self._forget_record(container.id),
        )
        self._save(container)

    def record(self, held: Held) -> Callable[[Stream, bytes], bool]:
        """Return what takes a program's output: log first, then clients; it tells whether there is room for more."""
        splitters = {stream: LineSplitter(stream.label) for stream in (Stream.STDOUT, Stream.STDERR)}

        def write(records: list[Record]) -> None:
            try:
                if held.log is not None:
                    held.log.write(records)
            except OSError as error:
                # a full disk: the program goes on, and so does what clients see of it
                metrics.LOG_WRITE_FAILURES.add()
                _log.error("Failed to log messages of container %s: %s", held.container.id, error)

        def take(stream: Stream, data: bytes) -> bool:
            write(splitters[stream].feed(data, time.time_ns()))
            return held.output.publish(stream, data)

        def finish() -> None:
            for splitter in splitters.values():
                write(splitter.finish(time.time_ns()))

        held.finish_log = finish
        return take

    def _open_stdio(self, held: Held, *, fresh: bool = True) -> None:
        container = held.container
        if held.log is not None:
            held.log.open()
        directory = self._settings.exec_root / "containerd" / container.id
        held.stdio = Stdio(
            directory,
            "init",
            stdin=bool(container.config["OpenStdin"]) or container.tty,
            terminal=container.tty,
        )
        held.stdio.open(self.record(held), held.output, fresh=fresh)

    def _close_output(self, held: Held) -> None:
        if held.stdio is not None:
            held.stdio.close()
            held.stdio = None
            with contextlib.suppress(OSError):
                # not empty while an exec that outlived its container still has fifos there
                (self._settings.exec_root / "containerd" / held.container.id).rmdir()
        held.finish_log()
        if held.log is not None:
            held.log.close()
        held.output.end()

    async def _drain(self, stdio: Stdio) -> None:
        try:
            async with asyncio.timeout(_OUTPUT_PATIENCE):
                await asyncio.shield(stdio.done)
        except TimeoutError:
            return

    async def _create_record(
        self, identity: str, bundle: str, shim: str, options: object, spec: dict[str, object]
    ) -> asyncio.Task[None]:
        """Register the container; a record that a crash left is replaced. Return the end of the call's lease."""
        try:
            return await self._containerd.create_container(identity, bundle, shim, options, spec)  # type: ignore[arg-type] # an Any of protobuf
        except ContainerdError as error:
            if not error.is_already_there:
                raise
            await self._forget_task(identity)
            await self._containerd.delete_container(identity)
            return await self._containerd.create_container(identity, bundle, shim, options, spec)  # type: ignore[arg-type] # as above

    async def _undo(self, held: Held) -> None:
        """Take back what a failed start has made."""
        identity = held.container.id
        await self._forget_task(identity)
        self._close_output_quietly(held)
        await self._forget_record(identity)
        await self._disconnect(held)
        await asyncio.to_thread(self._unmount, held)
        held.container.state.pid = 0

    def _close_output_quietly(self, held: Held) -> None:
        """A start that failed ends attached clients only if it came as far as making their streams."""
        if held.stdio is not None:
            self._close_output(held)

    @staticmethod
    def _checkpoint(held: Held) -> Path | None:
        """Return the directory of the checkpoint that a start goes on from, None for none. Raises EngineError 500."""
        if not held.checkpoint:
            return None
        container = held.container
        return checkpoints.existing(held.files.checkpoints, held.checkpoint, f"/{container.name}")

    def _failed(self, container: Container, error: EngineError) -> None:
        """Note why a start failed; the container stays what it was."""
        container.state.error = error.message
        container.state.exit_code = error.exit_code if isinstance(error, StartError) else CANNOT_START
        self._save(container)

    async def _forget_task(self, identity: str) -> int:
        try:
            return await self._containerd.delete_task(identity)
        except ContainerdError:
            # a containerd that is away forgets the task itself when it finds the shim dead
            return UNKNOWN_STATUS

    async def _forget_record(self, identity: str) -> None:
        try:
            await self._containerd.delete_container(identity)
        except ContainerdError:
            return  # as above; the next start replaces the record

    async def _connect(self, held: Held) -> None:
        container = held.container
        mode = container.host_config["NetworkMode"]
        if mode.startswith("container:") or container.config.get("NetworkDisabled"):
            return
        # what dockerd does in two steps is one here
        with metrics.NETWORK_ACTIONS.timed("allocate"), metrics.NETWORK_ACTIONS.timed("connect"):
            held.sandbox = await self._networks.allocate(self._member(held))
        container.endpoint = held.sandbox.saved

    def _member(self, held: Held) -> Member:
        return member_of(held.container, self._settings)

    async def _disconnect(self, held: Held) -> None:
        sandbox, held.sandbox = held.sandbox, None
        if sandbox is not None:
            with metrics.NETWORK_ACTIONS.timed("release"):
                await self._networks.release(sandbox)

    def _mount_root(self, container: Container) -> str:
        try:
            return self._layers.mount(container.layer)
        except LinuxError as error:
            raise system(
                f"error creating overlay mount to {self._layers.writable(container.layer).merged}: {error}"
            ) from error

    def _unmount(self, held: Held) -> None:
        if held.files.shm.is_mount():
            mounts.unmount(str(held.files.shm), mounts.MNT_DETACH)
        self._layers.unmount(held.container.layer)
        volumes.tidy(held.container, self._volumes)

    def _surroundings(self, held: Held, root: str, linked: links.Links) -> Surroundings:
        container = held.container
        config, host = container.config, container.host_config
        make_working_directory(root, config)
        # in the order in which dockerd would find fault with them
        init = ""
        if namespaces.wants_init(held, default=self._settings.init):
            init = self._settings.init_path or init_program(self._settings.data_root / "init")
        identity = user.resolve(root, config["User"], host["GroupAdd"] or [])
        netns = self._netns(held)
        ipc, pid = namespaces.ipc_path(held, self._find), namespaces.pid_path(held, self._find)
        shm = namespaces.shm_directory(held, self._find)
        volumes.prepare(container, self._volumes)
        # before the rest: it settles the hostname
        files = write_files(held, self._settings, self._find, self._networks.host_gateway, linked)
        return Surroundings(
            root=root,
            identity=identity,
            files=files,
            netns=netns,
            hostname=config["Hostname"],
            cgroup_parent=self._settings.cgroup_parent,
            systemd=self._settings.runtimes.systemd,
            seccomp=self._settings.seccomp,
            ipc=ipc,
            pid=pid,
            shm=shm,
            init=init,
            root_propagation=root_propagation(container.mounts, str(self._settings.data_root)),
            ulimits=self._settings.ulimits,
            no_new_privileges=self._settings.no_new_privileges,
            is_unconnected=bool(config.get("NetworkDisabled")),
            linked=linked.environment,
        )

    def _netns(self, held: Held) -> str:
        mode = held.container.host_config["NetworkMode"]
        if mode.startswith("container:"):
            return f"/proc/{self._running(mode).container.state.pid}/ns/net"
        return held.sandbox.netns if held.sandbox else ""

    def _running(self, mode: str) -> Held:
        other = self._find(mode.partition(":")[2])
        if not other.container.state.has_process:
            raise conflict(f"cannot join network of a non running container: {other.container.id}")
        return other


async def _all(first: Awaitable[T], *others: Awaitable[None]) -> T:
    """Do all at once, to the end even when one fails; return the first's value. Raises the first error in their order."""
    done = await asyncio.gather(first, *others, return_exceptions=True)
    for result in done:
        if isinstance(result, BaseException):
            raise result
    return cast("T", done[0])
