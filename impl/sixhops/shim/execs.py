"""Processes that are added to a container, and Start, which is the same call for both kinds."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from sixhops.linux.temporary import make_file
from sixhops.shim.attach import open_streams, run_attached
from sixhops.shim.creation import start_init
from sixhops.shim.exits import started
from sixhops.shim.process import Process, State, refuse
from sixhops.shim.stdio import Paths, Streams
from sixhops.wire.jsonerror import json_error
from sixhops.wire.proto import payloads_pb2, shim_v2_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from sixhops.shim.container import Container, Shim

__all__ = ["exec_", "start"]


async def exec_(shim: Shim, request: Any) -> Message:
    """Add a process; it runs once it is started."""
    container = shim.container(request.id)
    if request.exec_id in container.processes:
        raise RpcError(Code.ALREADY_EXISTS, f"id {request.exec_id}: already exists")
    async with container.lock:
        init = container.processes[""]
        if container.restore is not None and init.state is State.CREATED:
            raise RpcError(Code.UNKNOWN, "cannot exec in a created state")
        refuse(init, "exec")
        try:
            document = json.loads(request.spec.value)
            document.pop("terminal", None)
            if request.terminal:
                document["terminal"] = True
        except (ValueError, TypeError) as error:
            raise RpcError(Code.UNKNOWN, json_error(request.spec.value, error)) from error
        paths = Paths(request.stdin, request.stdout, request.stderr, request.terminal)
        container.processes[request.exec_id] = Process(
            container.id,
            request.exec_id,
            paths,
            Streams(shim.loop, paths),
            json.dumps(document).encode(),
        )
    shim.publish(
        "/tasks/exec-added",
        payloads_pb2.TaskExecAdded(container_id=container.id, exec_id=request.exec_id),
    )
    return shim_v2_pb2.ConnectResponse()


async def start(shim: Shim, request: Any) -> Message:
    """Start the created init, or a process that Exec added."""
    container, process = shim.process(request.id, request.exec_id)
    async with container.lock:
        refuse(process, "start")
        process.starting = True
        try:
            if process.exec_id:
                await _start_exec(shim, container, process)
            else:
                await start_init(shim, container, process)
            process.state = State.RUNNING
        except RpcError:
            if process.exec_id:
                # as upstream has it: still created, but whoever waits is told that there is nothing to wait for
                process.exited.set(None)
            started(shim, process)
            raise
    if process.exec_id:
        event = payloads_pb2.TaskExecStarted(
            container_id=container.id, exec_id=process.exec_id, pid=process.pid
        )
        shim.publish("/tasks/exec-started", event)
    else:
        shim.publish("/tasks/start", payloads_pb2.TaskStart(container_id=container.id, pid=process.pid))
    started(shim, process)
    return shim_v2_pb2.StartResponse(pid=process.pid)


async def _start_exec(shim: Shim, container: Container, process: Process) -> None:
    process.streams = await open_streams(shim, container.runtime, process.paths, process.exec_id)
    pid_file = f"{container.bundle}/{process.exec_id}.pid"
    descriptor, name = make_file("runc-process")
    try:
        os.write(descriptor, process.spec)
        await run_attached(
            shim,
            container.runtime,
            process,
            (["exec", "--process", name], ["--detach", "--pid-file", pid_file, container.id]),
            "OCI runtime exec failed",
            pid_file,
        )
    except BaseException:
        await process.streams.close()
        raise
    finally:
        os.close(descriptor)
        os.unlink(name)
