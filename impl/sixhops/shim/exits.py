"""How processes end: the exit is kept for whoever asks, announced once, and Delete clears the rest away."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from typing import TYPE_CHECKING, Any

from sixhops.linux.mountlist import unmount_below
from sixhops.shim.container import Container, Shim, read_file, stamp
from sixhops.shim.loop import ExitStatus, Task
from sixhops.shim.process import Process, State, refuse
from sixhops.shim.runtime import RuntimeFailedError
from sixhops.wire.proto import payloads_pb2, shim_v2_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["delete", "ended", "started", "wait"]

DRAIN_SECONDS = 2.0  # how long Delete waits for output that nobody reads, as upstream does


def ended(shim: Shim, process: Process, exit_status: ExitStatus) -> None:
    """Take note of an exit. One that comes while the start is under way is kept until `started`."""
    if process.starting or process.deleting:
        process.early = exit_status
        return
    if process.state is State.DELETED:
        _announce(shim, process, exit_status)
        return
    paused = process.state is State.PAUSED
    process.state = State.STOPPED
    process.exit = exit_status
    container = shim.containers.get(process.container_id)
    if container is None or process.exec_id:
        _announce(shim, process, exit_status)
    else:
        Task(_end_container(shim, container, process, exit_status, paused))


def started(shim: Shim, process: Process) -> None:
    """End the start of a process: an exit in the meantime is told now, after it."""
    process.starting = False
    if process.early is not None:
        early, process.early = process.early, None
        ended(shim, process, early)


async def _end_container(
    shim: Shim, container: Container, process: Process, exit_status: ExitStatus, paused: bool
) -> None:
    document = _document(container.bundle)
    has_namespace = _has_pid_namespace(document)
    container.ends_whole = has_namespace and not (document.get("hooks") or {}).get("poststop")
    if not has_namespace:
        # nothing else ends what it started when there is no pid namespace to go with it
        await _follow(shim, container, ["kill", "--all"], [str(int(signal.SIGKILL))], "kill init's children")
    if paused:
        await _follow(shim, container, ["resume"], [], "resume exited container from paused state")
    _announce(shim, process, exit_status)


async def _follow(shim: Shim, container: Container, step: list[str], last: list[str], what: str) -> None:
    try:
        await container.runtime.run([*step, container.id, *last])
    except (RuntimeFailedError, OSError) as error:
        shim.log.error(f"failed to {what}: {error}")


def _announce(shim: Shim, process: Process, exit_status: ExitStatus) -> None:
    """Tell of an end; that of a process which never ran and was deleted has no time, as upstream."""
    event = payloads_pb2.TaskExit(
        container_id=process.container_id,
        id=process.exec_id or process.container_id,
        pid=process.pid,
        exit_status=exit_status.status,
    )
    stamp(event.exited_at, process.exit)
    shim.publish("/tasks/exit", event)
    process.exited.set(exit_status)


async def wait(shim: Shim, request: Any) -> Message:
    """Return when the process has ended; one that could not be started counts as ended with nothing to tell."""
    _container, process = shim.process(request.id, request.exec_id)
    exit_status = await process.exited
    response = shim_v2_pb2.WaitResponse(exit_status=exit_status.status if exit_status else 0)
    stamp(response.exited_at, exit_status)
    return response


async def delete(shim: Shim, request: Any) -> Message:
    """Delete an ended process, or one that never ran; with init, the container."""
    container, process = shim.process(request.id, request.exec_id)
    async with container.lock:
        refuse(process, "delete")
        if not await process.streams.drained(DRAIN_SECONDS):
            shim.log.error(f"failed to drain {'exec' if process.exec_id else 'init'} process io")
        if process.exec_id:
            await _delete_exec(container, process)
        elif process.state is State.CREATED:
            await _delete_created(shim, container, process)
        else:
            await _delete_init(shim, container, process)
        process.state = State.DELETED
    response = shim_v2_pb2.DeleteResponse(pid=process.pid)
    if process.exit is not None:
        response.exit_status = process.exit.status
    stamp(response.exited_at, process.exit)
    if not process.exec_id:
        event = payloads_pb2.TaskDelete(
            container_id=container.id, pid=process.pid, exit_status=response.exit_status
        )
        event.exited_at.CopyFrom(response.exited_at)
        shim.publish("/tasks/delete", event)
    return response


async def _delete_exec(container: Container, process: Process) -> None:
    await process.streams.close()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{container.bundle}/{process.exec_id}.pid")
    del container.processes[process.exec_id]


async def _delete_created(shim: Shim, container: Container, process: Process) -> None:
    """Delete init that never ran. The runtime kills it; that is told as an exit, and is none of the process's own."""
    process.deleting = True
    try:
        await _delete_init(shim, container, process)
    except BaseException:
        process.deleting = False
        if process.early is not None:
            started(shim, process)
        raise
    process.deleting = False
    process.state = State.DELETED
    if process.early is not None:
        _announce(shim, process, process.early)


async def _delete_init(shim: Shim, container: Container, process: Process) -> None:
    failure = None
    try:
        # what has ended and waits for nobody can be deleted at once
        await container.runtime.run(
            ["delete", container.id], at_once=process.exit is not None and container.ends_whole
        )
    except (RuntimeFailedError, OSError) as error:
        # a container that the runtime no longer knows is deleted; it is so after a checkpoint
        if "does not exist" not in str(error):
            failure = RpcError(Code.UNKNOWN, container.runtime.explain("failed to delete task", error))
    await process.streams.close()
    if container.oom is not None:
        container.oom.close()
    try:
        unmount_below(f"{container.bundle}/rootfs")
    except OSError as error:
        failure = failure or RpcError(Code.UNKNOWN, f"failed rootfs umount: {error}")
    if failure is not None:
        raise failure
    del shim.containers[container.id]


def _document(bundle: str) -> dict[str, Any]:
    """Return a bundle's config.json; empty when it can't be read."""
    try:
        document = json.loads(read_file(f"{bundle}/config.json"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _has_pid_namespace(document: dict[str, Any]) -> bool:
    """Tell whether the container has a pid namespace of its own, which ends with its first process."""
    namespaces = (document.get("linux") or {}).get("namespaces") or []
    return any(item.get("type") == "pid" and not item.get("path") for item in namespaces)
