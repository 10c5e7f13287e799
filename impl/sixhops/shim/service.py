"""The task service: what containerd asks of a shim. One coroutine a call; one lock a container, as upstream
has.

An exit may be known before the answer that tells the pid, or before the start was announced. The order that
containerd sees is always create, start, exit, delete (and exec-added, exec-started, exit for an exec).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.linux.mountlist import Mount, mount_all, unmount_below
from sixhops.shim.loop import ExitStatus, Lock, Loop, Task, TimedOutError
from sixhops.shim.metrics import Groups, OomWatch, groups_of, read_metrics
from sixhops.shim.options import store_options
from sixhops.shim.process import Process, State, failed_start, refuse
from sixhops.shim.runtime import Runtime, RuntimeFailedError, RuntimeOptions
from sixhops.shim.stdio import ConsoleSocket, Paths, Streams, resize
from sixhops.shim.taskoptions import runtime_options
from sixhops.wire.proto import payloads_pb2, runc_options_pb2, shim_v2_pb2
from sixhops.wire.proto.services import pack
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

    from sixhops.shim.log import Log
    from sixhops.shim.publisher import Publisher

__all__ = ["TaskService"]

ZERO_TIME_SECONDS = -62135596800  # 0001-01-01, Go's zero time, which upstream sends for "not yet"
DRAIN_SECONDS = 10.0  # how long Delete waits for output that nobody reads


@dataclass(slots=True, eq=False)
class Container:
    """One container: its bundle, its runtime, its processes by exec id ("" is init)."""

    id: str
    bundle: Path
    runtime: Runtime
    processes: dict[str, Process]
    groups: Groups = field(default_factory=dict)
    oom: OomWatch | None = None
    lock: Lock = field(default_factory=Lock)


def _stamp(target: Timestamp, exit_status: ExitStatus | None) -> None:
    if exit_status is None:
        target.seconds = ZERO_TIME_SECONDS
    else:
        nanoseconds = int(exit_status.at * 1e9)
        target.seconds, target.nanos = divmod(nanoseconds, 10**9)


class TaskService:
    """Every method takes its request message and returns its reply message, or raises RpcError."""

    def __init__(
        self,
        loop: Loop,
        namespace: str,
        publisher: Publisher,
        log: Log,
        *,
        default_binary: str,
        module: str | None,
        shutdown: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._namespace = namespace
        self._publisher = publisher
        self._log = log
        self._default_binary = default_binary
        self._module = module
        self._shutdown = shutdown
        self._containers: dict[str, Container] = {}

    # -- finding things

    def _container(self, identifier: str) -> Container:
        container = self._containers.get(identifier)
        if container is None:
            raise RpcError(Code.NOT_FOUND, "container not created: not found")
        return container

    def _process(self, identifier: str, exec_id: str) -> tuple[Container, Process]:
        container = self._container(identifier)
        process = container.processes.get(exec_id)
        if process is None:
            raise RpcError(Code.NOT_FOUND, f"process does not exist {exec_id}: not found")
        return container, process

    # -- create, start, exit, delete

    async def create(self, request: Any) -> Message:
        """Mount the root filesystem if asked to and run the runtime's create."""
        if request.checkpoint:
            raise RpcError(Code.UNIMPLEMENTED, "restore from a checkpoint: not implemented")
        if request.id in self._containers:
            raise RpcError(Code.ALREADY_EXISTS, f"task {request.id}: already exists")
        bundle = Path(request.bundle)
        options = runtime_options(request.options, default_binary=self._default_binary, module=self._module)
        store_options(bundle, options)
        rootfs = bundle / "rootfs"
        if request.rootfs:
            rootfs.mkdir(mode=0o711, exist_ok=True)
            wanted = [Mount(item.type, item.source, tuple(item.options)) for item in request.rootfs]
            try:
                mount_all(wanted, rootfs)
            except OSError as error:
                raise RpcError(Code.UNKNOWN, f"failed to mount rootfs component: {error}") from error
        paths = Paths(request.stdin, request.stdout, request.stderr, request.terminal)
        runtime = Runtime(self._loop, options, self._namespace, bundle / "log.json")
        try:
            process = await self._create_init(request.id, bundle, runtime, paths, options)
        except BaseException:
            with contextlib.suppress(OSError):
                unmount_below(rootfs)
            raise
        container = Container(request.id, bundle, runtime, {"": process})
        self._containers[request.id] = container
        self._watch(container, process)
        self._publish(
            "/tasks/create",
            payloads_pb2.TaskCreate(
                container_id=request.id,
                bundle=request.bundle,
                rootfs=request.rootfs,
                io=payloads_pb2.TaskIO(
                    stdin=paths.stdin, stdout=paths.stdout, stderr=paths.stderr, terminal=paths.terminal
                ),
                pid=process.pid,
            ),
        )
        return shim_v2_pb2.CreateTaskResponse(pid=process.pid)

    async def _create_init(
        self, identifier: str, bundle: Path, runtime: Runtime, paths: Paths, options: RuntimeOptions
    ) -> Process:
        pid_file = bundle / "init.pid"
        arguments = ["create", "--bundle", str(bundle), "--pid-file", str(pid_file)]
        if options.no_pivot_root:
            arguments.append("--no-pivot")
        if options.no_new_keyring:
            arguments.append("--no-new-keyring")
        process = Process(identifier, "", paths, self._open(paths, options, "init"))
        self._loop.hold_exits()
        try:
            await self._run_attached(
                runtime, arguments, [identifier], process, "OCI runtime create failed", pid_file, "container"
            )
        except BaseException:
            process.streams.close()
            raise
        finally:
            self._loop.release_exits()
        return process

    def _open(self, paths: Paths, options: RuntimeOptions, what: str) -> Streams:
        try:
            return Streams.open(self._loop, paths, options.io_uid, options.io_gid)
        except (OSError, ValueError) as error:
            raise RpcError(Code.UNKNOWN, f"failed to create {what} process I/O: {error}") from error

    async def _run_attached(
        self,
        runtime: Runtime,
        arguments: list[str],
        last: list[str],
        process: Process,
        prefix: str,
        pid_file: Path,
        what: str,
    ) -> None:
        """Run create or exec with the process's streams; set its pid and start to wait for its end."""
        streams = process.streams
        console = ConsoleSocket(self._loop) if process.paths.terminal else None
        try:
            if console is not None:
                arguments = [*arguments, "--console-socket", console.path]
            try:
                await runtime.run([*arguments, *last], stdio=streams.child)
            except (RuntimeFailedError, OSError) as error:
                raise RpcError(Code.UNKNOWN, runtime.explain(prefix, error)) from error
            master = -1
            if console is not None:
                try:
                    master = await console.receive()
                except (TimedOutError, OSError) as error:
                    raise RpcError(Code.UNKNOWN, f"failed to retrieve console master: {error}") from error
            try:
                streams.hold_stdin()
            except OSError as error:
                text = f"failed to open stdin fifo {process.paths.stdin}: {error.strerror}"
                raise RpcError(Code.UNKNOWN, text) from error
            try:
                streams.begin(master)
            except OSError as error:
                raise RpcError(Code.UNKNOWN, f"failed to start io pipe copy: {error}") from error
        finally:
            if console is not None:
                console.close()
        try:
            process.pid = _read_number(pid_file)
        except (OSError, ValueError) as error:
            text = f"failed to retrieve OCI runtime {what} pid: {error}"
            raise RpcError(Code.UNKNOWN, text) from error
        # inside the caller's hold: the exit may have come already
        future = self._loop.child(process.pid)
        future.on_done(lambda: self._ended(process, future.result()))

    def _watch(self, container: Container, process: Process) -> None:
        """Remember the control groups, which can't be asked for when the process has gone, and watch
        memory.
        """
        try:
            container.groups = groups_of(process.pid)
            container.oom = OomWatch(self._loop, container.groups, lambda: self._out_of_memory(container))
        except OSError as error:
            self._log.warning(f"add cg to OOM monitor: {error}")

    def _out_of_memory(self, container: Container) -> None:
        self._publish("/tasks/oom", payloads_pb2.TaskOOM(container_id=container.id))

    def _ended(self, process: Process, exit_status: ExitStatus) -> None:
        if process.starting:
            process.early = exit_status
            return
        process.state = State.STOPPED
        process.exit = exit_status
        container = self._containers.get(process.container_id)
        if container is not None and not process.exec_id and not _has_pid_namespace(container.bundle):
            # nothing else ends what it started when there is no pid namespace to go with it
            Task(self._kill_all(container))
        event = payloads_pb2.TaskExit(
            container_id=process.container_id,
            id=process.exec_id or process.container_id,
            pid=process.pid,
            exit_status=exit_status.status,
        )
        _stamp(event.exited_at, exit_status)
        self._publish("/tasks/exit", event)
        process.exited.set(exit_status)

    async def _kill_all(self, container: Container) -> None:
        try:
            await container.runtime.run(["kill", "--all", container.id, str(int(signal.SIGKILL))])
        except (RuntimeFailedError, OSError) as error:
            self._log.error(f"failed to kill init's children: {error}")

    async def start(self, request: Any) -> Message:
        """Start the created init, or a process that Exec added."""
        container, process = self._process(request.id, request.exec_id)
        async with container.lock:
            refuse(process, "start")
            process.starting = True
            try:
                if process.exec_id:
                    await self._start_exec(container, process)
                else:
                    await self._start_init(container)
                process.state = State.RUNNING
            except RpcError:
                process.starting = False
                if process.exec_id:
                    process.state = State.STOPPED
                    process.exit = failed_start()
                    process.exited.set(process.exit)
                if process.early is not None:
                    self._ended(process, process.early)
                raise
        if process.exec_id:
            self._publish(
                "/tasks/exec-started",
                payloads_pb2.TaskExecStarted(
                    container_id=container.id, exec_id=process.exec_id, pid=process.pid
                ),
            )
        else:
            self._publish("/tasks/start", payloads_pb2.TaskStart(container_id=container.id, pid=process.pid))
        process.starting = False
        if process.early is not None:
            self._ended(process, process.early)
        return shim_v2_pb2.StartResponse(pid=process.pid)

    async def _start_init(self, container: Container) -> None:
        try:
            await container.runtime.run(["start", container.id])
        except (RuntimeFailedError, OSError) as error:
            raise RpcError(
                Code.UNKNOWN, container.runtime.explain("OCI runtime start failed", error)
            ) from error

    async def _start_exec(self, container: Container, process: Process) -> None:
        init = container.processes[""]
        if init.state is State.STOPPED:
            text = f"container {container.id} init process is not running: failed precondition"
            raise RpcError(Code.FAILED_PRECONDITION, text)
        process.streams = self._open(process.paths, container.runtime.options, "init")
        pid_file = container.bundle / f"{process.exec_id}.pid"
        descriptor, name = tempfile.mkstemp(prefix="runc-process")
        self._loop.hold_exits()
        try:
            os.write(descriptor, process.spec)
            arguments = ["exec", "--process", name]
            await self._run_attached(
                container.runtime,
                arguments,
                ["--detach", "--pid-file", str(pid_file), container.id],
                process,
                "OCI runtime exec failed",
                pid_file,
                "exec",
            )
        except BaseException:
            process.streams.close()
            raise
        finally:
            self._loop.release_exits()
            os.close(descriptor)
            os.unlink(name)

    async def delete(self, request: Any) -> Message:
        """Delete an ended process; with init, the container."""
        container, process = self._process(request.id, request.exec_id)
        async with container.lock:
            refuse(process, "delete")
            if not await process.streams.drained(DRAIN_SECONDS):
                self._log.error(f"failed to drain {'exec' if process.exec_id else 'init'} process io")
            if process.exec_id:
                process.streams.close()
                del container.processes[process.exec_id]
                # upstream leaves the pid file until the bundle goes; a later exec of that name overwrites it
            else:
                await self._delete_init(container, process)
            process.state = State.DELETED
        response = shim_v2_pb2.DeleteResponse(pid=process.pid)
        if process.exit is not None:
            response.exit_status = process.exit.status
        _stamp(response.exited_at, process.exit)
        if not process.exec_id:
            event = payloads_pb2.TaskDelete(
                container_id=container.id, pid=process.pid, exit_status=response.exit_status
            )
            event.exited_at.CopyFrom(response.exited_at)
            self._publish("/tasks/delete", event)
        return response

    async def _delete_init(self, container: Container, process: Process) -> None:
        try:
            await container.runtime.run(["delete", container.id])
        except (RuntimeFailedError, OSError) as error:
            if "does not exist" not in str(error):
                text = container.runtime.explain("failed to delete task", error)
                raise RpcError(Code.UNKNOWN, text) from error
        process.streams.close()
        if container.oom is not None:
            container.oom.close()
        try:
            unmount_below(container.bundle / "rootfs")
        except OSError as error:
            raise RpcError(Code.UNKNOWN, f"failed rootfs umount: {error}") from error
        del self._containers[container.id]

    # -- exec and streams

    async def exec(self, request: Any) -> Message:
        """Add a process; it runs once it is started."""
        container = self._container(request.id)
        if request.exec_id in container.processes:
            raise RpcError(Code.ALREADY_EXISTS, f"id {request.exec_id}: already exists")
        async with container.lock:
            refuse(container.processes[""], "exec")
            try:
                document = json.loads(request.spec.value)
            except ValueError as error:
                raise RpcError(Code.UNKNOWN, str(error)) from error
            document["terminal"] = request.terminal
            paths = Paths(request.stdin, request.stdout, request.stderr, request.terminal)
            process = Process(
                container.id,
                request.exec_id,
                paths,
                Streams(self._loop, paths),
                json.dumps(document).encode(),
            )
            container.processes[request.exec_id] = process
        self._publish(
            "/tasks/exec-added",
            payloads_pb2.TaskExecAdded(container_id=container.id, exec_id=process.exec_id),
        )
        return shim_v2_pb2.ConnectResponse()

    async def resize_pty(self, request: Any) -> Message:
        """Set the terminal's size; without a terminal nothing happens."""
        _container, process = self._process(request.id, request.exec_id)
        refuse(process, "resize")
        if process.streams.master >= 0:
            try:
                resize(process.streams.master, request.width, request.height)
            except OSError as error:
                raise RpcError(Code.UNKNOWN, str(error.strerror)) from error
        return shim_v2_pb2.ConnectResponse()

    async def close_io(self, request: Any) -> Message:
        """Let stdin end."""
        _container, process = self._process(request.id, request.exec_id)
        if request.stdin:
            process.streams.close_stdin()
        return shim_v2_pb2.ConnectResponse()

    # -- signals and freezing

    async def kill(self, request: Any) -> Message:
        """Send a signal to a process, or to all of the container."""
        container, process = self._process(request.id, request.exec_id)
        refuse(process, "kill")
        if process.exec_id:
            try:
                os.kill(process.pid, request.signal)
            except ProcessLookupError as error:
                raise RpcError(Code.NOT_FOUND, "process already finished: not found") from error
            except OSError as error:
                raise RpcError(Code.UNKNOWN, f"exec kill error: {error.strerror}") from error
            return shim_v2_pb2.ConnectResponse()
        async with container.lock:
            refuse(process, "kill")
            extra = ["--all"] if request.all else []
            try:
                await container.runtime.run(["kill", *extra, container.id, str(request.signal)])
            except (RuntimeFailedError, OSError) as error:
                raise _kill_error(error) from error
        return shim_v2_pb2.ConnectResponse()

    async def pause(self, request: Any) -> Message:
        """Freeze the container."""
        container, init = self._process(request.id, "")
        await self._freeze(container, init, "pause", State.PAUSED)
        self._publish("/tasks/paused", payloads_pb2.TaskPaused(container_id=container.id))
        return shim_v2_pb2.ConnectResponse()

    async def resume(self, request: Any) -> Message:
        """Let the container go on."""
        container, init = self._process(request.id, "")
        await self._freeze(container, init, "resume", State.RUNNING)
        self._publish("/tasks/resumed", payloads_pb2.TaskResumed(container_id=container.id))
        return shim_v2_pb2.ConnectResponse()

    async def _freeze(self, container: Container, init: Process, step: str, after: State) -> None:
        async with container.lock:
            refuse(init, step)
            try:
                await container.runtime.run([step, container.id])
            except (RuntimeFailedError, OSError) as error:
                text = container.runtime.explain(f"OCI runtime {step} failed", error)
                raise RpcError(Code.UNKNOWN, text) from error
            if init.state is not State.STOPPED:
                init.state = after

    async def checkpoint(self, request: Any) -> Message:
        """Checkpoints aren't made by this shim; say so."""
        _container, init = self._process(request.id, "")
        refuse(init, "checkpoint")
        raise RpcError(Code.UNIMPLEMENTED, "checkpoint: not implemented")

    async def update(self, request: Any) -> Message:
        """Change resource limits; the Any holds the runtime document's `resources` as JSON."""
        container, init = self._process(request.id, "")
        async with container.lock:
            refuse(init, "update")
            try:
                await container.runtime.run(
                    ["update", "--resources", "-", container.id], stdin=request.resources.value
                )
            except (RuntimeFailedError, OSError) as error:
                text = container.runtime.explain("OCI runtime update failed", error)
                raise RpcError(Code.UNKNOWN, text) from error
        return shim_v2_pb2.ConnectResponse()

    # -- questions

    async def state(self, request: Any) -> Message:
        """Return what is known of a process."""
        container, process = self._process(request.id, request.exec_id)
        response = shim_v2_pb2.StateResponse(
            id=process.exec_id or container.id,
            bundle=str(container.bundle),
            pid=process.pid,
            stdin=process.paths.stdin,
            stdout=process.paths.stdout,
            stderr=process.paths.stderr,
            terminal=process.paths.terminal,
            exit_status=process.exit.status if process.exit else 0,
        )
        response.status = int(process.state)  # type: ignore[assignment] # the enumeration's number
        _stamp(response.exited_at, process.exit)
        return response

    async def wait(self, request: Any) -> Message:
        """Return when the process has ended."""
        _container, process = self._process(request.id, request.exec_id)
        exit_status = await process.exited
        response = shim_v2_pb2.WaitResponse(exit_status=exit_status.status)
        _stamp(response.exited_at, exit_status)
        return response

    async def pids(self, request: Any) -> Message:
        """Return the container's processes, those of Exec with their ids."""
        container = self._container(request.id)
        try:
            output = await container.runtime.run(["ps", "--format", "json", container.id])
            numbers = json.loads(output) or []
        except (RuntimeFailedError, OSError, ValueError) as error:
            raise RpcError(Code.UNKNOWN, str(error)) from error
        names = {process.pid: process.exec_id for process in container.processes.values() if process.exec_id}
        response = shim_v2_pb2.PidsResponse()
        for number in numbers:
            info = response.processes.add(pid=number)
            if number in names:
                pack(info.info, runc_options_pb2.ProcessDetails(exec_id=names[number]))
        return response

    async def stats(self, request: Any) -> Message:
        """Return the control groups' figures."""
        container = self._container(request.id)
        metrics = read_metrics(container.groups)
        if metrics is None:
            raise RpcError(Code.NOT_FOUND, "cgroup does not exist: not found")
        response = shim_v2_pb2.StatsResponse()
        pack(response.stats, metrics)
        return response

    async def connect(self, request: Any) -> Message:
        """Tell the two pids."""
        container = self._containers.get(request.id)
        pid = container.processes[""].pid if container is not None else 0
        return shim_v2_pb2.ConnectResponse(shim_pid=os.getpid(), task_pid=pid)

    async def shutdown(self, _request: Any) -> Message:
        """End the shim when it has no container left; the answer goes out first."""
        if not self._containers:
            self._shutdown()
        return shim_v2_pb2.ConnectResponse()

    def _publish(self, topic: str, event: Message) -> None:
        self._publisher.publish(topic, event)


def _read_number(path: Path) -> int:
    return int(path.read_text())


def _kill_error(error: Exception) -> RpcError:
    text = str(error)
    lower = text.lower()
    if "process already finished" in lower or "container not running" in lower or "no such process" in lower:
        return RpcError(Code.NOT_FOUND, "process already finished: not found")
    if "does not exist" in lower:
        return RpcError(Code.NOT_FOUND, "no such container: not found")
    return RpcError(Code.UNKNOWN, f"unknown error after kill: {text}")


def _has_pid_namespace(bundle: Path) -> bool:
    """Tell whether the container has a pid namespace of its own, which ends with its first process."""
    try:
        document = json.loads((bundle / "config.json").read_text())
    except (OSError, ValueError):
        return True
    namespaces = (document.get("linux") or {}).get("namespaces") or []
    return any(item.get("type") == "pid" and not item.get("path") for item in namespaces)
